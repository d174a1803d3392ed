"""The result of a comparison: JSON, from which everything else is written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from affekt.notebook import frame, shown

from ...cache.errors import InputError, nearest_beside
from ...cache.files.atomic_writes import write_whole
from ...cache.files.home_folder import at_home
from ...cache.files.reading import read_object
from ..data.predictions import Predictions
from ..ensembles.saved import Replay
from ..models.folders.run_folder import WORK, check_whole
from .reports.html.clip_rows import clip_rows
from .reports.html.page import page
from .reports.markdown.clips_and_training import describe_run
from .reports.markdown.dimension_report import number_report
from .reports.markdown.provenance import made
from .reports.markdown.report import label_report, text_table
from .reports.markdown.system_order import ordered
from .reports.sections import Section, as_markdown

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

ATTRIBUTE = "affekt comparison"  # of a frame


class Comparison:
    """What `compare` found.

    Attributes
    ----------
    data
        The whole result: numbers, strings, lists and mappings only; NaN is None.
    predictions
        Test predictions of every system by name; empty if read from a file.
    replays
        Every ensemble as it was fitted, by name; empty if read from a file.
    clips
        The test clips in the order of `predictions`, which the page shows; None if it shows none.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        predictions: Mapping[str, Predictions] = {},
        replays: Mapping[str, Replay] = {},
        clips: Manifest | None = None,
    ):
        self.data: dict[str, Any] = _plain(data)
        self.predictions = dict(predictions)
        self.replays = dict(replays)
        self.clips = clips

    @property
    def chosen(self) -> str | None:
        """The system that was chosen on dev; None without dev."""
        return self.data["chosen"]

    def __repr__(self) -> str:
        systems, clips = len(self.data["systems"]), self.data["test"]["clips"]
        return f"<Comparison of {systems} system{'s' * (systems != 1)} on {clips} clips>"

    def _repr_html_(self) -> str:
        found = self._rows()
        rows = zip(*found.values(), strict=True)
        return shown(repr(self), {"chosen on dev": self.chosen}, list(found), rows)

    def to_frame(self, by: str | None = None) -> Any:
        """Return a pandas DataFrame with a row for each system: its scores on test, with intervals.

        The order is that of `table`: what dev chose first, then by dev.
        Its ``attrs`` hold the whole comparison, for `from_frame`.

        Parameters
        ----------
        by : str, optional
            A column that has a table in the report, such as ``language``: then there is a row for
            each of its values and system.

        Raises
        ------
        InputError
            pandas is not installed, or there is no table by the column.
        """
        found = frame(self._rows(by))
        found.attrs[ATTRIBUTE] = self.json()
        return found

    @classmethod
    def from_frame(cls, frame: Any) -> Comparison:
        """Return the comparison that `to_frame` made a frame of; pandas keeps it in ``attrs``.

        Raises
        ------
        InputError
            The frame has lost it, as in a CSV file.
        """
        text = getattr(frame, "attrs", {}).get(ATTRIBUTE)
        if text is None:
            raise InputError(
                "this frame holds only scores; the comparison they belong to "
                f"(frame.attrs[{ATTRIBUTE!r}]) is missing. Read comparison.json with "
                "Comparison.read"
            )
        return cls(json.loads(text))

    def _rows(self, by: str | None = None) -> dict[str, list[Any]]:
        order, systems = ordered(self.data), self.data["systems"]
        if by is None:
            return {"system": order, **_columns([systems[name]["test"] for name in order])}
        if not isinstance(by, str) or by not in self.data["by"]:
            known = " or ".join(map(repr, self.data["by"])) or "a column of compare(..., by=)"
            raise InputError(f"`by` is {by!r}, and the comparison has no table by it; try {known}")
        values = self.data["by"][by]["values"]
        rows = [(value, name, row) for value, row in values.items() for name in order]
        return {
            by: [value for value, _, _ in rows],
            "system": [name for _, name, _ in rows],
            "clips": [row["clips"] for _, _, row in rows],
            **_columns([row["systems"][name] for _, name, row in rows]),
        }

    def table(self) -> str:
        """Return the main table as plain text, UAR first."""
        return text_table(self.data)

    def differences(self, most: int) -> list[str]:
        """Return a line for each of the first pairs: whether a difference can be shown."""
        pairs = self.data["pairs"]
        lines = [f"- {pair['sentence']}" for pair in pairs[:most]]
        more = [f"- and {len(pairs) - most} more, in the report (-o)"] if len(pairs) > most else []
        return lines + more

    def report(self) -> str:
        """Return the report as Markdown."""
        return as_markdown(self._report(_plain(self.data)))

    def _report(self, data: Mapping[str, Any]) -> list[Section]:
        return number_report(data) if data.get("measure") == "ccc" else label_report(data)

    def html(self, clips: Mapping[str, Any] | None = None) -> str:
        """Return the report as one HTML page, with the clips of a `clips.json`."""
        data = _plain(self.data)
        report = self._report(data)
        if run := data.get("run"):
            report += describe_run(run, "the manifest", data.get("measure", "uar").upper())
        return page(data, report, clips)

    def json(self) -> str:
        """Return the result as JSON."""
        return json.dumps(_plain(self.data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def write(self, folder: str | PathLike[str], *, ending: str = "") -> Path:
        """Write `comparison.json`, `report.md` and `report.html` into a folder, and return it.

        `clips.json` has the clips that the page shows, where there are any. `ending` comes last
        in `report.md`: what a run reports about itself.
        """
        folder = Path(at_home(folder))
        folder.mkdir(parents=True, exist_ok=True)
        self.data.setdefault("made", made())
        rows = None
        if self.clips is not None:  # links to audio work only where a run puts the folder
            home = Path(*(part for part in folder.absolute().parts if part != WORK))
            rows = clip_rows(self.data, self.predictions, self.clips, home)
        files = {
            "comparison.json": self.json(),
            "report.md": self.report().rstrip("\n") + f"\n{ending}",
            "report.html": self.html(rows),
        }
        if rows:
            files["clips.json"] = json.dumps(rows, ensure_ascii=False, allow_nan=False) + "\n"
        for name, text in files.items():
            write_whole(folder / name, text)
        return folder

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Comparison:
        """Read a `comparison.json`, or the folder that holds one.

        Raises
        ------
        InputError
            If it is not one, or of a newer format.
        """
        path = Path(at_home(path))
        if path.is_dir():
            check_whole(path)
            path = path / "comparison.json"
        if not path.exists():
            repeat = path.parent / "repeat-1"
            hint = f"; name one of its repeats: {repeat}"
            raise InputError(
                f"{path} does not exist; expected the folder that `affekt run` or `affekt "
                f"compare` wrote{hint if repeat.is_dir() else f'.{nearest_beside(path)}'}"
            )
        data = read_object(path, "a comparison")
        if data.get("format") != 2:
            raise InputError(f"{path} is not a comparison of format 2; compare again")
        return cls(data)


def _columns(tests: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the scores of each row, with their intervals, by the name of the column."""
    found: dict[str, list[Any]] = {}
    flat = [{**one, **_each_dimension(one)} for one in tests]
    for key in dict.fromkeys(key for one in flat for key in one):
        scores = [one.get(key, {}) for one in flat]  # labels alone have no NLL
        if all(isinstance(one, Mapping) for one in scores) and any("value" in s for s in scores):
            found[key] = [one.get("value") for one in scores]
            limits = [one.get("interval") for one in scores]
            if any(limits):
                found[f"{key} low"] = [span and span[0] for span in limits]
                found[f"{key} high"] = [span and span[1] for span in limits]
    return found


def _each_dimension(test: Mapping[str, Any]) -> dict[str, Any]:
    return {
        f"{dimension} {key}": score
        for dimension, scores in test.get("dimensions", {}).items()
        for key, score in scores.items()
        if isinstance(score, Mapping)
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: no NaN, no tuples, no numpy numbers."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
