"""The heads by the names that recipes, commands and model files use."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from affekt.plugins import Plugins

from ...cache.errors import AffektError, InputError, expected_one_of

if TYPE_CHECKING:
    from .base import Head
    from .state import Stored

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


class HeadError(AffektError):
    """A registered head raised an error of Python; that error is its cause."""


def _check_own(name: str, cls: Any) -> None:
    from .base import check_own_head

    check_own_head(name, cls)


_OWN = Plugins("head", "affekt.heads", lambda: (*_CLASSIFIERS, *_REGRESSORS, "summed"), _check_own)


class _Heads(Mapping[str, Any]):
    """Name to class; a class is imported on request, so that listing names needs no torch."""

    def __init__(
        self, what: str, where: Mapping[str, tuple[str, str]], own: Plugins | None = None
    ) -> None:
        self.what = what
        self._where = where
        self._own = own

    def __getitem__(self, name: str) -> Any:
        if self._own is not None and name in self._own:
            return self._own.get(name)
        module, attribute = self._where[name]
        return getattr(import_module(f".{module}", __package__), attribute)

    def __contains__(self, name: object) -> bool:
        return name in self._where or (self._own is not None and name in self._own)

    def __iter__(self) -> Iterator[str]:
        yield from self._where
        if self._own is not None:
            yield from self._own.names()

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<heads for {self.what}: {', '.join(self)}>"


#: heads that classify, and heads that predict numbers
HEADS = _Heads("labels", _CLASSIFIERS, _OWN)
REGRESSORS = _Heads("numbers", _REGRESSORS)


def register_head(name: str, cls: type[Head]) -> None:
    """Let recipes, commands and saved models of this process know a head of your own.

    For the command line, a package declares it in the group of entry points ``affekt.heads``; see
    ``docs/how-to/head.md``. It is tried on 40 made-up clips first.

    Parameters
    ----------
    name : str
        The `name` of the class as well.
    cls : subclass of Head

    Raises
    ------
    InputError
        A name that is taken, or a class that does not keep the contract of heads.

    Examples
    --------
    >>> register_head("my-head", dict)
    Traceback (most recent call last):
    affekt.cache.errors.InputError: head 'my-head' is <class 'dict'>; expected a subclass of ...
    """
    _OWN.register(name, cls)


def code_of_own_head(name: str) -> str:
    """Return the sha256 of the source of a registered head, so that an edit is noticed."""
    if name not in _OWN:
        return ""
    try:
        source = inspect.getsource(_OWN.get(name))
    except (OSError, TypeError):  # typed into a prompt
        source = ""
    return hashlib.sha256(source.encode()).hexdigest()


@contextmanager
def naming_own_head(head: Any, doing: str) -> Iterator[None]:
    """Name the head and its class where a registered head raises an error of Python.

    Parameters
    ----------
    head : head
        Errors of affekt's own heads pass as they are.
    doing : str
        What it was called for, as ``"fit on 80 clips"``.
    """
    try:
        yield
    except Exception as error:
        name, cls = getattr(head, "name", None), type(head)
        if isinstance(error, AffektError) or name not in _OWN:
            raise
        raise HeadError(
            f"the head {name!r} ({cls.__module__}.{cls.__qualname__}) failed in {doing}: "
            f"{type(error).__name__}: {error}"
        ) from error


def check_estimator(head: Any, kind: str) -> None:
    """Refuse, before any work, what cannot be trained for a kind of task.

    Examples
    --------
    >>> from sklearn.svm import LinearSVC
    >>> check_estimator(LinearSVC(), "labels")
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: LinearSVC has no predict_proba, which a task with labels ...
    """
    name = type(head).__name__
    if isinstance(head, type):
        raise InputError(f"the head is the class {head.__name__}; expected {head.__name__}()")
    if not all(hasattr(head, method) for method in ("fit", "get_params")):
        raise InputError(
            f"the head is of type {name}; expected a head of affekt or a scikit-learn estimator. "
            "A network of your own needs a subclass of Head around it (docs/how-to/head.md)"
        )
    if kind == "labels" and not hasattr(head, "predict_proba"):
        raise InputError(
            f"{name} has no predict_proba, which a task with labels needs; "
            f"sklearn.calibration.CalibratedClassifierCV({name}()) adds it to a classifier"
        )


def heads_for(kind: str) -> tuple[_Heads, _Heads]:
    """Return the heads for a kind of task (``"labels"`` or ``"regression"``), and the others."""
    return (REGRESSORS, HEADS) if kind == "regression" else (HEADS, REGRESSORS)


def stored_head(name: str) -> type[Stored] | None:
    """Return the class of a head that a saved model may have, including heads never trained."""
    if name == "summed":
        from .linear.summed import SummedHead

        return SummedHead
    return HEADS.get(name) or REGRESSORS.get(name)


def unknown_head(name: Any, heads: Iterable[str]) -> str:
    """Return what to do about a head that is none of these."""
    return (
        f"unknown head {name!r}; {expected_one_of(name, heads)} A custom head is known once its "
        "package is installed, or after affekt.classify.register_head (docs/how-to/head.md)"
    )


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
        raise InputError(unknown_head(name, HEADS))
    return HEADS[name].from_state(meta, arrays)
