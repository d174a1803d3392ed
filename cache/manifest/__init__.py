"""A manifest is a table of clips; here it is read, checked and written.

===========================================  =====================================================
`Manifest`, `Clip`                           a table of clips, and one of them
`read_emobox`, `read_s3prl`, `read_unified`  corpora as others keep them
`from_datasets`, `from_audformat`            objects of Hugging Face datasets and of audformat
===========================================  =====================================================
"""

from __future__ import annotations

from .corpora.objects import from_audformat, from_datasets
from .corpora.published import read_emobox, read_s3prl, read_unified
from .manifest import Clip, Manifest
from .times import NO_TIME

__all__ = [
    "NO_TIME",
    "Clip",
    "Manifest",
    "from_audformat",
    "from_datasets",
    "read_emobox",
    "read_s3prl",
    "read_unified",
]
