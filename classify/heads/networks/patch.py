"""The patch transformer of the multilingual valence card, on one embedding per clip."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from ....cache.errors import check_number, one_of
from ..training.estimator import WIDEST, Mixed
from ..training.shared_layers import Dropout
from ..training.torch_classifier import TorchHead
from .encoder_on_cpu import trained_stack
from .encoder_stack import EncoderStack, check_attention, to_patches
from .mlp import ACTIVATIONS
from .patch_on_cpu import FrozenPatchTransformer, can_freeze

if TYPE_CHECKING:
    from ..training.stacked.stacked_networks import Make

CARD = {"patch_size": 64, "n_blocks": 4, "learning_rate": 2e-4}  # where the valence card differs


class PatchTransformer(nn.Module):
    """Cut a vector into patches and classify what a CLS token gathers from them.

    Parameters
    ----------
    width : int
        Input features; zeros are added up to a multiple of `patch_size`.
    activation : str
        Of the encoder layers: "relu" or "gelu".
    cls_norms : int
        Layer norms between the encoder and the classifier.
    head_activation : str, optional
        Before the last layer; `activation` if left out.

    Examples
    --------
    >>> network = PatchTransformer(768, 3)
    >>> sum(p.numel() for p in network.parameters())
    3212547
    >>> sum(p.numel() for p in PatchTransformer(1024, 3).parameters())
    3213571
    """

    def __init__(
        self,
        width: int,
        outputs: int,
        *,
        patch_size: int = 64,
        d_model: int = 256,
        n_blocks: int = 4,
        n_attention_heads: int = 8,
        feedforward: int = 1024,
        hidden: int = 128,
        dropout: float = 0.2,
        activation: str = "relu",
        norm_first: bool = False,
        cls_norms: int = 0,
        head_activation: str | None = None,
    ) -> None:
        super().__init__()
        patches = -(-width // patch_size)
        self.patch_size = patch_size
        self.patch_embedding = nn.Linear(patch_size, d_model)
        self.cls_token = nn.Parameter(torch.empty(1, 1, d_model))
        self.position_embedding = nn.Parameter(torch.empty(1, patches + 1, d_model))
        self.encoder = EncoderStack(
            d_model,
            n_attention_heads,
            feedforward,
            n_blocks,
            dropout=dropout,
            activation=activation,
            norm_first=norm_first,
        )
        self.cls_norms = nn.Sequential(*(nn.LayerNorm(d_model) for _ in range(cls_norms)))
        self.classifier = nn.Sequential(
            nn.Linear(d_model, hidden),
            ACTIVATIONS[head_activation or activation](),
            Dropout(dropout),
            nn.Linear(hidden, outputs),
        )
        if not self.cls_token.is_meta:  # there it would import torch's compiler: two seconds
            # Not shorter than an embedded patch: LayerNorm keeps the direction of their sum only,
            # and next to a short position all lengths of patches would look the same.
            std = (width / (patches * patch_size)) ** 0.5  # zeros that were added have no length
            nn.init.normal_(self.cls_token, std=std)
            nn.init.normal_(self.position_embedding, std=std)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (rows, outputs) of vectors (rows, width)."""
        if self.training and x.device.type == "cpu":
            return self.classifier(self.cls_norms(self._learning(x)))
        patches = self.patch_embedding(to_patches(x, self.patch_size))  # (rows, patches, d_model)
        cls = self.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([cls, patches], dim=1) + self.position_embedding
        return self.classifier(self.cls_norms(self.encoder(tokens)))

    def _learning(self, x: Tensor) -> Tensor:
        """Return what CLS gathers (rows, d_model), as it is computed in training on a CPU."""
        embedding, size = self.patch_embedding, self.patch_size
        patches = to_patches(nn.functional.pad(x, (size, 0)), size)  # one of zeros for CLS
        count = patches.shape[1] - 1
        places = torch.cat([self.cls_token[0], embedding.bias.expand(count, -1)])
        places = places + self.position_embedding[0]
        patches = patches.transpose(0, 1).contiguous()
        return trained_stack(self.encoder.layers, patches, embedding.weight, places)

    def stacked(self) -> Make | None:
        """Return how several of these train at once on a GPU; None if they do not."""
        if type(self) is not PatchTransformer:
            return None
        from ..training.stacked.stacked_networks import StackedPatches

        return partial(StackedPatches, self) if StackedPatches.fits(self) else None


@dataclass(kw_only=True, eq=False, repr=False)
class PatchTransformerHead(TorchHead):
    """Transformer over the patches of one embedding, as in the multilingual valence card.

    The defaults are for corpora of some hundred clips: one patch and one encoder layer, where the
    card has patches of 64 features and four layers (`CARD`: 3,212,547 parameters at 768 features
    and 3 classes). On inner speaker folds of four corpora of emotional speech that gave 5 points
    of UAR more. The card's input is standardised; so should yours be.

    Parameters
    ----------
    patch_size : int or None, default=None
        Features in a patch; the card's is 64. None: each layer that is read is one patch.
    d_model : int, default=256
    n_blocks : int, default=1
        Encoder layers; the card has 4.
    n_attention_heads : int, default=8
    feedforward : int, default=1024
    hidden : int, default=128
        Units of the layer between CLS and the classes.
    dropout : float, default=0.2
    activation : {"relu", "gelu"}, default="relu"
        The card does not say which.
    norm_first : bool, default=False
        The card does not say. False is torch's default.
    cls_norms : int, default=0
        Layer norms between the encoder layers and the classifier; some published heads have them.
    head_activation : {"relu", "gelu"}, optional
        Before the last layer; `activation` if left out.
    max_epochs : int or None, default=None
        The card does not say. None: some 1,500 steps, but 10 to 30 epochs.
    early_stopping : bool, default=False
        The card's training has it, with a patience of 30. On the dev clips of a small corpus it
        costs more than it gains.
    **settings
        See `TorchHead`. As the card: AdamW with weight decay 0.01, batch 32, label smoothing 0.1,
        balanced class weights, 5 % warm-up then cosine, clip 1.0, patience 30 (used with early
        stopping only). The learning rate is 5e-4, the card's 2e-4.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    n_parameters_ : int
    history_ : list of dict

    References
    ----------
    Vocametrix: speech-emotion-valence-classifier (model card).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat(["negative", "neutral", "positive"], 8)
    >>> X = rng.standard_normal((24, 128)) + 2 * (y == "positive")[:, None]
    >>> head = PatchTransformerHead(max_epochs=2, random_state=0).fit(X, y)
    >>> head.predict_proba(X[:1]).shape
    (1, 3)
    """

    name: ClassVar[str] = "patch"
    _chunk: ClassVar[int] = 256
    _block: ClassVar[int] = 64

    learning_rate: float = 5e-4
    batch_size: int | None = 32
    max_epochs: int | None = None
    early_stopping: bool = False
    patience: int | None = 30
    label_smoothing: float = 0.1
    patch_size: int | None = None
    d_model: int = 256
    n_blocks: int = 1
    n_attention_heads: int = 8
    feedforward: int = 1024
    hidden: int = 128
    dropout: float = 0.2
    activation: str = "relu"
    norm_first: bool = False
    cls_norms: int = 0
    head_activation: str | None = None

    def _network(self, width: int, outputs: int) -> nn.Module:
        return PatchTransformer(
            width,
            outputs,
            patch_size=self.patch_size or (width if self.layer_mix else width // self.n_layers),
            d_model=self.d_model,
            n_blocks=self.n_blocks,
            n_attention_heads=self.n_attention_heads,
            feedforward=self.feedforward,
            hidden=self.hidden,
            dropout=self.dropout,
            activation=self.activation,
            norm_first=self.norm_first,
            cls_norms=self.cls_norms,
            head_activation=self.head_activation,
        )

    def _frozen(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        if isinstance(network, Mixed):
            mix, body = copy.deepcopy(network.mix), self._frozen(network.body)
            return lambda x: body(mix(x))
        if can_freeze() and isinstance(network, PatchTransformer):
            return FrozenPatchTransformer(network)
        return super()._frozen(network)

    def _check_settings(self) -> None:
        super()._check_settings()
        if self.patch_size is not None:
            check_number("patch_size", self.patch_size, 1, WIDEST, whole=True)
        check_attention(self)
        one_of(self.norm_first, (False, True), "norm_first")
        check_number("cls_norms", self.cls_norms, 0, 4, whole=True)
        if self.head_activation is not None:
            one_of(self.head_activation, ("relu", "gelu"), "head_activation")
