"""Leak checks of a split: what train shares with dev and test and should not.

A shared speaker, or one recording under two ids, is an error unless allowed by name: on data
without any emotion a random split with shared speakers scored 0.69 where chance is 0.33, and one
with duplicates 0.97. The same script text is a warning, since acted corpora share their sentences
by design; so are embeddings that are nearly the same (`near_duplicates`).
"""

from __future__ import annotations

import math
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from ....cache.errors import InputError, counted, listed
from ....cache.manifest.speakers import spoken
from .findings import Finding, Kind

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space

Parts = Mapping[str, "Manifest"]


def shared(parts: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[str]]:
    """Return the values that two parts share, for each pair of parts that shares any.

    Blank values count as different.

    Examples
    --------
    >>> shared({"train": ["anna", "", "bo"], "test": ["bo", ""]})
    {('train', 'test'): ['bo']}
    """
    sets = {name: set(values) - {""} for name, values in parts.items()}
    found = {}
    for one, other in combinations(sets, 2):
        both = sets[one] & sets[other]
        if both:
            found[one, other] = sorted(both)
    return found


def check_speakers(parts: Parts, *, allow: bool = False) -> list[str]:
    """Refuse a split that shares speakers; with `allow`, return the findings as warnings."""
    by_part = {name: speakers(clips) for name, clips in parts.items()}
    found = shared(by_part)
    messages = []
    for (one, other), names in found.items():
        messages.append(
            f"{counted(len(names), 'speaker')} in both {one} and {other}: {listed(names)}. "
            "A head can learn the voices instead of the emotions"
        )
    for one, other in combinations(by_part, 2):
        if pairs := look_alikes(by_part[one], by_part[other]):
            shown = [f"{a!r} ({one}) and {b!r} ({other})" for a, b in pairs]
            messages.append(
                "names of speakers that differ only in case, blanks, hyphens, leading zeros or "
                f"Unicode form in different parts: {listed(shown)}. Write one name for one speaker"
            )
    if messages and not allow:
        raise InputError(
            "; ".join(messages)
            + (
                ". Expected speaker-disjoint parts: use the scheme speaker, or allow it "
                "explicitly: allow_speaker_overlap=True, in a recipe split: "
                "{allow_speaker_overlap: true}"
            )
        )
    return [Finding(text, Kind.SPEAKERS) for text in messages]


def check_duplicates(
    parts: Parts, digests: Mapping[str, str | None], *, allow: bool = False
) -> list[str]:
    """Refuse a split that has one recording in two parts.

    By its content digest, None if not known, or since two sections of one file are half the same.
    With `allow`, the findings are returned as warnings.
    """
    owners: dict[str, dict[str, list[str]]] = {}
    for name, clips in parts.items():
        for clip_id in clips.ids:
            digest = digests.get(clip_id)
            if digest:
                owners.setdefault(digest, {}).setdefault(name, []).append(clip_id)
    pairs = {
        f"{by_part[one][0]} ({one}) = {by_part[other][0]} ({other})"
        for by_part in owners.values()
        for one, other in combinations(by_part, 2)
    }
    pairs.update(_overlapping(parts))
    if not pairs:
        return []
    text = f"one recording under two ids in different parts: {listed(sorted(pairs))}"
    if not allow:
        raise InputError(
            f"{text}. Expected each recording in one part: remove one of the rows, give both the "
            "same speaker, or allow it explicitly: allow_duplicates=True, in a recipe "
            "split: {allow_duplicates: true}"
        )
    return [Finding(text, Kind.RECORDINGS)]


def _overlapping(parts: Parts) -> Iterator[str]:
    """Yield pairs of sections of one file in two parts that share half of the shorter one."""
    files: dict[str, list[tuple[float, float, int, str]]] = {}
    for order, clips in enumerate(parts.values()):
        starts, ends = (clips[time] for time in ("start", "end"))
        for row, path in enumerate(clips["path"]):
            start = 0.0 if starts[row] != starts[row] else float(starts[row])
            end = math.inf if ends[row] != ends[row] else float(ends[row])
            if path:
                section = (start, end, order, clips.ids[row])
                files.setdefault(os.path.normpath(path), []).append(section)
    names = list(parts)
    for sections in files.values():
        sections.sort()
        for at, (start, end, order, clip) in enumerate(sections):
            for later, last, other, its in sections[at + 1 :]:
                if later >= end:
                    break
                shorter = min(end - start, last - later)
                if order != other and min(end, last) - later >= shorter / 2:
                    (one, a), (two, b) = sorted([(order, clip), (other, its)])
                    yield f"{a} ({names[one]}) = {b} ({names[two]})"


def check_texts(parts: Parts) -> list[str]:
    """Warn of texts that are in two parts: a script, or repeated phrases."""
    found = shared({name: [plain(t) for t in clips["text"]] for name, clips in parts.items()})
    messages: list[str] = []
    for (one, other), texts in found.items():
        if "train" not in (one, other):
            continue
        part = other if one == "train" else one
        same = set(texts)
        n = sum(plain(text) in same for text in parts[part]["text"])
        messages.append(
            Finding(
                f"{{}} clips of {part} have a text that also occurs in train "
                f"({{}} text{'s' * (len(texts) > 1)}): members that read text may have seen the "
                "same words",
                Kind.TEXTS,
                (n, len(parts[part])),
                len(texts),
            )
        )
    return messages


def speakers(clips: Manifest) -> list[str]:
    """Return the speakers, kept apart by corpus: "01" of two corpora are two people."""
    return [
        f"{dataset}/{speaker}" if dataset and speaker else speaker
        for speaker, dataset in zip(clips["speaker"], clips["dataset"], strict=True)
    ]


def group_names(clips: Manifest, column: str) -> list[str]:
    """Return what a column has for each clip; speakers are kept apart by corpus."""
    return speakers(clips) if column == "speaker" else [str(value) for value in clips[column]]


def look_alikes(one: Sequence[str], other: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of different names that are one when read aloud; blank ones are left out.

    Examples
    --------
    >>> look_alikes(["Ada", "s01", "bo"], ["ada ", "s1", "s10", "bo"])
    [('Ada', 'ada '), ('s01', 's1')]
    """
    found = []
    there: dict[str, list[str]] = {}
    for name in sorted(set(other) - {""}):
        there.setdefault(spoken(name), []).append(name)
    for name in sorted(set(one) - {""}):
        found += [(name, like) for like in there.get(spoken(name), ()) if like != name]
    return found


def plain(text: str) -> str:
    """Return a text without case, punctuation and repeated space, for comparing scripts.

    Examples
    --------
    >>> plain("Kids are  talking, by the door.")
    'kids are talking by the door'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = (c if unicodedata.category(c)[0] in "LNM" else " " for c in folded)
    return " ".join("".join(kept).split())


def refuse_leaks(
    parts: Mapping[str, Manifest],
    spaces: Sequence[Space],
    *,
    allow_speaker_overlap: bool = False,
    allow_duplicates: bool = False,
) -> None:
    """Refuse voices and recordings of test in train or dev; a shared text is not a leak.

    Parameters
    ----------
    parts : mapping of str to Manifest
        "test", and "train" or "dev" or both.
    spaces : sequence of Space
        The first one of audio gives the digests of the recordings.
    allow_speaker_overlap, allow_duplicates : bool
        What is allowed nevertheless.
    """
    audio = [space for space in spaces if space.modality == "audio"]
    for name in ("train", "dev"):
        if name not in parts:
            continue
        pair = {name: parts[name], "test": parts["test"]}
        check_speakers(pair, allow=allow_speaker_overlap)
        for space in audio[:1]:
            digests = {
                clip_id: digest
                for clips in pair.values()
                for clip_id, digest in zip(
                    clips.ids, space.cache.digests(clips, "audio"), strict=True
                )
            }
            check_duplicates(pair, digests, allow=allow_duplicates)
