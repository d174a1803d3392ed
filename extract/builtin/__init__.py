"""Encoders without weights: spectral, prosodic and voice features; character n-grams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .ngram import Ngram as Ngram
    from .spectral import FEATURE_NAMES as FEATURE_NAMES, Spectral as Spectral

__all__, __getattr__, __dir__ = public_names(__name__)
