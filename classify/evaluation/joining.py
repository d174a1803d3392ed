"""The first stage of a comparison: predictions are joined to clips."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ...cache.errors import InputError, listed
from ...cache.manifest.manifest import check_manifest
from ..data.predictions import Predictions
from ..data.splitting.split import Split
from ..data.task import Task
from ..data.vocabulary import any_case
from ..ensembles.fixed_rules import check_members
from ..metrics.scored_clips import Part, Rated, clusters
from .compare_options import CompareOptions
from .dev_and_test import check_apart

if TYPE_CHECKING:
    from ...cache.manifest import Manifest

P = TypeVar("P", Part, Rated)


@dataclass(frozen=True)
class Joined(Generic[P]):
    """Predictions joined to the clips that they are of.

    Attributes
    ----------
    test, tuning : Part or Rated
        Of labels or of numbers; `tuning` is dev, None where there is none.
    folds : list of Split
        Where the parts come from; empty where that is not known.
    """

    test: P
    tuning: P | None
    folds: list[Split]
    options: CompareOptions

    @classmethod
    def of(
        cls,
        kind: type[P],
        members: Mapping[str, Any],
        truth: Manifest,
        task: Any,
        options: CompareOptions,
        *,
        dev: Mapping[str, Any] | None = None,
        dev_truth: Manifest | None = None,
        split: Split | Sequence[Split] | None = None,
    ) -> Joined[P]:
        """Join predictions to the clips of test and dev; the parameters are those of `compare`."""
        if (dev is None) != (dev_truth is None):
            raise InputError("dev and dev_truth belong together; expected both or neither")
        if dev is not None and set(dev) != set(members):
            raise InputError(
                f"members on dev {sorted(dev)}, on test {sorted(members)}; expected the same"
            )
        check_members(members)
        check_manifest(truth, "truth")
        test = kind(members, truth, task, "test")
        for column in (*options.by, options.groups, options.crossed):
            if column is not None:
                test.clips[column]  # an InputError where there is none, with the nearest name
        test.groups, about = clusters(test.clips, options.groups)
        test.warnings += about
        tuning = None
        if dev is not None and dev_truth is not None:
            tuning = kind(dev, dev_truth, task, "dev")
            tuning.groups, _ = clusters(tuning.clips, options.groups)
        folds = [] if split is None else [split] if isinstance(split, Split) else list(split)
        joined = cls(test, tuning, folds, options)
        if tuning is not None and not options.allow_overlap:
            tuning.warnings += joined.check_apart(tuning.clips)
        return joined

    def check_apart(self, dev: Manifest) -> list[str]:
        """Check that dev and test share nothing; of folds, test and what is learnt for it."""
        test = self.test.clips
        learnt = self.learnt_apart()
        if sum(len(tested) for tested, _ in learnt) < len(test):
            return check_apart(dev, test)
        found = [check_apart(dev.select(own), test.select(tested)) for tested, own in learnt]
        return list(dict.fromkeys(warning for fold in found for warning in fold))

    def pooled(self, rows: np.ndarray | slice = slice(None)) -> bool:
        """Whether models of several folds predicted these test clips (`metrics.intervals`)."""
        ids = set(np.array(self.test.clips.ids, dtype=object)[rows])
        return sum(not ids.isdisjoint(fold.test.ids) for fold in self.folds) > 1

    @property
    def by(self) -> list[str]:
        """The columns that get a table: those with several values on test."""
        clips = self.test.clips
        return [column for column in self.options.by if len(set(clips[column])) > 1]

    def learnt_apart(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return rows of test, and the rows of dev to learn from for them; empty for one split.

        Where folds are pooled, the clips of each fold are dev in another one: what is learnt from
        dev and scored on a fold must not have seen them.
        """
        if len(self.folds) < 2 or self.tuning is None:
            return []
        ids = [np.array(part.clips.ids, dtype=object) for part in (self.test, self.tuning)]
        inside = [[np.isin(own, fold.test.ids) for own in ids] for fold in self.folds]
        return [
            (np.flatnonzero(test), np.flatnonzero(~dev))
            for test, dev in inside
            if test.any() and not dev.all()
        ]


def in_common(
    members: Mapping[str, Predictions], clips: Manifest, task: Task | None
) -> tuple[dict[str, Predictions], Manifest, str, dict[str, int]]:
    """Return what all members have, a warning about what they lack, and what the task leaves out.

    A blank hard prediction does not count.
    """
    scored, unlabelled = task.select(clips, blank="drop") if task else (clips, {})
    members = {name: _answered(one) for name, one in members.items()}
    lacks = {name: set(scored.ids).difference(one.ids) for name, one in members.items()}
    left = set().union(*lacks.values())
    kept = [clip for clip in scored.ids if clip not in left]
    if not kept:
        raise InputError("no clip is in every file; are the ids those of the manifest?")
    out = set(clips.ids).difference(kept)
    taken = {n: one.select([i for i in one.ids if i not in out]) for n, one in members.items()}
    who = listed([f"{name} ({len(ids)})" for name, ids in lacks.items() if ids])
    text = (
        f"{len(left)} of {len(scored)} test clips are not compared, since {who} did not answer "
        "them: if they are harder than the rest, all scores are too high"
    )
    return taken, scored.select(kept), text if left else "", unlabelled


def _answered(one: Any) -> Any:
    if not one.hard or "" not in one.labels:
        return one
    kept = [clip for clip, label in zip(one.ids, one.label, strict=True) if label]
    chosen = [label for label in one.label if label]
    return type(one).one_hot(kept, [name for name in one.labels if name], chosen, source=one.source)


def match_case(
    members: Mapping[str, Predictions],
    labels: Iterable[str],
    task: Task | None,
    say: Callable[[str], None],
) -> dict[str, Predictions]:
    """Rename labels that differ from those of the task only in case, where that is unambiguous.

    Where the task ignores case, two spellings are one label, as they are in a manifest.

    Examples
    --------
    >>> from affekt.classify import Predictions
    >>> shouted = Predictions(["1"], ["JOY", "Anger"], [[0.2, 0.8]])
    >>> match_case({"llm": shouted}, ["anger", "joy"], None, print)["llm"].labels
    llm: labels matched regardless of case: JOY=joy, Anger=anger
    ('joy', 'anger')
    >>> match_case({"llm": shouted}, ["anger", "joy", "Joy"], None, print)["llm"].labels
    ('JOY', 'Anger')
    """
    labels, found = set(labels), dict(members)
    ours = {any_case(label): label for label in labels}
    if len(ours) < len(labels):
        return found
    for name, one in members.items():
        same = {label: ours.get(any_case(label), label) for label in one.labels}
        clear = len(set(same.values())) == len(same) or (one.hard and task and task.ignore_case)
        if one.labels != tuple(same.values()) and clear:
            pairs = [f"{theirs}={own}" for theirs, own in same.items() if theirs != own]
            say(f"{name}: labels matched regardless of case: {', '.join(pairs)}")
            found[name] = one.renamed(same)
    return found


def task_as_is(members: Mapping[str, Predictions], truth: Manifest) -> Task:
    """Return the task of the labels as they are written, where none was named."""
    first = next(iter(members.values()))
    more = sorted({str(label) for label in truth["label"]} - set(first.labels))
    if all(member.hard for member in members.values()):
        more = sorted({*more, *(label for m in members.values() for label in m.labels)})
        return Task.from_labels(dict.fromkeys([*first.labels, *more]))
    return Task.from_labels(first.labels)
