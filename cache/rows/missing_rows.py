"""What to do about rows that are not stored: which they are, why, and the command."""

from __future__ import annotations

from ..errors import MissingError, listed
from ..identity.known_digests import DISPUTED
from ..manifest import Manifest
from .row_store import RowStore


def missing_error(rows: RowStore, clips: Manifest, ids: list[str]) -> MissingError:
    """Return the error that names clips that are not stored, why, and how to store them."""
    failed = {note["id"]: note["code"] for note in rows.failures()}
    codes = sorted({failed[id_] for id_ in ids if id_ in failed})
    known = f" Extract could not embed some of them ({', '.join(codes)})." if codes else ""
    damaged = rows.index.damaged
    hurt = f" Damaged: {listed(sorted(damaged))}; affekt cache repair." if damaged else ""
    return MissingError(
        f"{rows.name}: {len(ids)} of {len(clips)} clips are not stored: {listed(ids)}."
        f"{known}{hurt}{_disputed(rows, clips, ids)} {_remedy(rows, clips)}",
        ids,
    )


def _disputed(rows: RowStore, clips: Manifest, ids: list[str]) -> str:
    """Return what to say of the missing clips whose content the index cannot decide."""
    if rows.modality == "text":
        return ""
    wanted = set(ids)
    places = [i for i, id_ in enumerate(clips.ids) if id_ in wanted]
    torn = [i for i in places if len(rows.store.clips.remembered(clips, i).digests) > 1]
    found = [clips.ids[i] for i in torn if not clips.file(i).is_file()]
    return f" Of these, {listed(found)} {DISPUTED}." if found else ""


def _remedy(rows: RowStore, clips: Manifest) -> str:
    """Return how missing rows come into a rows."""
    encoder, packed = rows.spec.fields["encoder"], rows.store.packed
    folder = "DIR" if packed else rows.store.path
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
