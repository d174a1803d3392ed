"""A row never depends on its neighbours: any order, size and company, for every family."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.extract.errors import Unusable
from hypothesis import given, settings, strategies as st

from tests.support.encoder_models import (
    SPEECH,
    TEXT,
    TEXTS,
    backend,
    distance,
    tone,
)

# torch about the masks that transformers' WavLM hands it; nothing we could pass differently
pytestmark = pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")

SECONDS = (0.03, 0.05, 0.1, 0.333, 1.0, 2.71, 20.0)
CLIPS = [tone(int(16000 * seconds), seed) for seed, seconds in enumerate(SECONDS)]
TOLERANCE = 1e-6
FEW = settings(
    max_examples=4,
    deadline=None,
    database=None,
    derandomize=True,
)
_alone: dict[str, list] = {}


@st.composite
def company(draw, items: int) -> list[int]:
    """Draw some of the items, in any order and number; the last one, the longest, at most once."""
    some = draw(st.lists(st.integers(0, items - 2), min_size=1, max_size=5))
    longest = [items - 1] if draw(st.booleans()) else []
    return draw(st.permutations(some + longest))


def rows_alone(name: str, opened, items) -> list:
    if name not in _alone:
        _alone[name] = [opened.embed([item])[0] for item in items]
    return _alone[name]


def check(alone: list, together: list, chosen: list[int], tolerance: float = TOLERANCE) -> None:
    for position, answer in zip(chosen, together, strict=True):
        if isinstance(answer, Unusable):
            assert answer.code == alone[position].code
        else:
            assert answer.frames == alone[position].frames
            assert distance(answer.values, alone[position].values) <= tolerance


@pytest.mark.parametrize("name", SPEECH)
@FEW
@given(data=st.data())
def test_speech_rows_do_not_depend_on_neighbours(name, data):
    chosen = data.draw(company(len(CLIPS)))
    alone = rows_alone(name, backend(name), CLIPS)
    # as on a GPU; on a CPU one clip is one pass, and packed it is the sum of other strips
    packed = (
        3e-5 if name == "wav2vec2-bert" else 3 * TOLERANCE
    )  # the library's float32 filter banks
    for batching, tolerance in (("padded", TOLERANCE), ("packed", packed)):
        opened = backend(name, batching=batching)
        check(alone, opened.embed([CLIPS[i] for i in chosen]), chosen, tolerance)


@pytest.mark.parametrize("name", TEXT)
@FEW
@given(data=st.data())
def test_text_rows_do_not_depend_on_neighbours(name, data):
    texts = [*TEXTS, "", "a", "the " * 500]
    chosen = data.draw(company(len(texts)))
    alone = rows_alone(name, backend(name, batching="single"), texts)
    for batching in ("auto", "padded", "packed"):
        opened = backend(name, batching=batching)
        check(alone, opened.embed([texts[i] for i in chosen]), chosen)


@pytest.mark.parametrize("name", ["wav2vec2-base", "hubert-base", "data2vec-audio", "xlsr"])
def test_the_same_row_seven_times_and_twice_in_a_row_is_the_same(name):
    opened = backend(name, batching="padded")
    [first] = opened.embed([CLIPS[4]])
    [again] = opened.embed([CLIPS[4]])
    assert np.array_equal(first.values, again.values)
    for answer in opened.embed([CLIPS[4]] * 7):
        assert distance(answer.values, first.values) <= TOLERANCE


def test_an_empty_batch_has_no_answers():
    assert backend("xlsr").embed([]) == []


def test_passes_stay_within_the_budget():
    opened = backend("xlsr", batching="padded")
    ready = [(i, opened.front.prepare(clip)) for i, clip in enumerate(CLIPS[1:] * 20)]
    groups = opened._groups(ready)
    assert sorted(i for group in groups for i, _ in group) == [i for i, _ in ready]
    for group in groups:
        assert len(group) == 1 or len(group) * group[0][1].size <= 16384
