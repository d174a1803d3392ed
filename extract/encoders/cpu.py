"""Make a loaded float32 model faster on a CPU, without changing what it computes.

Modules that the model really calls are replaced, one for one, by those of `prepacked` and
`convstack`. Whoever asks compares before and after, and takes it back where they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from .convstack import ConvStack, is_conv_stack
from .prepacked import GroupedConv, PackedLinear, PointwiseConv, can_prepack

__all__ = ["speed_up"]


def speed_up(model: Any, run: Callable[[], object]) -> Callable[[], None]:
    """Replace what can be faster, in place.

    Parameters
    ----------
    model : torch.nn.Module
        A float32 model on a CPU.
    run : callable
        Runs the model on some input. Modules that are not called then are left alone: some
        models read the weights of a module and never call it.

    Returns
    -------
    callable
        Puts everything back.
    """
    changed: list[tuple[nn.Module, str, nn.Module]] = []
    if can_prepack():
        _replace(model, _called(model, run), changed)

    def undo() -> None:
        for holder, leaf, module in changed:
            setattr(holder, leaf, module)

    return undo


def _called(model: Any, run: Callable[[], object]) -> set[nn.Module]:
    """Give the modules that are called."""
    called: set[nn.Module] = set()
    hooks = [
        module.register_forward_pre_hook(lambda module, _inputs: called.add(module))
        for module in model.modules()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return called


def _replace(
    holder: nn.Module, called: set[nn.Module], changed: list[tuple[nn.Module, str, nn.Module]]
) -> None:
    """Replace the modules in a module, outer ones first; note what was there."""
    for name, module in list(holder.named_children()):
        other = _faster(module) if module in called else None
        if other is None:
            _replace(module, called, changed)
        else:
            changed.append((holder, name, module))
            setattr(holder, name, other.eval())


def _faster(module: nn.Module) -> nn.Module | None:
    """Choose the replacement of a module, if there is one."""
    if type(module) is nn.Linear:
        return PackedLinear(module.weight, module.bias)
    if is_conv_stack(module):
        return ConvStack(module)
    if not isinstance(module, nn.Conv1d) or module.padding_mode != "zeros":
        return None
    if module.stride != (1,) or module.dilation != (1,) or isinstance(module.padding, str):
        return None
    if module.groups == 1 and module.kernel_size == (1,) and module.padding == (0,):
        return PointwiseConv(module)
    if 1 < module.groups < module.in_channels:
        return GroupedConv(module)
    return None
