"""Fusion of two modalities by cross-attention between their tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..training.estimator import WIDEST
from ..training.shared_layers import Dropout
from .encoder_stack import check_attention, to_patches
from .mlp import ACTIVATIONS
from .modalities import FusionHead


class _Tokens(nn.Module):
    """Patches or layers of one side, embedded, with learnt positions."""

    def __init__(self, width: int, d_model: int, *, patch_size: int | None, layers: int) -> None:
        super().__init__()
        self.patch_size, self.layers = patch_size, layers
        size = width // layers if patch_size is None else patch_size
        count = layers if patch_size is None else -(-width // patch_size)
        self.embedding = nn.Linear(size, d_model)
        self.position = nn.Parameter(torch.empty(1, count, d_model))
        if not self.position.is_meta:  # there it would import torch's compiler: two seconds
            # Not shorter than an embedded piece, or LayerNorm hides how long the pieces are.
            nn.init.normal_(self.position, std=(width / (count * size)) ** 0.5)

    def forward(self, side: Tensor) -> Tensor:
        """Return tokens (rows, tokens, d_model)."""
        if self.patch_size is None:
            pieces = side.unflatten(1, (self.layers, -1))
        else:
            pieces = to_patches(side, self.patch_size)
        return self.embedding(pieces) + self.position


class _Direction(nn.Module):
    """The tokens of one side look at those of the other, then pass a feed-forward layer."""

    def __init__(
        self, d_model: int, heads: int, feedforward: int, dropout: float, activation: str
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(d_model)
        self.norm_other = nn.LayerNorm(d_model)
        self.attention = nn.MultiheadAttention(d_model, heads, dropout, batch_first=True)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, feedforward),
            ACTIVATIONS[activation](),
            Dropout(dropout),
            nn.Linear(feedforward, d_model),
        )
        self.dropout = Dropout(dropout)

    def forward(self, own: Tensor, other: Tensor) -> Tensor:
        seen = self.norm_other(other)
        own = own + self.dropout(self.attention(self.norm(own), seen, seen, need_weights=False)[0])
        return own + self.dropout(self.feedforward(own))


class _CrossAttention(nn.Module):
    def __init__(
        self,
        tokens: list[_Tokens],
        blocks: list[list[_Direction]],
        d_model: int,
        hidden: int,
        outputs: int,
        dropout: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.tokens = nn.ModuleList(tokens)
        self.blocks = nn.ModuleList(nn.ModuleList(block) for block in blocks)
        self.classifier = nn.Sequential(
            nn.LayerNorm(2 * d_model),
            nn.Linear(2 * d_model, hidden),
            ACTIVATIONS[activation](),
            Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        first, second = self.tokens[0](first), self.tokens[1](second)
        for block in self.blocks:
            to_first, to_second = block.children()  # both see the same state of the other side
            first, second = to_first(first, second), to_second(second, first)
        return self.classifier(torch.cat([first.mean(dim=1), second.mean(dim=1)], dim=1))


class _UmuteamHead(nn.Module):
    """One of the eight full-width heads at batch 1, names as in the toolkit."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.Wv = nn.Linear(dim, dim)
        self.Wv_reverse = nn.Linear(dim, dim)
        self.linear_out = nn.Linear(2 * dim, dim)

    def forward(self, speech: Tensor, text: Tensor) -> Tensor:
        # attention over a batch of one returns the values; the residual adds them again
        return self.linear_out(torch.cat([2 * self.Wv(speech), 2 * self.Wv_reverse(text)], dim=-1))


class _Umuteam(nn.Module):
    def __init__(self, widths: tuple[int, int], heads: int, outputs: int, dropout: float) -> None:
        super().__init__()
        dim = min(widths)
        self.projectors = nn.ModuleList(
            nn.Identity() if width == dim else nn.Linear(width, dim) for width in widths
        )
        self.heads = nn.ModuleList(_UmuteamHead(dim) for _ in range(heads))
        self.proj = nn.Sequential(nn.Linear(heads * dim, dim), Dropout(0.3))
        self.dense = nn.Linear(dim, dim)
        self.out_proj = nn.Linear(dim, outputs)
        self.dropout = Dropout(dropout)

    def forward(self, speech: Tensor, text: Tensor) -> Tensor:
        speech, text = self.projectors[0](speech), self.projectors[1](text)
        fused = self.proj(torch.cat([head(speech, text) for head in self.heads], dim=-1))
        inner = torch.tanh(self.dense(self.dropout(fused)))
        return self.out_proj(self.dropout(inner))


@dataclass(kw_only=True, eq=False, repr=False)
class CrossAttentionFusionHead(FusionHead):
    """Multi-head cross-attention between the tokens of two modalities, in both directions.

    Each side is cut into tokens: patches of its vector, or its layers. In every block the tokens of
    either side attend to those of the other; the mean tokens of both sides are classified.

    Parameters
    ----------
    widths : pair of int or None, default=None
        Columns of the first and the second side (speech, text); None: two halves.
    attention : {"tokens", "umuteam"}, default="tokens"
        "umuteam": the `multihead` mode of UMUTeam's speech-emotion toolkit, as it computes one clip
        at a time: there the attention runs over a batch of one and returns its values, so that the
        queries, keys and norm have no effect and are left out. Sides of unequal width are projected
        to the smaller one. The settings of tokens and blocks do not apply.
    tokens : {"patches", "layers"}, default="patches"
        "layers": one token per layer; set `n_layers`.
    patch_size : int, default=64
    d_model : int, default=128
    n_blocks : int, default=2
    n_attention_heads : int, default=8
    feedforward : int, default=256
    hidden : int, default=128
    dropout : float, default=0.3
    activation : {"relu", "gelu"}, default="gelu"
    missing : {"error", "drop", "predict"}, default="error"
        See `FusionHead`; the counts are in `missing_`.
    **settings
        See `FusionHead` and `TorchHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    missing_ : dict of str to dict
    history_ : list of dict

    References
    ----------
    Y.-H. H. Tsai and others: Multimodal Transformer for Unaligned Multimodal Language Sequences,
    ACL 2019. R. Pan, T. Bernal-Beltrán, J. A. García-Díaz, R. Valencia-García: speech-emotion: A
    multilingual and multimodal toolkit for emotion recognition from speech, SoftwareX 34, 2026.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((16, 96))
    >>> y = np.repeat(["sad", "glad"], 8)
    >>> head = CrossAttentionFusionHead(widths=(64, 32), max_epochs=1, random_state=0).fit(X, y)
    >>> head.predict_proba(X).shape
    (16, 2)
    """

    name: ClassVar[str] = "cross-attention"
    _chunk: ClassVar[int] = 256

    learning_rate: float = 5e-4
    batch_size: int | None = 32
    label_smoothing: float = 0.1
    attention: str = "tokens"
    tokens: str = "patches"
    patch_size: int = 64
    d_model: int = 128
    n_blocks: int = 2
    n_attention_heads: int = 8
    feedforward: int = 256
    hidden: int = 128
    dropout: float = 0.3
    activation: str = "gelu"

    def _body(self, widths: tuple[int, int], outputs: int) -> nn.Module:
        if self.attention == "umuteam":
            return _Umuteam(widths, self.n_attention_heads, outputs, self.dropout)
        patch_size = self.patch_size if self.tokens == "patches" else None
        sides = [
            _Tokens(width, self.d_model, patch_size=patch_size, layers=layers)
            for width, layers in zip(widths, self._layers(), strict=True)
        ]
        blocks = [
            [
                _Direction(
                    self.d_model,
                    self.n_attention_heads,
                    self.feedforward,
                    self.dropout,
                    self.activation,
                )
                for _ in sides
            ]
            for _ in range(self.n_blocks)
        ]
        return _CrossAttention(
            sides, blocks, self.d_model, self.hidden, outputs, self.dropout, self.activation
        )

    def _check_settings(self) -> None:
        super()._check_settings()
        one_of(self.attention, ("tokens", "umuteam"), "attention")
        one_of(self.tokens, ("patches", "layers"), "tokens")
        check_number("patch_size", self.patch_size, 1, WIDEST, whole=True)
        check_attention(self)
        if self.tokens == "layers" and self.layer_mix:
            raise InputError("tokens='layers' and layer_mix=True: mixed layers are one token")
