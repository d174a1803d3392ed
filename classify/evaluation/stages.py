"""What comparisons of labels and of numbers have in common, stage by stage.

`compare` has what is done with labels, `compare_numbers` what is done with numbers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

import numpy as np

from ..data.predictions import Predictions
from ..data.splitting.findings import ranked, split_warnings
from ..ensembles.combining import ONE_GROUP, Combined, combine_all
from ..metrics.scored_clips import cluster_names, single_clips
from .comparison import Comparison
from .joining import Joined, P
from .scores.dev_choice import choice_saw_test

if TYPE_CHECKING:
    from ...cache.manifest import Manifest
    from .compare_options import CompareOptions

FORMAT = 2
EVERY = slice(None)  # all rows of dev


class Stages(ABC, Generic[P]):
    """A comparison: joined and combined, chosen on dev, measured on test, and assembled.

    Attributes
    ----------
    measure, tie
        What dev chooses by: higher is better, then lower is better.
    of_group
        What single groups are scored by.
    usual
        The ensembles where none are asked for.
    combined, systems
        Every system, and its predictions of test.
    chosen
        The system that dev chose.
    """

    kind: ClassVar[type]
    measure: ClassVar[str]
    tie: ClassVar[str]
    of_group: ClassVar[str]
    usual: ClassVar[tuple[str, ...]]
    chosen: str | None = None

    def __init__(
        self,
        options: CompareOptions,
        members: Mapping[str, Predictions],
        truth: Manifest,
        task: Any,
        **clips: Any,
    ) -> None:
        self.options, self.task = options, task
        self.joined: Joined[P] = Joined.of(self.kind, members, truth, task, options, **clips)
        self.test, self.tuning = self.joined.test, self.joined.tuning
        self.combined = self.combine()
        self.systems = {name: item.test for name, item in self.combined.items()}

    def compared(
        self,
        before_test: Callable[[str | None], Mapping[str, Any]] | None,
        on_scores: Callable[[Comparison], object],
        seeds: Mapping[str, Mapping[str, Predictions]],
    ) -> Comparison:
        """Go through all stages; the parameters are those of `compare_with`."""
        choice = self.choice()
        self.chosen = choice["chosen"] if choice else None
        test_uses = dict(before_test(self.chosen)) if before_test else None
        self.draw()
        if choice:
            choice["apart"] = self._chosen_apart(choice["chosen"])
        single = single_clips(self.test.clips, self.options.groups)
        data = {
            "format": FORMAT,
            "task": self.about_task(),
            "test": self.test.describe(),
            "dev": self.tuning.describe() if self.tuning else None,
            "groups": {
                "column": self.options.groups,
                **self.about_groups(),
                **({"single": single} if single else {}),
                "values": self._each_group(),
            },
            "splits": [fold.describe() for fold in self.joined.folds],
            "settings": {
                **self.options.settings(),
                "ties": "the first label in task order",
                "chosen_on": "dev" if self.tuning else None,
            },
            "warnings": [],
            "chosen": self.chosen,
            "pairs_of": self.pairs_of,
            "systems": {
                name: {**item.describe(), "test": self.scores(name)}
                for name, item in self.combined.items()
            },
            **({} if self.measure == "uar" else {"measure": self.measure}),
            "choice": choice,
            "test_uses": test_uses,
        }
        on_scores(self._result(data))
        data["pairs"] = self.pairs(self.pairs_of)
        data["by"] = {column: self.by(column) for column in self.joined.by}
        data |= self.analyses(seeds)
        found = [*self.warnings(data), *split_warnings(self.joined.folds), *choice_saw_test(data)]
        data["warnings"] = ranked(found)
        return self._result(data)

    def _result(self, data: Mapping[str, Any]) -> Comparison:
        replays = {n: item.replay for n, item in self.combined.items() if item.replay is not None}
        return Comparison(data, self.systems, replays, self.test.clips)

    @property
    def pairs_of(self) -> str | None:
        """The system that every other one is compared with; None for all pairs."""
        return None if self.options.all_pairs else self.chosen

    def combine(self) -> dict[str, Combined]:
        """Return members and ensembles, fitted on dev and applied to test."""
        options, tuning, folds = self.options, self.tuning, self.joined.folds
        return combine_all(
            self.test.members,
            options.strategies or (),
            tuning.members if tuning else None,
            tuning.truth if tuning else None,
            tuning.groups if tuning else None,
            calibrate=options.calibrate,
            calibrate_fused=options.calibrate_fused,
            subsets=options.subsets,
            folds=[frozenset(part.test.ids) for part in folds] if len(folds) > 1 else (),
            random_state=options.random_state,
        )

    def choice(self) -> dict[str, Any] | None:
        """Choose on dev; None without dev, or where no system has scores on it."""
        best = best_on_dev(self.combined, self.measure, self.tie)
        return None if best is None else self.choose(best)

    @abstractmethod
    def choose(self, best: str | None, rows: np.ndarray | slice = EVERY) -> dict[str, Any]:
        """Choose on some rows of dev; `best` is the best system there, None to find it."""

    @abstractmethod
    def draw(self) -> None:
        """Measure the systems on test, and on draws of its groups."""

    @abstractmethod
    def answers(self, name: str) -> np.ndarray:
        """Return what a system gives to the test clips, `(clips, ...)`."""

    @abstractmethod
    def score_of(self, answers: np.ndarray) -> dict[str, Any]:
        """Return the measure of such answers, of models of several folds, with its interval."""

    def _chosen_apart(self, chosen: str) -> dict[str, Any] | None:
        """Return what dev chooses for each fold without the fold's test clips; None for one split.

        The dev clips of a fold are tested in others: the system that is chosen on all of them was
        also chosen on the clips that it is scored on.
        """
        folds = self.joined.learnt_apart()
        if not folds:
            return None
        names = [self.choose(None, rows)["chosen"] for _, rows in folds]
        given = self.answers(chosen).copy()
        for (rows, _), name in zip(folds, names, strict=True):
            given[rows] = self.answers(name)[rows]
        return {"systems": dict(Counter(names)), self.measure: self.score_of(given)}

    def about_task(self) -> dict[str, Any]:
        """Return the description of the task."""
        return self.task.record()

    @abstractmethod
    def about_groups(self) -> dict[str, Any]:
        """Return how many groups of test there are, and how many they are worth."""

    @abstractmethod
    def score_group(self, rows: np.ndarray, one: Predictions) -> float:
        """Return the score of a system on some rows of test."""

    def _each_group(self) -> list[dict[str, Any]]:
        """Score each system on each group, but for single clips."""
        codes = self.test.groups
        if self.options.groups is None or len(np.unique(codes)) == len(codes):
            return []
        names = cluster_names(self.test.clips, self.options.groups)
        found = []
        for code in np.unique(codes):
            at = np.flatnonzero(codes == code)
            group = names[at[0]]
            if group.startswith("\0"):
                continue
            scores = {name: self.score_group(at, one) for name, one in self.systems.items()}
            found.append({"group": group, "clips": len(at), self.of_group: scores})
        return found

    @abstractmethod
    def scores(self, name: str) -> dict[str, Any]:
        """Return every measure of a system on test."""

    @abstractmethod
    def pairs(self, first: str | None) -> list[dict[str, Any]]:
        """Test the pairs of a system with every other one; without, all pairs."""

    @abstractmethod
    def by(self, column: str) -> dict[str, Any]:
        """Score every system within each value of a column, and the mean over values."""

    def analyses(self, seeds: Mapping[str, Mapping[str, Predictions]]) -> dict[str, Any]:
        """Return what else is reported; empty for numbers."""
        return {}

    def warnings(self, data: Mapping[str, Any]) -> list[str]:
        """Return warnings of test and dev, and of what could not be chosen."""
        found = [*self.test.warnings, *(self.tuning.warnings if self.tuning else ())]
        if left := [name for name, item in self.combined.items() if "not_eligible" in item.learnt]:
            found.append(f"{', '.join(left)} could not be chosen: {ONE_GROUP}")
        return found


def best_on_dev(combined: Mapping[str, Combined], lead: str, tie: str) -> str | None:
    """Return the system that is best on dev; None where none has scores on dev.

    By `lead` (UAR, CCC: higher is better), then by `tie` (NLL, error: lower is better), then fewer
    members, then the name. What has no value comes last.
    """
    places = []
    for name, item in combined.items():
        if item.dev:
            values = -item.dev[lead], item.dev[tie]
            ranks = [value if np.isfinite(value) else np.inf for value in values]
            places.append((*ranks, len(item.members), name))
    return min(places)[-1] if places else None


def mean_of_all(combined: Mapping[str, Combined]) -> str | None:
    """Return the mean of all members, which needs no choice; None where it was not requested."""
    count = sum(not item.strategy for item in combined.values())
    for name, item in combined.items():
        if item.strategy == "mean" and item.dev and len(item.members) == count:
            return name
    return None
