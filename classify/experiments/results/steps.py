"""How long embedding and training took, in this run or in the one that made what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....cache.errors import InputError
from ....cache.files.reading import read_note


class Steps:
    """The steps of one comparison of a run.

    Parameters
    ----------
    folder : Path
        Where the last report lies, if there is one.
    embedded : mapping of str to mapping
        Encoder -> ``clips`` and ``seconds`` of this run.
    """

    def __init__(self, folder: Path, embedded: Mapping[str, Mapping[str, float]]) -> None:
        try:
            last = read_note(folder / "comparison.json").get("made")
        except InputError:
            last = None
        self.last: dict[str, Any] = last if isinstance(last, dict) else {}
        self.embedded = embedded
        self.training: dict[str, Any] = {}

    def trained(self, member: str, how: tuple[str, float] | None) -> None:
        """Note a member: why it was trained and the seconds it took, or None if it was kept."""
        if how is None:
            self.training[member] = self._before("training", member)
        else:
            why, seconds = how
            self.training[member] = {"seconds": round(seconds, 1), "now": True, "why": why}

    def record(self) -> dict[str, Any]:
        """Return what the report says of the steps."""
        kept = self.last.get("embedding")
        names = dict.fromkeys([*(kept if isinstance(kept, dict) else ()), *self.embedded])
        embedding = {
            name: {**self.embedded[name], "now": True}
            if name in self.embedded
            else {"clips": 0, **self._before("embedding", name)}
            for name in names
        }
        date = self.last.get("date")
        return {
            "last": date if isinstance(date, str) else None,
            "embedding": embedding,
            "training": self.training,
        }

    def _before(self, step: str, name: str) -> dict[str, Any]:
        found = self.last.get(step)
        found = found.get(name) if isinstance(found, dict) else None
        found = found if isinstance(found, dict) else {}
        seconds, clips = found.get("seconds"), found.get("clips")
        known = isinstance(seconds, int | float)
        before = {"seconds": seconds if known else None, "now": False, "why": ""}
        return {**before, "clips": clips} if isinstance(clips, int) else before
