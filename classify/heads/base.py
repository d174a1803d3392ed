"""The contract of a classifying head: labels in, probabilities out, state as JSON and arrays.

Scikit-learn's estimator contract, plus `get_state` and `from_state`, so that a fitted head is
stored without pickle. A head does not scale its input.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np

from ...cache.errors import InputError
from .sklearn_shim import (
    ClassifierMixin,
    check_consistent_length,
    check_is_fitted,
    check_row_weights,
    validate_data,
)
from .state import Stored, pack_labels, unpack_labels
from .targets import Targets, read_distributions, read_labels
from .training.rows_on_disk import some_rows


class Head(ClassifierMixin, Stored):
    """A classifier on 2-D features; the base class of every head, including your own.

    A subclass has a `name`, settings as arguments of ``__init__`` that it keeps under the same
    names, `fit` and `predict_proba`. `fit` keeps what it learns in attributes that end in an
    underscore, as scikit-learn does: `classes_`, `n_features_in_`, and numpy arrays or numbers of
    its own, which a model's file then holds. See ``docs/how-to/head.md`` and `register_head`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Sorted labels; the columns of `predict_proba`.
    n_features_in_ : int
    history_ : list of dict
        One row per training epoch; empty for heads without epochs.
    """

    #: whether `fit` takes `RowsOnDisk`, block by block; other heads get the features as an array
    reads_blocks: ClassVar[bool] = False

    classes_: np.ndarray

    @abstractmethod
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Learn from features (clips, features) and labels (clips,)."""

    @abstractmethod
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes), float64, rows sum to 1."""

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable label of each clip; of equal ones the first in `classes_`.

        Parameters
        ----------
        X : array-like of shape (clips, features)

        Returns
        -------
        ndarray of shape (clips,)
        """
        check_is_fitted(self)
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def _pack_targets(self) -> Any:
        return pack_labels(self.classes_)

    def _unpack_targets(self, packed: Any) -> None:
        self.classes_ = unpack_labels(packed)

    def _usable(self, X: np.ndarray, part: str) -> np.ndarray:
        """Return a mask of the rows of "train" or "dev" that can be used."""
        return np.ones(len(X), dtype=bool)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, classes: Sequence[Any] | None, **checks: Any
    ) -> tuple[Any, Targets, np.ndarray, np.ndarray]:
        """Return checked features, targets, row weights, and the mask of the rows given.

        Rows that weigh 0 and rows that the head cannot use are left out.
        """
        self._check_settings()
        shape = () if y is None else np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            X = validate_data(self, X, **checks)
            targets = read_distributions(y, classes)
            check_consistent_length(X, targets.soft)
            if not targets.soft.any(axis=0).all():
                targets = _present(targets)  # some class has no votes
        else:
            if classes is not None:
                raise InputError("classes names the columns of a 2-D y, but y is 1-D: leave it out")
            X, y = validate_data(self, X, y, **checks)
            targets = read_labels(y)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        keep = self._usable(X, "train") & (weight > 0)
        if not keep.all():
            if not keep.any():
                raise InputError(f"none of {len(X)} rows can be used (sample_weight 0 or missing)")
            targets = _present(targets.rows(keep))
            X, weight = some_rows(X, keep), weight[keep]
        return X, targets, weight, keep


def _present(targets: Targets) -> Targets:
    """Forget the classes that no row has."""
    seen = targets.soft.any(axis=0)
    if seen.sum() < 2:
        raise InputError("only one class is left in the rows that count; expected at least two")
    soft = targets.soft[:, seen]
    return Targets(targets.classes[seen], soft, soft.argmax(axis=1))


def check_own_head(name: str, cls: Any) -> None:
    """Try a registered head on made-up clips, and raise `InputError` where it fails.

    It is made with its defaults, trained on 40 clips with 4 features and 2 labels, and asked for
    probabilities, before and after its state was saved.
    """
    if not (isinstance(cls, type) and issubclass(cls, Head)):
        raise InputError(
            f"head {name!r} is {cls!r}; expected a subclass of affekt.classify.heads.Head"
        )
    written = ("fit", "predict_proba")
    if missing := [one for one in written if getattr(cls, one) is getattr(Head, one)]:
        raise InputError(f"head {name!r}: {cls.__name__} has no {', '.join(missing)}")
    if cls.name != name:
        raise InputError(
            f"head {name!r}: {cls.__name__}.name is {cls.name!r}; make it the registered name"
        )
    rng = np.random.default_rng(0)
    y = np.array(["calm", "joy"] * 20)
    X = (rng.standard_normal((40, 4)) + (y == "joy")[:, None]).astype(np.float32)
    try:
        _try_own_head(cls, X, y)
    except Exception as error:
        kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
        raise InputError(f"head {name!r}, tried on 40 made-up clips: {kind}{error}") from error


def _try_own_head(cls: type[Head], X: np.ndarray, y: np.ndarray) -> None:
    head = cls()
    head.get_params()  # fails where __init__ does not keep its arguments
    if head.fit(X, y) is not head:
        raise InputError("fit does not return self")
    if np.asarray(getattr(head, "classes_", ())).tolist() != ["calm", "joy"]:
        raise InputError(f"classes_ is {getattr(head, 'classes_', None)!r}; expected the sorted y")
    if getattr(head, "n_features_in_", None) != X.shape[1]:
        raise InputError("fit does not set n_features_in_, the number of columns of X")
    proba = np.asarray(head.predict_proba(X))
    if proba.shape != (len(X), 2):
        raise InputError(f"predict_proba returns {proba.shape}; expected (clips, classes), (40, 2)")
    if not (np.isfinite(proba).all() and (proba >= 0).all()):
        raise InputError("predict_proba returns numbers below 0, NaN or infinity")
    if not np.allclose(proba.sum(axis=1), 1, atol=1e-5):
        raise InputError("rows of predict_proba do not sum to 1")
    meta, arrays = head.get_state()
    meta = json.loads(json.dumps(meta, allow_nan=False))
    again = np.asarray(cls.from_state(meta, arrays).predict_proba(X))
    if not np.array_equal(again, proba):
        raise InputError(
            "the head predicts differently after it is saved and loaded; keep everything that "
            "fit learns in attributes that end in an underscore (weights_), or write get_state "
            "and from_state"
        )
