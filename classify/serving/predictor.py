"""A predictor that stays open: the chosen system of a run, answering new clips."""

from __future__ import annotations

import os
from collections.abc import Sequence

from ..models.new_clips.predict_methods import Predicts
from ..models.new_clips.system import System


class Predictor(Predicts):
    """The chosen system of a run, with its encoders kept open. Made by `load_model`.

    Parameters
    ----------
    system : System
    encoders, device
        See `Predicts`.

    Attributes
    ----------
    name : str
        Of the member or ensemble.
    labels : tuple of str
        In task order.
    """

    def __init__(
        self,
        system: System,
        *,
        encoders: Sequence[str | os.PathLike[str]] = (),
        device: str = "auto",
    ) -> None:
        self.system = system
        self.encoders = tuple(encoders)
        self.device = device
        self._opened = system.opened

    @property
    def name(self) -> str:
        """Of the member or ensemble."""
        return self.system.name

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in task order."""
        return self.system.labels

    def _as_system(self) -> System:
        return self.system

    def __repr__(self) -> str:
        return f"<Predictor {self.name!r} over {', '.join(self.labels)}>"
