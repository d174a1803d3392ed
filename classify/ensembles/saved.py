"""Ensembles as they were fitted, kept next to a comparison so that a run can predict new clips.

`ensembles.json` names for each ensemble its rule, its members and their calibrators;
`ensembles.safetensors` holds every learnt number. Reading them runs no code.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...cache.errors import DamagedError, InputError
from ...cache.files.atomic_writes import write_json, write_whole
from ...cache.files.reading import read_object
from ..data.predictions import Predictions
from .calibration import Calibrator, calibrator
from .fitted_rules import STRATEGIES, strategy
from .fixed_rules import Ensemble

FORMAT = "affekt-ensembles/1"
FILES = ("ensembles.json", "ensembles.safetensors")


@dataclass(frozen=True)
class Replay:
    """An ensemble as it was fitted: calibrators, then the rule.

    Attributes
    ----------
    labels : tuple of str
        In the order of the learnt numbers.
    calibrators : dict of str to Calibrator
        By member; empty where members are taken as they are.
    fused : Calibrator, optional
        Of what the rule gives.

    Examples
    --------
    >>> from affekt.classify.ensembles.fitted_rules import WeightedEnsemble
    >>> members = {"a": Predictions(["1"], ["x", "y"], [[1, 0]]),
    ...            "b": Predictions(["1"], ["x", "y"], [[0, 1]])}
    >>> rule = WeightedEnsemble({"a": 3, "b": 1}).fit(members, ["x"])
    >>> replay = Replay(rule, ("a", "b"), ("x", "y"))
    >>> replay.combine(members).proba.tolist()
    [[0.75, 0.25]]
    """

    rule: Ensemble
    members: tuple[str, ...]
    labels: tuple[str, ...]
    calibrators: Mapping[str, Calibrator] = field(default_factory=dict)
    fused: Calibrator | None = None

    def combine(self, members: Mapping[str, Predictions]) -> Predictions:
        """Return the ensemble's predictions.

        Raises
        ------
        InputError
            If the members are not those that it was fitted on.
        """
        given = {name: members[name].reorder(self.labels) for name in self.members}
        if self.calibrators:
            given = {name: self.calibrators[name].apply(one) for name, one in given.items()}
        made = self.rule.combine(given)
        return made if self.fused is None else self.fused.apply(made)


def write_replays(folder: str | Path, replays: Mapping[str, Replay]) -> None:
    """Write the ensembles of a comparison; custom classes cannot be kept."""
    import safetensors.numpy

    folder = Path(folder)
    arrays: dict[str, np.ndarray] = {}
    entries: dict[str, Any] = {}
    for number, (name, replay) in enumerate(replays.items()):
        if type(replay.rule) is not STRATEGIES.get(replay.rule.name):
            continue
        state = {f"rule.{key}": value for key, value in replay.rule.get_state().items()}
        for position, member in enumerate(replay.members):
            if member in replay.calibrators:
                found = replay.calibrators[member].get_state()
                state |= {f"calibrator.{position}.{key}": value for key, value in found.items()}
        if replay.fused is not None:
            state |= {f"fused.{key}": value for key, value in replay.fused.get_state().items()}
        arrays |= {f"{number}.{key}": np.ascontiguousarray(value) for key, value in state.items()}
        entries[name] = {
            "number": number,
            "strategy": replay.rule.name,
            "members": list(replay.members),
            "labels": list(replay.labels),
            "calibrate": next((c.name for c in replay.calibrators.values()), None),
            "calibrate_fused": replay.fused.name if replay.fused else None,
        }
    data = safetensors.numpy.save(arrays)
    described = {
        "format": FORMAT,
        "ensembles": entries,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    place, weights = (folder / name for name in FILES)
    write_json(place, described)
    write_whole(weights, data)


def read_replays(folder: str | Path) -> dict[str, Replay]:
    """Read the ensembles of a comparison, and check everything."""
    import safetensors
    import safetensors.numpy

    place, weights = (Path(folder) / name for name in FILES)
    for path in (place, weights):
        if not path.is_file():
            raise InputError(f"{path} is missing; run the recipe again to have it written")
    found = read_object(place)
    if found.get("format") != FORMAT or not isinstance(found.get("ensembles"), dict):
        raise InputError(f"{place}: format is {found.get('format')!r}; expected {FORMAT!r}")
    data = weights.read_bytes()
    if hashlib.sha256(data).hexdigest() != found.get("sha256"):
        raise DamagedError(f"{weights} is not the file that belongs to {place.name}")
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"{weights} is not a sound safetensors file: {error}") from None
    replays = {}
    for name, entry in found["ensembles"].items():
        try:
            replays[name] = _restore(entry, arrays)
        except (KeyError, TypeError, InputError) as error:
            raise InputError(f"{place}: ensemble {name!r}: {error}") from None
    return replays


def _restore(entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Replay:
    members, labels = tuple(map(str, entry["members"])), tuple(map(str, entry["labels"]))
    own = _under(arrays, f"{entry['number']}.")
    rule = strategy(entry["strategy"]).set_state(members, len(labels), _under(own, "rule."))
    calibrators = {}
    if entry["calibrate"] is not None:
        calibrators = {
            member: calibrator(entry["calibrate"]).set_state(
                len(labels), _under(own, f"calibrator.{position}.")
            )
            for position, member in enumerate(members)
        }
    fused = None
    if entry.get("calibrate_fused") is not None:
        fused = calibrator(entry["calibrate_fused"]).set_state(len(labels), _under(own, "fused."))
    return Replay(rule, members, labels, calibrators, fused)


def _under(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
