"""Comparisons: which system is better, whether that can be shown, and the report.

`compare` joins, measures, analyses and assembles; `scores` measures systems and chooses one on dev.
`analyses` and `reports` hold one file for each section of a report.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .analyses.transfer import transfer as transfer
    from .reports.figures import figures as figures
    from .reports.latex import tables as tables

__all__, __getattr__, __dir__ = public_names(__name__)
