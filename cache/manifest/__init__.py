"""A manifest is a table of clips; here it is read, checked and written.

====================================  ============================================================
`Manifest`, `Clip`                    a table of clips, and one of them
`read_emobox`, `read_s3prl`,          corpora as others keep them; also `read_unified`,
`read_kaldi`, `read_named`            `read_audformat_folder`, `read_audio_folder`, `read_saved`,
                                      `read_parts`, `read_folders`, `read_form`
`from_datasets`, `from_audformat`     objects of Hugging Face datasets and of audformat
====================================  ============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .columns import Clip as Clip
    from .corpora.audformat import read_audformat_folder as read_audformat_folder
    from .corpora.audio_names import (
        read_folders as read_folders,
        read_form as read_form,
        read_named as read_named,
        read_unified as read_unified,
    )
    from .corpora.emobox import read_emobox as read_emobox
    from .corpora.huggingface import (
        read_audio_folder as read_audio_folder,
        read_saved as read_saved,
    )
    from .corpora.kaldi import read_kaldi as read_kaldi
    from .corpora.objects import from_audformat as from_audformat, from_datasets as from_datasets
    from .corpora.parts import read_parts as read_parts
    from .corpora.s3prl import read_s3prl as read_s3prl
    from .manifest import Manifest as Manifest
    from .times import NO_TIME as NO_TIME

__all__, __getattr__, __dir__ = public_names(__name__)
