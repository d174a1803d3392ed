"""How a comparison is made: the keywords of `compare` other than clips and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...cache.errors import InputError, check_number

if TYPE_CHECKING:
    from ..data.task import Task
    from ..ensembles.fixed_rules import Ensemble

MOST_DRAWS = 1_000_000
#: options that a task of numbers does not have
OF_LABELS = ("calibrate", "calibrate_fused", "crossed", "subsets")

#: options that a result repeats
SHOWN = ("calibrate", "calibrate_fused", "subsets", "n_resamples", "level", "random_state")


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """How a comparison is made.

    The fields and their defaults are those of `affekt.classify.compare`, which explains them.

    Examples
    --------
    >>> CompareOptions(calibrate="temperature").settings()["calibrate"]
    'temperature'
    """

    strategies: Sequence[str | Ensemble] | None = None
    groups: str | None = "speaker"
    by: Sequence[str] = ("language",)
    calibrate: str | None = None
    calibrate_fused: str | None = None
    crossed: str | None = None
    subsets: bool = False
    all_pairs: bool = False
    allow_overlap: bool = False
    audit_audio: bool = True
    n_resamples: int = 10_000
    level: float = 0.95
    random_state: int = 0

    def check(self, task: Task) -> None:
        """Check the numbers, and that the options suit the task."""
        for name, value in (("strategies", self.strategies), ("by", self.by)):
            if isinstance(value, str):
                raise InputError(f"`{name}` is {value!r}; expected several names, as [{value!r}]")
        check_number("n_resamples", self.n_resamples, 20, MOST_DRAWS, whole=True)
        check_number("level", self.level, 0.5, 1)
        if self.level == 1:
            raise InputError("`level` is 1; expected a share from 0.5 to below 1, as 0.95")
        check_number("random_state", self.random_state, 0, 2**32 - 1, whole=True)
        check_crossed(self.crossed, self.groups)
        for name in OF_LABELS if task.kind != "labels" else ():
            if getattr(self, name):
                raise InputError(
                    f"`{name}` is for labels, and the task {task.name!r} is a regression task; "
                    "leave it out"
                )

    @property
    def draws(self) -> dict[str, Any]:
        """Number and seed of the resamples."""
        return {"n_resamples": self.n_resamples, "random_state": self.random_state}

    def settings(self) -> dict[str, Any]:
        """Return them as the report shows them, as JSON."""
        return {
            "strategies": [
                one if isinstance(one, str) else one.name for one in self.strategies or ()
            ],
            **{name: getattr(self, name) for name in SHOWN},
        }


def check_crossed(crossed: str | None, groups: str | None) -> None:
    """Refuse a second factor that is the first."""
    if crossed is not None and crossed == groups:
        raise InputError(
            f"`crossed` is {crossed!r}, which is the column of the groups already, so it has no "
            "effect; expected another, such as the sentence"
        )
