"""Every layer of a model, pooled as it is made.

The layers are ours, not the library's ("hs-1"): layer 0..L-1 is the input of block 0..L-1, which
is what ``hidden_states[0..L-1]`` holds, and layer L is the encoder's final output, after a final
norm where there is one and before an adapter. (transformers changed ``hidden_states[-1]`` of
stable-layer-norm models between 5.15.1 and 5.16.1; ``last_hidden_state`` never moved.)

`plain_states` asks the library for its hidden states: the oracle, and the way for models that are
not in the table. `TappedLayers` hooks the blocks, so that one layer is in memory at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from ...cache.errors import AffektError, InputError
from ..pooling import pool


def masked_pool(states: torch.Tensor, keep: torch.Tensor, pooling: str) -> torch.Tensor:
    """Pool the valid frames of a padded batch.

    Parameters
    ----------
    states : torch.Tensor
        ``(rows, frames, hidden)``, any float type.
    keep : torch.Tensor
        ``(rows, frames)`` bool; at least one frame of every row.
    pooling : str
        ``mean``, ``mean+std`` (population), ``max``, ``cls`` (the first frame) or ``last``.

    Returns
    -------
    torch.Tensor
        ``(rows, dim)`` float32, accumulated in float32 whatever came in.

    Examples
    --------
    >>> states = torch.tensor([[[1.0], [3.0], [9.0]]])
    >>> masked_pool(states, torch.tensor([[True, True, False]]), "mean+std").tolist()
    [[2.0, 1.0]]
    """
    if pooling == "cls":
        return states[:, 0].float()
    if pooling == "last":
        places = torch.arange(keep.shape[1], device=keep.device)
        last = torch.where(keep, places, -1).amax(dim=1)
        return states[torch.arange(len(states), device=keep.device), last].float()
    if len(states) == 1:
        return pool(states if bool(keep.all()) else states[:, keep[0]], pooling)
    wide = states.float()
    padding = ~keep.unsqueeze(-1)
    if pooling == "max":
        return wide.masked_fill(padding, float("-inf")).amax(dim=1)
    frames = keep.sum(dim=1, keepdim=True)
    mean = wide.masked_fill(padding, 0.0).sum(dim=1) / frames
    if pooling == "mean":
        return mean
    spread = (wide - mean.unsqueeze(1)).masked_fill(padding, 0.0).square().sum(dim=1) / frames
    return torch.cat([mean, spread.sqrt()], dim=-1)


def plain_states(
    model: Any, inputs: Mapping[str, torch.Tensor], layers: int, final: str = ""
) -> list[torch.Tensor]:
    """Run a model and let the library collect its hidden states.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers encoder.
    inputs : mapping of str to torch.Tensor
        Its keyword arguments.
    layers : int
        How many layers are expected, L + 1.
    final : str
        Dotted path of the module whose output is layer L; the model itself if empty.

    Returns
    -------
    list of torch.Tensor
        L + 1 tensors ``(rows, frames, hidden)``.
    """
    last: list[torch.Tensor] = []
    hook = None
    if final:
        hook = model.get_submodule(final).register_forward_hook(
            lambda _module, _inputs, output: last.append(output.last_hidden_state)
        )
    try:
        output = model(**inputs, output_hidden_states=True)
    finally:
        if hook is not None:
            hook.remove()
    states = getattr(output, "hidden_states", None)
    if states is None or getattr(output, "last_hidden_state", None) is None:
        raise AffektError(f"{type(model).__name__} returns no hidden states")
    if len(states) != layers:
        raise InputError(
            f"{type(model).__name__} gave {len(states)} hidden states; expected {layers}, one "
            "before each block and one after the last. A model with other layers can be wrapped "
            'with Encoder.of (docs/guide/encoders.md, "Models with code of their own")'
        )
    return [*states[:-1], last[0] if last else output.last_hidden_state]


def stack_layers(name: str, pooled: Sequence[torch.Tensor], dim: int = 0) -> torch.Tensor:
    """Stack the pooled layers of a model, which must be of one width."""
    if len(widths := {one.shape[-1] for one in pooled}) > 1:
        raise InputError(
            f"{name}: its layers have {' and '.join(map(str, sorted(widths)))} numbers; only "
            "models whose layers are all of one width can be stored"
        )
    return torch.stack(list(pooled), dim=dim)


def check_probe(name: str, made: torch.Tensor, expected: tuple[int, int]) -> None:
    """Check what a model made of a probe, ``(layers, dim)``, against its configuration."""
    if tuple(made.shape) != expected:
        raise AffektError(
            f"{name} gave {tuple(made.shape)} (layers, dim); its configuration says {expected}"
        )
    if not bool(torch.isfinite(made).all()):
        raise AffektError(f"{name} returns NaN or infinity for a test input")


class _Here(threading.local):
    pool: Callable[[torch.Tensor], torch.Tensor] | None = None
    pooled: list[torch.Tensor]


class TappedLayers:
    """Pool the input of every block, and the final output, while the model runs.

    Several threads may run the model at once.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers encoder.
    path, final : str
        Dotted paths of its list of blocks, and of the module that gives the final output.

    Examples
    --------
    ``TappedLayers(model, "encoder.layer", "").run(inputs, pool)`` gives one pooled tensor per
    layer; `pool` maps ``(rows, frames, hidden)`` to ``(rows, dim)``.
    """

    def __init__(self, model: Any, path: str, final: str = "") -> None:
        self.model = model
        self._here = _Here()
        blocks = model.get_submodule(path)
        for block in blocks:
            block.register_forward_pre_hook(self._on_input, with_kwargs=True)
        model.get_submodule(final).register_forward_hook(self._on_output)
        self.count = len(blocks) + 1

    def run(
        self, inputs: Mapping[str, torch.Tensor], pool: Callable[[torch.Tensor], torch.Tensor]
    ) -> list[torch.Tensor]:
        """Run the model once; give every layer as `pool` leaves it."""
        here = self._here
        here.pool, here.pooled = pool, []
        try:
            self.model(**inputs)
            pooled = here.pooled
        finally:
            here.pool, here.pooled = None, []
        if len(pooled) != self.count:
            raise AffektError(
                f"{type(self.model).__name__} ran {len(pooled)} of {self.count} layers; one was "
                "skipped, as in training"
            )
        return pooled

    def _on_input(self, _block: Any, positional: tuple, named: dict) -> None:
        if self._here.pool is not None:
            states = positional[0] if positional else named["hidden_states"]
            self._here.pooled.append(self._here.pool(states))

    def _on_output(self, _module: Any, _inputs: Any, output: Any) -> None:
        if self._here.pool is not None:
            self._here.pooled.append(self._here.pool(output.last_hidden_state))
