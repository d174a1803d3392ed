"""State in JSON and arrays: equal after a round trip, refused when anything does not fit."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from affekt.cache.errors import InputError
from affekt.classify.heads import (
    HEADS,
    ConcatFusionHead,
    CrossAttentionFusionHead,
    LDAHead,
    LogisticHead,
    MeanFusionHead,
    MLPHead,
    MultiTaskHead,
    PatchTransformerHead,
    RegressionHead,
    head_from_state,
)
from sklearn.base import clone

QUICK = {"max_epochs": 1, "n_threads": 1, "random_state": 0}
BLOCKS = QUICK | {"d_model": 16, "n_blocks": 2, "n_attention_heads": 2, "feedforward": 8}
HEADS_TO_STORE = [
    LogisticHead(class_weight={"sad": 2.0}),
    LDAHead(shrinkage=0.3, priors="train"),
    MLPHead(**QUICK, hidden=(5, 4), n_members=2),
    MLPHead(**QUICK, n_layers=3, layer_mix=True, skip=True),
    PatchTransformerHead(**BLOCKS, hidden=8),
    ConcatFusionHead(**QUICK, widths=(4, 2), missing="predict", hidden=()),
    MeanFusionHead(**QUICK, widths=[4, 2], dim=None),
    CrossAttentionFusionHead(**BLOCKS, widths=(2, 4), n_layers=(2, 4), tokens="layers"),
    CrossAttentionFusionHead(**QUICK, attention="umuteam"),
    MultiTaskHead(**QUICK),
    RegressionHead(**QUICK),
]


def corpus():
    rng = np.random.default_rng(0)
    return rng.standard_normal((24, 6)), np.array(["sad", "calm", "glad"] * 8)


def fitted(head):
    X, y = corpus()
    if isinstance(head, RegressionHead):
        y = X[:, :2].copy()
    if isinstance(head, MultiTaskHead):
        y = np.stack([y, np.where(y == "glad", "positive", "other")], axis=1)
    return clone(head).fit(X, y)


def answers(head):
    X, _ = corpus()
    found = head.predict(X) if isinstance(head, RegressionHead) else head.predict_proba(X)
    return np.hstack(found) if isinstance(found, list) else found


@pytest.mark.parametrize("head", HEADS_TO_STORE, ids=lambda head: head.name)
def test_round_trip_through_json_and_arrays(head):
    head = fitted(head)
    meta, arrays = head.get_state()
    meta = json.loads(json.dumps(meta, allow_nan=False))
    assert all(type(array) is np.ndarray for array in arrays.values())
    again = type(head).from_state(meta, arrays)
    assert np.array_equal(answers(again), answers(head))
    if not isinstance(head, RegressionHead):
        assert np.array_equal(np.hstack(again.classes_), np.hstack(head.classes_))
    if head.name in HEADS:
        assert type(head_from_state(meta, arrays)) is type(head)
    mine, theirs = again.get_params(), head.get_params()
    assert {name for name in mine if mine[name] != theirs[name]} <= {"widths", "n_threads"}


@pytest.mark.parametrize("head", HEADS_TO_STORE, ids=lambda head: head.name)
def test_missing_extra_misshaped_or_foreign_tensors_are_refused(head):
    head = fitted(head)
    meta, arrays = head.get_state()
    name = sorted(arrays)[0]
    lacking = {key: value for key, value in arrays.items() if key != name}
    with pytest.raises(InputError, match=r"missing \["):
        type(head).from_state(meta, lacking)
    with pytest.raises(InputError, match="not expected"):
        type(head).from_state(meta, arrays | {"stranger": np.zeros(3)})
    with pytest.raises(InputError, match="has shape"):
        type(head).from_state(meta, arrays | {name: np.zeros((3, 3, 3), arrays[name].dtype)})
    with pytest.raises(InputError, match="float16"):
        type(head).from_state(meta, arrays | {name: arrays[name].astype(np.float16)})
    broken = arrays[name].copy()
    broken.flat[0] = np.nan
    with pytest.raises(InputError, match="NaN or infinity"):
        type(head).from_state(meta, arrays | {name: broken})
    other = next(type(h) for h in HEADS_TO_STORE if type(h) is not type(head))
    with pytest.raises(InputError, match="the state is of head"):
        other.from_state(meta, arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"head": "ml"}, "Did you mean 'mlp'"),
        ({"head": ["mlp"]}, "unknown head"),
        ({"format": 2}, "format 2"),
        ({"params": {"hiden": [3]}}, "Did you mean 'hidden'"),
        ({"params": {"hidden": [10**12]}}, "from 1 to 16384"),
        ({"params": {"hidden": [16_384]}}, "has shape"),
        ({"params": {"hidden": [16_384] * 64}}, "do not fit the head: missing"),
        ({"params": {"hidden": [4] * 100_000}}, "at most 64"),
        ({"params": {"callback": "os.system"}}, "no setting 'callback'"),
        ({"params": {"class_weight": {"a": 1}}}, "expected pairs"),
        ({"params": {"class_weight": {"pairs": [[["a"], 1]]}}}, "expected a label"),
        ({"params": 7}, "expected a mapping"),
        ({"targets": {"kind": "bytes", "values": []}}, "expected kind and values"),
        ({"targets": {"kind": "str", "values": ["b", "a"]}}, "sorted"),
        ({"targets": {"kind": "str", "values": ["a", 3]}}, "a list of str"),
        ({"n_features_in": -3}, "n_features_in"),
        ({"n_features_in": 10**12}, "n_features_in"),
        ({"learnt": {"members": 10**9}}, "number of members"),
        ({"learnt": {"members": 1, "more": 1}}, "number of members"),
    ],
)
def test_a_hostile_description_is_refused_before_anything_is_allocated(change, words):
    meta, arrays = fitted(MLPHead(**QUICK)).get_state()
    with pytest.raises(InputError, match=words):
        head_from_state(copy.deepcopy(meta) | change, arrays)


def test_labels_keep_their_type():
    X, _ = corpus()
    for labels in (np.array([3, 7]), np.array([True, False]), np.array(["a", "b"], dtype=object)):
        head = LogisticHead().fit(X, labels[np.arange(24) % 2])
        again = LogisticHead.from_state(*head.get_state())
        assert again.predict(X).dtype == head.predict(X).dtype
        assert again.predict(X).tolist() == head.predict(X).tolist()


def test_an_unfitted_head_has_no_state():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        MLPHead().get_state()
