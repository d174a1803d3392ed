"""Search over the settings of any head, on training data alone.

scikit-learn's search classes behind one function, with folds by group (speaker) and UAR as the
score; `nested_search` also estimates how good the search itself is. Work is spread by joblib, with
whatever backend `joblib.parallel_config` names: threads, processes (loky), Dask or Ray. Results do
not depend on it, nor on the number of workers.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone as _clone, is_regressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingRandomSearchCV,
    RandomizedSearchCV,
    StratifiedGroupKFold,
    StratifiedKFold,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from ...cache.errors import AffektError, InputError, listed, nearest, one_of

clone: Any = _clone  # scikit-learn has no types, and its defaults hide what it accepts
grid_search: Any = GridSearchCV
halving_search: Any = HalvingRandomSearchCV
random_search: Any = RandomizedSearchCV

STRATEGIES = ("grid", "random", "halving", "optuna")


def uar_scorer(estimator: Any, X: Any, y: Any) -> float:
    """Return the mean recall over the classes in `y` (0 to 1, higher is better)."""
    return _uar(np.asarray(y), np.asarray(estimator.predict(X)))


def group_folds(
    y: Any, groups: Any = None, *, n_folds: int = 5, random_state: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return row positions (train, held out) of each fold; no group is on both sides.

    Parameters
    ----------
    y : array-like of shape (clips,)
        Folds have like shares of each class, as far as the groups allow.
    groups : array-like of shape (clips,), optional
    n_folds : int, default=5
        Lowered to the number of groups.
    random_state : int, default=0

    Examples
    --------
    >>> folds = group_folds(["no", "yes"] * 4, ["a", "a", "b", "b", "c", "c", "d", "d"], n_folds=2)
    >>> [len(held_out) for _, held_out in folds]
    [4, 4]
    """
    y = np.asarray(y)
    if groups is None:
        splitter: Any = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
        return _with_two_classes(y, list(splitter.split(y, y)), "clips")
    count = len(np.unique(np.asarray(groups)))
    if count < 2:
        raise InputError("folds by group need at least two groups; there is one")
    n_folds = min(n_folds, count)
    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=random_state)
    folds = list(splitter.split(y, y, groups))
    if not all(len(held_out) for _, held_out in folds):
        # few groups, each with few classes: stratifying may leave a fold without any clip
        folds = list(GroupKFold(n_folds).split(y, y, groups))
    return _with_two_classes(y, folds, "groups")


def search(
    head: Any,
    settings: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    strategy: str = "grid",
    n_iter: int = 20,
    n_folds: int = 5,
    scale: bool = True,
    random_state: int = 0,
    n_jobs: int | None = None,
) -> Any:
    """Find the settings with the best UAR over folds of the rows given, and fit them to all rows.

    Parameters
    ----------
    head : estimator
    settings : mapping of str to sequence, or to scipy distribution
        Values to try for each setting of the head; a distribution (with ``rvs``) is drawn from by
        "random", "halving" and "optuna".
    X : array-like of shape (clips, features)
        Training rows only: what is not handed in cannot be looked at.
    y : array-like of shape (clips,)
    groups : array-like of shape (clips,), optional
        Speakers, say: never on both sides of a fold.
    strategy : {"grid", "random", "halving", "optuna"}, default="grid"
        "halving" tries many settings on few epochs (of torch heads) or few rows, and continues with
        the better third; "optuna" (an extra) proposes settings from earlier scores.
    n_iter : int, default=20
        Settings to draw; not for "grid".
    n_folds : int, default=5
    scale : bool, default=True
        Standardise within each fold.
    random_state : int, default=0

    Returns
    -------
    fitted search
        With `best_params_` (names of the head's settings), `best_score_`, `cv_results_`, and
        `predict` and `predict_proba` of `best_estimator_`.

    Raises
    ------
    InputError
        An unknown strategy or setting, or a `y` of numbers, votes or several tasks.
    AffektError
        A worker process was killed.

    Examples
    --------
    >>> import numpy as np
    >>> from affekt.classify.heads import LogisticHead
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> y = np.where(X[:, 0] > 0, "joy", "fear")
    >>> found = search(LogisticHead(), {"C": [1e-4, 1.0]}, X, y, groups=np.arange(40) % 8)
    >>> sorted(found.best_params_)
    ['C']
    """
    _check(head, settings, strategy, y)
    let_workers_stop()
    if "n_threads" in head.get_params():
        head = clone(head).set_params(n_threads=1)  # the same sums for any number of processes
    folds = group_folds(y, groups, n_folds=n_folds, random_state=random_state)
    if strategy == "optuna":
        from .search_optuna import OptunaSearch

        found: Any = OptunaSearch(
            _pipeline(head, scale), settings, n_iter, folds, uar_scorer, random_state, n_jobs
        )
        return _fitted(found, X, y)
    grid = {f"head__{name}": values for name, values in settings.items()}
    how: dict[str, Any] = {"scoring": uar_scorer, "cv": folds, "n_jobs": n_jobs}
    how["error_score"] = "raise"
    if strategy != "grid":
        how["random_state"] = random_state
    pipeline = _pipeline(head, scale)
    if strategy == "grid":
        found = grid_search(pipeline, grid, **how)
    elif strategy == "random":
        found = random_search(pipeline, grid, n_iter=n_iter, **how)
    else:
        how |= _resource(head, grid)
        found = halving_search(pipeline, grid, n_candidates=n_iter, **how)
    _fitted(found, X, y)
    best = {name: value for name, value in found.best_params_.items() if name in grid}
    if len(best) < len(found.best_params_):
        # halving ends near the full number of epochs, not always at it
        found.best_estimator_ = clone(pipeline).set_params(**best).fit(X, y)
    found.best_params_ = {name.removeprefix("head__"): value for name, value in best.items()}
    return found


def let_workers_stop() -> None:
    """Let joblib restart a worker: its warning, turned into an error, would end the search."""
    warnings.filterwarnings("default", "A worker stopped while some jobs")


def _fitted(found: Any, X: Any, y: Any) -> Any:
    try:
        return found.fit(X, y)
    except BrokenProcessPool as error:
        raise AffektError(
            "a worker process ended before its work was done, perhaps killed for want of memory; "
            "use fewer workers (n_jobs), or n_jobs=1"
        ) from error


@dataclass(frozen=True)
class NestedScores:
    """Scores of a search over nested folds.

    Attributes
    ----------
    prediction : ndarray of shape (clips,)
        Label of each clip by the search that held it out.
    uar : float
        Over all clips.
    fold_uar : list of float
        Of each outer fold.
    settings : list of dict
        What the search chose in each outer fold.
    """

    prediction: np.ndarray
    uar: float
    fold_uar: list[float]
    settings: list[dict[str, Any]]


def nested_search(
    head: Any,
    settings: Mapping[str, Any],
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    outer_folds: int = 5,
    outer: Sequence[tuple[np.ndarray, np.ndarray]] | None = None,
    **options: Any,
) -> NestedScores:
    """Search inside each outer fold, and score on the rows held out.

    Parameters
    ----------
    head, settings, X, y, groups, **options
        As in `search`.
    outer_folds : int, default=5
    outer : sequence of (train, test) row positions, optional
        Folds of your own, say saved ones.

    Returns
    -------
    NestedScores

    Raises
    ------
    InputError
        Folds of your own in which a row or group is on both sides.

    Examples
    --------
    >>> import numpy as np
    >>> from affekt.classify.heads import LogisticHead
    >>> X = np.random.default_rng(0).standard_normal((60, 3))
    >>> y = np.where(X[:, 0] > 0, "joy", "fear")
    >>> nested = nested_search(
    ...     LogisticHead(), {"C": [0.01, 1.0]}, X, y, groups=np.arange(60) % 10, outer_folds=2)
    >>> nested.uar > 0.9, len(nested.settings)
    (True, 2)
    """
    X, y = np.asarray(X), np.asarray(y)
    groups = None if groups is None else np.asarray(groups)
    seed = options.get("random_state", 0)
    folds = outer or group_folds(y, groups, n_folds=outer_folds, random_state=seed)
    prediction = np.empty(len(y), dtype=y.dtype)
    scores, chosen, seen = [], [], np.zeros(len(y), dtype=bool)
    for train, test in folds:
        _check_apart(train, test, groups)
        inside = None if groups is None else groups[train]
        found = search(head, settings, X[train], y[train], groups=inside, **options)
        prediction[test] = found.predict(X[test])
        seen[test] = True
        scores.append(_uar(y[test], prediction[test]))
        chosen.append(dict(found.best_params_))
    return NestedScores(prediction, _uar(y[seen], prediction[seen]), scores, chosen)


def _uar(truth: np.ndarray, prediction: np.ndarray) -> float:
    return float(np.mean([(prediction[truth == c] == c).mean() for c in np.unique(truth)]))


class OneThread(Pipeline):
    """A pipeline that limits linear algebra to one thread, in any process of joblib.

    Another number of threads adds in another order: the last bits would depend on how many workers
    there are. And workers that each take every processor slow each other down.
    """

    def fit(self, X: Any, y: Any = None, **params: Any) -> Any:
        """Fit on one thread."""
        with threadpool_limits(limits=1):
            return super().fit(X, y, **params)

    def predict(self, X: Any, **params: Any) -> Any:
        """Predict on one thread."""
        with threadpool_limits(limits=1):
            return super().predict(X, **params)

    def predict_proba(self, X: Any, **params: Any) -> Any:
        """Return probabilities, on one thread."""
        with threadpool_limits(limits=1):
            return super().predict_proba(X, **params)


def _pipeline(head: Any, scale: bool) -> Pipeline:
    return OneThread([("scale", StandardScaler() if scale else "passthrough"), ("head", head)])


def _resource(head: Any, grid: Mapping[str, Any]) -> dict[str, Any]:
    """Return what halving spends: epochs of a torch head, rows of another."""
    settings = head.get_params()
    if "max_epochs" not in settings or "head__max_epochs" in grid:
        return {"resource": "n_samples"}
    return {
        "resource": "head__max_epochs",
        "max_resources": settings["max_epochs"] or 30,  # the most that None means
        "min_resources": "exhaust",  # so that the last round has about all epochs
    }


def _check(head: Any, settings: Mapping[str, Any], strategy: str, y: Any) -> None:
    one_of(strategy, STRATEGIES, "strategy")
    known = sorted(head.get_params())
    for name in settings:
        if name not in known:
            raise InputError(
                f"{type(head).__name__} has no setting {name!r}; expected {listed(known, 30)}."
                f"{nearest(name, known)}"
            )
    if not settings:
        raise InputError("settings is empty; expected values to try for some setting")
    if is_regressor(head) or np.prod(np.shape(y)[1:]) > 1:
        raise InputError(
            "search chooses by UAR and so needs one label for each clip; for numbers, votes and "
            "several tasks use sklearn.model_selection.GridSearchCV, with GroupKFold for speakers"
        )


def _with_two_classes(y: np.ndarray, folds: list, units: str) -> list:
    """Return the folds; refuse them where one has nothing to tell apart in training."""
    for train, _ in folds:
        left = np.unique(y[train])
        if len(left) < 2 <= len(np.unique(y)):
            lost = np.setdiff1d(y, left).tolist()
            raise InputError(
                f"with a fold held out, y holds {left.tolist()} only: {listed(lost)} is in too "
                f"few {units}; expected two classes in at least two {units} each"
            )
    return folds


def _check_apart(train: np.ndarray, test: np.ndarray, groups: np.ndarray | None) -> None:
    if np.intersect1d(train, test).size:
        raise InputError("an outer fold has the same rows in train and test")
    if groups is not None:
        shared = np.intersect1d(groups[train], groups[test])
        if shared.size:
            raise InputError(
                "an outer fold has groups in both train and test: "
                f"{listed([str(g) for g in shared])}"
            )
