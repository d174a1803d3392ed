"""The heads by the names that recipes, commands and model files use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import InputError, nearest

if TYPE_CHECKING:
    from .base import Head
    from .state import Stored

__all__ = ["HEADS", "REGRESSORS", "head_from_state", "heads_for", "stored_head"]

_CLASSIFIERS = {
    "logistic": ("linear.logistic", "LogisticHead"),
    "lda": ("linear.lda", "LDAHead"),
    "mlp": ("networks.mlp", "MLPHead"),
    "patch": ("networks.patch", "PatchTransformerHead"),
    "concat": ("networks.fusion", "ConcatFusionHead"),
    "mean": ("networks.fusion", "MeanFusionHead"),
    "cross-attention": ("networks.cross_attention", "CrossAttentionFusionHead"),
}
_REGRESSORS = {
    "ridge": ("linear.ridge", "RidgeHead"),
    "regression": ("networks.regression", "RegressionHead"),
}


class _Heads(Mapping[str, Any]):
    """Name to class; a class is imported when it is asked for, so that names cost no torch."""

    def __init__(self, what: str, where: Mapping[str, tuple[str, str]]) -> None:
        self.what = what
        self._where = where

    def __getitem__(self, name: str) -> Any:
        module, attribute = self._where[name]
        return getattr(import_module(f".{module}", __package__), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._where

    def __iter__(self) -> Iterator[str]:
        return iter(self._where)

    def __len__(self) -> int:
        return len(self._where)


#: heads that classify, and heads that predict numbers
HEADS = _Heads("labels", _CLASSIFIERS)
REGRESSORS = _Heads("numbers", _REGRESSORS)


def heads_for(kind: str) -> tuple[_Heads, _Heads]:
    """Return the heads for a kind of task (``"labels"`` or ``"regression"``), and the others."""
    return (REGRESSORS, HEADS) if kind == "regression" else (HEADS, REGRESSORS)


def stored_head(name: str) -> type[Stored] | None:
    """Return the class of a head that a saved model may have; also of one that is never trained."""
    if name == "summed":
        from .linear.summed import SummedHead

        return SummedHead
    return HEADS.get(name) or REGRESSORS.get(name)


def head_from_state(meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Head:
    """Rebuild a fitted head from what its `get_state` gave.

    Parameters
    ----------
    meta : mapping
        Plain JSON values; `meta["head"]` is a name in `HEADS`.
    arrays : mapping of str to ndarray
        The learnt numbers by name.

    Returns
    -------
    Head

    Raises
    ------
    InputError
        An unknown head, or numbers that do not fit it.

    Examples
    --------
    >>> from affekt.classify.heads import LogisticHead
    >>> head = LogisticHead().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "no", "yes", "yes"])
    >>> head_from_state(*head.get_state()).predict([[2.9]]).tolist()
    ['yes']
    """
    name = meta.get("head") if isinstance(meta, Mapping) else None
    if not isinstance(name, str) or name not in HEADS:
        raise InputError(
            f"unknown head {name!r}; expected one of {', '.join(HEADS)}.{nearest(str(name), HEADS)}"
        )
    return HEADS[name].from_state(meta, arrays)
