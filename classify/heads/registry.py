"""The heads by the names that recipes, commands and model files use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from ...cache.errors import InputError, nearest
from .base import Head

__all__ = ["HEADS", "head_from_state", "stored_head"]

_WHERE = {
    "logistic": ("logistic", "LogisticHead"),
    "lda": ("lda", "LDAHead"),
    "mlp": ("mlp", "MLPHead"),
    "patch": ("patch", "PatchTransformerHead"),
    "concat": ("fusion", "ConcatFusionHead"),
    "mean": ("fusion", "MeanFusionHead"),
    "cross-attention": ("attention", "CrossAttentionFusionHead"),
}


class _Heads(Mapping[str, type[Head]]):
    """Name to class; a class is imported when it is asked for, so that names cost no torch."""

    def __getitem__(self, name: str) -> type[Head]:
        if name not in _WHERE:
            raise KeyError(name)
        module, attribute = _WHERE[name]
        return getattr(import_module(f".{module}", __package__), attribute)

    def __contains__(self, name: object) -> bool:
        return name in _WHERE

    def __iter__(self) -> Iterator[str]:
        return iter(_WHERE)

    def __len__(self) -> int:
        return len(_WHERE)


HEADS: Mapping[str, type[Head]] = _Heads()


def stored_head(name: str) -> type[Head] | None:
    """Return the class of a head that a saved model may have; also of one that is never trained."""
    if name == "summed":
        from .summed import SummedHead

        return SummedHead
    return HEADS.get(name)


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
