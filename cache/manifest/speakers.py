"""Speakers whose names differ in spelling only: one person in train and in test is a leak."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import listed


def spellings(speakers: Sequence[str]) -> list[list[str]]:
    """Return the groups of names that differ only in case, blanks, leading zeros or Unicode form.

    The most frequent name of a group stands first.

    Examples
    --------
    >>> spellings(["spk01", "spk1", "SPK01 ", "spk1", "anna", "1.0", "01"])
    [['spk1', 'spk01', 'SPK01 '], ['1.0', '01']]
    """
    counts = Counter(speaker for speaker in speakers if speaker)
    groups: dict[str, list[str]] = {}
    for speaker in counts:
        groups.setdefault(_core(speaker), []).append(speaker)
    return [
        sorted(group, key=lambda name: -counts[name]) for group in groups.values() if len(group) > 1
    ]


def note_on(groups: Iterable[Sequence[str]]) -> str:
    """Return what to say of them; blank where there are none.

    Examples
    --------
    >>> note_on([["s1", "S1"]])[:56]
    "speakers that differ in spelling only: 's1' and 'S1'; if"
    """
    shown = [" and ".join(repr(name) for name in group) for group in groups]
    if not shown:
        return ""
    return (
        f"speakers that differ in spelling only: {listed(shown)}; if they are the same, affekt"
        " manifest TABLE --merge-speakers -o clips.csv makes one of them"
    )


def merged(speakers: Sequence[str]) -> list[str]:
    """Return the speakers with each group under its most frequent name."""
    first = {name: group[0] for group in spellings(speakers) for name in group}
    return [first.get(speaker, speaker) for speaker in speakers]


def _core(speaker: str) -> str:
    text = unicodedata.normalize("NFKC", speaker).casefold()
    text = re.sub(r"\s+", "", text)
    text = re.sub(r"^(\d+)\.0$", r"\1", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)
