"""Memory is bounded by what is asked for, not by what the cache holds."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from tests.support.cache_toy import make_clips, make_spec
from tests.support.memory import READS, memory_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A folder and a packed file with 200 MB in 8 layers, and a key's bytes for each row."""
    from affekt.cache import Cache, row_key, text_digest
    from affekt.cache.care import pack

    folder = tmp_path_factory.mktemp("large")
    space = Cache(folder / "c").create(make_spec(layers=8, dim=1024, store_dtype="float16"))
    row = np.ones((8, 1024), np.float32)
    with space.writer() as writer:
        for clip in make_clips(12_000):
            writer.add(row_key(space.key, "text", text_digest(clip.text)), clip.id, row)
    space.compact()
    return folder / "c", pack(space.cache, folder / "packed.h5")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("what", READS)
def test_memory_is_bounded_by_what_is_asked_for(large, what, packed):
    asked, grown = memory_of(large[packed], what)
    assert grown < asked + (24 << 20)  # and buffers, an index, a list of keys: of 200 MB
