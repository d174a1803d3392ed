"""`affekt transcribe`: speech recognisers, and their transcripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .fill_in_texts import transcribe as transcribe
    from .transcriber import Transcriber as Transcriber

__all__, __getattr__, __dir__ = public_names(__name__)
