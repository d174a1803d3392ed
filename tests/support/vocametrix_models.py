"""Checkpoints of the valence head, small and as published, with tensors listed by hand."""

from __future__ import annotations

import json

import numpy as np
import torch
from safetensors.torch import save_file

DEFAULTS = {"nhead": 8, "activation": "relu", "norm_first": False}
SMALL = {"width": 40, "d_model": 16, "patch": 8, "blocks": 2, "feedforward": 24, "hidden": 12}
A = {"width": 768, "d_model": 256, "patch": 64, "blocks": 4, "feedforward": 1024, "hidden": 128}
B = {"width": 1024, "d_model": 512, "patch": 64, "blocks": 4, "feedforward": 1024, "hidden": 256}
C = {**A, "width": 1024}


def tensors(
    *,
    width,
    d_model,
    patch,
    blocks,
    feedforward,
    hidden,
    classes=3,
    stem="transformer.",
    cls_position=True,
    names=("patch_embedding", "cls_token", "pos_embedding", "classifier.0", "classifier.3"),
    norms=(),
    seed=0,
):
    """The tensors of a checkpoint, listed by hand."""
    rng = np.random.default_rng(seed)
    patches = -(-width // patch)
    embed, cls, positions, first, last = names
    shapes = {
        f"{embed}.weight": (d_model, patch),
        f"{embed}.bias": (d_model,),
        cls: (1, 1, d_model),
        positions: (1, patches + cls_position, d_model),
        f"{first}.weight": (hidden, d_model),
        f"{first}.bias": (hidden,),
        f"{last}.weight": (classes, hidden),
        f"{last}.bias": (classes,),
    }
    for norm in norms:
        shapes |= {f"{norm}.weight": (d_model,), f"{norm}.bias": (d_model,)}
    for block in range(blocks):
        name = f"{stem}layers.{block}"
        shapes |= {
            f"{name}.self_attn.in_proj_weight": (3 * d_model, d_model),
            f"{name}.self_attn.in_proj_bias": (3 * d_model,),
            f"{name}.self_attn.out_proj.weight": (d_model, d_model),
            f"{name}.self_attn.out_proj.bias": (d_model,),
            f"{name}.linear1.weight": (feedforward, d_model),
            f"{name}.linear1.bias": (feedforward,),
            f"{name}.linear2.weight": (d_model, feedforward),
            f"{name}.linear2.bias": (d_model,),
            **{f"{name}.norm{i}.{kind}": (d_model,) for i in (1, 2) for kind in ("weight", "bias")},
        }
    return {
        name: torch.from_numpy(rng.normal(0, 0.15, shape).astype("f4") + ("norm" in name))
        for name, shape in shapes.items()
    }


def write(folder, state, config=None, name="emotion_classifier_complete.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / name)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder
