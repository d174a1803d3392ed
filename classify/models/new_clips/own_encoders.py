"""From raw audio and text to features: the model's own encoders, opened again by their spec.

What a model was trained on is replayed exactly: the encoder that is opened has to give the same
spec, field by field, and, before its first row, the same canary as when the model was trained.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ....cache.cache import Cache
from ....cache.errors import InputError, SpecError, shaped
from ....cache.files.reading import parse_json
from ....cache.identity.spec import Spec
from ....cache.manifest import Manifest
from ....extract.encoder import Encoder
from ....extract.encoder_names import is_code
from ....extract.errors import Unusable
from ....extract.inputs.audio_files import read_file
from ....extract.inputs.isolated_decoder import Decoder
from ..folders.restore import looks_like_an_id
from .modalities_seen import Reason, Side, Trained, reason_text, refuse_failed
from .named_inputs import name_clips

log = logging.getLogger(__name__)


def raw_clips(
    inputs: Sequence[str | os.PathLike[str]] = (),
    *,
    text: str | None = None,
    root: str | os.PathLike[str] | None = None,
) -> Manifest:
    """Return the clips that a user named, all of them; see `name_clips`.

    Raises
    ------
    InputError
        Nothing there, or a file that cannot be read.
    """
    named = name_clips(inputs, text=text, root=root)
    for note in named.notes:
        log.warning("%s", note)
    reasons = {name: reason_text(reason) for name, reason in named.failed.items()}
    refuse_failed(reasons, len(named.clips) + len(reasons))
    return named.clips


def open_encoder(
    spec: Spec, where: str | os.PathLike[str] | None = None, *, device: str = "auto"
) -> Encoder:
    """Open the encoder of a spec.

    Parameters
    ----------
    where : path, optional
        The folder of the checkpoint; needed where the spec came from a folder. Otherwise the Hub
        is asked for exactly the commit of the spec.

    Returns
    -------
    Encoder
        Whose spec is `spec`, apart from how rows are stored.

    Examples
    --------
    >>> open_encoder(Encoder("ngram").spec).name
    'ngram'
    """
    fields = spec.fields
    recorded = fields["encoder"]
    name = str(where or recorded["name"])
    if where is None and recorded.get("origin") == "folder":
        raise InputError(
            f"the model needs the encoder {name!r}, which was a folder; give the folder with "
            "`encoders=FOLDER`"
        )
    if not _is_code(spec) and "compute" not in fields:
        raise InputError(
            f"the model was trained on the space {spec.name!r}, which was not made by an affekt "
            "encoder: it predicts only clips of that import; name their table, with --cache and "
            "the cache that holds them"
        )
    if where is None and "origin" not in recorded and not is_code(name):
        raise InputError(
            f"the model needs the encoder {name!r}, whose code is not installed here: install its "
            "package, or call affekt.extract.register_encoder first (docs/how-to/encoder.md)"
        )
    encoder = Encoder(name, **_options(fields, None if where else recorded.get("commit"), device))
    own = encoder.spec.with_store_dtype(spec.store_dtype)
    if own == spec:
        return encoder
    found, wanted = _same_files(_as_decoded(own, spec)), _same_files(spec)
    if found != wanted:
        do = (
            "\nIts code has another version: train the model again with this one, or predict with "
            "the one that trained it (config.json of the model names that of affekt)"
        )
        raise SpecError(
            f"{name} is not the encoder that the model was trained on; the model here, "
            f"{name} there:\n{wanted.explain(found)}{'' if where else do}",
            len(wanted.diff(found)),
        )
    encoder.spec = spec.with_store_dtype("float32")  # its rows belong into the model's space
    encoder.arguments = None  # another process would open the folder by its own name
    return encoder


def embed_needs(
    model: Trained,
    clips: Manifest,
    cache: Cache,
    *,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    damage: str | None = None,
    progress: bool | None = False,
) -> list[Side]:
    """Embed what a model needs and the cache does not hold.

    Parameters
    ----------
    encoders : sequence of path
        Folders of encoders, tried for specs that came from folders.
    damage : str, optional
        ``"accept"`` also embeds audio with more than a little missing; in the model's own
        space, so only into a cache that is not kept.
    progress : bool or None
        As for `affekt.extract.extract`.

    Returns
    -------
    list of Side
        One for each of its needs.

    Raises
    ------
    SpecError, CanaryError
        The encoder computes otherwise.
    """
    from ....extract.running.embedding import run_extraction

    sides = []
    for need, canary in zip(model.needs, model.canaries, strict=True):
        kind = need.spec.modality
        column = "path" if kind == "audio" else "text"
        lacking = [i for i, value in zip(clips.ids, clips[column], strict=True) if not value]
        side = Side(kind, dict.fromkeys(lacking, (f"no {kind}", "")))
        sides.append(side)
        space = cache.find(need.spec)
        if space is not None and not set(space.missing(clips)) - set(lacking):
            continue
        cache.check_writable()  # before an encoder is opened
        where = model.encoder_folders.get(need.spec.key)
        encoder = find_encoder(need.spec, encoders, device, noted=where)
        if damage is not None and kind == "audio":
            encoder.damage, encoder.arguments = damage, None
        space = cache.create(need.spec)
        if canary is not None and space.canary() is None:
            space.set_canary(canary)
        done = run_extraction(
            clips, cache, encoder, store_dtype=need.spec.store_dtype, progress=progress
        )
        side.failed.update({one.id: (one.code, one.message) for one in done.failures})
        side.flags.update(done.flags)
    return sides


@contextmanager
def measuring() -> Iterator[Callable[[Path], float | Reason]]:
    """Yield a function that returns the decoded seconds of a file, or why there are none."""
    with Decoder(always=False) as decoder:

        def length_of(path: Path) -> float | Reason:
            try:
                found = decoder.length(read_file(path).data)
            except Unusable as error:
                found = error
            return (found.code, found.message) if isinstance(found, Unusable) else found

        yield length_of


def check_places(
    specs: Sequence[Spec], places: Sequence[str | os.PathLike[str]], device: str = "auto"
) -> list[str]:
    """Return a sentence for each folder that is not an encoder of any of the specs."""
    needed = {spec.fields["encoder"]["name"] for spec in specs if _is_code(spec)}
    notes = []
    for place in places:
        _check_folder(place)
        if all(map(_is_code, specs)):
            raise InputError(
                f"`encoders={str(place)!r}`: the model needs no folder, only the built-in "
                f"{' and '.join(sorted(needed))}; leave it out"
            )
        errors = []
        for spec in specs:
            if _is_code(spec):
                continue
            try:
                open_encoder(spec, place, device=device)
                break
            except InputError as error:
                errors.append(error)
        else:
            nearest = min(errors, key=lambda error: getattr(error, "count", math.inf))
            notes.append(f"--encoder {place} is not used: {nearest}")
    return notes


def find_encoder(
    spec: Spec,
    places: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    *,
    noted: Path | None = None,
) -> Encoder:
    """Open the first of the folders that is the encoder, or the one that is noted or named.

    Parameters
    ----------
    places : sequence of path
        What the user named.
    noted : Path, optional
        The folder that the model was trained with.

    Raises
    ------
    InputError, SpecError
        As `open_encoder`; the noted folder moved or changed.
    """
    errors = []
    name = spec.fields["encoder"]["name"]
    for place in places:
        _check_folder(place)
    for place in places if not _is_code(spec) else ():
        try:
            return open_encoder(spec, place, device=device)
        except InputError as error:
            errors.append(error)
    if noted is not None and (noted.is_dir() or not errors):
        if not noted.is_dir():
            raise InputError(
                f"the model needs the encoder {name!r} and looks for it at {noted}, where no "
                "folder is: give the folder with `encoders=FOLDER`"
            )
        try:
            return open_encoder(spec, noted, device=device)
        except SpecError as error:
            raise SpecError(
                f"{noted} was the encoder {name!r} and changed since the model was trained; give "
                f"the unchanged folder with `encoders=FOLDER`. {error}"
            ) from None
    if errors and spec.fields["encoder"].get("origin") == "folder":
        raise errors[0]
    return open_encoder(spec, device=device)


def _is_code(spec: Spec) -> bool:
    """Whether its encoder is code that is installed or registered, and no checkpoint."""
    encoder = spec.fields["encoder"]
    return "origin" not in encoder and is_code(encoder["name"])


def _check_folder(place: str | os.PathLike[str]) -> None:
    is_path = "/" in str(place) and not looks_like_an_id(place)
    if is_path and not Path(place).expanduser().is_dir():
        raise InputError(f"`encoders={str(place)!r}`: no such folder")


def _as_decoded(found: Spec, spec: Spec) -> Spec:
    """Return `found` without its decoder where `spec` has none.

    The first release read MP3 and Ogg with libsndfile. Whole files have the same samples but for
    rounding (3e-6; only Opus below 48 kHz differs more, near the edge of its band), so its models
    still predict.
    """
    rules = found.fields["input"]
    if "decoder" not in rules or "decoder" in spec.fields["input"]:
        return found
    return found.replace(input={name: rules[name] for name in rules if name != "decoder"})


def _same_files(spec: Spec) -> Spec:
    """Return the spec without where a checkpoint came from, if it has the digests of its files."""
    recorded = spec.fields["encoder"]
    if not (recorded.get("weights") and recorded.get("config")):
        return spec
    kept = {key: value for key, value in recorded.items() if key not in ("origin", "commit")}
    return spec.replace(encoder=kept | {"name": "the same files"})


def _options(fields: Mapping[str, Any], commit: str | None, device: str) -> dict[str, Any]:
    """Return the options of `Encoder` that a spec implies."""
    if "origin" not in fields["encoder"]:
        noted = fields["encoder"].get("options", "{}")
        with shaped(f"the spec of {fields['encoder']['name']}", "options as a JSON object"):
            options: dict[str, Any] = {**parse_json(noted), "device": device}
        if fields["encoder"]["name"] == "ngram":
            options |= {"dim": fields["layers"]["dim"], "longest": fields["processor"]["longest"]}
    else:
        options = {"modality": fields["modality"], "dtype": fields["compute"]["dtype"]}
        options |= {"device": device}
        if "allow_extra" in fields["encoder"]:
            options["allow_extra"] = fields["encoder"]["allow_extra"]
        if commit:
            options["revision"] = commit
        if fields.get("labels") or fields.get("outputs"):
            options["classifier"] = True
        else:
            options["pooling"] = fields["pooling"]
            if fields["layers"].get("norm"):
                options["normalise"] = True
        if fields["modality"] == "text":
            processor = fields["processor"]
            names = ("special_tokens", "prefix", "max_length")
            options |= {name: processor[name] for name in names if name in processor}
    if "damage" in fields["input"]:
        options["damage"] = fields["input"]["damage"]
    policy, _, rest = fields["input"].get("long", "whole").partition(" ")
    if policy != "whole":
        options |= {"long": policy, "max_seconds": float(rest.split()[0])}
    return options
