"""A comparison of numbers as figures, tables and frames: each dimension, and what is a mean."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.care import import_space
from affekt.classify import Comparison, Model, Task, compare
from affekt.classify.data.estimates import Estimates
from affekt.classify.evaluation import tables
from affekt.classify.evaluation.reports.figures import pictures
from affekt.classify.evaluation.reports.pictures.kinds import Dots
from affekt.classify.heads import RidgeHead
from affekt.classify.serving import timeline


def compared(*dimensions: str, by: tuple[str, ...] = ("language",)) -> Comparison:
    """Return a comparison of two systems on 40 clips of 8 speakers and two languages."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": "t", "speaker": f"s{i % 8}", "language": ["deu", "eng"][i % 2]}
        | {"dataset": ["emodb", "ravdess"][i % 2]}
        | {name: f"{1 + (i + at) % 7}" for at, name in enumerate(dimensions)}
        for i in range(40)
    ]
    task = {"type": "regression", "dimensions": {n: {"range": [1, 7]} for n in dimensions}}
    clips = Manifest.from_rows(rows)
    systems = {
        name: Estimates(clips.ids, dimensions, rng.uniform(1, 7, (40, len(dimensions))))
        for name in ("a", "b")
    }
    return compare(systems, clips, Task.from_spec(task), strategies=[], by=by, n_resamples=50)


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


def test_columns_that_divide_the_clips_alike_are_shown_once():
    text = compared("arousal", "valence", by=("language", "dataset")).report()
    assert "CCC by dataset\n\nThe same as by language, since it divides" in text
    assert "emodb is deu, ravdess is eng" in text
    assert text.count("Each dimension, of") == 1


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
    with pytest.raises(InputError, match=r"`by` is \['language'\], .* no table by it"):
        found.to_frame(by=["language"])  # pyright: ignore[reportArgumentType]


def test_numbers_far_outside_of_the_scale_are_remarked(tmp_path):
    rng, cache = np.random.default_rng(0), Cache(tmp_path / "c")
    vectors = rng.normal(size=(40, 3))
    vectors[36:, 0] = [2.6, 4.2, -9, 0]  # 4 + x is rated, from 1 to 7: 6.6, 8.2, -5 and 4
    rows = [
        {"id": f"c{i}", "text": f"t{i}", "valence": f"{min(max(4 + x, 1), 7)}"}
        for i, x in enumerate(vectors[:, 0])
    ]
    clips = Manifest.from_rows(rows)
    space, _ = import_space(cache, dict(zip(clips.ids, vectors, strict=True)), clips, "toy")
    spec = {"type": "regression", "dimensions": {"valence": {"range": [1, 7]}}}
    model = Model(RidgeHead(alpha=1e-3), Task.from_spec(spec), space.features())
    answer = model.fit(clips.select(range(36))).answer(clips.select(range(36, 40)), cache)
    assert answer.predictions is not None
    np.testing.assert_allclose(answer.predictions.proba[:, 0], [6.6, 8.2, -5, 4], atol=0.3)
    assert answer.flags["outside_scale"] == ["c38"]
    assert "far outside of the scale: do not trust" in answer.remarks["c38"]
    assert "c37" not in answer.remarks


def test_a_timeline_shows_the_whole_scale(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(timeline, "save_figure", lambda figure, *_: drawn.append(figure))
    parts = [{"id": f"r#{i}", "path": "r.wav", "start": i, "end": i + 1} for i in range(3)]
    clips = Manifest.from_rows([row | {"recording": "r"} for row in parts])
    found = Estimates(clips.ids, ["arousal", "valence"], [[3, 4], [3.5, 4], [7.5, 3]])
    for limits, span in (([[1, 7], [1, 7]], (1, 7.5)), ([[1, 7], [0, 9]], (3, 7.5))):
        timeline.draw_timeline(tmp_path / "t.png", clips, found, np.array(limits))
        assert drawn.pop().axes[0].get_ylim() == pytest.approx(span, abs=0.25)
