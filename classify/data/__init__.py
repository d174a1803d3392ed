"""Labels, splits and predictions: tasks, votes of raters, divisions of clips."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

from . import scales as _scales  # noqa: F401 - a task file may be of numbers

if TYPE_CHECKING:
    from .votes import read_votes as read_votes

__all__, __getattr__, __dir__ = public_names(__name__)
