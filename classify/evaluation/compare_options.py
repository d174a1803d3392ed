"""How a comparison is made."""

from __future__ import annotations

MOST_DRAWS = 1_000_000
