"""The valence network as its tensors say it is; see `vocametrix_layout`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from .vocametrix_layout import Layout, layer_shapes


class ValenceNet(nn.Module):
    """Patches, CLS, positions, encoder, two layers; norms where the file has them.

    Parameters
    ----------
    settings : mapping
        ``nhead``, ``activation``, ``head_activation``, ``norm_first``.
    """

    def __init__(self, layout: Layout, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.layout = layout
        d_model = layout.d_model
        positions = layout.patches + layout.cls_has_position
        self.patch_embedding = nn.Linear(layout.patch_size, d_model)
        self.cls_token = nn.Parameter(torch.empty(1, 1, d_model))
        self.position_embedding = nn.Parameter(torch.empty(1, positions, d_model))
        self.encoder = nn.ModuleDict(
            {
                "layers": nn.ModuleList(
                    nn.TransformerEncoderLayer(
                        d_model,
                        settings["nhead"],
                        layout.feedforward,
                        activation=settings["activation"],
                        norm_first=settings["norm_first"],
                        batch_first=True,
                    )
                    for _ in range(layout.n_blocks)
                )
            }
        )
        if "final_norm" in layout.names:
            self.final_norm = nn.LayerNorm(d_model)
        if "head_norm" in layout.names:
            self.head_norm = nn.LayerNorm(d_model)
        active = nn.GELU() if settings["head_activation"] == "gelu" else nn.ReLU()
        self.classifier = nn.Sequential(
            nn.Linear(d_model, layout.hidden),
            active,
            nn.Identity(),  # dropout, which says nothing here; it keeps the numbers of the names
            nn.Linear(layout.hidden, layout.classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Give logits ``(clips, classes)`` of scaled features ``(clips, width)``."""
        size = self.layout.patch_size
        padded = nn.functional.pad(x, (0, self.layout.patches * size - x.shape[1]))
        tokens = self.patch_embedding(padded.unflatten(1, (-1, size)))  # (clips, patches, d_model)
        if not self.layout.cls_has_position:
            tokens = tokens + self.position_embedding
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), tokens], dim=1)
        if self.layout.cls_has_position:
            tokens = tokens + self.position_embedding
        for layer in self.encoder["layers"]:  # type: ignore[union-attr]
            tokens = layer(tokens)
        cls = tokens[:, 0]
        for name in ("final_norm", "head_norm"):
            if name in self.layout.names:
                cls = getattr(self, name)(cls)
        return self.classifier(cls)


def build(path: Path, layout: Layout, settings: Mapping[str, Any]) -> ValenceNet:
    """Read the tensors of `path` into a network; each has its place by now."""
    stored = load_file(path)
    network = ValenceNet(layout, settings)
    theirs = {
        "patch_embedding": layout.names["patch"],
        "classifier.0": layout.names["first"],
        "classifier.3": layout.names["last"],
    }
    norms = {"final_norm", "head_norm"} & set(layout.names)
    theirs |= {norm: layout.names[norm] for norm in norms}
    state = {
        f"{ours}.{kind}": stored[f"{name}.{kind}"]
        for ours, name in theirs.items()
        for kind in ("weight", "bias")
    }
    state["cls_token"] = stored[layout.names["cls"]]
    state["position_embedding"] = stored[layout.names["positions"]]
    for number in range(layout.n_blocks):
        for part in layer_shapes(layout.d_model, layout.feedforward):
            name = f"layers.{number}.{part}"
            state[f"encoder.{name}"] = stored[f"{layout.stem}{name}"]
    shapes = network.state_dict()
    network.load_state_dict(
        {name: value.float().reshape(shapes[name].shape) for name, value in state.items()}
    )
    return network.eval().requires_grad_(False)
