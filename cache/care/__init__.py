"""Care of a cache: verify, repair, merge and pack it, import and export embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .import_export import export_space as export_space, import_space as import_space
    from .merging import merge as merge
    from .packing import pack as pack
    from .repairing import Repair as Repair, repair as repair
    from .syncing import Synced as Synced, sync as sync
    from .verifying import Report as Report, verify as verify

__all__, __getattr__, __dir__ = public_names(__name__)
