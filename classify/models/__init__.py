"""Models: a head with its task and features, saved as a folder; and published models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .scalers.group_scaler import GroupScaler as GroupScaler

__all__, __getattr__, __dir__ = public_names(__name__)
