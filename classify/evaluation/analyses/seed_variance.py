"""Seeds as a source of variance: the same recipe trained again is another system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ....cache.errors import InputError
from ...data.predictions import Predictions
from ...metrics.bootstrap import resample
from ...metrics.intervals import standard_error


def seed_spread(
    runs: Mapping[str, Predictions],
    truth: np.ndarray,
    groups: np.ndarray,
    *,
    n_resamples: int = 2000,
    random_state: int = 0,
) -> dict[str, Any]:
    """Separate the spread over seeds from the uncertainty that the test speakers give.

    Parameters
    ----------
    runs
        Test predictions of each seed, joined.
    truth, groups
        Label code and group code of each clip.
    n_resamples, random_state
        Draws of groups, and their seed.

    Returns
    -------
    result
        UAR of each seed, their `mean`, `sd`, `low` and `high`; `error_of_clips`, the standard error
        of one run that the choice of speakers gives; and `share`, the part of seeds in the variance
        of one run over seeds and speakers. What speakers move in all seeds alike is the other part:
        runs that err on different clips differ by seed, and `error_of_clips` holds that too.

    Examples
    --------
    >>> truth = np.array([0, 1, 0, 1])
    >>> one = Predictions("abcd", ["x", "y"], np.eye(2)[truth])
    >>> two = Predictions("abcd", ["x", "y"], np.eye(2)[[0, 1, 1, 1]])
    >>> found = seed_spread({"0": one, "1": two}, truth, np.arange(4), n_resamples=50)
    >>> found["mean"], round(found["sd"], 3)
    (0.875, 0.177)
    """
    if len(runs) < 2:
        raise InputError(f"{len(runs)} seed; expected at least two to say how seeds differ")
    n_labels = len(next(iter(runs.values())).labels)
    drawn = resample(
        truth,
        {seed: run.codes for seed, run in runs.items()},
        groups,
        n_labels,
        n_resamples=n_resamples,
        random_state=random_state,
    )
    scores = {seed: drawn.estimates[seed]["uar"] for seed in runs}
    values = np.array(list(scores.values()))
    samples = [drawn.values[seed]["uar"] for seed in runs]
    errors = np.array([standard_error(one, drawn.groups) for one in samples])
    n, of_mean = len(runs), standard_error(np.mean(samples, axis=0), drawn.groups)
    common = max((n * of_mean**2 - float((errors**2).mean())) / (n - 1), 0.0)
    sd, error = float(values.std(ddof=1)), float(errors.mean())
    return {
        "seeds": scores,
        "mean": float(values.mean()),
        "sd": sd,
        "low": float(values.min()),
        "high": float(values.max()),
        "error_of_clips": error,
        "share": sd**2 / (sd**2 + common) if sd or common else 0.0,
    }
