"""A manifest is a table of clips; here it is read, checked and written.

====================================  ============================================================
`Manifest`, `Clip`                    a table of clips, and one of them
`read_emobox`, `read_s3prl`,          corpora as others keep them; also `read_unified`,
`read_kaldi`, `read_named`            `read_audformat_folder`, `read_audio_folder`, `read_saved`,
                                      `read_parts`
`from_datasets`, `from_audformat`     objects of Hugging Face datasets and of audformat
====================================  ============================================================
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from .manifest import Clip, Manifest
from .times import NO_TIME

if TYPE_CHECKING:
    from .corpora import (
        from_audformat,
        from_datasets,
        read_audformat_folder,
        read_audio_folder,
        read_emobox,
        read_folders,
        read_kaldi,
        read_named,
        read_parts,
        read_s3prl,
        read_saved,
        read_unified,
    )

__all__ = [
    "NO_TIME",
    "Clip",
    "Manifest",
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


def __getattr__(name: str):
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(".corpora", __name__), name)
