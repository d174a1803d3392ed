"""`split.csv` of a run: which clip is in which part, and what has moved since the last run."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ....cache.files.written import written
from ...data.escape import defused, restored
from ...data.splitting.split import Split


def write_split(
    found: Sequence[Split], path: Path, before: Path, say: Callable[[str], None]
) -> None:
    """Write id and part; with folds a third column names them.

    What a division says of the clips that the last file had is compared first, and said.

    Parameters
    ----------
    before : Path
        The file of the last run; it need not be there.
    say : callable
    """
    rows = list(_rows(found))
    moved, common = _moved(before, rows)
    if moved:
        say(
            f"split: {moved} of {common} clips are in another part than in the last run, whose "
            f"{before} is replaced; scores of the two runs do not compare"
        )
    with written(path) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "split", "fold"][: len(rows[0])])
        writer.writerows(map(defused, row) for row in rows)


def _rows(found: Sequence[Split]) -> Iterator[tuple[str, ...]]:
    for split in found:
        fold = (split.name,) if len(found) > 1 else ()
        for part, clips in split.parts.items():
            for clip in clips.ids:
                yield (clip, part, *fold)


def _moved(path: Path, rows: Sequence[tuple[str, ...]]) -> tuple[int, int]:
    """Return how many of the clips in both divisions are elsewhere now, and how many there are."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            before = [tuple(map(restored, row)) for row in csv.reader(file)][1:]
    except (OSError, ValueError, csv.Error):
        return 0, 0
    known = {row[0] for row in before if row}
    common = known & {row[0] for row in rows}
    old, new = ({row for row in some if row and row[0] in common} for some in (before, rows))
    return len({row[0] for row in old ^ new}), len(common)
