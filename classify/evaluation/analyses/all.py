"""What a comparison reports besides its scores: diversity, calibration, abstaining, shortcuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...data.predictions import Predictions
from ...data.splitting.findings import of_other
from ...data.splitting.schemes import HELD_OUT, Split
from ...data.task import Task
from ...ensembles.combining import Combined
from ...metrics import measures as metrics
from ...metrics.scored_clips import Part, cluster_names
from .abstention import abstain
from .conformal import ConformalSets
from .diversity import diversity
from .seed_variance import seed_spread
from .shortcuts import audit, word_scores
from .split_sanity import check_relation

if TYPE_CHECKING:
    from ..joining import Joined


def extras(
    joined: Joined[Part],
    combined: Mapping[str, Combined],
    best: str,
    seeds: Mapping[str, Mapping[str, Predictions]],
) -> dict[str, Any]:
    """Return the parts of a comparison that need no separate interval, for JSON.

    Parameters
    ----------
    joined
        Test, dev where there is one, the folds and the options.
    combined
        Every system.
    best
        The system chosen on dev (else the best on test), which curves and sets are of.
    seeds
        As in `compare`.
    """
    test, tuning, options = joined.test, joined.tuning, joined.options
    result: dict[str, Any] = {}
    if len(test.members) > 1:
        result["diversity"] = diversity(test.members, test.codes)
    chosen = combined[best]
    if not chosen.test.hard:
        proba, dev = chosen.test.proba, chosen.dev_predictions
        known = (tuning.codes, dev.proba) if tuning and dev else (None, None)
        apart = joined.learnt_apart() if dev else []
        result["abstain"] = abstain(test.codes, proba, *known, apart=apart)
        result["reliability"] = _reliability(test.codes, proba)
        if tuning and dev:
            result["conformal"] = _conformal(joined, tuning, proba, dev.proba)
    if tuning:
        result["calibration"] = _calibration(joined, tuning)
    if seeds:
        result["seeds"] = {
            name: seed_spread(
                {
                    seed: run.reorder(test.task.labels).align(test.clips.ids)
                    for seed, run in runs.items()
                },
                test.codes,
                test.groups,
                random_state=options.random_state,
            )
            for name, runs in seeds.items()
        }
    labelled = [_labelled(split, test.task) for split in joined.folds]
    if labelled:
        result["audit"] = audit(
            labelled,
            test.task.labels,
            audio=options.audit_audio,
            groups=options.groups,
            random_state=options.random_state,
        )
    result["sanity"] = _sanity(test, tuning, labelled, options.groups)
    return result


def _reliability(truth: np.ndarray, proba: np.ndarray) -> list[dict[str, float]]:
    confidence, right, count = metrics.reliability(truth, proba, bins=10)
    return [
        {"clips": int(n), "confidence": float(c / n), "accuracy": float(r / n)}
        for c, r, n in zip(confidence, right, count, strict=True)
        if n
    ]


def _conformal(
    joined: Joined[Part], tuning: Part, proba: np.ndarray, dev_proba: np.ndarray
) -> dict[str, Any]:
    test, apart = joined.test, joined.learnt_apart()
    dev_languages = np.array([str(value) for value in tuning.clips["language"]], dtype=object)
    languages = np.array([str(value) for value in test.clips["language"]], dtype=object)
    rows = {}
    for coverage in (0.8, 0.9):
        fitted = [
            ConformalSets(coverage).fit(
                tuning.codes[at], dev_proba[at], dev_languages[at].tolist(), tuning.groups[at]
            )
            for at in (np.arange(len(tuning.codes)), *(learnt for _, learnt in apart))
        ]
        sets = fitted[0].sets(proba, languages.tolist())
        asked = np.zeros(len(languages), int)  # which of them each clip's set is from
        for place, (at, _) in enumerate(apart, 1):
            sets[at] = fitted[place].sets(proba[at], languages[at].tolist())
            asked[at] = place
        promises = {
            name: min(
                (fitted[place].promise(name) for place in np.unique(asked[languages == name])),
                key=["none", "shared", "own"].index,
            )
            for name in sorted(set(languages))
        }
        # One promise over all where there is one language, so that it is not said twice.
        by = languages.tolist() if len(promises) > 1 else None
        made = {"sets": sets, "promises": promises, "level": joined.options.level}
        found = fitted[0].check(test.codes, proba, by, test.groups, **made)
        found["possible"] = all(one.possible for one in fitted)
        rows[str(coverage)] = found
    return rows


def _calibration(joined: Joined[Part], tuning: Part) -> dict[str, Any]:
    """Return how far each member was off, and what one temperature from dev would do on test."""
    from ...ensembles.calibration import Temperature

    names = list(tuning.clips["label"])
    test, speakers, apart = joined.test, tuning.groups, joined.learnt_apart()
    rows = {}
    for name, member in test.members.items():
        if member.hard:
            continue
        fitted = Temperature().fit(tuning.members[name], names, speakers)
        calm = fitted.apply(member).proba.copy()
        for at, learnt in apart:
            known = tuning.members[name].take(learnt)
            one = Temperature().fit(known, [names[row] for row in learnt], speakers[learnt])
            calm[at] = one.apply(member.take(at)).proba
        rows[name] = {
            "temperature": fitted.temperature_,
            "ece": metrics.ece(test.codes, member.proba),
            "ece_calibrated": metrics.ece(test.codes, calm),
            "nll": metrics.nll(test.codes, member.proba),
            "nll_calibrated": metrics.nll(test.codes, calm),
        }
    return rows


def _labelled(split: Split, task: Task) -> Split:
    """Return the split with task labels, without clips that the task leaves out."""
    parts = {
        name: task.select(part, blank="drop")[0] if len(part) else part
        for name, part in split.parts.items()
    }
    return replace(split, **parts)


def _holds_out(split: Split) -> bool:
    """Whether test may differ: a language or corpus of its own, or a single speaker."""
    return split.scheme in HELD_OUT or bool(of_other(split))


def _sanity(
    test: Part, tuning: Part | None, splits: Sequence[Split], groups: str | None
) -> list[str]:
    """Check that test follows train and dev, by the words of each split and by every member."""
    labels = test.task.labels
    warnings = []
    apart = [_holds_out(split) for split in splits]
    for split, may_differ in zip(splits, apart, strict=True):
        texts = {name: [str(text) for text in part["text"]] for name, part in split.parts.items()}
        if may_differ or not all(any(part) for part in texts.values()):
            continue
        codes = {n: metrics.codes(list(part["label"]), labels) for n, part in split.parts.items()}
        guess = {
            name: word_scores(texts["train"], codes["train"], texts[name], len(labels)).argmax(1)
            for name in ("dev", "test")
        }
        warnings += check_relation(
            "a naive Bayes on words",
            codes["dev"],
            guess["dev"],
            codes["test"],
            guess["test"],
            labels,
            dev_groups=np.array(cluster_names(split.dev, groups)),
            groups=np.array(cluster_names(split.test, groups)),
        )
    if tuning and not any(apart):
        order = np.argsort(test.rows)  # back to the order of the manifest, where a shift shows
        for name, member in test.members.items():
            warnings += check_relation(
                name,
                tuning.codes,
                tuning.members[name].codes,
                test.codes[order],
                member.codes[order],
                labels,
                dev_groups=tuning.groups,
                groups=test.groups[order],
            )
    return warnings
