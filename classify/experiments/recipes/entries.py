"""The entries of a recipe for one encoder and for one member."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

from ....cache.errors import AffektError
from ....cache.identity.spec import Spec
from .lines import SettingError

PROBE = "probe"  # of layers: the best one over folds of the training clips


@dataclass(frozen=True, slots=True)
class EncoderEntry:
    """An encoder of a recipe: its name there, and how it is opened.

    Attributes
    ----------
    name : str
        The name in the recipe, used by `on`.
    options : dict
        As in the recipe: `arguments` and ``store_dtype``; or only ``space``, a stored space's name.
    keys : tuple of str
        Its place in the recipe, for messages.
    spec : Spec, optional
        Of an encoder that a given model reads, which the recipe does not name.
    folder : Path, optional
        Where that encoder was when the model was trained.
    """

    name: str
    options: Mapping[str, Any]
    keys: tuple[str, ...]
    spec: Spec | None = None
    folder: Path | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of `affekt.extract.Encoder`."""
        return {key: value for key, value in self.options.items() if key != "store_dtype"}

    @property
    def store_dtype(self) -> str:
        """The type that its rows are stored in."""
        return self.options.get("store_dtype", "float32")

    def error(self, message: str, *keys: str) -> SettingError:
        """Return an error in one of its keys."""
        return SettingError(message, *self.keys, *keys)


@dataclass(frozen=True, slots=True)
class MemberEntry:
    """One source of predictions: a head on one encoder or several.

    Every setting holds the values to choose from on dev; most have one.

    Attributes
    ----------
    head : str
        A name of `affekt.classify.HEADS`; blank for an encoder that is a classifier itself, and for
        a given model.
    on : tuple of str
        Names of encoders; of a given model, blank until its folder is read.
    layers : dict of str to tuple
        Encoder -> layers to choose from: an int, a tuple of ints, "all", or "probe".
    combine : tuple of str
        "concat", "mean" or "mix": how several layers become one input.
    settings : dict of str to tuple
        Hyper-parameter of the head -> values to choose from.
    scale : bool or str
        Whether features are standardised with the statistics of train, or within which column.
    seeds : int
        How many random states are tried, starting with `random_state`.
    refit : bool
        Whether the model that predicts new clips is trained once more, on all of train and dev.
    model : Path, optional
        The folder of a given model, which is not trained.
    named : str
        That folder as the recipe writes it.
    digest : str
        Of that model, once it is read.
    votes : bool
        Whether it learns from the shares of the raters' votes, and not from one label.
    """

    name: str
    head: str
    on: tuple[str, ...]
    layers: Mapping[str, tuple[Any, ...]]
    combine: tuple[str, ...] = ("concat",)
    settings: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    scale: bool | str = True
    seeds: int = 1
    random_state: int = 0
    refit: bool = False
    model: Path | None = None
    named: str = ""
    digest: str = ""
    votes: bool = False

    def error(self, message: str, *keys: str) -> SettingError:
        """Return an error in one of its keys, with the member's name before the message."""
        return SettingError(f"member {self.name!r}: {message}", "members", self.name, *keys)

    @contextmanager
    def naming(self, *keys: str, where: str = "") -> Iterator[None]:
        """Turn an `AffektError` into an error in one of its keys, with `where` before its text."""
        try:
            yield
        except AffektError as error:
            raise self.error(f"{where}{error}", *keys) from None

    def candidates(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of ``layers`` (by encoder), ``combine`` and ``settings``."""
        layers = [[(name, one) for one in self.layers[name]] for name in self.on]
        settings = [[(name, one) for one in some] for name, some in self.settings.items()]
        for combine in self.combine:
            for chosen in product(*layers):
                for values in product(*settings):
                    yield {"layers": dict(chosen), "combine": combine, "settings": dict(values)}

    def only(self, candidate: Mapping[str, Any]) -> Self:
        """Return the member with one of its candidates."""
        return replace(
            self,
            layers={name: (one,) for name, one in candidate["layers"].items()},
            combine=(candidate["combine"],),
            settings={name: (one,) for name, one in candidate["settings"].items()},
        )

    def describe(self) -> dict[str, Any]:
        """Return everything that decides the member's numbers, as JSON."""
        if self.model:
            return {"given": self.digest}
        from ...heads.registry import code_of_own_head

        code = code_of_own_head(self.head)
        return {
            "head": self.head,
            **({"code": code} if code else {}),
            "on": list(self.on),
            "layers": {name: list(some) for name, some in self.layers.items()},
            "combine": list(self.combine),
            "settings": {name: list(some) for name, some in self.settings.items()},
            "scale": self.scale,
            "seeds": self.seeds,
            "random_state": self.random_state,
            **({"refit": True} if self.refit else {}),
            **({"votes": True} if self.votes else {}),
        }
