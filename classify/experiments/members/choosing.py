"""Fit a member: every setting that is listed, every seed; what is kept is chosen on dev alone."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ....cache.errors import InputError
from ....cache.manifest import Manifest
from ....cache.space import Space
from ...data.task import Task
from ...heads.registry import HeadError
from ...metrics.intervals import student
from ...metrics.scored_clips import task_score
from ..recipes.recipe import PROBE, MemberEntry

if TYPE_CHECKING:
    from ...data.predictions import Predictions
    from ...models.model import Model

__all__ = ["Part", "choose", "naming_member", "new_model", "told_in", "with_probed_layers"]

PAUSE = 10.0  # seconds between two lines about one training
TOLD = ("train_loss", "dev_loss", "dev_uar", "dev_ccc")


@dataclass(frozen=True)
class Part:
    """The clips of one split that a member has features for.

    Attributes
    ----------
    train, dev, test : Manifest
        With task labels; dev may be empty.
    name : str
        Of the fold; blank where there is one split.
    """

    train: Manifest
    dev: Manifest
    test: Manifest
    name: str = ""


def told_in(part: Part, say: Callable[[str], None]) -> Callable[[str], None]:
    """Return `say` with the fold in front of every line, where there are several.

    Examples
    --------
    >>> told_in(Part(*3 * [None], "fold 2"), print)("lr: training")
    fold 2: lr: training
    """
    return (lambda line: say(f"{part.name}: {line}")) if part.name else say


def choose(
    entry: MemberEntry,
    task: Task,
    part: Part,
    spaces: Mapping[str, Space],
    *,
    split_options: Mapping[str, Any] | None = None,
    keep_interrupted: bool = False,
    on_seed: Callable[[int, Predictions], None] = lambda seed, test: None,
    say: Callable[[str], None] = lambda message: None,
) -> tuple[Model, dict[str, Any]]:
    """Fit every candidate, keep the one with the best UAR (or CCC) on dev; of equal ones the first.

    Parameters
    ----------
    entry, task, part, spaces, split_options, say
        As for `train_member`.
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
    options, shown = dict(split_options or {}), task.measure.upper()
    entry, probed = with_probed_layers(entry, task, part.train, spaces, say)
    candidates = list(entry.candidates())
    has_dev = len(part.dev) > 0
    if len(candidates) > 1 and not has_dev:
        raise entry.error(
            f"member {entry.name!r} has {len(candidates)} settings to choose from and no dev "
            "clips; set split: {dev_size: ...} or write one value for each"
        )

    def fit(candidate: dict[str, Any], random_state: int) -> tuple[float, Any]:
        model = new_model(entry, task, spaces, candidate, random_state, say)
        model.fit(part.train, part.dev if has_dev else None, test=part.test, **options)
        if _interrupted(model) and not keep_interrupted:
            raise KeyboardInterrupt
        return (task_score(task, part.dev, model.predict(part.dev)) if has_dev else 0.0), model

    tried = []
    best_score = -math.inf
    dev_measure, test_measure = f"dev_{task.measure}", f"test_{task.measure}"
    best: Any = None
    chosen: dict[str, Any] = {}
    for candidate in candidates:
        score, model = fit(candidate, entry.random_state)
        tried.append({**_json(candidate), dev_measure: score if has_dev else None})
        if len(candidates) > 1:
            say(f"{entry.name}: {_words(candidate, candidates)}: dev {shown} {score:.3f}")
        if score > best_score:
            best_score, best, chosen = score, model, candidate
        if _interrupted(model):
            break
    record: dict[str, Any] = {"chosen": _json(chosen), "tried": tried}
    if probed:
        record["probed"] = probed
    if entry.seeds > 1 and not _interrupted(model):
        record["seeds"] = []
        first = best
        for seed in range(entry.random_state, entry.random_state + entry.seeds):
            again = first if seed == entry.random_state else None
            score, model = (best_score, again) if again else fit(chosen, seed)
            test = model.predict(part.test)
            on_seed(seed, test)
            scores = {
                dev_measure: score if has_dev else None,
                test_measure: task_score(task, part.test, test),
            }
            record["seeds"].append({"random_state": seed, **scores})
            say(f"{entry.name}: seed {seed}: dev {shown} {score:.3f}")
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


@contextmanager
def naming_member(entry: MemberEntry) -> Iterator[None]:
    """Name the member whose own head failed."""
    try:
        yield
    except HeadError as error:
        raise HeadError(f"member {entry.name!r}: {error}") from error.__cause__


def with_probed_layers(
    entry: MemberEntry,
    task: Task,
    train: Manifest,
    spaces: Mapping[str, Space],
    say: Callable[[str], None],
) -> tuple[MemberEntry, dict[str, Any]]:
    """Replace ``layers: probe`` by the layer that a probe of the training clips chooses.

    Returns
    -------
    entry : MemberEntry
    probed : dict
        Encoder -> what `best_layer` says; empty if no layers have to be chosen so.
    """
    asked = [name for name in entry.on if PROBE in entry.layers.get(name, ())]
    if not asked:
        return entry, {}
    from ...probing import best_layer

    probed = {}
    for name in asked:
        probed[name] = best_layer(
            *(train, spaces[name], task),
            scale=entry.scale,
            random_state=entry.random_state,
            say=lambda line: say(f"{entry.name}: probe: {line}"),
        )
        say(f"{entry.name}: layer {probed[name]['layer']} of {name} by a probe of train")
    layers = {
        name: tuple(probed[name]["layer"] if one == PROBE else one for one in several)
        for name, several in entry.layers.items()
    }
    return replace(entry, layers=layers), probed


def new_model(
    entry: MemberEntry,
    task: Task,
    spaces: Mapping[str, Space],
    candidate: Mapping[str, Any],
    random_state: int,
    say: Callable[[str], None],
) -> Any:
    """Return a model of one candidate's settings, not trained."""
    from ...heads.registry import heads_for
    from ...models.model import Model

    features = []
    for name in entry.on:
        layers = candidate["layers"][name]
        layers = list(layers) if isinstance(layers, tuple) else layers
        try:
            features.append(spaces[name].features(layers=layers, combine=candidate["combine"]))
        except InputError as error:
            raise entry.error(f"member {entry.name!r}: {error}") from None
    head = heads_for(task.kind)[0][entry.head](**candidate["settings"])
    if "callback" in head.get_params():
        head.set_params(callback=_Teller(entry.name, say))
    return Model(
        head, task, features, scale=entry.scale, random_state=random_state, votes=entry.votes
    )


def _interrupted(model: Any) -> bool:
    return getattr(model.head_, "stopped_", "") == "interrupted"


class _Teller:
    """Tells how a training goes on, every ten seconds; a copy tells the same."""

    def __init__(self, name: str, say: Callable[[str], None]) -> None:
        self.name, self.say = name, say
        self.last = time.monotonic()

    def __call__(self, row: Mapping[str, Any]) -> None:
        if time.monotonic() - self.last < PAUSE:
            return
        self.last = time.monotonic()
        told = [f"{key.replace('_', ' ')} {row[key]:.3f}" for key in TOLD if key in row]
        self.say(f"{self.name}: epoch {row['epoch']}: {', '.join(told)}")


def _json(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(candidate))


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
