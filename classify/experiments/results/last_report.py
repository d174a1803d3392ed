"""What a run needs from the last report in its folder: times of steps, and whether to keep it.

Before a report of fewer clips replaces a better one, the better one is copied next to it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ....cache.errors import InputError, shaped
from ....cache.files.reading import read_note

KEPT = ("report.md", "report.html", "comparison.json", "clips.json", "repeats.json", "split.csv")


def keep_earlier(
    folder: Path, embedded: Mapping[str, int], progress: Callable[[str], None]
) -> Path | None:
    """Copy the report in `folder` aside if it was made of more clips than the next one.

    Parameters
    ----------
    folder : Path
        Of the run.
    embedded : mapping of str to int
        Encoder -> clips with an embedding, for the next report.
    progress : callable

    Returns
    -------
    Path or None
        ``earlier-report-of-N-clips/``, where it was copied.
    """
    before = _embedded(folder)
    fewer = {
        name: (before[name], count)
        for name, count in embedded.items()
        if count < before.get(name, 0)
    }
    if not fewer:
        return None
    changes = ", ".join(
        f"{now} instead of {then} for {name}" for name, (then, now) in fewer.items()
    )
    most = max(then for then, _ in fewer.values())
    aside = folder / f"earlier-report-of-{most}-clips"
    aside.mkdir(exist_ok=True)
    for name in KEPT:
        if (folder / name).is_file():
            shutil.copy2(folder / name, aside / name)
    progress(
        f"Fewer clips have an embedding than in the last report: {changes}. "
        f"The last report is kept in {aside}"
    )
    return aside


def _embedded(folder: Path) -> dict[str, int]:
    """Return of how many clips the report in a folder was made; of repeats, the first one's."""
    for path in (folder / "repeat-1" / "comparison.json", folder / "comparison.json"):
        with suppress(InputError), shaped(path, "a comparison of a run"):
            found = read_note(path)["run"]["embedded"]
            return {str(name): int(count) for name, count in found.items()}
    return {}


def step_times(
    folder: Path,
    embedded: Mapping[str, Mapping[str, float]],
    trained: Mapping[str, tuple[str, float] | None],
) -> dict[str, Any]:
    """Return how long embedding and training took; of what is kept, in the run that made it.

    Parameters
    ----------
    folder : Path
        Where the last report is, if there is one.
    embedded : mapping of str to mapping
        Encoder -> ``clips`` and ``seconds`` of this run.
    trained : mapping of str to tuple
        Member -> why it was trained and the seconds it took; None if it was kept.
    """
    last: dict[str, Any] = {}
    with suppress(InputError):
        last = _mapping(read_note(folder / "comparison.json").get("made"))
    date, before = last.get("date"), _mapping(last.get("embedding"))
    embedding = {
        name: {**embedded[name], "now": True}
        if name in embedded
        else {"clips": 0, **_kept(before, name)}
        for name in dict.fromkeys([*before, *embedded])
    }
    training = {
        name: {"seconds": round(how[1], 1), "now": True, "why": how[0]}
        if how is not None
        else _kept(_mapping(last.get("training")), name)
        for name, how in trained.items()
    }
    return {
        "last": date if isinstance(date, str) else None,
        "embedding": embedding,
        "training": training,
    }


def _kept(steps: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a step as the last report has it, whatever its type."""
    found = _mapping(steps.get(name))
    seconds, clips = found.get("seconds"), found.get("clips")
    known = isinstance(seconds, int | float)
    before = {"seconds": seconds if known else None, "now": False, "why": ""}
    return {**before, "clips": clips} if isinstance(clips, int) else before


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
