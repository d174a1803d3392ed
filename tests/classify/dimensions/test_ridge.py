"""Ridge regression on ratings, some of which are missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import InputError
from affekt.classify.heads import RidgeHead
from sklearn.linear_model import Ridge


def test_ridge_is_that_of_scikit_learn_on_the_clips_that_are_rated():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(50, 8)), rng.normal(size=(50, 2))
    y[::3, 1] = np.nan
    head = RidgeHead(alpha=2.0).fit(X, y)
    for at in range(2):
        known = np.isfinite(y[:, at])
        oracle = Ridge(alpha=2.0).fit(X[known], y[known, at])
        np.testing.assert_allclose(head.predict(X)[:, at], oracle.predict(X), atol=1e-10)
    again = RidgeHead.from_state(
        *json.loads(json.dumps([head.get_state()[0]])), head.get_state()[1]
    )
    np.testing.assert_array_equal(again.predict(X), head.predict(X))
    with pytest.raises(InputError, match="`alpha` is -1"):
        RidgeHead(alpha=-1).fit(X, y)
