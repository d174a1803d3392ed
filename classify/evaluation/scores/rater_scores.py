"""How far raters agree on numbers, next to how far systems agree with the same raters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...metrics.concordance import measure

if TYPE_CHECKING:
    from ...data.predictions import Predictions
    from ...metrics.scored_clips import Rated


def of_others(ratings: np.ndarray) -> np.ndarray:
    """Return what a rater is compared with: the mean of the other raters of the clip.

    Parameters
    ----------
    ratings
        `(clips, raters)`; NaN where a rater did not rate a clip.

    Returns
    -------
    means
        `(clips, raters)`; NaN where the rater or all others did not rate the clip.

    Examples
    --------
    >>> of_others(np.array([[1.0, 3.0, 5.0], [2.0, np.nan, 4.0], [np.nan, 3.0, np.nan]])).tolist()
    [[4.0, 3.0, 2.0], [4.0, nan, 2.0], [nan, nan, nan]]
    """
    known = np.isfinite(ratings)
    filled = np.where(known, ratings, 0.0)
    others = known.sum(axis=1, keepdims=True) - known
    total = filled.sum(axis=1, keepdims=True) - filled
    blank = np.full(ratings.shape, np.nan)
    return np.divide(total, others, out=blank, where=known & (others > 0))


def compare_raters(
    test: Rated, systems: Mapping[str, Predictions], *, level: float, pooled: bool, **draws: int
) -> dict[str, Any]:
    """Compare each rater, and each system, with the mean of the other raters of a clip.

    Parameters
    ----------
    test, systems
        Rated clips, and predictions of them.
    level, pooled, draws
        Coverage of the intervals, whether several models predicted the clips, and `n_resamples`
        and `random_state`.

    Returns
    -------
    result
        By dimension that has raters: ``raters`` and ``clips`` (with two raters or more),
        ``ratings`` (the mean number of a clip), ``rater`` (CCC of one rater) and ``systems`` (CCC
        of each, with the same means). An interval resamples speakers.
    """
    found = {}
    for name, scale in test.task.scales.items():
        each = test.task.by_rater(test.clips, name)
        rows, raters = np.nonzero(np.isfinite(others := of_others(each)))
        if len(rows):
            at = test.task.labels.index(name)
            compared = others[rows, raters], test.groups[rows], test.task.limits[at]
            answers = {key: one.proba[rows, at] for key, one in systems.items()}
            own = {"": each[rows, raters]}
            rated = np.isfinite(each[np.unique(rows)]).sum(axis=1)
            found[name] = {
                "raters": len(scale.columns),
                "clips": len(rated),
                "ratings": float(rated.mean()),
                "rater": _ccc(own, *compared, level, pooled=False, **draws)[""],
                "systems": _ccc(answers, *compared, level, pooled=pooled, **draws),
            }
    return found


def _ccc(
    given: Mapping[str, np.ndarray],
    truth: np.ndarray,
    groups: np.ndarray,
    limits: np.ndarray,
    level: float,
    **options: Any,
) -> dict[str, Any]:
    """Return the CCC of numbers with the truth, `(rows,)` each, with its interval."""
    values = {name: one[:, None] for name, one in given.items()}
    drawn = measure(truth[:, None], values, groups, limits[None], **options)
    return {name: drawn.score(name, "ccc", 0, level) for name in given}
