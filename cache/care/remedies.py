"""What to do about rows and spaces that are not there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, MissingError, SpecError, listed
from ..identity.spec import Spec
from ..manifest import Manifest

if TYPE_CHECKING:
    from ..space import Space

DISPUTED = (
    "had different contents under different roots, and the file is not at hand: bring the file, or"
    " rename the clip"
)


def missing_error(space: Space, clips: Manifest, ids: list[str]) -> MissingError:
    """Say which clips are not stored, why as far as known, and how they can be."""
    failed = {note["id"]: note["code"] for note in space.failures()}
    codes = sorted({failed[id_] for id_ in ids if id_ in failed})
    known = f" Extract could not embed some of them ({', '.join(codes)})." if codes else ""
    damaged = space.index.damaged
    hurt = f" Damaged: {listed(sorted(damaged))}; affekt cache repair." if damaged else ""
    return MissingError(
        f"{space.name}: {len(ids)} of {len(clips)} clips are not stored: {listed(ids)}."
        f"{known}{hurt}{_disputed(space, clips, ids)} {_remedy(space, clips)}",
        ids,
    )


def no_such_spec(path: Path, spec: Spec, spaces: list[Space]) -> SpecError | InputError:
    """Say what the most similar spec has otherwise."""
    if not spaces:
        return InputError(f"{path} has no space of {spec.name}; it has none")
    alike = min(spaces, key=lambda space: len(space.spec.diff(spec)))
    return SpecError(
        f"{path} has no space of this {spec.name}; the nearest, {alike.name}, was computed"
        f" differently:\n{alike.spec.explain(spec)}"
    )


def _disputed(space: Space, clips: Manifest, ids: list[str]) -> str:
    """Return what to say of the missing clips whose content the index cannot decide."""
    if space.modality == "text":
        return ""
    wanted = set(ids)
    places = [i for i, id_ in enumerate(clips.ids) if id_ in wanted]
    torn = [i for i in places if len(space.cache.clips.remembered(clips, i).digests) > 1]
    found = [clips.ids[i] for i in torn if not clips.file(i).is_file()]
    return f" Of these, {listed(found)} {DISPUTED}." if found else ""


def _remedy(space: Space, clips: Manifest) -> str:
    """Return how missing rows come into a space."""
    encoder, packed = space.spec.fields["encoder"], space.cache.packed
    folder = "DIR" if packed else space.cache.path
    if encoder.get("imported") is True:
        remedy = (
            "Another tool computed this space; import its values again, with those clips:"
            f" affekt cache import {folder} SOURCE --manifest {clips.source} --name NAME"
        )
    else:
        remedy = (
            "Compute them:"
            f" affekt extract {clips.source} --cache {folder} --encoder {encoder['name']}"
        )
    if packed:
        remedy += (
            "\nwhere DIR is the cache that was packed. This file never changes: pack it again:"
            " affekt cache pack DIR OUT.h5"
        )
    return remedy
