"""Whisper's encoder on a CPU: of thirty seconds, silence included, only what is read.

The silence behind a clip takes part in the attention, but is not pooled: the last block computes
the clip's own frames, which look at all others. The convolutions see a little of the silence, and
what they give for the rest of it is repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from ..fronts.front import Example
from ..hardware.worker_threads import stop_if_asked
from ..layers import masked_pool
from .on_cpu import CpuModel

_EDGE = 4  # frames of silence on either side; two of them see what is beyond


class ThirtySeconds(CpuModel):
    """Run a loaded Whisper encoder on one clip at a time.

    Parameters are those of `CpuModel`.
    """

    def measure(self) -> None:
        """Find out what bits depend on; rows never share a pass."""
        super().measure()
        self.joins = False

    def __call__(self, examples: Sequence[Example], pooling: str) -> torch.Tensor:
        """Return ``(1, layers, dim)`` float32 of one clip."""
        (example,) = examples
        keep = example.keep[None]
        hidden = self._embed(example.tensors["input_features"][None].to(self.model.dtype))
        pooled = []
        for block in self.blocks[:-1]:
            stop_if_asked()
            pooled.append(masked_pool(hidden, keep, pooling))
            hidden = block(hidden, None)
        pooled.append(masked_pool(hidden, keep, pooling))
        read = self.model.layer_norm(_read(self.blocks[-1], hidden, example.keep))
        pooled.append(masked_pool(read, keep[:, example.keep], pooling))
        return torch.stack(pooled, dim=1)

    def _replace_front_end(self) -> None:
        pass

    def _replace_attention(self, block: Any) -> None:
        pass

    def _embed(self, features: torch.Tensor) -> torch.Tensor:
        """Map ``(1, mels, 2 * frames)`` to ``(1, frames, hidden)``."""
        places = self.model.embed_positions.weight
        own = (features != features[:, :, -1:]).any(dim=1)[0].nonzero()  # the others are silence
        seen = (int(own[-1]) // 2 + 1 if len(own) else 0) + 2 * _EDGE
        if seen < len(places):
            features = features[:, :, : 2 * seen]
        made = F.gelu(self.model.conv2(F.gelu(self.model.conv1(features)))).transpose(1, 2)
        short = len(places) - made.shape[1]
        if short:
            own, edge = made[:, :-_EDGE], made[:, -_EDGE:]
            made = torch.cat([own, edge[:, :1].expand(-1, short, -1), edge], dim=1)
        return made + places


def _read(block: Any, hidden: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Return what a block makes of the frames that are kept, ``(1, kept, hidden)``."""
    seen, own = block.self_attn_layer_norm(hidden), hidden[:, keep]
    own = own + block.self_attn(seen[:, keep], key_value_states=seen)[0]
    inner = block.activation_fn(block.fc1(block.final_layer_norm(own)))
    made = own + block.fc2(inner)
    limit = torch.finfo(made.dtype).max - 1000  # as the library has it
    return made.clamp_(-limit, limit) if made.dtype == torch.float16 else made
