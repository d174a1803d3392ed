"""Check an encoder against stored rows, where a space has lost its canary.

A damaged canary is set aside. A new one would agree with whatever the encoder computes today, so a
few clips whose rows are stored are embedded again first, and have to agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np

from ...cache.errors import CanaryError
from ...cache.manifest import Manifest
from ...cache.rows.canary import compare_canary
from ...cache.space import Space
from ..encoder import Encoder
from ..errors import Unusable
from .claims import Claims
from .feed import feed

COMPARED = 3
TRIED = 32  # clips to try: files may have gone since


def check_with_stored_rows(
    clips: Manifest, positions: Sequence[int], encoder: Encoder, space: Space
) -> None:
    """Embed a few stored clips again, and compare them with their rows.

    Parameters
    ----------
    positions : sequence of int
        Clips to try, those first whose rows should be stored.
    space : Space
        Has rows, and no canary.
    """
    claims = Claims(space.index.refresh().table, space.key, space.modality)
    keys, today = [], []
    with closing(feed(clips, positions[:TRIED], encoder, claims.is_stored)) as ready:
        for row in ready:
            if row.content is None or row.digest is None or len(keys) == COMPARED:
                continue
            [answer] = encoder.embed([row.content])
            if not isinstance(answer, Unusable):
                keys.append(claims.key(row.digest))
                today.append(answer.values)
    if not today:
        raise CanaryError(
            f"{space.name} has {len(space)} rows and no canary (was it damaged?), and no clip of"
            " this manifest is among its rows: affekt cannot check that the encoder still "
            "computes the same. Extract a manifest that has some of its clips, or extract into a "
            "new cache"
        )
    stored, _ = space.read(keys, range(space.n_layers))
    compare_canary(stored, np.stack(today), space.spec)
