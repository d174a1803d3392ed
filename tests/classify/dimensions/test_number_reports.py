"""A comparison of numbers as figures, tables and frames: each dimension, and what is a mean."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import InputError, Manifest
from affekt.classify import Comparison, Task, compare
from affekt.classify.data.estimates import Estimates
from affekt.classify.evaluation import tables
from affekt.classify.evaluation.reports.figures import pictures
from affekt.classify.evaluation.reports.pictures.kinds import Dots


def compared(*dimensions: str) -> Comparison:
    """Return a comparison of two systems on 40 clips of 8 speakers and two languages."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": "t", "speaker": f"s{i % 8}", "language": ["deu", "eng"][i % 2]}
        | {name: f"{1 + (i + at) % 7}" for at, name in enumerate(dimensions)}
        for i in range(40)
    ]
    task = {"type": "regression", "dimensions": {n: {"range": [1, 7]} for n in dimensions}}
    clips = Manifest.from_rows(rows)
    systems = {
        name: Estimates(clips.ids, dimensions, rng.uniform(1, 7, (40, len(dimensions))))
        for name in ("a", "b")
    }
    return compare(systems, clips, Task.from_spec(task), strategies=[], n_resamples=50)


def test_every_dimension_is_drawn_and_means_are_called_means():
    found = compared("arousal", "valence")
    drawn = pictures(found.data)
    shown = drawn["dimensions"]
    assert isinstance(shown, Dots)
    names = [row.name for row in shown.rows]
    assert names[:2] != names[2:]
    assert sorted(names) == ["arousal: a", "arousal: b", "valence: a", "valence: b"]
    for row in shown.rows:
        dimension, name = row.name.split(": ")
        one = found.data["systems"][name]["test"]["dimensions"][dimension]["ccc"]
        assert (row.value, list(row.interval or ())) == (one["value"], one["interval"])
    assert isinstance(drawn["systems"], Dots)
    assert drawn["systems"].measure == "mean CCC"
    assert "\nmeans of arousal, valence; the report has each" in found.table()
    assert "bootstrap. Means over arousal, valence.}" in tables(found.data)


def test_one_dimension_is_no_mean():
    found = compared("valence")
    drawn = pictures(found.data)
    assert isinstance(drawn["systems"], Dots)
    assert ("dimensions" in drawn, drawn["systems"].measure) == (False, "CCC")
    assert "means of" not in found.table()
    assert "Means over" not in tables(found.data)


def test_a_frame_has_each_dimension_and_a_row_for_each_value_of_a_column():
    pytest.importorskip("pandas")
    found = compared("arousal", "valence")
    row = found.to_frame().set_index("system").loc["b"]
    one = found.data["systems"]["b"]["test"]["dimensions"]["valence"]["pearson"]
    assert [row["valence pearson"], row["valence pearson low"]] == [
        one["value"],
        one["interval"][0],
    ]
    frame = found.to_frame(by="language")
    assert frame["language"].tolist() == ["deu", "deu", "eng", "eng"]
    assert frame["clips"].tolist() == [20] * 4
    values = found.data["by"]["language"]["values"]
    wanted = [values[r.language]["systems"][r.system]["ccc"]["value"] for r in frame.itertuples()]
    assert frame["ccc"].tolist() == wanted
    assert Comparison.from_frame(frame).data == found.data
    with pytest.raises(InputError, match=r"`by` is 'sex', .* no table by it; try 'language'"):
        found.to_frame(by="sex")
