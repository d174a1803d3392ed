"""Share a model folder on the Hub, and take one from there.

Both ways only files of an allow-list travel: configuration, tensors, and the model card. What is
downloaded is one commit, named in full; what is uploaded is checked before the first byte leaves.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from ....cache.errors import InputError
from ....extract.hub import Place, locate, network_errors
from .model_folder import ENCODERS

#: What a model folder consists of; nothing else is uploaded or downloaded.
MODEL_FILES = ("config.json", "model.safetensors", "README.md")


def locate_model(name: str | os.PathLike[str], revision: str | None = None) -> Place:
    """Find a model folder: a folder here, or a Hub repository at one commit.

    Parameters
    ----------
    revision : str, optional
        Commit, tag or branch; resolved once. See `affekt.extract.hub.locate` for what happens
        without a network.

    Returns
    -------
    Place
        ``folder``, and for a Hub id ``repository`` and ``commit``.

    Examples
    --------
    >>> import tempfile
    >>> locate_model(tempfile.gettempdir()).repository is None
    True
    """
    return locate(name, revision, allow=MODEL_FILES, what="model")


def push_folder(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload a model",
    token: str | None = None,
    allow: Sequence[str] = MODEL_FILES,
) -> str:
    """Upload a model folder to the Hub as one commit.

    Parameters
    ----------
    folder : path
        Holds only files that match `allow`; a note of where encoders are stays here.
    repository : str
        ``owner/name``; made if it does not exist.
    private : bool, optional
        Visibility of a repository that is made now; the account's default if left out.
    revision : str, optional
        The branch to commit to; the default branch if left out.
    message : str
        Of the commit.
    token : str, optional
        As `huggingface_hub` takes it; the stored login by default.
    allow : sequence of str
        Patterns of the files that may leave this machine.

    Returns
    -------
    str
        The new commit, 40 hex digits.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"no folder {folder}; expected what Model.save_pretrained wrote")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    wrong = [
        name
        for name in files
        if name != ENCODERS and not any(fnmatch.fnmatchcase(name, one) for one in allow)
    ]
    if links := [name for name in files if (folder / name).is_symlink()]:
        raise InputError(
            f"{folder}: {', '.join(links[:8])} is a link, which could point to any file of this "
            "machine; only plain files are uploaded"
        )
    if wrong or not files:
        raise InputError(
            f"{folder} holds {', '.join(wrong[:8]) or 'nothing'}; only {', '.join(allow)} are "
            "uploaded. Save the model to a folder of its own and push that"
        )
    from huggingface_hub import HfApi, constants

    if constants.HF_HUB_OFFLINE:
        raise InputError(f"HF_HUB_OFFLINE is set: {repository} cannot be written to; unset it")
    api = HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(allow),
            revision=revision,
            commit_message=message,
        )
    except network_errors() as error:
        raise InputError(f"{folder} was not pushed to {repository!r}: {error}") from error
    return done.oid
