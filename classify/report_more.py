"""The sections of a report that not every comparison has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def sections(data: Mapping[str, Any]) -> list[str]:
    """Return the sections that the data holds, as Markdown."""
    return []
