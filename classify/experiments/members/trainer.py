"""Train a member: every setting that is listed, every seed; what is kept is chosen on dev alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from operator import itemgetter
from statistics import mean, median
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import listed
from ...evaluation.scores.dev_choice import at_end_of_list
from ...metrics.intervals import student
from ...metrics.scored_clips import task_score
from ...models.fitting import train_at_once
from ..recipes.entries import PROBE, MemberEntry
from .shares import check_dev
from .side_by_side import Fit, SideBySide, rarely

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ....cache.space import Space
    from ...data.predictions import Predictions
    from ...data.splitting.split import Split
    from ...data.task import Task
    from ...models.model import Model

PAUSE = 10.0  # seconds between two lines about one training
SHOWN = ("train_loss", "dev_loss", "dev_uar", "dev_ccc")


@dataclass(frozen=True)
class Trainer:
    """What training a member needs, whichever clips it is trained on.

    Attributes
    ----------
    spaces : dict of str to Space
        Encoder name -> where its features are.
    split_options : dict
        ``allow_speaker_overlap`` and ``allow_duplicates``, handed to `Model.fit`.
    progress : callable
        Called with what is going on.
    pool : SideBySide, optional
        The processes that fit; this one does where there are none.
    on_epoch : callable
        Given each epoch of a network, as `history_` has it, with `max_epochs`.
    """

    entry: MemberEntry
    task: Task
    spaces: Mapping[str, Space]
    split_options: Mapping[str, Any] = field(default_factory=dict)
    progress: Callable[[str], None] = lambda message: None
    pool: SideBySide | None = None
    on_epoch: Callable[[Mapping[str, Any]], None] = lambda row: None

    def in_fold(self, name: str) -> Trainer:
        """Return the trainer with the fold in front of every line; itself if the name is blank.

        Examples
        --------
        >>> Trainer(None, None, {}, progress=print).in_fold("fold 2").progress("lr: training")
        fold 2: lr: training
        """
        if not name:
            return self
        return replace(self, progress=lambda line: self.progress(f"{name}: {line}"))

    def choose(
        self,
        part: Split,
        *,
        keep_interrupted: bool = False,
        on_seed: Callable[[int, Predictions], None] = lambda seed, test: None,
    ) -> tuple[Model, dict[str, Any]]:
        """Fit every candidate, keep the best on dev by UAR (or CCC); of equal ones the first.

        Parameters
        ----------
        keep_interrupted : bool
            What Ctrl-C means in the middle of a torch head: keep the best epoch so far and end with
            it, or stop. A run stops, so that half a training is never taken for a whole one.
        on_seed : callable, optional
            Given each seed and its predictions of test, where there are several seeds.

        Returns
        -------
        model : Model
        record : dict
            What was tried and chosen, scores on dev, spread over seeds.

        Raises
        ------
        InputError
            As `Model.fit`; or several values to choose from and no dev clips.
        """
        entry, task, shown = self.entry, self.task, self.task.measure.upper()
        dev_measure, test_measure = f"dev_{task.measure}", f"test_{task.measure}"
        check_dev(entry, part)
        candidates, probed = self._candidates(part.train)
        has_dev = len(part.dev) > 0
        fitted = partial(
            self._fitted,
            *(part.train, part.dev, part.test, self.split_options),
            keep_interrupted=keep_interrupted,
        )
        tried, plain = [], json.loads(json.dumps(candidates))
        best_score = -math.inf
        best: Any = None
        chosen: dict[str, Any] = {}
        record: dict[str, Any] = {}
        seeds = range(entry.random_state, entry.random_state + entry.seeds)
        if has_choice := len(candidates) > 1:
            made = fitted(wanted=[(candidate, seeds[0]) for candidate in candidates])
        else:  # the other seeds need not wait for the first
            made = fitted(wanted=[(candidates[0], seed) for seed in seeds])
        reported = time.monotonic()
        for candidate, as_json, (score, model) in zip(candidates, plain, made, strict=False):
            tried.append({**as_json, dev_measure: score if has_dev else None})
            if has_choice and time.monotonic() - reported >= PAUSE:  # the report has all
                reported, words = time.monotonic(), _words(candidate, candidates)
                self.progress(f"{entry.name}: {words}: dev {shown} {score:.3f}")
            if score > best_score:
                best_score, best, chosen = score, model, candidate
                record = {"chosen": as_json, "tried": tried}
            if _interrupted(model):
                break
        for note in at_end_of_list(record, task.measure):
            self.progress(f"{entry.name}: {note}")
        if probed:
            record["probed"] = probed
        if entry.seeds > 1 and not _interrupted(model):
            record["seeds"] = []
            others = fitted(wanted=[(chosen, seed) for seed in seeds[1:]]) if has_choice else made
            found = chain([(best_score, best)], others)
            for seed, (score, model) in zip(seeds, found, strict=True):
                test = model.predict(part.test)
                on_seed(seed, test)
                scores = {
                    dev_measure: score if has_dev else None,
                    test_measure: task_score(task, part.test, test),
                }
                record["seeds"].append({"random_state": seed, **scores})
                self.progress(f"{entry.name}: seed {seed}: dev {shown} {score:.3f}")
                if has_dev and score > best_score:
                    best_score, best = score, model
            record["over_seeds"] = _spread([one[test_measure] for one in record["seeds"]])
        record[dev_measure] = best_score if has_dev else None
        record["random_state"] = best.random_state
        record["trained"] = {"head": entry.head, **best.head_.trained_with()}
        if isinstance(entry.scale, str):
            record["scaled_within"] = entry.scale
        record["fit"] = best.record
        return best, record

    def refit(
        self,
        clips: Manifest,
        parts: Sequence[Split],
        fitted: Sequence[Model],
        records: Sequence[Mapping[str, Any]],
    ) -> tuple[Model, dict[str, Any]]:
        """Train once more, on every clip that is train or dev in some fold.

        The settings are those with the best mean UAR (or CCC) over the folds' dev clips. A head
        that stopped early, which it cannot do without dev, takes as many epochs as the median of
        the folds.

        Parameters
        ----------
        clips : Manifest
            Those of all folds.
        fitted : sequence of Model
            The folds' models.
        records : sequence of mapping
            What `choose` returned for each fold.

        Returns
        -------
        model : Model
        record : dict
            Clips, settings and epochs.
        """
        measure = f"dev_{self.task.measure}"
        scores = [
            [one[measure] for one in record["tried"] if one[measure] is not None]
            for record in records
        ]
        used = {clip for part in parts for clip in (*part.train.ids, *part.dev.ids)}
        clips = clips.select([clip for clip in clips.ids if clip in used])
        candidates, probed = self._candidates(clips)
        means = [mean(fold) for fold in zip(*scores, strict=True)]
        chosen = candidates[int(np.argmax(means))] if len(candidates) > 1 else candidates[0]
        epochs = [
            model.head_.best_epoch_
            for model, part in zip(fitted, parts, strict=True)
            if len(part.dev) and getattr(model.head_, "early_stopping", False)
        ]
        if epochs:
            most = max(1, round(median(epochs)))
            chosen = {**chosen, "settings": {**chosen["settings"], "max_epochs": most}}
        self.progress(f"{self.entry.name}: refitted on all {len(clips)} clips of train and dev")
        [(_, model)] = self._fitted(clips, wanted=[(chosen, self.entry.random_state)])
        record = {"clips": len(clips), "settings": chosen["settings"], "layers": chosen["layers"]}
        return model, record | ({"probed": probed} if probed else {})

    def new_model(self, candidate: Mapping[str, Any], random_state: int) -> Any:
        """Return a model of one candidate's settings, not trained."""
        from ...heads.registry import heads_for
        from ...models.model import Model

        entry, features = self.entry, []
        for name in entry.on:
            layers = candidate["layers"][name]
            layers = list(layers) if isinstance(layers, tuple) else layers
            with entry.naming():
                space = self.spaces[name]
                features.append(space.features(layers=layers, combine=candidate["combine"]))
        head = heads_for(self.task.kind)[0][entry.head](**candidate["settings"])
        how: Any = {"scale": entry.scale, "random_state": random_state, "votes": entry.votes}
        return Model(head, self.task, features, **how)

    def _fitted(
        self,
        train: Manifest,
        *others: Any,
        wanted: Sequence[tuple[Mapping[str, Any], int]],
        keep_interrupted: bool = False,
    ) -> Iterator[tuple[float, Model]]:
        """Yield score on dev and model of each candidate and seed; fitted lazily."""
        line = rarely(self._line, PAUSE, time.monotonic())

        def on_epoch(row: Mapping[str, Any]) -> None:
            self.on_epoch(row)
            line(row)

        fits = []
        for _, same in groupby(wanted, key=itemgetter(0)):
            models = [self.new_model(*one) for one in same]
            groups = [models] if train_at_once(models) else [[one] for one in models]
            fits += [Fit(group, train, *others, on_epoch=on_epoch) for group in groups]
        alone = chain.from_iterable(fit() for fit in fits)
        for score, model in alone if self.pool is None else self.pool.fit_each(fits):
            if _interrupted(model) and not keep_interrupted:
                raise KeyboardInterrupt
            yield score, model

    def _line(self, row: Mapping[str, Any]) -> None:
        """Print how a training goes."""
        scores = [f"{key.replace('_', ' ')} {row[key]:.3f}" for key in SHOWN if key in row]
        of = f"epoch {row['epoch']} of {row['max_epochs']}"
        self.progress(f"{self.entry.name}: {of}: {', '.join(scores)}")

    def _candidates(self, train: Manifest) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the candidates; ``layers: probe`` is the layer that a probe of train chooses.

        The second value is what `best_layer` returned, by encoder.
        """
        entry, probed = self.entry, {}
        asked = [name for name in entry.on if PROBE in entry.layers.get(name, ())]
        for name in asked:
            from ...probing import best_layer

            probed[name] = best_layer(
                *(train, self.spaces[name], self.task),
                scale=entry.scale,
                random_state=entry.random_state,
                progress=lambda line: self.progress(f"{entry.name}: probe: {line}"),
            )
            layer = probed[name]["layer"]
            self.progress(f"{entry.name}: layer {layer} of {name} by a probe of train")
        layers = {
            name: tuple(probed[name]["layer"] if one == PROBE else one for one in several)
            for name, several in entry.layers.items()
        }
        return list(replace(entry, layers=layers).candidates()), probed


def _interrupted(model: Any) -> bool:
    return getattr(model.head_, "stopped_", "") == "interrupted"


def _words(candidate: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> str:
    """Name only what differs between the candidates."""

    def flat(one: Mapping[str, Any]) -> dict[str, Any]:
        layers = {f"layer of {name}": layer for name, layer in one["layers"].items()}
        return {**layers, "combine": one["combine"], **one["settings"]}

    all_flat = [flat(one) for one in candidates]
    mine = flat(candidate)
    return ", ".join(
        f"{name} {value}"
        for name, value in mine.items()
        if any(other[name] != value for other in all_flat)
    )


def _spread(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard deviation and 95 % interval of the mean (Student's t) over seeds."""
    mean, sd, half = student(values)
    return {"n": len(values), "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def unlike_text(name: str, far: Sequence[str], of: int) -> str:
    """Return a warning of test clips whose features are far from all that was trained on."""
    return (
        f"{name}: {len(far)} of {of} test clips are unlike every clip of training "
        f"({listed(far)}): their predictions mean little. Were they recorded in another way, such "
        "as at another sampling rate, or written in another language?"
    )


def warn_unlike(test: Predictions, progress: Callable[[str], None]) -> None:
    """Warn of test clips whose features are far from all that a model was trained on."""
    if far := test.unlike_training:
        progress(f"warning: {unlike_text('the model', far, len(test))}")
