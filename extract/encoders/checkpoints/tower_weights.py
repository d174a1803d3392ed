"""Where the tensors of a tower are in the checkpoint of a larger model, and its configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ....cache.errors import InputError
from ..audio_towers import Tower
from .checkpoint import Checkpoint
from .reading import library_errors, read_configuration


def tower_configuration(checkpoint: Checkpoint, kind: Any) -> Any:
    """Find the tower's own configuration inside the model's."""
    whole = read_configuration(checkpoint)
    found = _inside(whole, kind.config_class)
    if found is None:
        raise InputError(
            f"{checkpoint.name}: its configuration has no part for {kind.__name__}; this "
            f"{checkpoint.model_type} was saved without an audio encoder"
        )
    return found


def sizes_of(checkpoint: Checkpoint, tower: Tower) -> tuple[int, int]:
    """Read the number of blocks and the width of a tower."""
    config = tower_configuration(checkpoint, tower.model)
    blocks, width = tower.sizes
    with library_errors(checkpoint.name, "config.json"):
        return int(getattr(config, blocks)) if tower.layers else 0, int(getattr(config, width))


def prefix_of(names: Sequence[str], kind: Any, config: Any) -> str:
    """Find the prefix of a tower's tensors in a checkpoint, such as ``"audio_tower."``."""
    with torch.device("meta"):
        wanted = list(kind(config).state_dict())
    there = set(names)
    prefixes = {name.removesuffix(key) for key in wanted[:8] for name in names if _ends(name, key)}
    return max(
        sorted(prefixes, key=len) or [""],
        key=lambda prefix: sum(prefix + key in there for key in wanted),
    )


def _ends(name: str, key: str) -> bool:
    return name == key or name.endswith(f".{key}")


def _inside(config: Any, kind: Any) -> Any:
    if isinstance(config, kind):
        return config
    for name in getattr(config, "sub_configs", None) or ():
        found = _inside(getattr(config, name, None), kind)
        if found is not None:
            return found
    return None
