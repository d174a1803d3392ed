"""Intervals over two crossed factors: speakers, and the sentences that all of them say.

An interval over speakers says what other speakers would give for the same sentences. Where few
sentences were recorded and some are harder than others, other sentences would differ by more. The
variances over speakers and over sentences add up, less what the cells of both give, which is in
each of them (Cameron, Gelbach and Miller, 2011); the sum is never less than the larger one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from .bootstrap import Resamples, resample


def resample_crossed(
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    groups: np.ndarray,
    second: np.ndarray,
    n_labels: int,
    **options: Any,
) -> Resamples:
    """Draw two crossed factors, as speakers and the sentences that all of them say.

    Parameters
    ----------
    truth, predictions, groups, n_labels, options
        As for `resample`.
    second
        Code of the second factor of each clip, `(clips,)`.

    Returns
    -------
    resamples
        Of `groups`; `interval` and `difference` say what other speakers and other sentences give.

    Examples
    --------
    >>> from affekt.classify.metrics.bootstrap import resample
    >>> truth, groups = np.tile([0, 1], 18), np.repeat(range(6), 6)
    >>> sentence = np.tile(np.arange(6), 6)
    >>> guess = np.where(sentence == 3, 1 - truth, truth)  # one sentence is hard for all
    >>> one = resample(truth, {"a": guess}, groups, 2, n_resamples=200).interval("a", "uar")
    >>> two = resample_crossed(truth, {"a": guess}, groups, sentence, 2, n_resamples=200)
    >>> low, high = two.interval("a", "uar")
    >>> high - low > 1.5 * (one[1] - one[0])
    True
    """
    cells = groups.astype(np.int64) * (int(second.max()) + 1) + second
    first, other, both = (
        resample(truth, predictions, codes, n_labels, **options)
        for codes in (groups, second, cells)
    )
    return replace(first, crossed=(other, both))
