"""Make a loaded model faster on a CPU, or correct, without changing what it should compute.

Modules that the model really calls are replaced, one for one, by those of `prepacked` and
`convstack`. The caller compares before and after, and undoes it where they differ.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .convstack import ConvStack, is_conv_stack
from .prepacked import GroupedConv, PackedLinear, PointwiseConv, can_prepack, is_gelu

# names of a linear map and the activation that follows it, in transformers' feed-forward modules
_ACTIVATED = (
    ("intermediate_dense", "intermediate_act_fn"),
    ("dense", "intermediate_act_fn"),
    ("lin1", "activation"),
    ("fc1", "activation_fn"),
)
_COARSE = 0.05  # relative; bfloat16 itself is good to 0.002


def avoid_wrong_kernels(model: nn.Module) -> list[str]:
    """Run convolutions that oneDNN gets wrong in half precision in float32, in place.

    oneDNN 3.12 with AMX returns other numbers for grouped convolutions of few channels.

    Parameters
    ----------
    model : torch.nn.Module
        In half precision, on a CPU.

    Returns
    -------
    list of str
        Their names.

    Examples
    --------
    >>> avoid_wrong_kernels(nn.Sequential(nn.Linear(2, 2)).bfloat16())
    []
    """
    found = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv1d) and _is_wrong(module):
            vars(module)["forward"] = partial(_in_float32, module)
            found.append(name)
    return found


@torch.inference_mode()
def _is_wrong(conv: nn.Conv1d) -> bool:
    samples = 2 * conv.kernel_size[0] * conv.dilation[0]
    values = torch.randn(1, conv.in_channels, samples, generator=torch.Generator().manual_seed(0))
    values = values.to(conv.weight.dtype)
    right = _in_float32(conv, values)
    return bool((conv(values) - right).norm() > _COARSE * right.norm())


def _in_float32(conv: Any, values: torch.Tensor) -> torch.Tensor:
    bias = None if conv.bias is None else conv.bias.float()
    rest = (conv.stride, conv.padding, conv.dilation, conv.groups)
    return F.conv1d(values.float(), conv.weight.float(), bias, *rest).to(values.dtype)


def speed_up(model: Any, run: Callable[[], object]) -> Callable[[], None]:
    """Replace what can be faster, in place.

    Parameters
    ----------
    model : torch.nn.Module
        A float32 or bfloat16 model on a CPU.
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
    """Return the modules that are called."""
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
    children = dict(holder.named_children())
    for name, activation in _ACTIVATED:
        linear, after = children.get(name), children.get(activation)
        if type(linear) is nn.Linear and {linear, after} <= called and is_gelu(after):
            changed += [(holder, name, linear), (holder, activation, children.pop(activation))]
            setattr(holder, name, PackedLinear(linear.weight, linear.bias, gelu=True).eval())
            setattr(holder, activation, nn.Identity().eval())
            del children[name]
    for name, module in children.items():
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
