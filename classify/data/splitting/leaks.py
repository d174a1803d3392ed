"""Leak checks of a split: what train knows of dev and test that it should not.

A shared speaker, or one recording under two ids, is an error unless asked for by name: on data
without any emotion a random split with shared speakers scored 0.69 where chance is 0.33, and one
with duplicates 0.97. The same script text and near-duplicate embeddings are warnings, since acted
corpora share their sentences by design.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from ....cache.errors import InputError
from .altered_copies import altered_copies, can_tell
from .findings import Finding, Kind

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space

Parts = Mapping[str, "Manifest"]

FEWEST_CLIPS = 20  # of train, for their neighbours to say how near different clips are
MOST_CLIPS = 2000  # of train whose neighbours are looked at
FARTHEST_COPY = 0.2  # 1 - cosine


def shared(parts: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], list[str]]:
    """Return the values that two parts share, for each pair of parts that shares any.

    Blank values are shared by nobody.

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
    """Refuse a split that shares speakers.

    Parameters
    ----------
    parts
        Manifest of each part.
    allow
        Return the findings as warnings instead.
    """
    by_part = {name: speakers(clips) for name, clips in parts.items()}
    found = shared(by_part)
    messages = []
    for (one, other), names in found.items():
        messages.append(
            f"{_count(names, 'speaker')} in both {one} and {other}: {_some(names)}. A head can "
            "learn the voices instead of the emotions"
        )
    for one, other in combinations(by_part, 2):
        if pairs := look_alikes(by_part[one], by_part[other]):
            shown = [f"{a!r} ({one}) and {b!r} ({other})" for a, b in pairs]
            messages.append(
                f"names of speakers that differ only in case, spaces, leading zeros or Unicode "
                f"form in different parts: {_some(shown)}. Write one name for one speaker"
            )
    if messages and not allow:
        raise InputError(
            "; ".join(messages)
            + ". Expected speaker-disjoint parts: use scheme='speaker', or ask for it by name: "
            "allow_speaker_overlap=True, in a recipe split: {allow_speaker_overlap: true}"
        )
    return [Finding(text, Kind.SPEAKERS) for text in messages]


def check_duplicates(
    parts: Parts, digests: Mapping[str, str | None], *, allow: bool = False
) -> list[str]:
    """Refuse a split that has one recording (same digest) in two parts.

    Parameters
    ----------
    parts
        Manifest of each part.
    digests
        Content digest of each clip id; None where it is not known.
    allow
        Return the findings as warnings instead.
    """
    owners: dict[str, dict[str, list[str]]] = {}
    for name, clips in parts.items():
        for clip_id in clips.ids:
            digest = digests.get(clip_id)
            if digest:
                owners.setdefault(digest, {}).setdefault(name, []).append(clip_id)
    pairs = [
        f"{by_part[one][0]} ({one}) = {by_part[other][0]} ({other})"
        for by_part in owners.values()
        for one, other in combinations(by_part, 2)
    ]
    if not pairs:
        return []
    text = f"one recording under two ids in different parts: {_some(sorted(pairs))}"
    if not allow:
        raise InputError(
            f"{text}. Expected each recording in one part: remove one of the rows, give both the "
            "same speaker, or ask for it by name: allow_duplicates=True, in a recipe "
            "split: {allow_duplicates: true}"
        )
    return [Finding(text, Kind.RECORDINGS)]


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
                f"{{}} of {{}} clips of {part} have a text that also occurs in train "
                f"({{}} text{'s' * (len(texts) > 1)}): text members may have seen their words",
                Kind.TEXTS,
                n,
                len(parts[part]),
                len(texts),
            )
        )
    return messages


def near_duplicates(
    train: np.ndarray,
    other: np.ndarray,
    *,
    threshold: float = 0.999,
    by_second: bool = True,
    block: int = 1024,
) -> list[tuple[int, int, float]]:
    """Find rows of two sets of embeddings that are almost the same.

    A copy (another codec, level, or a little cut off) is much nearer to its original than to the
    next clip, where two different clips are about as near as the next one. How near is too near is
    taken from the neighbours that the clips of train have among themselves.

    Parameters
    ----------
    train, other
        Embeddings `(clips, dim)` of one layer.
    threshold
        Cosine at and above which a pair is reported, whatever its neighbours; all there is where
        train has fewer than 20 clips.
    by_second
        Whether a clip that is much nearer than the second nearest is a copy. Two voices that are
        alike by chance and say almost the same are so too.
    block
        Rows that are compared at a time, which bounds memory.

    Returns
    -------
    pairs
        `(row of train, row of other, cosine)`, the most similar one for each row of `other`.

    Examples
    --------
    >>> near_duplicates(np.eye(2), np.array([[0.0, 2.0], [1.0, 1.0]]))
    [(1, 0, 1.0)]
    """
    left, right = _unit(train), _unit(other)
    if not len(left):
        return []
    ratio, distance = _own_neighbours(left, block) if len(left) >= FEWEST_CLIPS else (0.0, 0.0)
    pairs = []
    for start in range(0, len(right), block):
        cosine = right[start : start + block] @ left.T
        best = cosine.argmax(axis=1)
        nearest = 1 - cosine[np.arange(len(best)), best]
        cosine[np.arange(len(best)), best] = -1
        second = 1 - cosine.max(axis=1)
        copy = by_second & (nearest <= ratio * second) & (nearest <= FARTHEST_COPY)
        copy |= (nearest <= distance) | (1 - nearest >= threshold)
        pairs += [
            (int(best[row]), start + int(row), float(1 - nearest[row]))
            for row in np.flatnonzero(copy)
        ]
    return pairs


def _own_neighbours(rows: np.ndarray, block: int) -> tuple[float, float]:
    """Return how near a copy is: as a share of the second distance, and as a distance.

    Measured on four corpora with MP3 (64 kbit/s), OGG, quieter and trimmed copies: their ratio is
    at most 0.26, that of different clips at least 0.42 and for nine in ten above 0.7.
    """
    some = np.linspace(0, len(rows) - 1, min(len(rows), MOST_CLIPS)).astype(int)
    ratios, tenth = [], []
    for start in range(0, len(some), block):
        at = some[start : start + block]
        distance = 1 - rows[at] @ rows.T
        distance[np.arange(len(at)), at] = np.inf
        near = np.sort(np.partition(distance, 10, axis=1)[:, :10], axis=1)
        ratios.append(near[:, 0] / np.maximum(near[:, 1], 1e-12))
        tenth.append(near[:, 9])
    return (
        0.5 * float(np.quantile(np.concatenate(ratios), 0.1)),
        0.1 * float(np.median(np.concatenate(tenth))),
    )


def check_near_duplicates(
    parts: Parts, embeddings: Mapping[str, np.ndarray], *, threshold: float = 0.999
) -> list[str]:
    """Warn of clips of dev and test whose embedding train holds almost unchanged.

    Every dimension is standardised by train first: else one large dimension makes all clips alike.
    Where `altered_copies` can tell, a clip that is merely much nearer than the second is not a
    copy: some features of a copy stay as they were. Where clips of train are as near to each other,
    the warning says how many: copies in train too, or a corpus whose clips are alike.

    Parameters
    ----------
    parts
        Manifest of each part.
    embeddings
        Embeddings `(clips, dim)` of each part, rows as in the manifest.
    threshold
        As for `near_duplicates`.
    """
    messages: list[str] = []
    if len(parts["train"]) < 2:
        return messages
    train = np.asarray(embeddings["train"], dtype=np.float64)
    spread = train.std(axis=0)
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    for name in ("dev", "test"):
        if not len(parts.get(name, ())):
            continue
        here, there = ((e - train.mean(axis=0)) * scale for e in (train, embeddings[name]))
        by_second = not can_tell(here)
        pairs = near_duplicates(here, there, threshold=threshold, by_second=by_second)
        known = {row for _, row, _ in pairs}
        for original, row in altered_copies(here, there):
            if row not in known:
                [cosine] = _unit(here[[original]]) @ _unit(there[[row]])[0]
                pairs.append((original, row, float(cosine)))
        if pairs:
            train_ids, ids = parts["train"].ids, parts[name].ids
            shown = [f"{ids[o]} = {train_ids[t]} (cosine {c:.6f})" for t, o, c in pairs]
            text = f"{_count(pairs, 'clip')} of {name} nearly the same as one of train: "
            messages.append(Finding(text + _some(shown) + _alike_in_train(here), Kind.COPIES))
    return messages


def _alike_in_train(train: np.ndarray) -> str:
    within = len(altered_copies(train))
    if not within:
        return ""
    looked_at = min(len(train), MOST_CLIPS)
    return (
        f". Within train {within} of {looked_at} clips are as near to another one: "
        "either train holds copies too, or the clips of this corpus are alike"
    )


def speakers(clips: Manifest) -> list[str]:
    """Return the speakers, kept apart by corpus: "01" of two corpora are two people."""
    return [
        f"{dataset}/{speaker}" if dataset and speaker else speaker
        for speaker, dataset in zip(clips["speaker"], clips["dataset"], strict=True)
    ]


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
        there.setdefault(_read_aloud(name), []).append(name)
    for name in sorted(set(one) - {""}):
        found += [(name, like) for like in there.get(_read_aloud(name), ()) if like != name]
    return found


def _read_aloud(name: str) -> str:
    folded = "".join(unicodedata.normalize("NFKC", name).casefold().split())
    return re.sub(r"(?<!\d)0+(?=\d)", "", folded)


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


def _unit(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}" if len(items) == 1 else f"{len(items)} {noun}s"


def _some(items: Sequence[str]) -> str:
    return ", ".join(items[:5]) + (f" and {len(items) - 5} more" if len(items) > 5 else "")


def refuse_leaks(
    parts: Mapping[str, Manifest], spaces: Sequence[Space], speakers: bool, contents: bool
) -> None:
    """Refuse voices and recordings of test in train or dev; a shared text is not a leak.

    Parameters
    ----------
    parts : mapping of str to Manifest
        "test", and "train" or "dev" or both.
    spaces : sequence of Space
        The first one of audio gives the digests of the recordings.
    speakers, contents : bool
        What is allowed nevertheless.
    """
    heard = [space for space in spaces if space.modality == "audio"]
    for name in ("train", "dev"):
        if name not in parts:
            continue
        pair = {name: parts[name], "test": parts["test"]}
        check_speakers(pair, allow=speakers)
        for space in heard[:1]:
            digests = {
                clip_id: digest
                for clips in pair.values()
                for clip_id, digest in zip(
                    clips.ids, space.cache.digests(clips, "audio"), strict=True
                )
            }
            check_duplicates(pair, digests, allow=contents)
