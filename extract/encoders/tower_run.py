"""Run a tower on one clip, and pool the frames that are the clip's own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ...cache.errors import AffektError
from ..backend import Pooled
from ..errors import Unusable
from ..pooling import pooled_dim
from .audio_towers import Tower
from .checkpoints.tower_weights import sizes_of
from .fronts.front import Example
from .fronts.tower_inputs import FeatureFront, arguments_of
from .hardware.exactness import exact_arithmetic
from .layers import check_probe, masked_pool, stack_layers
from .transformer import TransformerBackend


class TowerBackend(TransformerBackend):
    """Embed with the audio encoder of a larger model.

    Parameters are those of `TransformerBackend`. Layers are the inputs of the blocks and the final
    output, each pooled over its own frames; their number may change on the way (Qwen2-Audio halves
    it before the final norm).
    """

    front: FeatureFront

    def _set_axes(self) -> None:
        blocks, width = sizes_of(self.checkpoint, self._tower)
        self.n_layers, self.dim = blocks + 1, pooled_dim(self.pooling, width)

    @property
    def _tower(self) -> Tower:
        return self.front.tower

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers; reads no tensor."""
        described = super().describe()
        described["encoder"]["tower"] = self._tower.code
        if not self._tower.layers:
            described["layers"]["semantics"] = "final output"
        return described

    def embed(self, inputs: Sequence[Any]) -> list[Pooled | Unusable]:
        """Embed clips ``(samples,)``; one answer each, in order."""
        self.load()
        answers: list[Pooled | Unusable] = []
        for item in inputs:
            try:
                example = self.front.prepare(item)
            except Unusable as reason:
                answers.append(reason)
                continue
            with self._running, exact_arithmetic(self.device):
                pooled, frames = self._pass(example)
            answer = self._answer(example, pooled.cpu().numpy())
            answers.append(
                Pooled(answer.values, frames, answer.flags)
                if isinstance(answer, Pooled)
                else answer
            )
        return answers

    def _pass(self, example: Example) -> tuple[torch.Tensor, int]:
        """Return ``(layers, dim)`` of one clip, and how many frames the first layer has of it."""
        inputs, _ = self._inputs([example])
        states, output = self._states(inputs)
        kept = [self._own_frames(example, output, one.shape[1]) for one in states]
        pooled = [
            masked_pool(one, keep.unsqueeze(0).to(one.device), self.pooling)[0]
            for one, keep in zip(states, kept, strict=True)
        ]
        return stack_layers(self.name, pooled), int(kept[0].sum())

    def _probe(self) -> torch.Tensor:
        with self._running, exact_arithmetic(self.device):
            return self._pass(self.front.prepare(self.front.probe()))[0]

    def _states(self, inputs: dict[str, torch.Tensor]) -> tuple[list[torch.Tensor], Any]:
        """Run once; the input of every block and the final output, ``(1, frames, dim)`` each."""
        tower, states, hooks = self._tower, [], []
        module = self._model.get_submodule(tower.entry)
        blocks = list(module.get_submodule(tower.layers)) if tower.layers else []
        if blocks:  # as the library collects them: what enters the first, and what each gives
            hooks.append(
                blocks[0].register_forward_pre_hook(
                    lambda _block, args, named: states.append(
                        args[0] if args else named["hidden_states"]
                    ),
                    with_kwargs=True,
                )
            )
        for block in blocks[:-1]:
            hooks.append(
                block.register_forward_hook(
                    lambda _block, _inputs, output: states.append(
                        output[0] if isinstance(output, tuple) else output
                    )
                )
            )
        final: list[Any] = []
        if tower.final:
            hooks.append(
                module.get_submodule(tower.final).register_forward_hook(
                    lambda _module, _inputs, output: final.append(output)
                )
            )
        try:
            with torch.inference_mode():
                output = module(**arguments_of(tower, module, inputs))
        finally:
            for hook in hooks:
                hook.remove()
        states.append(_last(final[0] if final else output))
        if len(states) != self.n_layers:
            raise AffektError(
                f"{self.name} ran {len(states) - 1} of {self.n_layers - 1} blocks; one was skipped"
            )
        return [self._with_rows(one) for one in states], output

    def _with_rows(self, states: torch.Tensor) -> torch.Tensor:
        if self._tower.channels_first:
            return states.flatten(2).transpose(1, 2)
        return states if states.dim() == 3 else states.unsqueeze(0)

    def _own_frames(self, example: Example, output: Any, frames: int) -> torch.Tensor:
        """Return which frames of a layer are the clip's: by its mask, or in proportion."""
        tower, keep = self._tower, example.keep
        if tower.feed == "patches":
            return _patches(keep, frames, self._model.config)
        if tower.feed == "class_token":  # comes first, but not in the final output
            return torch.arange(frames) >= frames - output.last_hidden_state.shape[1]
        if tower.feed == "packed" or type(self._model).__name__ == "Qwen3ASREncoder":
            return torch.ones(frames, dtype=torch.bool)
        for key, padding in (("attention_mask", False), ("audio_mel_mask", True)):
            mask = getattr(output, key, None)
            if mask is not None and mask.shape[-1] == frames:
                return mask[0].bool() != padding
        if bool(keep.all()):
            return torch.ones(frames, dtype=torch.bool)
        valid = int(keep.sum())
        step = max(1, round(len(keep) / frames))
        own = -(-valid // step)
        counted = getattr(self._model, "_get_feat_extract_output_lengths", None)
        if counted is not None and isinstance(made := counted(torch.tensor([valid])), tuple):
            whole = counted(torch.tensor([len(keep)]))
            own = next(
                (int(a[0]) for a, b in zip(made, whole, strict=True) if int(b[0]) == frames), own
            )
        return torch.arange(frames) < max(1, own)

    def _try(self) -> None:
        """Check layers, width and numbers on a probe and on the shortest clip."""
        for samples in (self.front.probe(), self.front.probe()[: self.front.min_samples]):
            example = self.front.prepare(samples)
            with exact_arithmetic(self.device):
                plain, _ = self._pass(example)
            check_probe(self.name, plain, (self.n_layers, self.dim))
        self.tapped = True


def _last(output: Any) -> torch.Tensor:
    """Take the final states out of whatever a module gives."""
    for key in ("last_hidden_state", "latents", "projected_states"):
        if getattr(output, key, None) is not None:
            return getattr(output, key)
    return output[0] if isinstance(output, tuple) else output


def _patches(keep: torch.Tensor, tokens: int, config: Any) -> torch.Tensor:
    """Keep the patches that begin within the clip, at all frequencies, without the two marks."""
    high = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    wide = (tokens - 2) // high
    begun = keep[torch.arange(wide) * config.time_stride]
    return torch.cat([torch.zeros(2, dtype=torch.bool), begun.repeat(high)])
