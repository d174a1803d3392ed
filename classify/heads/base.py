"""The contract of a classifying head: labels in, probabilities out, state as JSON and arrays.

Scikit-learn's estimator contract, plus `get_state` and `from_state`, so that a fitted head is
stored without pickle. A head neither scales its input nor knows of clips.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from ...cache.errors import InputError, nearest
from .targets import Targets, read_distributions, read_labels
from .validation import (
    check_consistent_length,
    check_is_fitted,
    check_row_weights,
    validate_data,
)

__all__ = ["Head", "check_choice", "check_number", "check_state_arrays"]

FORMAT = 1
_KINDS = {"str": str, "int": int, "float": float, "bool": bool}


class Head(ClassifierMixin, BaseEstimator, ABC):
    """A classifier on 2-D features; see `LogisticHead` and `MLPHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
        Sorted labels; the columns of `predict_proba`.
    n_features_in_ : int
    history_ : list of dict
        One row per training epoch; empty for heads without epochs.
    """

    name: ClassVar[str] = ""
    _unsaved: ClassVar[frozenset[str]] = frozenset({"callback", "verbose", "device"})

    classes_: np.ndarray
    n_features_in_: int
    history_: list[dict[str, Any]]

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

    def get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return what was learnt: plain JSON values, and arrays by name.

        Returns
        -------
        meta : dict
            Head name, hyper-parameters, classes, width.
        arrays : dict of str to ndarray
        """
        check_is_fitted(self)
        meta = {
            "head": self.name,
            "format": FORMAT,
            "params": {
                key: _plain(value)
                for key, value in self.get_params(deep=False).items()
                if key not in self._unsaved
            },
            "classes": _pack_labels(self.classes_),
            "n_features_in": int(self.n_features_in_),
        }
        learnt, arrays = self._learnt()
        return meta | {"learnt": learnt}, arrays

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a fitted head.

        Parameters
        ----------
        meta, arrays
            What `get_state` gave.

        Returns
        -------
        Head

        Raises
        ------
        InputError
            Another head, an unknown setting, or an array that is missing, not expected, or of
            another shape or type. Nothing is allocated before the shapes agree.
        """
        if meta.get("head") != cls.name or meta.get("format") != FORMAT:
            raise InputError(
                f"the state is of head {meta.get('head')!r}, format {meta.get('format')!r}; "
                f"expected {cls.name!r}, format {FORMAT}"
            )
        params = meta.get("params")
        known = [key for key in cls._get_param_names() if key not in cls._unsaved]
        if not isinstance(params, Mapping):
            raise InputError(f"params is {params!r}; expected a mapping")
        for key in params:
            if key not in known:
                raise InputError(
                    f"{cls.name} has no setting {key!r}; expected {', '.join(known)}."
                    f"{nearest(str(key), known)}"
                )
        head = cls(**{key: _unplain(value) for key, value in params.items()})
        head._check_settings()
        head.classes_ = _unpack_labels(meta.get("classes"))
        width = meta.get("n_features_in")
        if not isinstance(width, int) or not 0 < width < 2**31:
            raise InputError(f"n_features_in is {width!r}; expected a positive whole number")
        head.n_features_in_ = width
        head.history_ = []
        learnt = meta.get("learnt", {})
        if not isinstance(learnt, Mapping):
            raise InputError(f"learnt is {learnt!r}; expected a mapping")
        head._restore(learnt, arrays)
        return head

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        raise NotImplementedError

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        raise NotImplementedError

    def _check_settings(self) -> None:
        """Raise `InputError` for a hyper-parameter out of range; called before any work."""

    def _usable(self, X: np.ndarray) -> np.ndarray:
        """Return a mask of the rows that training can use."""
        return np.ones(len(X), dtype=bool)

    def _read(
        self, X: Any, y: Any, sample_weight: Any, classes: Sequence[Any] | None, **checks: Any
    ) -> tuple[np.ndarray, Targets, np.ndarray, np.ndarray]:
        """Return checked features, targets, row weights, and the mask of the rows given.

        Rows that weigh 0 and rows that the head cannot use are left out.
        """
        self._check_settings()
        shape = () if y is None else np.asarray(y).shape
        if len(shape) == 2 and shape[1] > 1:
            X = validate_data(self, X, **checks)
            targets = read_distributions(y, classes)
            check_consistent_length(X, targets.soft)
        else:
            if classes is not None:
                raise InputError("classes names the columns of a 2-D y; y is 1-D: leave it out")
            X, y = validate_data(self, X, y, **checks)
            targets = read_labels(y)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        keep = self._usable(X) & (weight > 0)
        if not keep.all():
            if not keep.any():
                raise InputError(f"none of {len(X)} rows can be used (sample_weight 0 or missing)")
            targets = _present(targets.rows(keep))
            X, weight = X[keep], weight[keep]
        return X, targets, weight, keep


def _present(targets: Targets) -> Targets:
    """Forget the classes that no row has."""
    seen = targets.soft.any(axis=0)
    if seen.sum() < 2:
        raise InputError("one class only is left in the rows that count; expected at least two")
    soft = targets.soft[:, seen]
    return Targets(targets.classes[seen], soft, soft.argmax(axis=1))


def check_number(
    name: str, value: Any, low: float, high: float = math.inf, *, whole: bool = False
) -> None:
    """Raise `InputError` unless `value` is a number from `low` to `high`."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        kind = "a whole number" if whole else "a number"
        limit = f"from {low:g} up" if math.isinf(high) else f"from {low:g} to {high:g}"
        raise InputError(f"{name} is {value!r}; expected {kind} {limit}")


def check_choice(name: str, value: Any, choices: Collection[Any]) -> None:
    """Raise `InputError` unless `value` is one of `choices`."""
    if not isinstance(value, (str, bool, type(None))) or value not in choices:
        words = [choice for choice in choices if isinstance(choice, str)]
        raise InputError(
            f"{name} is {value!r}; expected one of {', '.join(map(repr, choices))}."
            f"{nearest(str(value), words)}"
        )


def check_state_arrays(
    expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray], dtype: Any
) -> None:
    """Raise `InputError` unless `arrays` has exactly the names, shapes and type expected."""
    missing, extra = sorted(set(expected) - set(arrays)), sorted(set(arrays) - set(expected))
    if missing or extra:
        raise InputError(
            f"the stored numbers do not fit the head: missing {missing[:5]}, not expected "
            f"{extra[:5]} (of {len(missing)} and {len(extra)})"
        )
    for name, shape in expected.items():
        found = np.asarray(arrays[name])
        if found.shape != tuple(shape) or found.dtype != dtype:
            raise InputError(
                f"{name} has shape {found.shape}, {found.dtype}; expected {tuple(shape)}, "
                f"{np.dtype(dtype)}"
            )
        if not np.isfinite(found).all():
            raise InputError(f"{name} holds NaN or infinity; expected finite numbers")


def _plain(value: Any) -> Any:
    """Return a hyper-parameter as JSON: tuples as lists, dicts as pairs, generators as None."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {"pairs": [[_plain(key), _plain(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (str, int, float, bool)) else None


def _unplain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _unplain(item) for key, item in value["pairs"]}
    return tuple(_unplain(item) for item in value) if isinstance(value, list) else value


def _pack_labels(labels: np.ndarray) -> dict[str, Any]:
    values = labels.tolist()
    kinds = {type(value).__name__ for value in values}
    if len(kinds) != 1 or not kinds <= set(_KINDS):
        raise InputError(f"classes of type {sorted(kinds)} cannot be stored; use text labels")
    return {"kind": kinds.pop(), "object": labels.dtype == object, "values": values}


def _unpack_labels(packed: Any) -> np.ndarray:
    if not isinstance(packed, Mapping) or packed.get("kind") not in _KINDS:
        raise InputError(f"classes is {packed!r}; expected kind and values")
    kind, values = _KINDS[packed["kind"]], packed.get("values")
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise InputError(f"classes are {values!r}; expected a list of {packed['kind']}")
    if len(values) < 2 or sorted(set(values)) != values:
        raise InputError(f"classes are {values!r}; expected at least two, sorted, each once")
    return np.array(values, dtype=object if packed.get("object") else kind)
