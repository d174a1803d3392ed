"""The inputs of a model: a spec, its layers and how they are combined, without any cache.

Trained on one machine and used on another, a model finds its features by spec key. Where the cache
holds only other spaces, the error says in which fields they differ.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from ...cache.errors import InputError, SpecError
from ...cache.identity.spec import Spec
from ...cache.layers import Combine

if TYPE_CHECKING:
    from ...cache.cache import Cache
    from ...cache.space import Features


@dataclass(frozen=True, slots=True)
class Needs:
    """Features that are not yet found in a cache.

    Attributes
    ----------
    spec : Spec
        How the embeddings are computed.
    layers : tuple of int
        Counted from 0.
    combine : str
        "concat", "mean" or "mix".
    """

    spec: Spec
    layers: tuple[int, ...]
    combine: Combine

    @classmethod
    def of(cls, features: Features) -> Needs:
        """Return what these features are, apart from where they are stored."""
        if not hasattr(features, "combine"):
            raise InputError(
                f"features is of type {type(features).__name__}; expected those of a space, as "
                "space.features(layers=-1) returns them"
            )
        return cls(features.space.spec, tuple(features.layers), cast("Combine", features.combine))

    @classmethod
    def from_record(cls, record: Mapping[str, Any], source: str = "a record") -> Needs:
        """Return the needs of a `record`; anything unexpected in it is an `InputError`."""
        spec = Spec.from_json(json.dumps(record["spec"]))
        layers = tuple(record["layers"])
        if not layers or not all(
            isinstance(layer, int) and 0 <= layer < spec.n_layers for layer in layers
        ):
            raise InputError(f"{source}: layers are {layers}; expected 0 to {spec.n_layers - 1}")
        if record["combine"] not in ("concat", "mean", "mix"):
            raise InputError(
                f"{source}: combine is {record['combine']!r}; expected concat, mean or mix"
            )
        return cls(spec, layers, record["combine"])

    @property
    def width(self) -> int:
        """Number of columns that the head sees."""
        return self.spec.dim * (1 if self.combine == "mean" else len(self.layers))

    def record(self) -> dict[str, Any]:
        """Return it as JSON; `from_record` reads it back."""
        return {
            "spec": json.loads(self.spec.json()),
            "layers": list(self.layers),
            "combine": self.combine,
        }

    def inside(self, cache: Cache) -> Features:
        """Find the features in a cache."""
        if (space := cache.find(self.spec)) is not None:
            return space.features(layers=list(self.layers), combine=self.combine)
        alike = [space for space in cache.spaces() if space.modality == self.spec.modality]
        if not alike:
            raise SpecError(
                f"the cache holds no {self.spec.modality} embeddings; the model needs "
                f"{self.spec.name}: affekt extract MANIFEST --cache DIR --encoder ..."
            )
        nearest = min(alike, key=lambda space: len(self.spec.diff(space.spec)))
        raise SpecError(
            f"the cache has no space of the model's spec ({self.spec.name}); the nearest, "
            f"{nearest.name}, differs:\n{self.spec.explain(nearest.spec)}"
        )
