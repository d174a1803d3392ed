"""affekt.cache: clips, and the embeddings stored for them. numpy and h5py only.

===================  ==========================================================
`Manifest`, `Clip`   a table of clips, read from CSV, TSV, JSONL, Parquet or pandas
`Spec`               everything that decides an embedding's numbers
`Cache`, `Space`     a folder of spaces; all embeddings of one spec
`Features`           which layers of a space a head sees
`Seen`, `seen`       what was read for a clip, for `Cache.record`
errors               `AffektError` and its kinds
===================  ==========================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from affekt.public_names import public_names

if TYPE_CHECKING:
    from .cache import Cache as Cache
    from .errors import (
        AffektError as AffektError,
        CanaryError as CanaryError,
        DamagedError as DamagedError,
        InputError as InputError,
        MissingError as MissingError,
        SpecError as SpecError,
        nearest as nearest,
    )
    from .identity.clip_index import Seen as Seen, seen as seen
    from .identity.content_digests import (
        audio_digest as audio_digest,
        row_key as row_key,
        text_digest as text_digest,
    )
    from .identity.spec import Spec as Spec
    from .manifest import Clip as Clip, Manifest as Manifest
    from .space import Features as Features, Space as Space

__all__, __getattr__, __dir__ = public_names(__name__)
