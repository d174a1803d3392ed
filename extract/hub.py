"""From a name to a folder: a local folder, or a Hub repository at one commit.

A branch or tag is resolved once, and the commit is what is downloaded and written down. What the
Hub's own client does quietly is said or refused here: without a network it would take whatever
copy it has for the branch; here that is an error, and with ``HF_HUB_OFFLINE=1`` (you said so) a
warning that names the commit. Only files on an allow-list are downloaded, never a pickle or a
program.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache.errors import InputError, nearest_beside

#: What a checkpoint may consist of: configuration, vocabularies and tensors.
SAFE_FILES = ("*.json", "*.txt", "*.model", "model.safetensors", "model-*.safetensors")

_COMMIT = re.compile(r"[0-9a-f]{40}")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where a checkpoint is.

    Attributes
    ----------
    folder : pathlib.Path
    repository : str or None
        The Hub id; None for a local folder.
    commit : str or None
        40 hex digits; None for a local folder.
    """

    folder: Path
    repository: str | None = None
    commit: str | None = None

    @property
    def name(self) -> str:
        """As one would write it: the folder, or ``owner/name@commit``."""
        return f"{self.repository}@{self.commit}" if self.repository else str(self.folder)


def locate(
    name: str | os.PathLike[str],
    revision: str | None = None,
    *,
    allow: Sequence[str] = SAFE_FILES,
    what: str = "model",
) -> Place:
    """Find a checkpoint; download it if it is a Hub id that is not here yet.

    Parameters
    ----------
    name : str or path
        A folder, or a Hub id (``owner/name``).
    revision : str, optional
        Commit, tag or branch of a Hub repository; its default branch if left out.
    allow : sequence of str
        Patterns of the files to download.
    what : str
        The word for it in messages.

    Examples
    --------
    >>> import tempfile
    >>> locate(tempfile.gettempdir()).commit is None
    True
    >>> locate("no such folder")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: no model 'no such folder': expected a folder or a Hub id ...
    """
    path = Path(name).expanduser()
    if str(name) and path.is_dir():  # Path("") would be the working folder
        if revision is not None:
            raise InputError(
                f"`{revision=}` was given with the folder {str(name)!r}, which has none: "
                "leave it out, or name the Hub id"
            )
        return Place(path)
    name = str(name)
    if not _HUB_ID.fullmatch(name) or "--" in name or ".." in name or path.exists():
        raise InputError(f"no {what} {name!r}: expected a folder or a Hub id such as 'owner/name'")
    from huggingface_hub import constants, snapshot_download

    offline = bool(constants.HF_HUB_OFFLINE)
    if revision is None and _last_seen(name, None) is None:
        _ask_about(path, what, offline)
    commit = _commit(name, revision, offline, what)
    try:
        folder = snapshot_download(
            name,
            revision=commit if offline else revision,  # by branch, so that its commit is noted
            allow_patterns=list(allow),
            local_files_only=offline,
        )
    except network_errors() as error:
        raise InputError(
            f"{what} {name!r} at commit {commit} is not on this machine and cannot be "
            f"downloaded: {error}\nGive the path of a folder, or run `hf download {name} "
            f"--revision {commit}` where there is a network"
        ) from error
    found = Path(folder)
    if found.name != commit:
        raise InputError(
            f"{what} {name!r}: the Hub named commit {commit} and delivered {found.name}; try again"
        )
    if not any(found.iterdir()):
        raise InputError(f"{what} {name!r} at {commit} holds none of {', '.join(allow)}")
    return Place(found, name, commit)


def _ask_about(path: Path, what: str, offline: bool) -> None:
    """Refuse a missing name in an existing folder, and suggest the name of a similar one."""
    hint = nearest_beside(path)
    if len(path.parts) > 1 and path.parent.is_dir():
        raise InputError(
            f"no {what} '{path}': the folder {path.parent} is here, and has no {path.name}.{hint}"
            f" If the Hub's repository of that name is meant, hf download {path} brings it here"
        )
    if hint:
        asked = "" if offline else " The Hub is asked for it"
        log.warning("'%s' is not a folder here.%s%s", path, hint, asked)


def _commit(name: str, revision: str | None, offline: bool, what: str) -> str:
    """Resolve a branch or tag to a commit, by asking the Hub; a commit is taken as it is."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    at = f" at revision {revision!r}" if revision else ""
    if offline:
        seen = _last_seen(name, revision)
        if seen is None:
            raise InputError(
                f"{what} {name!r}{at} is neither a local folder nor in the local cache of the "
                "Hub, and HF_HUB_OFFLINE is set: give a folder, or download it first"
            )
        log.warning(
            "offline: %s%s is taken to be commit %s, as last seen; revision=%s pins it",
            *(name, at, seen, seen),
        )
        return seen
    from huggingface_hub import HfApi

    try:
        commit = HfApi().model_info(name, revision=revision).sha
    except network_errors() as error:
        seen = _last_seen(name, revision)
        remedy = (
            f"The last commit seen here is {seen}: take it with `revision={seen!r}`"
            if seen
            else "There is no local copy and no folder of that name here: give the path of a folder"
        )
        raise InputError(
            f"the Hub did not answer for the {what} {name!r}{at}: {error}\n{remedy}"
        ) from error
    if commit is None or not _COMMIT.fullmatch(commit):
        raise InputError(f"the Hub gave no commit for {name!r}; got {commit!r}")
    return commit


def _last_seen(name: str, revision: str | None) -> str | None:
    """Read the commit that a branch or tag pointed to when the Hub was last asked."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    refs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "refs"
    note = refs / (revision or "main")
    if not note.resolve().is_relative_to(refs.resolve()) or not note.is_file():
        return None
    commit = note.read_text(encoding="ascii").strip()
    return commit if _COMMIT.fullmatch(commit) else None


def network_errors() -> tuple[type[BaseException], ...]:
    """Name what the Hub's client raises when the Hub, the network or the disk does not answer."""
    from huggingface_hub.errors import HfHubHTTPError

    # its bases: OSError, and the base error of the HTTP library, whichever that is
    return (*HfHubHTTPError.__bases__, OSError, ValueError)
