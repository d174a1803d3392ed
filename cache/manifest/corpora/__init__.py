"""Corpora as others keep them, made into manifests."""

from __future__ import annotations

from .audformat import read_audformat_folder
from .audio_names import read_folders, read_named, read_unified
from .emobox import read_emobox
from .huggingface import read_audio_folder, read_saved
from .kaldi import read_kaldi
from .objects import from_audformat, from_datasets
from .parts import read_parts
from .s3prl import read_s3prl

__all__ = [
    "from_audformat",
    "from_datasets",
    "read_audformat_folder",
    "read_audio_folder",
    "read_emobox",
    "read_folders",
    "read_kaldi",
    "read_named",
    "read_parts",
    "read_s3prl",
    "read_saved",
    "read_unified",
]
