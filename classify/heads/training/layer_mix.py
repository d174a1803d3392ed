"""A learnt softmax mix of layers, in front of any network."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerMix(nn.Module):
    """Weigh the layers of an embedding with one softmax weight each, learnt with the head.

    Parameters
    ----------
    layers : int
        The input `(clips, layers * dim)` becomes `(clips, dim)`. The weights start equal.

    References
    ----------
    M. E. Peters and others: Deep Contextualized Word Representations, NAACL 2018;
    S. Yang and others: SUPERB, Interspeech 2021.

    Examples
    --------
    >>> import torch
    >>> LayerMix(2)(torch.tensor([[1.0, 2.0, 3.0, 6.0]])).tolist()
    [[2.0, 4.0]]
    """

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layer_scores = nn.Parameter(torch.zeros(layers))

    @property
    def weights(self) -> Tensor:
        """The softmax weights (layers,)."""
        return self.layer_scores.softmax(0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted mean over layers (clips, dim)."""
        stacked = x.unflatten(1, (len(self.layer_scores), -1))  # (clips, layers, dim)
        return torch.einsum("l,cld->cd", self.weights, stacked)
