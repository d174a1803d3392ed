"""Ensembles that learnt come back from JSON and safetensors, or are refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import DamagedError, InputError
from affekt.classify import Predictions
from affekt.classify.ensembles.calibration import CALIBRATORS, calibrator
from affekt.classify.ensembles.fitted_rules import STRATEGIES, strategy
from affekt.classify.ensembles.saved import Replay, read_replays, write_replays

LABELS = ("no", "so", "yes")


def members(seed: int, n: int = 60) -> tuple[dict[str, Predictions], list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, n)
    found = {}
    for name in ("a", "b", "c"):
        scores = np.exp(rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[truth])
        ids = [f"{seed}-{i}" for i in range(n)]
        found[name] = Predictions(ids, LABELS, scores / scores.sum(axis=1, keepdims=True))
    return found, [LABELS[code] for code in truth]


def fitted(rule: str, calibrate: str | None, fused: str | None = None) -> Replay:
    dev, truth = members(0)
    calibrators = {}
    if calibrate:
        calibrators = {m: calibrator(calibrate).fit(p, truth) for m, p in dev.items()}
        dev = {m: calibrators[m].apply(p) for m, p in dev.items()}
    made = strategy(rule).fit(dev, truth)
    after = calibrator(fused).fit(made.combine(dev), truth) if fused else None
    return Replay(made, ("a", "b", "c"), LABELS, calibrators, after)


@pytest.mark.parametrize("name", CALIBRATORS)
def test_calibration_after_fusion_comes_back_too(name, tmp_path):
    test, _ = members(1)
    replay, plain = fitted("mean", None, name), fitted("mean", None)
    write_replays(tmp_path, {"mine": replay, "plain": plain})
    again = read_replays(tmp_path)
    assert replay.fused is not None
    assert again["mine"].combine(test) == replay.combine(test)
    assert again["mine"].combine(test) == replay.fused.apply(plain.combine(test))
    assert again["plain"].combine(test) == plain.combine(test)
    text = (tmp_path / "ensembles.json").read_text(encoding="utf-8")
    (tmp_path / "ensembles.json").write_text(text.replace(f'"{name}"', '"warmth"'))
    with pytest.raises(InputError, match="expected one of temperature"):
        read_replays(tmp_path)


@pytest.mark.parametrize("calibrate", [None, *CALIBRATORS])
@pytest.mark.parametrize("rule", STRATEGIES)
def test_an_ensemble_comes_back_bit_for_bit(rule, calibrate, tmp_path):
    replay = fitted(rule, calibrate)
    write_replays(tmp_path, {"mine": replay})
    again = read_replays(tmp_path)["mine"]
    test, _ = members(1)
    assert again.combine(test) == replay.combine(test)
    other = {name: test[name].reorder(LABELS[::-1]) for name in "cba"}
    assert np.array_equal(again.combine(other).proba, replay.combine(test).proba)


def test_wrong_files_are_refused_by_name(tmp_path):
    write_replays(tmp_path, {"mine": fitted("stacking", "vector")})
    text = (tmp_path / "ensembles.json").read_text(encoding="utf-8")
    result = json.loads(text)

    def refused(match, error=InputError, **changes):
        entry = result["ensembles"]["mine"] | changes
        changed = result | {"ensembles": {"mine": entry}}
        (tmp_path / "ensembles.json").write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(error, match=match):
            read_replays(tmp_path)

    refused("'weights' is float64", members=["a", "b"])
    refused("'offsets' is unknown", strategy="weighted")
    refused("'offsets' is float64", labels=["no", "yes"])
    refused("'(absent|offset)' is unknown", calibrate="temperature")
    refused("expected one of", strategy="stakcing")
    refused("'offsets' is missing", number=7)
    (tmp_path / "ensembles.json").write_text(text.replace(FORMAT, "x/9"), encoding="utf-8")
    with pytest.raises(InputError, match="x/9"):
        read_replays(tmp_path)
    (tmp_path / "ensembles.json").write_text(text, encoding="utf-8")
    data = bytearray((tmp_path / "ensembles.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "ensembles.safetensors").write_bytes(data)
    with pytest.raises(DamagedError, match="is not the file that"):
        read_replays(tmp_path)
    (tmp_path / "ensembles.safetensors").unlink()
    with pytest.raises(InputError, match="is missing; run the recipe again"):
        read_replays(tmp_path)


FORMAT = "affekt-ensembles/1"
