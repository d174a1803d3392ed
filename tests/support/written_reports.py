"""What a run wrote, without when, where and how fast it did so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any


def found_in(report: Path) -> dict[str, Any]:
    """Return the result in the folder of a report."""
    data = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    assert data.pop("made").keys() >= {"affekt", "date", "machine"}
    return data


def lines_of(report: Path) -> list[str]:
    """Return the lines of its report.md."""
    text = (report / "report.md").read_text(encoding="utf-8")
    lines = re.sub(r"## What took how long.*?(?=^## )", "", text, flags=re.S | re.M).splitlines()
    return [one for one in lines if not one.startswith(("- made by affekt", "- machine:"))]
