"""A space whose canary is gone still refuses an encoder that computes differently."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from affekt.cache import Cache, CanaryError, Manifest
from affekt.cache.care import repair
from affekt.extract import Encoder, extract


def texts(*numbers):
    return Manifest.from_rows([{"id": str(i), "text": f"a text {i}"} for i in numbers])


def drifted(encoder):
    embed = encoder.backend.embed

    def other(inputs):
        found = embed(inputs)
        return [dataclasses.replace(one, values=one.values + np.float32(0.1)) for one in found]

    encoder.backend.embed = other
    return encoder


@pytest.fixture(params=["float32", "float16"])
def space(request, tmp_path):
    """Five rows, and no canary: it was damaged and set aside."""
    cache = Cache(tmp_path / "my.cache")
    made = extract(texts(*range(5)), cache, Encoder("ngram"), store_dtype=request.param)
    canary = made.folder / "canary.h5"
    canary.write_bytes(canary.read_bytes()[:-1])
    repair(cache)
    assert not canary.exists()
    return made


def more(space, clips, encoder):
    dtype = space.spec.fields["store_dtype"]
    return extract(clips, Cache(space.cache.path), encoder, store_dtype=dtype)


def test_the_same_encoder_goes_on_and_leaves_a_canary(space):
    before = space.cache.read(space, texts(*range(5)))
    assert len(more(space, texts(*range(8)), Encoder("ngram"))) == 8
    assert (space.folder / "canary.h5").exists()
    np.testing.assert_array_equal(space.cache.read(space, texts(*range(5))), before)


def test_an_encoder_that_computes_differently_is_refused(space):
    with pytest.raises(CanaryError, match="computes differently"):
        more(space, texts(*range(8)), drifted(Encoder("ngram")))
    assert len(space) == 5
    assert not (space.folder / "canary.h5").exists()


def test_without_a_stored_clip_nothing_can_be_compared(space):
    with pytest.raises(CanaryError, match="no clip of this manifest"):
        more(space, texts(6, 7), Encoder("ngram"))
    assert len(space) == 5
