"""Standardise features within speakers, as far as a speaker's clips show their typical features.

The mean of a speaker's clips holds the speaker's voice, the labels of these clips, and noise. Only
the voice should be taken away. How much of the mean that is was learnt from the training clips, for
each feature, and depends on the number of clips: an empirical Bayes estimate of the speaker's
offset, as in a model with random effects (Laird and Ware 1982, "Random-effects models for
longitudinal data"). One clip is barely moved, fifty are centred almost wholly, and where speakers
differ in their labels rather than in their voice little is taken away.

It needs no label of the speaker, but the speaker's other clips: it is transductive, so a prediction
depends on the clips that are handed in with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ....cache.errors import InputError
from ...heads.state import check_state_arrays

ARRAYS = ("mean", "scale", "voice", "labels", "noise")


class SpeakerScaler:
    """Subtract the estimated offset of each speaker, and divide by the deviation within speakers.

    A feature `x` of a speaker with `n` clips of mean `m` becomes
    ``(x - mean - w * (m - mean)) / scale`` with ``w = voice / (voice + labels + noise / n)``.
    Clips without a speaker have ``w = 0``.

    Attributes
    ----------
    mean_ : ndarray of shape (features,)
        Of the training clips.
    scale_ : ndarray of shape (features,)
        Deviation within the speakers of training; 1 for a constant feature.
    voice_, labels_, noise_ : ndarray of shape (features,)
        Variance between speakers with the same labels, variance between speakers because their
        labels differ, and variance within speakers.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [2.0], [10.0], [12.0]])
    >>> speakers = ["ada", "ada", "bo", "bo"]
    >>> scaler = SpeakerScaler().fit(X, ["calm", "glad", "calm", "glad"], speakers)
    >>> scaler.transform(X, speakers).ravel().round(1).tolist()
    [-0.8, 0.6, -0.6, 0.8]
    """

    mean_: np.ndarray
    scale_: np.ndarray
    voice_: np.ndarray
    labels_: np.ndarray
    noise_: np.ndarray

    @property
    def n_features_in_(self) -> int:
        """Width of the features."""
        return len(self.mean_)

    def fit(self, X: np.ndarray, y: Any, speakers: Any) -> Self:
        """Learn the variances.

        Parameters
        ----------
        X : ndarray of shape (clips, features)
            NaN (a missing modality) does not count.
        y : array-like of shape (clips,)
            Labels.
        speakers : array-like of shape (clips,)
            Empty where a clip names none: a speaker of its own.

        Raises
        ------
        InputError
            Fewer than two speakers with two clips or more.
        """
        X = np.asarray(X, dtype=np.float64)
        names = np.asarray(speakers).astype(str)
        alone = np.array([f"\0{row}" for row in range(len(names))])
        speaker = np.unique(np.where(names == "", alone, names), return_inverse=True)[1]
        if (np.bincount(speaker) > 1).sum() < 2:
            raise InputError(
                "scale: speaker needs two speakers or more with several clips in training; "
                f"{len(set(names.tolist()) - {''})} speakers have {len(names)} clips. "
                "Use scale: true"
            )
        label = np.unique(np.asarray(y).astype(str), return_inverse=True)[1]
        self.mean_ = _means(X, np.zeros(len(X), dtype=int))[0]
        X = X - self.mean_
        by_label = np.where(np.isnan(X), np.nan, _means(X, label)[label])
        self.noise_, _ = _variances(X, speaker)
        _, self.voice_ = _variances(X - by_label, speaker)
        _, self.labels_ = _variances(by_label, speaker)
        # rounding leaves a constant column a spread of a few parts in 1e16
        tiny = (10 * np.finfo(np.float64).eps * np.abs(self.mean_)) ** 2
        self.scale_ = np.sqrt(np.where(self.noise_ > tiny, self.noise_, 1.0))
        return self

    def transform(self, X: np.ndarray, speakers: Any) -> np.ndarray:
        """Return scaled features (clips, features), float64.

        Parameters
        ----------
        X : ndarray of shape (clips, features)
        speakers : array-like of shape (clips,)
            Empty where a clip names none.
        """
        names, code = np.unique(np.asarray(speakers).astype(str), return_inverse=True)
        X = np.asarray(X, dtype=np.float64) - self.mean_
        counts = _counts(X, code)
        named = (names != "")[:, None] & (counts > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = self.voice_ / (self.voice_ + self.labels_ + self.noise_ / counts)
        offset = np.where(named & (self.voice_ > 0), weight * _means(X, code), 0.0)
        return (X - offset[code]) / self.scale_

    def get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return plain values and arrays, as a head's `get_state`."""
        return {}, {name: getattr(self, f"{name}_") for name in ARRAYS}

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a fitted scaler; names, shapes and types are checked."""
        if meta:
            raise InputError(f"the state of a SpeakerScaler holds {sorted(meta)}")
        shape = np.shape(arrays.get("mean", ()))[-1:]
        check_state_arrays(dict.fromkeys(ARRAYS, shape), arrays, np.float64, stored="scaler.")
        if not (np.asarray(arrays["scale"]) > 0).all():
            raise InputError("scale holds numbers that are not above 0")
        if any((np.asarray(arrays[name]) < 0).any() for name in ARRAYS[2:]):
            raise InputError("a variance is below 0")
        scaler = cls()
        for name in ARRAYS:
            setattr(scaler, f"{name}_", np.array(arrays[name]))
        return scaler


def _counts(X: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return how many numbers each group has ``(groups, features)``."""
    counts = np.zeros((code.max() + 1, X.shape[1]))
    np.add.at(counts, code, ~np.isnan(X))
    return counts


def _means(X: np.ndarray, code: np.ndarray) -> np.ndarray:
    """Return the mean of each group ``(groups, features)``; 0 for one without numbers."""
    sums = np.zeros((code.max() + 1, X.shape[1]))
    np.add.at(sums, code, np.nan_to_num(X))
    return sums / np.maximum(_counts(X, code), 1)


def _variances(X: np.ndarray, code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance within groups, and that between them without the share of the noise."""
    counts, means = _counts(X, code), _means(X, code)
    there = counts > 0
    groups = there.sum(axis=0)
    inside = np.nansum((X - means[code]) ** 2, axis=0)
    within = inside / np.maximum(counts.sum(axis=0) - groups, 1)
    centre = means.sum(axis=0, where=there) / np.maximum(groups, 1)
    spread = ((means - centre) ** 2).sum(axis=0, where=there) / np.maximum(groups - 1, 1)
    share = np.divide(1, counts, where=there, out=np.zeros_like(counts)).sum(axis=0)
    return within, np.maximum(spread - within * share / np.maximum(groups, 1), 0)
