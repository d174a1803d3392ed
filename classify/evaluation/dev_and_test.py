"""Dev next to test: other clips of other people, and labels about as frequent."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.errors import InputError, counted, listed
from ...cache.files.reading import file_sha256
from ..data.splitting import leaks
from ..data.splitting.findings import Finding, Kind

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

MOST_TEXTS = 0.05
LEARN_SHARES = {"vector", "isotonic"}  # calibrators that learn how frequent labels are
RARER = 4  # times as rare on dev as on test, with at least five clips to be expected


def rarer_on_dev(dev: Manifest, test: Manifest) -> list[str]:
    """Warn of labels that dev has, and far less often than test: what is learnt there misleads.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> labels = {"dev": "x" * 19 + "y", "test": "x" * 10 + "y" * 10}
    >>> dev, test = (
    ...     Manifest.from_rows([{"text": "-", "label": label} for label in labels[part]])
    ...     for part in ("dev", "test")
    ... )
    >>> rarer_on_dev(dev, test)[0][:39]
    'y is 1 of 20 dev clips and 10 of 20 tes'
    """
    here, there = Counter(dev["label"]), Counter(test["label"])
    return [
        Finding(
            f"{label} is {here[label]} of {len(dev)} dev clips and {count} of {len(test)} test "
            "clips: calibration learns on dev that it is rare, and makes it rare in the answers",
            Kind.LABELS,
        )
        for label, count in sorted(there.items())
        if 0 < RARER * here[label] < (expected := count * len(dev) / len(test)) and expected >= 5
    ]


def check_apart(dev: Manifest, test: Manifest) -> list[str]:
    """Refuse a dev that shares clips, recordings, speakers or, without audio, texts with test.

    Parameters
    ----------
    dev, test
        Labelled clips of both parts.

    Returns
    -------
    warnings
        Of single texts that both parts have: short phrases come again in every text corpus. Above
        5 % of the test clips they are refused too.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> clips = Manifest.from_rows([{"id": "a", "text": "-", "label": "x", "speaker": ""}])
    >>> check_apart(clips, clips)
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: dev and test share 1 id: a. What ...
    """
    kinds: dict[str, Sequence[Sequence[str]]] = {
        "id": (dev.ids, test.ids),
        "recording": _recordings(dev, test),
        "speaker": (leaks.speakers(dev), leaks.speakers(test)),
    }
    found = [
        _shown(kind, both)
        for kind, (here, there) in kinds.items()
        if (both := sorted((set(here) & set(there)) - {""}))
    ]
    if pairs := leaks.look_alikes(leaks.speakers(dev), leaks.speakers(test)):
        shown = [f"{here!r} (dev) and {there!r} (test)" for here, there in pairs]
        found.append(f"{_shown('speaker', shown)}, which differ in spelling only")
    warnings = []
    known, asked = _texts(dev), _texts(test)
    both = sorted((set(known) & set(asked)) - {""})
    if both:
        seen = sum(text in both for text in asked)
        if seen > MOST_TEXTS * len(asked):
            found.append(f"the text of {seen} of {len(asked)} test clips ({_shown('text', both)})")
        else:
            text = f"dev holds the text of {seen} test clips: {_shown('text', both)}"
            warnings.append(Finding(text, Kind.TEXTS))
    if found:
        raise InputError(
            f"dev and test share {'; '.join(found)}. What is chosen on dev would be chosen by "
            "looking at test. Expected other clips of other speakers; to compare all the same, "
            "`allow_overlap=True`"
        )
    return warnings


def _shown(kind: str, both: Sequence[str]) -> str:
    return f"{counted(len(both), kind)}: {listed(both)}"


def _recordings(dev: Manifest, test: Manifest) -> list[list[str]]:
    """Return file and section of each clip, blank without audio; copies of a file are one.

    Files are read only where one of dev and one of test have the same size.
    """
    sizes: list[dict[int, dict[str, Path]]] = [{}, {}]
    for own, clips in zip(sizes, (dev, test), strict=True):
        for row, path in enumerate(clips["path"]):
            with suppress(OSError, InputError):  # missing: its name has to do
                if path:
                    file = clips.file(row)
                    own.setdefault(file.stat().st_size, {})[os.path.normpath(path)] = file
    content = {
        path: file_sha256(file)
        for size in sizes[0].keys() & sizes[1].keys()
        for path, file in {**sizes[0][size], **sizes[1][size]}.items()
        if file.is_file()
    }
    names = {content[path]: path for path in sorted(content, reverse=True)}
    return [
        [
            names.get(content.get(path, ""), path) + (f" from {start}" if start else "")
            for path, start in zip(map(_normal, clips["path"]), _starts(clips), strict=True)
        ]
        for clips in (dev, test)
    ]


def _normal(path: str) -> str:
    return os.path.normpath(path) if path else ""


def _starts(clips: Manifest) -> list[str]:
    """Return where the section of each clip starts, blank for a whole file."""
    if "start" not in clips:
        return [""] * len(clips)
    return ["" if start in ("", None) or start != start else str(start) for start in clips["start"]]


def _texts(clips: Manifest) -> list[str]:
    """Return the text of clips without audio; one sentence said by many is not one clip."""
    texts = [
        "" if path else leaks.plain(str(text))
        for path, text in zip(clips["path"], clips["text"], strict=True)
    ]
    return texts if len(set(texts)) > 1 else []  # all the same: a placeholder
