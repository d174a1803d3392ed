"""State without pickle: what an estimator learnt, as plain JSON values and arrays by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from ...cache.errors import InputError, nearest
from .sklearn_shim import BaseEstimator, check_is_fitted

FORMAT = 1
_KINDS = {"str": str, "int": int, "float": float, "bool": bool}


class Stored(BaseEstimator):
    """An estimator whose fitted state goes into JSON and arrays, and comes back checked."""

    name: ClassVar[str] = ""
    _unsaved: ClassVar[frozenset[str]] = frozenset(
        {"callback", "verbose", "device", "n_threads", "precision"}
    )

    n_features_in_: int
    history_: list[dict[str, Any]]

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
            "targets": self._pack_targets(),
            "n_features_in": int(self.n_features_in_),
        }
        learnt, arrays = self._learnt()
        return meta | {"learnt": learnt}, arrays

    def trained_with(self) -> dict[str, Any]:
        """Return the settings, defaults too, as plain JSON values, and what training settled on.

        Returns
        -------
        dict
            ``settings``; ``epochs`` and ``stopped`` of a network, ``shrinkage`` of `LDAHead`, ``C``
            of `LogisticHead`.
        """
        hidden = self._unsaved | {"random_state", "widths"}
        settings = self.get_params(deep=False).items()
        found: dict[str, Any] = {
            "settings": {key: _plain(value) for key, value in settings if key not in hidden}
        }
        for name in ("best_epoch_", "stopped_", "shrinkage_", "C_"):
            if hasattr(self, name):
                found[{"best_epoch_": "epochs"}.get(name, name[:-1])] = _plain(getattr(self, name))
        return found

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a fitted head.

        Parameters
        ----------
        meta, arrays
            What `get_state` gave.

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
        head._unpack_targets(meta.get("targets"))
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

    def _check_settings(self) -> None:
        """Raise `InputError` for a hyper-parameter out of range; called before any work."""

    @abstractmethod
    def _pack_targets(self) -> Any:
        """Return what is predicted (class labels, say) as JSON."""

    @abstractmethod
    def _unpack_targets(self, packed: Any) -> None:
        """Set what `_pack_targets` returned."""

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return further plain values, and the learnt arrays by name.

        By default all public attributes that end in an underscore, as scikit-learn names them.
        """
        learnt: dict[str, Any] = {}
        arrays: dict[str, np.ndarray] = {}
        for name, value in vars(self).items():
            if not _is_learnt(name):
                continue
            if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
                arrays[name] = value
            elif value is None or isinstance(value, (str, int, float, bool, np.generic)):
                learnt[name] = _plain(value)
            else:
                raise InputError(
                    f"{type(self).__name__}.{name} is a {type(value).__name__}, which cannot be "
                    "saved; keep what was learnt as numpy arrays of numbers, numbers or text"
                )
        return learnt, arrays

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        """Set what `_learnt` returned, after checking every name, shape and type."""
        for name, value in {**learnt, **arrays}.items():
            if not _is_learnt(name) or hasattr(type(self), name):
                raise InputError(f"the state of {self.name} has an attribute {name!r}")
            if isinstance(value, np.ndarray) and not np.isfinite(value).all():
                raise InputError(f"head.{name} holds NaN or infinity; expected finite numbers")
            setattr(self, name, value)


def _is_learnt(name: str) -> bool:
    kept_elsewhere = ("classes_", "n_features_in_", "history_", "feature_names_in_")
    return name.endswith("_") and not name.startswith("_") and name not in kept_elsewhere


def check_state_arrays(
    expected: Mapping[str, tuple[int, ...]],
    arrays: Mapping[str, np.ndarray],
    dtype: Any,
    *,
    stored: str = "head.",
) -> None:
    """Raise `InputError` unless `arrays` has exactly the names, shapes and type expected.

    Messages name a tensor as a model's file does: with `stored` before it.
    """
    missing = [stored + name for name in sorted(set(expected) - set(arrays))]
    extra = [stored + name for name in sorted(set(arrays) - set(expected))]
    if missing or extra:
        raise InputError(
            f"the stored numbers do not fit the head: missing {missing[:5]}, not expected "
            f"{extra[:5]} (of {len(missing)} and {len(extra)})"
        )
    for name, shape in expected.items():
        found = np.asarray(arrays[name])
        if found.shape != tuple(shape) or found.dtype != dtype:
            raise InputError(
                f"{stored}{name} has shape {found.shape}, {found.dtype}; expected {tuple(shape)}, "
                f"{np.dtype(dtype)}"
            )
        if not np.isfinite(found).all():
            raise InputError(f"{stored}{name} holds NaN or infinity; expected finite numbers")


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
    """Return what `_plain` was given; any other structure is an error."""
    if isinstance(value, Mapping):
        pairs = value.get("pairs")
        if set(value) != {"pairs"} or not isinstance(pairs, list):
            raise InputError(f"a setting is {dict(value)!r}; expected pairs of label and weight")
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2 or isinstance(pair[0], (list, dict)):
                raise InputError(f"a setting holds {pair!r}; expected a label and its weight")
        return {key: _unplain(item) for key, item in pairs}
    return tuple(_unplain(item) for item in value) if isinstance(value, list) else value


def pack_labels(labels: np.ndarray) -> dict[str, Any]:
    """Return class labels (text, int, float or bool) as JSON."""
    values = labels.tolist()
    kinds = {type(value).__name__ for value in values}
    if len(kinds) != 1 or not kinds <= set(_KINDS):
        raise InputError(f"classes of type {sorted(kinds)} cannot be stored; use text labels")
    return {"kind": kinds.pop(), "object": labels.dtype == object, "values": values}


def unpack_labels(packed: Any) -> np.ndarray:
    """Return the labels that `pack_labels` packed; they have to be sorted, each once."""
    if not isinstance(packed, Mapping) or packed.get("kind") not in _KINDS:
        raise InputError(f"classes is {packed!r}; expected kind and values")
    kind, values = _KINDS[packed["kind"]], packed.get("values")
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise InputError(f"classes are {values!r}; expected a list of {packed['kind']}")
    if len(values) < 2 or sorted(set(values)) != values:
        raise InputError(f"classes are {values!r}; expected at least two, sorted, each once")
    return np.array(values, dtype=object if packed.get("object") else kind)


def pack_dimensions(count: int, is_vector: bool) -> dict[str, Any]:
    """Return the targets of a head of numbers as JSON; a vector is the only dimension."""
    return {"dimensions": count, "vector": is_vector}


def unpack_dimensions(packed: Any) -> tuple[int, bool]:
    """Return what `pack_dimensions` was given."""
    count = packed.get("dimensions") if isinstance(packed, Mapping) else None
    if not isinstance(count, int) or not 0 < count <= 10_000:
        raise InputError(f"dimensions is {count!r}; expected a whole number from 1 to 10000")
    return count, packed.get("vector") is True
