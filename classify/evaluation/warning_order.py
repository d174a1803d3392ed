"""Order the warnings of a comparison: first what can change the answer most."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["ranked"]

#: what a warning says, from the one that can change the answer most; others come last
ORDER = (
    r"look shifted|look exchanged|does not follow train",  # labels of other clips
    r"speakers? in both|Write one name for one speaker",
    r"one recording under two ids|not checked for duplicates",
    r"nearly the same as one of train",
    r"have a text that also occurs in train|dev holds the text of",
    r"only: (too few|intervals are wide)|taken as independent|^label .* comes from \d+ of",
)
TEXTS = 4  # its place in ORDER


def ranked(warnings: Iterable[str], *, texts_are_read: bool = True) -> list[str]:
    """Return the warnings, each once, with those first that can change the answer most.

    Labels in the wrong rows, speakers, then recordings in two parts, near-duplicates, texts that
    train has seen, few groups, the rest; within a kind as they came.

    Parameters
    ----------
    warnings
        As they were found.
    texts_are_read
        Whether a member reads the text: if not, shared texts come with the rest.

    Examples
    --------
    >>> ranked(["6 speakers only: intervals are wide and rough", "dev has no clip of joy",
    ...         "1 clip of test nearly the same as one of train: a = b (cosine 0.99)"])[0][:28]
    '1 clip of test nearly the sa'
    """

    def place(text: str) -> int:
        kinds = (at for at, phrase in enumerate(ORDER) if re.search(phrase, text))
        found = next(kinds, len(ORDER))
        return len(ORDER) if found == TEXTS and not texts_are_read else found

    return sorted(dict.fromkeys(warnings), key=place)
