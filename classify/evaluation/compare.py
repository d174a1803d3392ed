"""Compare members and ensembles so that the answer can be trusted.

Everything is chosen on dev and scored on test: strategies, members, weights, temperatures. Every
number comes with an interval that resamples speakers, every pair with exact tests and a plain
sentence. The stages: predictions are joined to clips, combined, measured, analysed, and assembled
to `Comparison.data`, the whole result as JSON, from which the report is written.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...cache.errors import listed
from ..data.predictions import Predictions
from ..data.scales import ScaleTask
from ..data.splitting.findings import Finding, Kind
from ..data.splitting.schemes import Split
from ..data.task import Task
from ..ensembles.fixed_rules import Ensemble
from ..metrics import measures as metrics
from ..metrics.bootstrap import FEWEST_GROUPS, Resamples, resample, resample_crossed
from ..metrics.bootstrap_proba import proba_intervals
from ..metrics.scored_clips import Part, clusters, group_noun, single_clips
from .analyses.all import extras
from .compare_numbers import Numbers
from .compare_options import CompareOptions
from .comparison import Comparison
from .dev_and_test import LEARN_SHARES, rarer_on_dev
from .joining import Joined
from .scores import pair_tests, scoring
from .scores.dev_choice import choice
from .scores.verdicts import one_answer
from .stages import EVERY, Stages, mean_of_all

if TYPE_CHECKING:
    from ...cache.manifest import Manifest


def compare(
    members: Mapping[str, Predictions],
    truth: Manifest,
    task: Task | str,
    *,
    strategies: Sequence[str | Ensemble] | None = None,
    dev: Mapping[str, Predictions] | None = None,
    dev_truth: Manifest | None = None,
    groups: str | None = "speaker",
    by: Sequence[str] = ("language",),
    calibrate: str | None = None,
    calibrate_fused: str | None = None,
    crossed: str | None = None,
    subsets: bool = False,
    all_pairs: bool = False,
    allow_overlap: bool = False,
    split: Split | Sequence[Split] | None = None,
    seeds: Mapping[str, Mapping[str, Predictions]] | None = None,
    audit_audio: bool = True,
    before_test: Callable[[str | None], Mapping[str, Any]] | None = None,
    n_resamples: int = 10_000,
    level: float = 0.95,
    random_state: int = 0,
) -> Comparison:
    """Score members and ensembles on the same clips, with intervals and paired tests.

    Parameters
    ----------
    members
        Predictions of each member on test, by name. Rows and columns in any order.
    truth
        The test clips with their labels; columns for groups and tables.
    task
        The task, or its name.
    strategies
        Names of `STRATEGIES`, alone or with members (``mean of speech + text``), or ensembles of
        your own; those that learn need `dev`. By default mean and max, of numbers mean.
    dev, dev_truth
        The members' predictions on dev, and its clips: strategies learn from them and are chosen
        on them.
    groups
        Column whose values are resampled and exchanged as a whole; None for single clips.
    by
        Columns that get a table each: language, dataset, gender ...
    calibrate
        Calibrate members on dev before they are combined: "temperature", "vector", "isotonic".
    calibrate_fused
        Calibrate what each ensemble gives, and `predict` serves, on dev; by the same names.
    crossed
        Column that crosses the groups, as sentences that all speakers say: intervals of UAR,
        accuracy, F1, recalls and differences are then over both. Tests stay over the groups.
    subsets
        Try every subset of the members for the closed-form strategies, on dev.
    all_pairs
        Test every pair of systems; by default the chosen one against each other, which corrects
        for fewer tests. Without dev nothing is chosen, and all pairs are tested.
    allow_overlap
        Let dev and test share clips, speakers, recordings or texts; refused by default. With the
        folds of `split` this holds for each fold: its test, and the dev of clips outside of it.
    split
        Where the parts come from, one or several folds: hashes, warnings, shortcut audit and the
        check that test follows train go into the report.
    seeds
        For members that were trained from several seeds: test predictions of each seed.
    audit_audio
        Whether the audit may read duration, loudness and sampling rate from the files.
    before_test
        Called with the chosen system before anything is scored on test; what it returns is
        in the result as `test_uses`.
    n_resamples, level, random_state
        Draws of bootstrap and permutation, coverage of the intervals, seed.

    Returns
    -------
    comparison
        Result with `table()` to read, `data` for programs and `write(folder)`.

    Raises
    ------
    InputError
        If predictions and truth do not have the same ids, a name is not known, a number is out of
        range, or dev and test share what they must not.

    Examples
    --------
    >>> from affekt.cache import Manifest
    >>> rows = [{"id": f"c{i}", "text": "-", "label": "no" if i % 2 else "yes"} for i in range(8)]
    >>> truth = Manifest.from_rows(rows)
    >>> sure = [[0.9, 0.1] if i % 2 else [0.2, 0.8] for i in range(8)]
    >>> meek = [[0.6, 0.4]] * 8
    >>> members = {n: Predictions(truth.ids, ["no", "yes"], p)
    ...            for n, p in [("sure", sure), ("meek", meek)]}
    >>> result = compare(members, truth, Task.from_labels(["no", "yes"]), n_resamples=100)
    >>> result.data["systems"]["sure"]["test"]["uar"]["value"]
    1.0
    """
    options = CompareOptions(
        strategies=strategies,
        groups=groups,
        by=by,
        calibrate=calibrate,
        calibrate_fused=calibrate_fused,
        crossed=crossed,
        subsets=subsets,
        all_pairs=all_pairs,
        allow_overlap=allow_overlap,
        audit_audio=audit_audio,
        n_resamples=n_resamples,
        level=level,
        random_state=random_state,
    )
    return compare_with(
        options,
        members,
        truth,
        task,
        dev=dev,
        dev_truth=dev_truth,
        split=split,
        seeds=seeds,
        before_test=before_test,
    )


def compare_with(
    options: CompareOptions,
    members: Mapping[str, Predictions],
    truth: Manifest,
    task: Task | str,
    *,
    seeds: Mapping[str, Mapping[str, Predictions]] | None = None,
    before_test: Callable[[str | None], Mapping[str, Any]] | None = None,
    on_scores: Callable[[Comparison], object] = lambda scored: None,
    **clips: Any,
) -> Comparison:
    """Compare as `compare` does, with its options in one object.

    Parameters
    ----------
    options
        How the comparison is made.
    members, truth, task, seeds, before_test
        As `compare`.
    on_scores
        Given the comparison when its table is known, before what takes longer: pairs, tables by
        column, analyses.
    **clips
        `dev`, `dev_truth` and `split` of `compare`.
    """
    task = Task.of(task)
    options.check(task)
    kind: type[Stages] = Numbers if isinstance(task, ScaleTask) else Labels
    if options.strategies is None:
        options = replace(options, strategies=kind.usual)
    found = kind(options, members, truth, task, **clips)
    return found.compared(before_test, on_scores, seeds or {})


class Labels(Stages[Part]):
    """What is done with labels."""

    kind, measure, tie, of_group = Part, "uar", "nll", "uar"
    usual = ("mean", "max")
    drawn: Resamples
    of_proba: Mapping[str, Mapping[str, tuple[float, float]]]

    def choose(self, best: str | None, rows: np.ndarray | slice = EVERY) -> dict[str, Any]:
        """Choose by the UAR on some rows of dev."""
        tuning: Any = self.tuning
        found = {name: item.dev_predictions for name, item in self.combined.items()}
        return choice(
            best,
            {name: one.codes[rows] for name, one in found.items() if one is not None},
            *(tuning.codes[rows], tuning.groups[rows], len(self.task.labels)),
            mean=mean_of_all(self.combined),
            random_state=self.options.random_state,
        )

    def draw(self) -> None:
        """Draw the groups of test again, for measures of labels and of probabilities."""
        test, options, task = self.test, self.options, self.task
        guesses = {name: one.codes for name, one in self.systems.items()}
        pooled, n_labels = self.joined.pooled(), len(task.labels)
        draws: dict[str, Any] = {**options.draws, "per_class": True, "pooled": pooled}
        if options.crossed is None:
            self.drawn = resample(test.codes, guesses, test.groups, n_labels, **draws)
        else:
            second, about = clusters(test.clips, options.crossed)
            test.warnings += about
            both = test.groups, second
            self.drawn = resample_crossed(test.codes, guesses, *both, n_labels, **draws)
        self.of_proba = proba_intervals(
            test.codes,
            {name: one.proba for name, one in self.systems.items() if not one.hard},
            test.groups,
            np.array([task.values[label] for label in task.labels]) if task.values else None,
            level=options.level,
            pooled=pooled,
            **options.draws,
        )

    def answers(self, name: str) -> np.ndarray:
        """Return the label codes that a system gives to the test clips, `(clips,)`."""
        return self.systems[name].codes

    def score_of(self, answers: np.ndarray) -> dict[str, Any]:
        """Return the UAR of such answers, with its interval."""
        test, draws = self.test, self.options.draws
        given, n_labels = {"": answers}, len(self.task.labels)
        drawn = resample(test.codes, given, test.groups, n_labels, pooled=True, **draws)
        return drawn.score("", "uar", self.options.level)

    def about_task(self) -> dict[str, Any]:
        """Return the description of the task, without the labels of corpora."""
        record = self.task.record()
        return {key: record[key] for key in ("name", "version", "hash", "labels")}

    def about_groups(self) -> dict[str, Any]:
        """Return how many groups of test there are, and how many they are worth."""
        drawn = self.drawn
        return {
            "count": drawn.groups,
            "effective": drawn.effective_groups("uar"),
            "crossed": self.options.crossed,
            "count_crossed": drawn.crossed[0].groups if drawn.crossed else None,
        }

    def score_group(self, rows: np.ndarray, one: Predictions) -> float:
        """Return the UAR over the classes that these clips have."""
        codes = self.test.codes[rows], one.codes[rows]
        matrix = metrics.confusion_of_codes(*codes, len(self.task.labels))
        return metrics.summary(matrix)["uar_present"]

    @property
    def best(self) -> str:
        """The chosen system; else the best one on test."""
        return self.chosen or max(self.systems, key=lambda one: self.drawn.estimates[one]["uar"])

    def scores(self, name: str) -> dict[str, Any]:
        """Return every measure of a system on test."""
        one, of_proba = self.systems[name], self.of_proba.get(name)
        given = one, self.task, self.drawn, name, self.options.level, of_proba
        return scoring.scores(self.test.codes, *given)

    def pairs(self, first: str | None) -> list[dict[str, Any]]:
        """Test pairs of systems on UAR."""
        return pair_tests.pairs(
            self.test.codes,
            {name: one.codes for name, one in self.systems.items()},
            self.test.groups,
            self.drawn,
            len(self.task.labels),
            self.options.random_state,
            self.options.level,
            first,
        )

    def by(self, column: str) -> dict[str, Any]:
        """Score every system within each value of a column, with the gaps of the best."""
        asked = pair_tests.pairs_of(sorted(self.systems), self.pairs_of)
        return scoring.table_by(self.joined, self.systems, column, self.best, asked)

    def analyses(self, seeds: Mapping[str, Mapping[str, Predictions]]) -> dict[str, Any]:
        """Return diversity, calibration, shortcuts and the other analyses."""
        return extras(self.joined, self.combined, self.best, seeds)

    def warnings(self, data: Mapping[str, Any]) -> list[str]:
        """Return warnings of the labels, the groups, the members and dev."""
        test, tuning, combined = self.test, self.tuning, self.combined
        found = [*data["sanity"], *one_answer(data), *super().warnings(data)]
        found += _few_groups(self.joined, self.drawn)
        hard = [name for name, one in test.members.items() if one.hard]
        if 0 < len(hard) < len(test.members) < len(combined):
            found.append(
                f"{', '.join(hard)} predicted labels without probabilities, which ensembles treat "
                "as certain: max then follows them; vote counts every member once"
            )
        calibrated = {self.options.calibrate, self.options.calibrate_fused}
        if tuning is not None and calibrated & LEARN_SHARES:
            found += rarer_on_dev(tuning.clips, test.clips)
        return found


def _few_groups(joined: Joined[Part], drawn: Resamples) -> list[str]:
    """Return warnings of classes that too few groups have to generalise to others."""
    groups, labels = joined.options.groups, joined.test.task.labels
    if groups is None or drawn.groups < FEWEST_GROUPS:
        return []
    of_count: dict[int, list[str]] = {}
    for code, count in drawn.few_groups().items():
        of_count.setdefault(count, []).append(str(labels[code]))
    single = single_clips(joined.test.clips, groups)
    noun = group_noun(None if drawn.groups == len(joined.test.codes) else groups, single=single)
    guess = f"and the other intervals were widened by an estimate of how much {noun} differ"
    found = []
    for count, few in of_count.items():
        of = f"{count} of {drawn.groups} {noun}"
        what = f"label {few[0]} comes from {of}: its recall has"
        if len(few) > 1:
            what = f"labels {listed(few)} each come from {of}: their recalls have"
        found.append(Finding(f"{what} no interval, {guess}", Kind.GROUPS))
    return found
