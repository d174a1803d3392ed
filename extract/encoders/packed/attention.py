"""Attention inside each of several clips that are laid end to end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from inspect import signature
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from ..hardware.processor import attention_by_products
from .layout import Pack, current_pack

# names of the projections in transformers' attention modules
_NAMES = (
    (("q_proj", "k_proj", "v_proj"), "out_proj"),
    (("q_lin", "k_lin", "v_lin"), "out_lin"),
    (("query", "key", "value"), None),
)


def attend(qkv: torch.Tensor, pack: Pack, scale: float) -> torch.Tensor:
    """Let every frame look at the frames of its own clip.

    Parameters
    ----------
    qkv : torch.Tensor
        ``(frames, 3, heads, size)``: queries, keys and values.
    pack : Pack
        Where the clips are.
    scale : float
        Of the scores.

    Returns
    -------
    torch.Tensor
        ``(frames, heads, size)``.
    """
    query, key, value = qkv.unbind(1)
    if qkv.is_cuda and qkv.dtype in (torch.float16, torch.bfloat16) and (flash := _flash()):
        where, longest = pack.starts, pack.longest
        made = flash(query, key, value, where, where, longest, longest, scale=scale)
        return made if isinstance(made, torch.Tensor) else made[0]
    if qkv.is_cuda:
        return _attend_nested((query, key, value), pack, scale)
    made = torch.empty_like(query)
    plain = qkv.dtype == torch.bfloat16 and attention_by_products()
    for start, end in pairwise(pack.starts.tolist()):
        q, k, v = (part[start:end].transpose(0, 1) for part in (query, key, value))
        if plain:
            q, k, v = (part.contiguous() for part in (q * scale, k, v))
            found = torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v)
        else:
            one = (q[None], k[None], v[None])
            found = nn.functional.scaled_dot_product_attention(*one, scale=scale)[0]
        made[start:end] = found.transpose(0, 1)
    return made


@cache
def _flash() -> Callable[..., Any] | None:
    """Return flash attention over clips end to end; PyTorch before 2.11 has none with a scale."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "scale" in signature(varlen_attn).parameters else None


def _attend_nested(parts: tuple[torch.Tensor, ...], pack: Pack, scale: float) -> torch.Tensor:
    """Do the same in float32, which flash attention does not take, or with an older PyTorch."""
    shortest = int(pack.lengths.min())
    q, k, v = (
        torch.nested.nested_tensor_from_jagged(
            part.contiguous(), pack.starts.long(), min_seqlen=shortest, max_seqlen=pack.longest
        ).transpose(1, 2)
        for part in parts
    )
    found = nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
    return found.transpose(1, 2).values()


def join(maps: Sequence[nn.Linear]) -> nn.Linear:
    """Make one linear map whose output is that of several, side by side.

    Examples
    --------
    >>> join([nn.Linear(4, 2), nn.Linear(4, 3)])
    Linear(in_features=4, out_features=5, bias=True)
    """
    weight = torch.cat([one.weight.detach() for one in maps])
    with torch.device("meta"):
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=maps[0].bias is not None)
    made.weight = nn.Parameter(weight, requires_grad=False)
    if maps[0].bias is not None:
        made.bias = nn.Parameter(torch.cat([one.bias.detach() for one in maps]), False)
    return made


class PackedAttention(nn.Module):
    """Self-attention on packed frames, with one product for queries, keys and values.

    Parameters
    ----------
    module : torch.nn.Module
        transformers' attention, with projections of one of the known names.
    """

    def __init__(self, module: Any) -> None:
        super().__init__()
        names, out = next(pair for pair in _NAMES if hasattr(module, pair[0][0]))
        self.qkv = join([getattr(module, name) for name in names])
        weight = self.qkv.weight
        self.out = nn.Identity() if out is None else getattr(module, out)
        heads = ("num_heads", "n_heads", "num_attention_heads")
        self.heads = next(int(getattr(module, name)) for name in heads if hasattr(module, name))
        self.scale = (len(weight) // 3 // self.heads) ** -0.5
        # transformers' attention gives one thing more than the frames, or two
        alone = module(weight.new_zeros(1, 1, weight.shape[1]))
        self.rest = (None,) * (len(alone) - 1)

    def forward(self, hidden_states: torch.Tensor, *_args: Any, **_options: Any) -> tuple:
        """Map ``(1, frames, hidden)`` to the same; masks are not needed."""
        made = self.qkv(hidden_states[0])
        found = attend(made.view(len(made), 3, self.heads, -1), current_pack(), self.scale)
        return self.out(found.flatten(1)[None]), *self.rest


def find_attention(block: nn.Module) -> tuple[nn.Module, str]:
    """Return what holds the self-attention of a transformer block, and under which name."""
    for path, module in block.named_modules():
        if any(hasattr(module, names[0]) for names, _ in _NAMES):
            parent, _, leaf = path.rpartition(".")
            return block.get_submodule(parent), leaf
    raise LookupError(f"{type(block).__name__} has no self-attention of a known kind")
