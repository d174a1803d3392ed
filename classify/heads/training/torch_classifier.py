"""What the classifying torch heads share: loss, class weights, sampling, dev score.

A head of its own is a dataclass that adds settings and builds a network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..base import Head
from ..targets import Targets, class_weights, known_labels
from .estimator import TorchEstimator
from .loop import pick_device
from .losses import CrossEntropy, cross_entropy, weighted_targets
from .rows_for_torch import float_tensor, row_weights
from .rows_on_disk import some_rows
from .sampling import row_shares, strata

LOSSES = ("cross-entropy", "focal")


@dataclass(kw_only=True, eq=False, repr=False)
class TorchHead(TorchEstimator, Head):
    """A classifier that is a torch network, with the settings of `TorchEstimator` and these.

    Parameters
    ----------
    label_smoothing : float
        Part of each target that is spread over all classes in equal parts, see `weighted_targets`.
    class_weight : {"balanced"}, dict of label to weight, or None
    loss : {"cross-entropy", "focal"}
    gamma : float
        Focus of the focal loss.
    logit_adjustment : float
        Train with this times the log of the class shares added to the logits (1 is the usual
        value; Menon and others, ICLR 2021): rare classes gain at prediction. Instead of class
        weights, not with them.
    sampling : {"class", "group", "class-and-group"} or None
        What each epoch shows in equal parts; groups (languages, corpora) are given to `fit`.
    """

    label_smoothing: float = 0.0
    class_weight: str | dict[Any, float] | None = "balanced"
    loss: str = "cross-entropy"
    gamma: float = 2.0
    logit_adjustment: float = 0.0
    sampling: str | None = None

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_dev: Any = None,
        y_dev: Any = None,
        *,
        groups: Any = None,
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Train on features and labels, with dev data to stop early on or to watch.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, classes)
            Labels; or distributions over the labels (or vote counts), then `classes` names the
            columns.
        sample_weight : array-like of shape (clips,), optional
        X_dev, y_dev : array-like, optional
            With `early_stopping` the epoch with the best dev UAR is kept (equal ones: the lower
            dev loss). Otherwise `max_epochs` epochs are trained, and dev scores are only recorded.
            Nothing is split off where there is no dev.
        groups : array-like of shape (clips,), optional
            Group of each clip (its language, say), for `sampling`.
        classes : sequence of label, optional
            Column names of a two-dimensional `y`.

        Raises
        ------
        InputError
            A setting out of range, one class only, dev data without labels.
        ValueError
            NaN or infinity in `X`, or lengths that differ.
        DivergedError
            The loss became NaN or infinite.
        """
        X, targets, weight, keep = self._read(X, y, sample_weight, classes, **self._checks())
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != keep.shape:
                raise InputError(f"groups has shape {groups.shape}; expected {keep.shape}")
            groups = groups[keep]
        stratum = strata(self.sampling, targets.hard, groups)
        dev = self._read_dev(X_dev, y_dev, targets.classes, classes)
        device = pick_device(self.device)
        shares = row_shares(stratum, len(X))
        row_weight = row_weights(weight, device)
        weights = class_weights(self.class_weight, targets, weight * shares)
        class_weight = float_tensor(weights, device)
        target = weighted_targets(
            float_tensor(targets.soft, device), class_weight, self.label_smoothing
        )
        target = target * row_weight[:, None]
        shift = None
        if self.logit_adjustment:
            log_prior = float_tensor(_log_prior(targets, weight * shares), device)
            shift = self.logit_adjustment * log_prior
        loss = CrossEntropy(target, self.gamma if self.loss == "focal" else 0.0, shift)

        def score(logits: Tensor) -> tuple[tuple[float, ...], dict[str, float]]:
            return dev_score(logits, truth, class_weight)

        self.classes_ = targets.classes
        x_dev = None
        if dev is not None:
            x_dev, truth = dev[0], torch.from_numpy(dev[1]).to(device)
        self._train_members(X, loss, device, x_dev=x_dev, score=score, stratum=stratum)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes), float64, in the order of `classes_`.

        Computed in float64, or in float32 in blocks of one size: a row does not depend on its
        neighbours.

        Parameters
        ----------
        X : array-like of shape (clips, features)

        Returns
        -------
        ndarray of shape (clips, classes)
        """
        members = [torch.softmax(logits, dim=1).numpy() for logits in self._outputs(X)]
        return np.mean(members, axis=0)

    def _n_outputs(self) -> int:
        return len(self.classes_)

    def _read_dev(
        self, X_dev: Any, y_dev: Any, known: np.ndarray, columns: Sequence[Any] | None
    ) -> tuple[Any, np.ndarray] | None:
        X_dev = self._dev_features(X_dev, y_dev)
        if X_dev is None:
            return None
        truth = known_labels(y_dev, known, columns)
        if len(truth) != len(X_dev):
            raise InputError(f"X_dev has {len(X_dev)} rows, y_dev {len(truth)}; expected as many")
        keep = self._usable(X_dev, "dev")
        if not (truth[keep] >= 0).any():
            raise InputError("y_dev has no label of y; dev UAR would be 0 throughout")
        return some_rows(X_dev, keep), truth[keep]

    def _check_settings(self) -> None:
        super()._check_settings()
        check_number("label_smoothing", self.label_smoothing, 0, 1)
        one_of(self.loss, LOSSES, "loss")
        check_number("gamma", self.gamma, 0)
        check_number("logit_adjustment", self.logit_adjustment, 0)
        if self.logit_adjustment and self.class_weight is not None:
            raise InputError(
                "logit_adjustment and class_weight both correct for rare classes; "
                "set class_weight=None to use logit_adjustment"
            )


def _log_prior(targets: Targets, row_weight: np.ndarray) -> np.ndarray:
    mass = row_weight @ targets.soft
    return np.log(np.maximum(mass / mass.sum(), 1e-12))


def dev_score(
    logits: Tensor, truth: Tensor, weight: Tensor
) -> tuple[tuple[float, ...], dict[str, float]]:
    """Return (UAR, -loss) and both by name; a class that is not in train has recall 0."""
    right = (logits.argmax(1) == truth).double()
    recalls = [right[truth == label].mean().item() for label in truth.unique()]
    uar = sum(recalls) / len(recalls)
    seen = truth >= 0
    target = nn.functional.one_hot(truth[seen], logits.shape[1]).to(logits.dtype)
    loss = cross_entropy(logits[seen], target, class_weight=weight).item()
    return (uar, -loss), {"dev_loss": loss, "dev_uar": uar}
