"""Numbers instead of classes: arousal, valence, dominance on scales."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.errors import InputError, one_of
from ..sklearn_shim import check_row_weights
from ..state import check_state_arrays, pack_dimensions, unpack_dimensions
from ..targets import NumbersMixin, read_numbers
from ..training.estimator import TorchEstimator
from ..training.loop import pick_device
from ..training.losses import ccc_loss, mse_loss
from ..training.rows_for_torch import float_tensor, row_weights
from ..training.rows_on_disk import some_rows
from .mlp import MLPSettings

LOSSES = {"ccc": ccc_loss, "mse": mse_loss}


@dataclass(kw_only=True, eq=False, repr=False)
class RegressionHead(NumbersMixin, MLPSettings, TorchEstimator):
    """Multilayer perceptron that predicts one or several emotion dimensions.

    Parameters
    ----------
    loss : {"ccc", "mse"}, default="ccc"
        1 - concordance correlation coefficient of each batch, or mean squared error.
    hidden : tuple of int, default=(256,)
    dropout : float, default=0.3
    input_dropout : float, default=0.0
    activation : {"relu", "gelu", "tanh"}, default="relu"
    **settings
        See `TorchEstimator`. With dev data the epoch with the best mean CCC is kept.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (dimensions,)
        Of the training values; the network predicts standardised values.
    history_ : list of dict

    Notes
    -----
    A dimension that is not annotated for a clip is NaN in a two-dimensional `y`, and counts neither
    in the loss nor on dev.

    References
    ----------
    B. T. Atmaja, M. Akagi: Evaluation of error- and correlation-based loss functions for multitask
    learning dimensional speech emotion recognition, 2021.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((60, 4))
    >>> arousal = 3 + X[:, 0]
    >>> head = RegressionHead(max_epochs=40, learning_rate=1e-2, random_state=0).fit(X, arousal)
    >>> bool(np.corrcoef(head.predict(X), arousal)[0, 1] > 0.9)
    True
    """

    name: ClassVar[str] = "regression"

    batch_size: int | None = 64  # a batch's CCC needs a spread of values
    loss: str = "ccc"
    dropout: float = 0.3
    input_dropout: float = 0.0

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_dev: Any = None, y_dev: Any = None
    ) -> Self:
        """Train on features and numbers.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, dimensions)
            NaN in the latter where a dimension is not annotated.
        sample_weight : array-like of shape (clips,), optional
        X_dev, y_dev : array-like, optional
            Where given, the epoch with the best dev CCC is kept; where not, the last.

        Returns
        -------
        RegressionHead

        Raises
        ------
        InputError
            A setting out of range, a dimension without values, dev data without numbers.
        """
        self._check_settings()
        X, truth, self.vector_ = read_numbers(self, X, y, dtype=np.float32)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        keep = (weight > 0) & np.isfinite(truth).any(axis=1)
        X, truth, weight = some_rows(X, keep), truth[keep], weight[keep]
        if not len(X) or not np.isfinite(truth).any(axis=0).all():
            raise InputError("a dimension of y has no values that count; expected some numbers")
        self.mean_ = np.nanmean(truth, axis=0)
        spread = np.nanstd(truth, axis=0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        device = pick_device(self.device)
        target = self._standardise(truth, device)
        row_weight = row_weights(weight, device)
        criterion = LOSSES[self.loss]

        def loss(values: Tensor, batch: Tensor) -> Tensor:
            return criterion(values, target[batch], row_weight[batch])

        def score(values: Tensor) -> tuple[tuple[float, ...], dict[str, float]]:
            ccc = 1 - ccc_loss(values, dev_target).item()
            error = mse_loss(values, dev_target).item()
            return (ccc, -error), {"dev_loss": error, "dev_ccc": ccc}

        x_dev = self._dev_features(X_dev, y_dev)
        if x_dev is not None:
            dev_truth = np.asarray(y_dev, dtype=np.float64).reshape(len(x_dev), -1)
            if dev_truth.shape[1] != truth.shape[1]:
                raise InputError(f"y_dev has {dev_truth.shape[1]} dimensions, y {truth.shape[1]}")
            dev_target = self._standardise(dev_truth, device)
        self._train_members(X, loss, device, x_dev=x_dev, score=score)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return values (clips,), or (clips, dimensions) where `y` had two axes."""
        values = np.mean([member.numpy() for member in self._outputs(X)], axis=0)
        values = values * self.scale_ + self.mean_
        return values[:, 0] if self.vector_ else values

    def _standardise(self, truth: np.ndarray, device: torch.device) -> Tensor:
        return float_tensor((truth - self.mean_) / self.scale_, device)

    def _network(self, width: int, outputs: int) -> nn.Module:
        return self._mlp(width, outputs)

    def _n_outputs(self) -> int:
        return len(self.mean_)

    def _check_settings(self) -> None:
        super()._check_settings()
        one_of(self.loss, LOSSES, "loss")

    def _pack_targets(self) -> Any:
        return pack_dimensions(len(self.mean_), self.vector_)

    def _unpack_targets(self, packed: Any) -> None:
        count, self.vector_ = unpack_dimensions(packed)
        self.mean_ = self.scale_ = np.zeros(count)  # the shape; the numbers are in the arrays

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        learnt, arrays = super()._learnt()
        return learnt, arrays | {"y.mean": self.mean_, "y.scale": self.scale_}

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        scaling = {name: array for name, array in arrays.items() if name.startswith("y.")}
        shape = self.mean_.shape
        check_state_arrays({"y.mean": shape, "y.scale": shape}, scaling, np.float64)
        super()._restore(learnt, {n: array for n, array in arrays.items() if n not in scaling})
        self.mean_, self.scale_ = np.array(arrays["y.mean"]), np.array(arrays["y.scale"])
