"""Keys and specs: whatever differs has another key."""

from __future__ import annotations

import pytest
from affekt.cache import (
    InputError,
    Spec,
    row_key,
    text_digest,
)
from hypothesis import given, settings, strategies as st

from tests.support.cache_toy import make_spec


@settings(deadline=None)
@given(st.lists(st.text(max_size=6), min_size=2, max_size=8, unique=True))
def test_keys_differ_where_anything_differs(texts):
    digests = {text_digest(text) for text in texts}
    keys = {
        row_key(spec, kind, digest)
        for spec in ("a" * 64, "b" * 64) for kind in ("audio", "text") for digest in digests
    }  # fmt: skip
    assert len(keys) == 4 * len(digests)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(JSON, JSON)
def test_one_changed_field_changes_the_key(left, right):
    a, b = make_spec(input={"x": left}), make_spec(input={"x": right})
    same = left == right and repr(left) == repr(right)
    assert (a.key == b.key) == (a.json() == b.json())
    assert same <= (a.key == b.key)
    assert (a.diff(b) == []) == (a == b)
    assert Spec.from_json(a.json()) == a


def test_a_spec_says_what_is_wrong_with_it():
    for change, message in (
        ({"modality": "video"}, "one of audio, text"),
        ({"encoder": {}}, "with a name"),
        ({"layers": {"count": 0, "dim": 2}}, "count and dim"),
        ({"compute": {"tolerance": 0.5}}, r"compute\.tolerance is 0\.5.*write a float as text"),
        ({"format": 2}, "newer"),
        ({"store_dtype": "float64"}, "float16, float32"),
        ({"labels": ["a"]}, "expected 8 different names"),
        ({"pooling": None}, "pooling"),
        ({"input": {1: 2}}, "not text"),
    ):
        with pytest.raises(InputError, match=message):
            make_spec(**change)
    for text in ("[]", "{", '{"a": 1.5}', "[" * 100_000):
        with pytest.raises(InputError):
            Spec.from_json(text)
    assert True not in {type(x) for x in make_spec().fields.values()}
    assert make_spec(input={"x": True}).key != make_spec(input={"x": 1}).key
