"""The networks of all members at once: a multilayer perceptron, a patch transformer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from .flat_weights import FlatWeights
from .fused import blocks, placed, placed_backward
from .hashed_dropout import Chance
from .stacked_layers import Stacked, StackedLayer, StackedMLP, product

Make = Callable[[FlatWeights, Chance], Stacked]


class StackedVectors(Stacked):
    """`MLP`s with ReLU, without layer mix."""

    def __init__(self, network: Any, weights: FlatWeights, chance: Chance) -> None:
        super().__init__(weights, chance)
        self.lead, self.numbers = 0, network.layers[1].in_features
        self.first = self.drop(network.layers[0].p)
        self.layers = StackedMLP(self, network.layers, "layers.")
        self.skip = network.skip is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs."""
        self.x = x
        out = self.layers.forward(x)
        return out + self.times(x, "skip.weight") if self.skip else out

    def backward(self, grad: Tensor) -> None:
        """Write the gradients of all weights."""
        if self.skip:
            self.learn(grad.to(self.low), self.x, "skip.weight")
        self.layers.backward(grad)


class StackedPatches(Stacked):
    """`PatchTransformer`s with ReLU, the norms after the sums."""

    @staticmethod
    def fits(network: Any) -> bool:
        """Return whether the network is as written here, and small enough for the kernels."""
        _, positions, width = network.position_embedding.shape
        layer = network.encoder.layers[0]
        plain = not (layer.norm_first or len(network.cls_norms))
        relu = layer.activation is nn.functional.relu and isinstance(network.classifier[1], nn.ReLU)
        small = positions <= 64 and width <= 1024 and width // layer.self_attn.num_heads <= 64
        return plain and relu and small

    def __init__(self, network: Any, weights: FlatWeights, chance: Chance) -> None:
        super().__init__(weights, chance)
        _, self.positions, self.width = network.position_embedding.shape
        self.lead = network.patch_size  # a patch of zeros in the place of CLS
        self.numbers = self.positions * network.patch_size
        last = len(network.encoder.layers) - 1
        self.layers = [
            StackedLayer(
                self, layer, f"encoder.layers.{i}.", self.positions,
                1 if i == last else self.positions,
            )
            for i, layer in enumerate(network.encoder.layers)
        ]  # fmt: skip
        self.classifier = StackedMLP(self, network.classifier, "classifier.")

    def _blocks(self, rows: int) -> int:
        return max(rows, self.positions, blocks(rows * self.positions))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits."""
        weights, members = self.weights, len(x)
        self.patches = x.view(members, -1, self.lead)
        tokens = placed(
            self.times(self.patches, "patch_embedding.weight"),
            weights["cls_token"].view(members, -1), weights["patch_embedding.bias"],
            weights["position_embedding"].view(members, self.positions, -1), self.low,
        )  # fmt: skip
        for layer in self.layers:
            tokens = layer.forward(tokens)
        return self.classifier.forward(tokens.low)

    def backward(self, grad: Tensor) -> None:
        """Write the gradients of all weights."""
        inner = self.classifier.backward(grad)
        every = 1
        first: Any = None
        second = product(inner, self.weights.matrix("classifier.0.weight"))
        for layer in reversed(self.layers):
            first, second = layer.backward(first, second, every)
            every = layer.positions // layer.queries
        weights, members = self.weights, len(grad)
        to_made = placed_backward(
            (first, second), every, weights.grad("cls_token").view(members, -1),
            self.partial("patch_embedding.bias"),
            weights.grad("position_embedding").view(members, self.positions, -1), self.low,
        )  # fmt: skip
        self.learn(to_made, self.patches, "patch_embedding.weight")
