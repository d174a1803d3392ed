"""From raw audio and text to features: the model's own encoders, opened again by their spec.

What a model was trained on is replayed exactly: the encoder that is opened has to give the same
spec, field by field, and, before its first row, the same canary as when the model was trained.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cache.cache import Cache
from ..cache.errors import InputError, SpecError, listed
from ..cache.manifest import Manifest
from ..cache.spec import Spec
from ..extract.encoder import BUILT_IN, Encoder
from .needs import Needs
from .reading import bears_gaps

if TYPE_CHECKING:
    from .model import Model
    from .predictions import Predictions

__all__ = [
    "AUDIO",
    "embed_needs",
    "long_names",
    "open_encoder",
    "predict_files",
    "raw_clips",
    "unusable",
]

LONGEST = 230  # bytes of an id; 255 fit, and a window of a recording adds its times
TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
AUDIO = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf", ".m4a")


def raw_clips(
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    text: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Manifest:
    """Return the clips that a user named.

    Parameters
    ----------
    inputs : sequence of path
        One manifest, or audio files and folders of them; a file's name is its id. Of a name over
        230 bytes the id is eight digits of its hash, "…", and its end.
    text : str, optional
        What is said: the text of the one file, or a clip of its own.
    root : path, optional
        As for `Manifest.read`.

    Returns
    -------
    Manifest

    Raises
    ------
    InputError
        Nothing there, or a text for several files.

    Examples
    --------
    >>> list(raw_clips(text="what a day")["text"])
    ['what a day']
    """
    if len(inputs) == 1 and Path(inputs[0]).suffix.lower() in TABLES:
        clips = Manifest.read(inputs[0], root=root)
        if text is not None:
            raise InputError("--text belongs to one file; a manifest has a column text")
        return clips
    files: list[str] = []
    for given in inputs:
        path = Path(given)
        if path.is_dir():
            found = sorted(str(one) for one in path.rglob("*") if one.suffix.lower() in AUDIO)
            if not found:
                raise InputError(f"{path}: no audio file in this folder ({', '.join(AUDIO)})")
            files += found
        elif path.exists():
            files.append(str(path))
        else:
            raise InputError(f"{path}: no such file")
    if text is not None and len(files) > 1:
        raise InputError(f"--text belongs to one file, and there are {len(files)}; use a manifest")
    rows = [
        {"id": _short(name), "path": str(Path(name).resolve()), "text": text or ""}
        for name in files
    ]
    if text is not None and not files:
        rows = [{"id": "text", "path": "", "text": text}]
    if not rows:
        raise InputError("nothing to predict: name files, a folder, a manifest, or --text")
    return Manifest.from_rows(rows, root="/", source="the files named", allow_outside=True)


def long_names(clips: Manifest) -> dict[str, dict[str, str]]:
    """Return id -> ``{"path": ...}`` of the files whose names were too long to be ids."""
    return {clip.id: {"path": clip.path} for clip in clips if clip.id[8:9] == "…"}


def _short(name: str) -> str:
    """Return the name, or what tells it from all others in 230 bytes and ends as it does."""
    data = name.encode("utf-8", "surrogateescape")
    if len(data) <= LONGEST:
        return name
    head = f"{hashlib.sha256(data).hexdigest()[:8]}…"
    return head + data[len(head.encode()) - LONGEST :].decode("utf-8", "ignore")


def open_encoder(
    spec: Spec, where: str | os.PathLike[str] | None = None, *, device: str = "auto"
) -> Encoder:
    """Open the encoder of a spec.

    Parameters
    ----------
    spec : Spec
    where : path, optional
        The folder of the checkpoint; needed where the spec came from a folder. The Hub is asked
        for exactly the commit of the spec otherwise.
    device : str

    Returns
    -------
    Encoder
        Whose spec is `spec`, apart from how rows are stored.

    Raises
    ------
    InputError
        No such encoder at hand.
    SpecError
        What was opened computes otherwise; the fields that differ are named.

    Examples
    --------
    >>> open_encoder(Encoder("ngram").spec).name
    'ngram'
    """
    fields = spec.fields
    told = fields["encoder"]
    name = str(where or told["name"])
    if where is None and told.get("origin") == "folder" and name not in BUILT_IN:
        raise InputError(
            f"the model needs the encoder {name!r}, which was a folder; say where it is with "
            "--encoder FOLDER"
        )
    encoder = Encoder(name, **_options(fields, None if where else told.get("commit"), device))
    found = encoder.spec.with_store_dtype(spec.store_dtype)
    if found != spec:
        raise SpecError(
            f"{name} is not the encoder that the model was trained on; the model here, "
            f"{name} there:\n{spec.explain(found)}"
        )
    return encoder


def embed_needs(
    needs: Sequence[Needs],
    clips: Manifest,
    cache: Cache,
    *,
    canaries: Sequence[Any] = (),
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    progress: bool | None = False,
) -> list[dict[str, str]]:
    """Embed what a model needs and the cache does not hold.

    Parameters
    ----------
    needs : sequence of Needs
    clips : Manifest
    cache : Cache
    canaries : sequence of ndarray or None
        One for each of `needs`: what the encoder answered when the model was trained.
    encoders : sequence of path
        Folders of encoders, tried for specs that came from folders.
    device : str
    progress : bool or None
        As for `affekt.extract.extract`.

    Returns
    -------
    list of dict of str to str
        For each of `needs`, id -> reason code of the clips that cannot be embedded (``no audio``
        and ``no text`` among them).

    Raises
    ------
    SpecError, CanaryError
        The encoder at hand computes otherwise.
    """
    from ..extract.loop import run_extraction

    answers = []
    for position, need in enumerate(needs):
        kind = need.spec.modality
        column = "path" if kind == "audio" else "text"
        lacking = [i for i, value in zip(clips.ids, clips[column], strict=True) if not value]
        failed = dict.fromkeys(lacking, f"no {kind}")
        answers.append(failed)
        space = next((one for one in cache.spaces() if one.key == need.spec.key), None)
        if space is not None and not set(space.missing(clips)) - set(lacking):
            continue
        encoder = _first(need.spec, encoders, device)
        space = cache.create(need.spec)
        if position < len(canaries) and canaries[position] is not None and space.canary() is None:
            space.set_canary(canaries[position])
        done = run_extraction(
            clips, cache, encoder, store_dtype=need.spec.store_dtype, progress=progress
        )
        failed.update({one.id: one.code for one in done.failures})
    return answers


def unusable(model: Model, answers: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the clips that the model cannot predict, of what each of its needs lacks."""
    if bears_gaps(model.head_):
        lost = set.intersection(*(set(answer) for answer in answers))
        return {clip: " and ".join(answer[clip] for answer in answers) for clip in sorted(lost)}
    return {clip: code for answer in answers for clip, code in answer.items()}


def predict_files(
    model: Model,
    files: Sequence[str | os.PathLike[str]],
    cache: Cache | None = None,
    *,
    text: str | None = None,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
) -> Predictions:
    """Predict audio files (or a text) with a model; embeds into a temporary cache by default.

    Raises
    ------
    InputError
        A file that cannot be embedded; with its reason code.
    """
    clips = raw_clips(files, text=text)
    with tempfile.TemporaryDirectory() as place:
        store = cache if cache is not None else Cache(Path(place) / "cache")
        failed = unusable(
            model,
            embed_needs(
                model.needs, clips, store, canaries=model.canaries, encoders=encoders, device=device
            ),
        )
        if failed:
            told = listed([f"{name} ({code})" for name, code in failed.items()])
            raise InputError(f"{len(failed)} of {len(clips)} clips cannot be embedded: {told}")
        return model.predict(clips, store)


def _first(spec: Spec, places: Sequence[str | os.PathLike[str]], device: str) -> Encoder:
    """Open the first of the folders that is the encoder, or the one that the spec names."""
    errors = []
    for place in places:
        try:
            return open_encoder(spec, place, device=device)
        except InputError as error:
            errors.append(error)
    if errors and spec.fields["encoder"].get("origin") == "folder":
        raise errors[0]
    return open_encoder(spec, device=device)


def _options(fields: Mapping[str, Any], commit: str | None, device: str) -> dict[str, Any]:
    """Return the options of `Encoder` that a spec says."""
    if fields["encoder"]["name"] in BUILT_IN:
        options: dict[str, Any] = {}
        if fields["encoder"]["name"] == "ngram":
            options = {"dim": fields["layers"]["dim"], "longest": fields["processor"]["longest"]}
    else:
        options = {"modality": fields["modality"], "dtype": fields["compute"]["dtype"]}
        options |= {"device": device}
        if commit:
            options["revision"] = commit
        if fields.get("labels"):
            options["classifier"] = True
        else:
            options["pooling"] = fields["pooling"]
        if fields["modality"] == "text":
            processor = fields["processor"]
            names = ("special_tokens", "prefix", "max_length")
            options |= {name: processor[name] for name in names if name in processor}
    policy, _, rest = fields["input"].get("long", "whole").partition(" ")
    if policy != "whole":
        options |= {"long": policy, "max_seconds": float(rest.split()[0])}
    return options
