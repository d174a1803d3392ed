"""Standardise features within groups: corpora, languages or speakers.

Groups that training knew are scaled with the statistics of their training rows. A group that it
did not know (every test speaker) has no statistics: that is an error, unless its own unlabelled
rows are used by name. That is transductive: the scaled row depends on the other rows handed in, so
it has to be said in a report, and a single file cannot be scaled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from ....cache.errors import InputError, listed, one_of
from ...heads.sklearn_shim import check_is_fitted, validate_data
from ...heads.state import check_state_arrays

UNSEEN = ("error", "transductive", "global")


class GroupScaler(TransformerMixin, BaseEstimator):
    """Subtract the mean and divide by the standard deviation of each group.

    Parameters
    ----------
    unseen : {"error", "transductive", "global"}, default="error"
        What to do with groups that were not in the training rows: raise; take the statistics of
        their own rows among those handed to `transform`; or those of all training rows.
    min_rows : int, default=5
        Fewer rows than these give no statistics: an error.

    Attributes
    ----------
    groups_ : ndarray of str, sorted
    mean_, scale_ : ndarray of shape (groups + 1, features)
        The last row is that of all training rows. A constant feature has scale 1.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[0.0], [2.0], [10.0], [14.0]])
    >>> scaler = GroupScaler(min_rows=2).fit(X, groups=["deu", "deu", "pol", "pol"])
    >>> scaler.transform(X, groups=["deu", "deu", "pol", "pol"]).ravel().tolist()
    [-1.0, 1.0, -1.0, 1.0]
    """

    n_features_in_: int

    def __init__(self, *, unseen: str = "error", min_rows: int = 5) -> None:
        self.unseen = unseen
        self.min_rows = min_rows

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Learn mean and scale of each group.

        Parameters
        ----------
        X : array-like of shape (clips, features)
            NaN (a missing modality) does not count.
        y : ignored
        groups : array-like of shape (clips,)

        Returns
        -------
        GroupScaler
        """
        one_of(self.unseen, UNSEEN, "unseen")
        X = validate_data(self, X, dtype=np.float64, ensure_all_finite="allow-nan")
        names = _names(groups, len(X))
        self.groups_, code = np.unique(names, return_inverse=True)
        self._check_counts(self.groups_, np.bincount(code), "training")
        found = [_statistics(X[code == i]) for i in range(len(self.groups_))]
        found.append(_statistics(X))
        self.mean_, self.scale_ = (np.stack(part) for part in zip(*found, strict=True))
        return self

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return scaled features (clips, features), float64.

        Raises
        ------
        InputError
            Groups that training did not know, or too few rows of one to scale it by itself.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64, ensure_all_finite="allow-nan")
        names = _names(groups, len(X))
        new = self.unknown(names)
        if new and self.unseen == "error":
            raise InputError(
                f"{len(new)} groups were not in training: {listed(new)}; expected "
                f"{listed(self.groups_.tolist())}. unseen='transductive' scales them by their own "
                "unlabelled rows (say so in the report), unseen='global' by all training rows"
            )
        at = np.minimum(np.searchsorted(self.groups_, names), len(self.groups_) - 1)
        row = np.where(self.groups_[at] == names, at, len(self.groups_))
        scaled = (X - self.mean_[row]) / self.scale_[row]
        if self.unseen == "transductive":
            self._check_counts(new, np.array([(names == name).sum() for name in new]), "these")
            for name in new:
                rows = names == name
                mean, scale = _statistics(X[rows])
                scaled[rows] = (X[rows] - mean) / scale
        return scaled

    def unknown(self, groups: Any) -> list[str]:
        """Return the groups that training did not know, sorted."""
        check_is_fitted(self)
        names = np.asarray(groups).astype(str)
        return sorted(set(names.tolist()) - set(self.groups_.tolist()))

    def get_state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return plain values and arrays, as a head's `get_state`."""
        check_is_fitted(self)
        meta = {**self.get_params(), "groups": self.groups_.tolist()}
        return meta, {"mean": self.mean_, "scale": self.scale_}

    @classmethod
    def from_state(cls, meta: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Self:
        """Rebuild a fitted scaler; names, shapes and types are checked."""
        groups = meta.get("groups")
        if set(meta) != {"unseen", "min_rows", "groups"} or not isinstance(groups, list):
            raise InputError(f"the state of a GroupScaler holds {sorted(meta)}")
        if meta["unseen"] not in UNSEEN or sorted(set(map(str, groups))) != groups:
            raise InputError("the state of a GroupScaler has an unknown word or unsorted groups")
        scaler = cls(unseen=meta["unseen"], min_rows=meta["min_rows"])
        width = np.shape(arrays.get("mean", np.empty((0, 0))))[-1]
        shape = (len(groups) + 1, width)
        check_state_arrays({"mean": shape, "scale": shape}, arrays, np.float64, stored="scaler.")
        if not (np.asarray(arrays["scale"]) > 0).all():
            raise InputError("scale holds numbers that are not above 0")
        scaler.groups_ = np.array(groups)
        scaler.mean_, scaler.scale_ = np.array(arrays["mean"]), np.array(arrays["scale"])
        scaler.n_features_in_ = width
        return scaler

    def _check_counts(self, names: Any, counts: np.ndarray, where: str) -> None:
        few = [f"{n} ({c})" for n, c in zip(names, counts, strict=True) if c < self.min_rows]
        if few:
            raise InputError(
                f"groups with fewer than {self.min_rows} rows in {where}: {listed(few)}; so few "
                "give no mean and scale. Leave these groups out of the clips, or scale within "
                "larger ones (scale: language or dataset) or over all rows (scale: true)"
            )


def _names(groups: Any, rows: int) -> np.ndarray:
    if groups is None:
        raise InputError("groups is missing; expected the group of each row")
    names = np.asarray(groups).astype(str)
    if names.shape != (rows,):
        raise InputError(f"groups has shape {names.shape}; expected ({rows},), one per row")
    return names


def _statistics(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each column; 0 and 1 for one without numbers."""
    known = ~np.isnan(X)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, X, 0).sum(axis=0) / count
    scale = np.sqrt((np.where(known, X - mean, 0) ** 2).sum(axis=0) / count)
    # rounding leaves a constant column a spread of a few parts in 1e16
    constant = scale <= 10 * np.finfo(np.float64).eps * np.abs(mean)
    return mean, np.where(constant | (scale == 0), 1.0, scale)
