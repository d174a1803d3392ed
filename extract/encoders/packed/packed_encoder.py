"""A transformers encoder that runs on packed clips or texts and pools every layer as it is made.

`PackedModel` joins clips end to end. `PaddedConformer` runs Wav2Vec2-BERT, whose attention needs a
number for each pair of frames, in padded batches of similar lengths.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from ..families import Family
from ..fronts.front import Example, Front, collate
from ..hardware.convstack import is_conv_stack
from ..hardware.worker_threads import stop_if_asked
from ..layers import TappedLayers, masked_pool
from .attention import PackedAttention, find_attention
from .conformer import replace_conformer
from .convolutions import PackedConvolutions, Waves
from .filterbanks import FilterBanks
from .kernels import add_norm, segment_means
from .layout import Pack, laid_out
from .positions import PackedPositions


def pack_model(
    model: Any, family: Family, front: Front, taps: TappedLayers
) -> PackedModel | PaddedConformer:
    """Make what runs a model fastest on a GPU; the model is changed in place.

    Raises
    ------
    LookupError
        Something in the model is made in another way than expected.
    """
    if family.front == "filterbank":
        return PaddedConformer(model, family, front, taps)
    return PackedModel(model, family, front)


class PackedModel:
    """Run a loaded model on clips or texts laid end to end.

    Its attention is replaced in place: until `undo` the model runs packed only.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers encoder, in evaluation mode.
    front : Front
        What makes its input; samples are normalised here, clip by clip.

    Raises
    ------
    LookupError
        Something in the model is made in another way than expected.
    """

    joins = True

    def __init__(self, model: Any, family: Family, front: Any) -> None:
        self.model, self.front = model, front
        self.normalise = bool(getattr(front, "normalises", False))
        self.device = str(next(model.parameters()).device)
        self.speech = family.modality == "audio"
        self.blocks = list(model.get_submodule(family.layers))
        self._replaced: list[tuple[nn.Module, str, nn.Module]] = []
        try:
            if self.speech:
                self._replace_front_end()
            for block in self.blocks:
                self._replace_attention(block)
        except LookupError:
            self.undo()
            raise
        self._sums_then_norms = self._are_wav2vec2()

    def prepare(self, item: Any) -> Example:
        """Make the input of one clip or text."""
        return self.front.prepare(item, raw=True) if self.speech else self.front.prepare(item)

    def __call__(self, examples: Sequence[Example], pooling: str) -> torch.Tensor:
        """Return ``(rows, layers, dim)`` float32, on the device; work may still be under way."""
        with laid_out(Pack(self._masks(examples), self.device)) as pack:
            return self._layers(examples, pack, pooling)[: len(examples)]

    def _masks(self, examples: Sequence[Example]) -> list[torch.Tensor]:
        """Return for each clip of a pass which frames are pooled."""
        return [example.keep for example in examples]

    def _layers(self, examples: Sequence[Example], pack: Pack, pooling: str) -> torch.Tensor:
        hidden = self._frames(examples, pack) if self.speech else self._tokens(examples, pack)
        pooled = []
        for state in self._states(hidden):
            stop_if_asked()
            pooled.append(self._pool(state, pack, pooling))
        return torch.stack(pooled, dim=1)

    def _states(self, hidden: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield what enters each block, and the model's output."""
        if self._sums_then_norms:
            yield from self._fused_states(hidden)
            return
        for block in self.blocks:
            yield hidden
            made = block(hidden, attention_mask=None)
            hidden = made[0] if isinstance(made, tuple) else made
        yield self.model.encoder.layer_norm(hidden) if self._norm_last else hidden

    def _fused_states(self, hidden: torch.Tensor) -> Iterator[torch.Tensor]:
        """Do the same where a norm follows each sum: both are one pass."""
        norms = [*(block.layer_norm for block in self.blocks), self.model.encoder.layer_norm]
        seen = norms[0](hidden)
        for block, after in zip(self.blocks, norms[1:], strict=True):
            yield hidden
            hidden, seen = add_norm(hidden, block.attention(seen)[0], block.final_layer_norm)
            hidden, seen = add_norm(hidden, block.feed_forward(seen), after)
        yield seen

    def undo(self) -> None:
        """Put the model's own modules back."""
        for holder, leaf, module in self._replaced:
            setattr(holder, leaf, module)

    def settle(self) -> None:
        """Drop the model's own modules: they cannot be restored."""
        self._replaced.clear()

    def _replace_front_end(self) -> None:
        if not is_conv_stack(self.model.feature_extractor):
            raise LookupError("convolutions of another kind")
        self.convolutions = PackedConvolutions(self.model.feature_extractor).to(self.device)
        self.positions = PackedPositions(self.model.encoder.pos_conv_embed).to(self.device)

    def _replace_attention(self, block: nn.Module) -> None:
        holder, leaf = find_attention(block)
        self._put(holder, leaf, PackedAttention(getattr(holder, leaf)))

    def _put(self, holder: nn.Module, leaf: str, module: nn.Module) -> None:
        self._replaced.append((holder, leaf, getattr(holder, leaf)))
        setattr(holder, leaf, module.eval())

    def _pool(self, hidden: torch.Tensor, pack: Pack, pooling: str) -> torch.Tensor:
        return pack.pool(hidden[0], pooling)

    @property
    def _norm_last(self) -> bool:
        return self.speech and bool(getattr(self.model.config, "do_stable_layer_norm", False))

    def _are_wav2vec2(self) -> bool:
        """Whether all blocks are those of Wav2Vec2 with a norm before each half."""
        parts = {"attention", "layer_norm", "feed_forward", "final_layer_norm"}
        own = [{name for name, _ in block.named_children()} for block in self.blocks]
        return self._norm_last and all(one - {"dropout"} == parts for one in own)

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


class PaddedConformer:
    """Run Wav2Vec2-BERT on padded batches, with filter banks made on its device.

    Parameters
    ----------
    model, family, front
        As for `PackedModel`.
    taps : TappedLayers
        Of the model.
    """

    joins = False

    def __init__(self, model: Any, family: Family, front: Any, taps: TappedLayers) -> None:
        parameter = next(model.parameters())
        self.device, self.kind = str(parameter.device), parameter.dtype
        self.front, self.taps = front, taps
        if front.extractor.stride != 2:
            raise LookupError(f"a stride of {front.extractor.stride}")
        self.banks = FilterBanks(front.extractor, self.device)
        self._replaced = replace_conformer(model.get_submodule(family.layers))

    def prepare(self, item: Any) -> Example:
        """Make the input of one clip: its samples."""
        return self.front.prepare(item, raw=True)

    def __call__(self, examples: Sequence[Example], pooling: str) -> torch.Tensor:
        """Return ``(rows, layers, dim)`` float32, on the device; work may still be under way."""
        inputs, keep = collate(self.banks(examples), {}, None)
        inputs["input_features"] = inputs["input_features"].to(self.kind)
        inputs["attention_mask"] = inputs["attention_mask"].to(self.device)
        starts = torch.arange(len(keep)) * keep.shape[1]
        ends = (starts + keep.sum(1)).to(self.device)
        starts, keep = starts.to(self.device), keep.to(self.device)

        def pool(states: torch.Tensor) -> torch.Tensor:
            if pooling == "mean":
                return segment_means(states.flatten(0, 1), starts, ends)
            return masked_pool(states, keep, pooling)

        return torch.stack(self.taps.run(inputs, pool), dim=1)

    def undo(self) -> None:
        """Put the model's own modules back."""
        for holder, leaf, module in self._replaced:
            setattr(holder, leaf, module)
