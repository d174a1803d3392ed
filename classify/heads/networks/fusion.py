"""Fusion of two modalities by concatenation and by mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ....cache.errors import check_number
from ..training.estimator import WIDEST
from .mlp import MLP, MLPSettings
from .modalities import FusionHead


class _Concat(nn.Module):
    def __init__(self, mlp: MLP) -> None:
        super().__init__()
        self.mlp = mlp

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.mlp(torch.cat([first, second], dim=1))


class _Mean(nn.Module):
    def __init__(self, widths: tuple[int, int], dim: int, projected: list[bool], mlp: MLP) -> None:
        super().__init__()
        self.projections = nn.ModuleList(
            nn.Linear(width, dim) if learn else nn.Identity()
            for width, learn in zip(widths, projected, strict=True)
        )
        self.mlp = mlp

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        one, other = self.projections
        return self.mlp((one(first) + other(second)) / 2)


@dataclass(kw_only=True, eq=False, repr=False)
class _MLPFusionHead(MLPSettings, FusionHead):
    label_smoothing: float = 0.1
    input_dropout: float = 0.2


@dataclass(kw_only=True, eq=False, repr=False)
class ConcatFusionHead(_MLPFusionHead):
    """Multilayer perceptron on the two modalities laid side by side.

    Parameters
    ----------
    widths : pair of int or None, default=None
        Columns of the first and the second side; None: two halves.
    missing : {"error", "drop", "predict"}, default="error"
        See `FusionHead`; the counts are in `missing_`.
    hidden : tuple of int, default=(256,)
        Units of each hidden layer; `()` makes it linear in both sides, so that nothing of their
        interaction can be learnt.
    dropout, input_dropout : float
    activation : {"relu", "gelu", "tanh"}, default="relu"
    **settings
        See `FusionHead` and `TorchHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    missing_ : dict of str to dict
        For "train" and "dev": clips, first_missing, second_missing, left_out.
    history_ : list of dict

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["sad", "glad"], 20)
    >>> speech = rng.standard_normal((40, 4)) + 3 * (y == "glad")[:, None]
    >>> text = np.where(np.arange(40)[:, None] % 5 == 0, np.nan, rng.standard_normal((40, 3)))
    >>> head = ConcatFusionHead(widths=(4, 3), missing="predict", random_state=0)
    >>> head.fit(np.hstack([speech, text]), y).missing_["train"]["second_missing"]
    8
    """

    name: ClassVar[str] = "concat"

    def _body(self, widths: tuple[int, int], outputs: int) -> nn.Module:
        return _Concat(self._mlp(sum(widths), outputs))


@dataclass(kw_only=True, eq=False, repr=False)
class MeanFusionHead(_MLPFusionHead):
    """Multilayer perceptron on the element-wise mean of the two modalities.

    A mean of vectors, not of probabilities; for that, combine two models in an ensemble. Encoders
    of speech and text do not share their axes, so each side is projected to common ones first;
    ``dim=None`` leaves that out, as the speech-emotion toolkit of UMUTeam does.

    Parameters
    ----------
    widths : pair of int or None, default=None
        Columns of the first and the second side; None: two halves.
    dim : int or None, default=256
        Width to which each side is projected, learnt. None: sides of equal width are averaged as
        they are; of unequal ones the wider is projected to the width of the other.
    missing : {"error", "drop", "predict"}, default="error"
        See `FusionHead`; the counts are in `missing_`.
    hidden, dropout, input_dropout, activation
        As in `ConcatFusionHead`.
    **settings
        See `FusionHead` and `TorchHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    missing_ : dict of str to dict
    history_ : list of dict

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((20, 6))
    >>> y = np.repeat(["sad", "glad"], 10)
    >>> head = MeanFusionHead(widths=(4, 2), max_epochs=2, random_state=0).fit(X, y)
    >>> head.predict_proba(X).shape
    (20, 2)
    """

    name: ClassVar[str] = "mean"

    dim: int | None = 256

    def _body(self, widths: tuple[int, int], outputs: int) -> nn.Module:
        dim = self.dim or min(widths)
        projected = [self.dim is not None or width != dim for width in widths]
        return _Mean(widths, dim, projected, self._mlp(dim, outputs))

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.dim is not None:
            check_number("dim", self.dim, 1, WIDEST, whole=True)
