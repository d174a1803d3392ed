"""Speakers whose names differ in spelling only: one person in train and in test is a leak."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from ..errors import listed


def spellings(speakers: Sequence[str], datasets: Sequence[str] = ()) -> list[list[str]]:
    """Return the groups of names that differ in spelling only, as `spoken` says.

    The most frequent name of a group comes first. With `datasets`, ``1`` of one data set and
    ``01`` of another are two persons.

    Examples
    --------
    >>> spellings(["spk01", "spk1", "SPK01 ", "spk1", "anna", "1.0", "01"])
    [['spk1', 'spk01', 'SPK01 '], ['1.0', '01']]
    """
    counts = Counter(speaker for speaker in speakers if speaker)
    pairs = dict.fromkeys(zip(speakers, datasets or [""] * len(speakers), strict=False))
    cores = {speaker: spoken(speaker) for speaker in counts}
    groups: dict[tuple[str, str], list[str]] = {}
    for speaker, dataset in pairs:
        if speaker:
            groups.setdefault((cores[speaker], dataset), []).append(speaker)
    found = [sorted(group, key=lambda name: -counts[name]) for group in groups.values()]
    return [list(group) for group in dict.fromkeys(map(tuple, found)) if len(group) > 1]


def note_on(groups: Iterable[Sequence[str]]) -> str:
    """Return the message about them; blank where there are none.

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


def merged(speakers: Sequence[str], datasets: Sequence[str] = ()) -> list[str]:
    """Return the speakers with each group under its most frequent name."""
    names = list(speakers)
    for dataset in dict.fromkeys(datasets or [""]):
        rows = [i for i in range(len(names)) if not datasets or datasets[i] == dataset]
        own = [speakers[i] for i in rows]
        first = {name: group[0] for group in spellings(own) for name in group}
        for i in rows:
            names[i] = first.get(names[i], names[i])
    return names


def spoken(name: str) -> str:
    """Return a name without what is silent when it is read aloud.

    Case, blanks, hyphens and underscores (except between digits, where they are all the same),
    leading zeros, the ``.0`` of a number that was read as a decimal, and Unicode form do not count.

    Examples
    --------
    >>> spoken("Spk-01") == spoken("spk 1") == spoken("spk_1"), spoken("corpus/7.0")
    (True, 'corpus/7')
    >>> spoken("1-12") == spoken("11-2")
    False
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = re.sub(r"(?<=\d)[\s_\u2010-\u2015-]+(?=\d)", "_", text)
    text = re.sub(r"(?<!\d)[\s_\u2010-\u2015-]+|[\s_\u2010-\u2015-]+(?!\d)", "", text)
    text = re.sub(r"(^|/)(\d+)\.0$", r"\1\2", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)
