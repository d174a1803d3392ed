"""A transformers encoder that runs on packed clips or texts and pools every layer as it is made."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from ..convstack import is_conv_stack
from ..families import Family
from ..front import Example
from .attention import PackedAttention, find_attention
from .convolutions import PackedConvolutions, Waves
from .pack import Pack
from .positions import PackedPositions

__all__ = ["PackedModel"]


class PackedModel:
    """Run a loaded model on clips or texts laid end to end.

    Its attention is replaced in place: until `undo` the model runs packed only.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers encoder, in evaluation mode.
    family : Family
        What it is.
    normalise : bool
        Samples come as they are and are normalised here, clip by clip.

    Raises
    ------
    LookupError
        Something in the model is made in another way than expected.
    """

    def __init__(self, model: Any, family: Family, *, normalise: bool = False) -> None:
        self.model, self.normalise = model, normalise
        self.device = str(next(model.parameters()).device)
        self.speech = family.modality == "audio"
        if self.speech:
            if not is_conv_stack(model.feature_extractor):
                raise LookupError("convolutions of another kind")
            self.convolutions = PackedConvolutions(model.feature_extractor).to(self.device)
            self.positions = PackedPositions(model.encoder.pos_conv_embed).to(self.device)
        self.blocks = list(model.get_submodule(family.layers))
        self.attentions, self._replaced = [], []
        try:
            for block in self.blocks:
                holder, leaf = find_attention(block)
                self._replaced.append((holder, leaf, getattr(holder, leaf)))
                self.attentions.append(PackedAttention(getattr(holder, leaf)))
                setattr(holder, leaf, self.attentions[-1])
        except LookupError:
            self.undo()
            raise

    def __call__(self, examples: Sequence[Example], pooling: str) -> torch.Tensor:
        """Give ``(rows, layers, dim)`` float32, on the device; the work may still be under way."""
        pack = Pack([example.keep for example in examples], self.device)
        for attention in self.attentions:
            attention.pack = pack
        hidden = self._frames(examples, pack) if self.speech else self._tokens(examples, pack)
        pooled = []
        for block in self.blocks:
            pooled.append(pack.pool(hidden[0], pooling))
            made = block(hidden, attention_mask=None)
            hidden = made[0] if isinstance(made, tuple) else made
        if self.speech and self._norm_last:
            hidden = self.model.encoder.layer_norm(hidden)
        pooled.append(pack.pool(hidden[0], pooling))
        return torch.stack(pooled, dim=1)

    def undo(self) -> None:
        """Put the model's own attention back."""
        for holder, leaf, module in self._replaced:
            setattr(holder, leaf, module)

    @property
    def _norm_last(self) -> bool:
        return bool(getattr(self.model.config, "do_stable_layer_norm", False))

    def _frames(self, examples: Sequence[Example], pack: Pack) -> torch.Tensor:
        clips = [example.tensors["input_values"] for example in examples]
        waves = Waves(clips, self.convolutions.stride, self.device)
        if self.normalise:
            waves.normalise()
        made = self.model.feature_projection(self.convolutions(waves))
        hidden = made[0] if isinstance(made, tuple) else made
        hidden = hidden + self.positions(hidden, pack)
        return (hidden if self._norm_last else self.model.encoder.layer_norm(hidden))[None]

    def _tokens(self, examples: Sequence[Example], pack: Pack) -> torch.Tensor:
        embeddings = self.model.embeddings
        ids = [example.tensors["input_ids"] for example in examples]
        inputs = {"input_ids": torch.cat(ids), "position_ids": torch.cat(self._places(ids))}
        if "token_type_ids" in inspect.signature(embeddings.forward).parameters:
            kinds = [example.tensors.get("token_type_ids") for example in examples]
            inputs["token_type_ids"] = torch.cat(
                [torch.zeros_like(a) if b is None else b for a, b in zip(ids, kinds, strict=True)]
            )
        moved = {name: one[None].to(self.device) for name, one in inputs.items()}
        return embeddings(**moved)

    def _places(self, ids: list[torch.Tensor]) -> list[torch.Tensor]:
        """Number the tokens of each text, as the model does for one alone."""
        embeddings = self.model.embeddings
        count = getattr(embeddings, "create_position_ids_from_input_ids", None)
        if count is None:
            return [torch.arange(len(one)) for one in ids]
        return [count(one[None], embeddings.padding_idx)[0] for one in ids]
