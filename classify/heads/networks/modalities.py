"""Two modalities side by side in one row, and what to do where one of them is missing.

A missing side arrives as NaN in all of its columns.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..training.rows_on_disk import RowsOnDisk
from ..training.shared_layers import LayerMix
from ..training.torch_classifier import TorchHead

MISSING = ("error", "drop", "predict")


class Sides(nn.Module):
    """Split rows into two sides, put learnt vectors in place of missing ones, mix layers.

    Parameters
    ----------
    widths : pair of int
        Columns of each side.
    body : nn.Module
        Takes the two sides.
    layers : pair of int, default=(1, 1)
        Above 1: mix that many layers of the side.
    placeholders : bool, default=False
        Learn a vector that stands in for a missing side.
    side_dropout : float, default=0.0
        Share of training rows with one side, either of them, treated as missing.
    """

    def __init__(
        self,
        widths: tuple[int, int],
        body: nn.Module,
        *,
        layers: tuple[int, int] = (1, 1),
        placeholders: bool = False,
        side_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = widths
        self.side_dropout = side_dropout
        self.mixes = nn.ModuleList(LayerMix(n) if n > 1 else nn.Identity() for n in layers)
        self.placeholders = (
            nn.ParameterList(torch.zeros(width) for width in widths) if placeholders else None
        )
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the body's output for rows (rows, first width + second width)."""
        sides = x.split(self.widths, dim=1)
        if self.placeholders is not None:
            gone = torch.stack([torch.isnan(side[:, 0]) for side in sides])  # (2, rows)
            if self.training:
                gone = self._drop_some(gone)
            sides = [
                torch.where(lost[:, None], stand_in, side)
                for lost, stand_in, side in zip(gone, self.placeholders, sides, strict=True)
            ]
        return self.body(*(mix(side) for mix, side in zip(self.mixes, sides, strict=True)))

    def _drop_some(self, gone: Tensor) -> Tensor:
        """Treat a side of some complete rows as missing; never both."""
        chance = torch.rand(gone.shape[1], device=gone.device)
        complete = ~gone.any(dim=0)
        first = complete & (chance < self.side_dropout / 2)
        second = complete & (chance >= self.side_dropout / 2) & (chance < self.side_dropout)
        return gone | torch.stack([first, second])


@dataclass(kw_only=True, eq=False, repr=False)
class FusionHead(TorchHead):
    """A torch head on two modalities.

    Parameters
    ----------
    widths : pair of int or None
        Columns of the first and of the second side. None: two equal halves (of an odd number of
        columns the first half is the larger).
    missing : {"error", "drop", "predict"}
        What to do with clips without one side (NaN in all its columns).
        "error": raise. "drop": train without them, refuse to predict them. "predict": learn a
        stand-in for each side, train with sides dropped at random, and predict from either side.
        A clip without both sides is never predicted.
    modality_dropout : float
        With missing="predict": share of training clips with one side hidden, in each step.
    n_layers : int or pair of int
        Layers of equal width in each side.
    """

    widths: Any = None
    missing: str = "error"
    modality_dropout: float = 0.3

    @property
    def reads_blocks(self) -> bool:
        """Whether rows may stay on the disk, where every clip has both sides."""
        return self.missing == "error"

    @abstractmethod
    def _body(self, widths: tuple[int, int], outputs: int) -> nn.Module:
        """Return a network from two sides to logits; `widths` are those after a layer mix."""

    def _network(self, width: int, outputs: int) -> nn.Module:
        return self._build(width, outputs)

    def _build(self, width: int, outputs: int) -> nn.Module:
        widths, layers = self._widths(width), self._layers()
        for side, count in zip(widths, layers, strict=True):
            if side % count:
                raise InputError(
                    f"a modality of {side} features is not {count} layers of equal width; set "
                    "n_layers=(layers of the first modality, layers of the second)"
                )
        mixed = layers if self.layer_mix else (1, 1)
        body = self._body((widths[0] // mixed[0], widths[1] // mixed[1]), outputs)
        return Sides(
            widths,
            body,
            layers=mixed,
            placeholders=self.missing == "predict",
            side_dropout=self.modality_dropout,
        )

    def _widths(self, width: int) -> tuple[int, int]:
        if self.widths is None:
            if width < 2:
                raise InputError(
                    f"n_features = {width}: two modalities need at least one column each; "
                    "concatenate them and set widths=(first, second)"
                )
            return width - width // 2, width // 2
        first, second = self.widths
        if first + second != width:
            raise InputError(
                f"X has {width} features, widths={self.widths!r} add up to {first + second}"
            )
        return first, second

    def _layers(self) -> tuple[int, int]:
        pair = isinstance(self.n_layers, (tuple, list))
        first, second = self.n_layers if pair else (self.n_layers, self.n_layers)
        return first, second

    def _checks(self) -> dict[str, Any]:
        return {"dtype": np.float32, "ensure_all_finite": "allow-nan"}

    def _gone(self, X: np.ndarray) -> np.ndarray:
        """Return which sides are missing (2, rows); a side in part NaN is an error."""
        if isinstance(X, RowsOnDisk):
            return np.zeros((2, len(X)), bool)
        first = self._widths(X.shape[1])[0]
        holes = np.isnan(X)
        sides = (holes[:, :first], holes[:, first:])
        gone = np.stack([side.all(axis=1) for side in sides])
        some = np.stack([side.any(axis=1) for side in sides])
        if (some & ~gone).any():
            row = int((some & ~gone).any(axis=0).argmax())
            raise InputError(
                f"Input X contains NaN in some columns of one modality (row {row}); expected "
                "numbers, or NaN in all columns of a missing modality"
            )
        return gone

    def _usable(self, X: np.ndarray, part: str) -> np.ndarray:
        gone = self._gone(X)
        lost, empty = gone.any(axis=0), gone.all(axis=0)
        if part == "train":
            self.missing_: dict[str, dict[str, int]] = {}
        if lost.any() and self.missing == "error":
            raise InputError(
                f"Input X contains NaN: of {len(X)} clips, {gone[0].sum()} lack the first "
                f"modality and {gone[1].sum()} the second; set missing='drop' to leave them out, "
                "or missing='predict' to learn from the other modality"
            )
        keep = np.logical_not(lost if self.missing == "drop" else empty)
        self.missing_[part] = {
            "clips": len(X),
            "first_missing": int(gone[0].sum()),
            "second_missing": int(gone[1].sum()),
            "left_out": int((~keep).sum()),
        }
        return keep

    def _check_rows(self, X: np.ndarray) -> None:
        gone = self._gone(X)
        refused = gone.all(axis=0) if self.missing == "predict" else gone.any(axis=0)
        if refused.any():
            what = "both modalities" if self.missing == "predict" else "a modality"
            raise InputError(
                f"Input X contains NaN: {refused.sum()} of {len(X)} clips lack {what} (first: row "
                f"{refused.argmax()}); this head was trained with missing={self.missing!r}, which "
                "cannot predict them"
            )

    def _check_settings(self) -> None:
        super()._check_settings()
        one_of(self.missing, MISSING, "missing")
        check_number("modality_dropout", self.modality_dropout, 0, 1)
        _check_pair("widths", self.widths, optional=True)
        if isinstance(self.n_layers, (tuple, list)):
            _check_pair("n_layers", self.n_layers)
        else:
            check_number("n_layers", self.n_layers, 1, whole=True)


def _check_pair(name: str, value: Sequence[int] | None, *, optional: bool = False) -> None:
    if value is None and optional:
        return
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"`{name}` is {value!r}; expected two whole numbers (first, second)")
    for item in value:
        check_number(name, item, 1, whole=True)
