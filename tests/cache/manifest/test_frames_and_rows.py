"""Manifests of DataFrames and of dictionaries."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import InputError, Manifest


def test_frames_with_spans(tmp_path):
    pandas = pytest.importorskip("pandas")
    times = pandas.to_timedelta([0, 1.5], "s"), pandas.to_timedelta([1.5, None], "s")
    index = pandas.MultiIndex.from_arrays([["a.wav"] * 2, *times], names=["file", "start", "end"])
    frame = pandas.DataFrame({"emotion": ["joy", "fear"]}, index)
    for clips in (Manifest.from_frame(frame), Manifest.from_frame(frame.reset_index())):
        assert [(clip.start, clip.end) for clip in clips] == [(0, 1.5), (1.5, None)]
    frame.to_csv(tmp_path / "db.csv")
    assert list(Manifest.read(tmp_path / "db.csv")) == list(clips)
    rows = [{"id": "a", "path": "a.wav", "end": np.timedelta64(1500, "ms")}]
    assert Manifest.from_rows(rows).clip(0).end == 1.5


@pytest.mark.parametrize("kind", ["float16", "float32", "Float32"])
def test_narrow_floats_of_a_frame_are_what_its_csv_holds(tmp_path, kind):
    pandas = pytest.importorskip("pandas")
    times = {"start": pandas.array([0.1], kind), "end": pandas.array([2.7], kind)}
    frame = pandas.DataFrame({"path": ["a.wav"], **times})
    frame.to_csv(tmp_path / "clips.csv", index=False)
    of_frame = Manifest.from_frame(frame, root=tmp_path)
    assert of_frame.ids == Manifest.read(tmp_path / "clips.csv").ids == ["a.wav#0.1-2.7"]
    row = {"id": "a", "text": "t", "score": np.float32(0.1)}
    assert Manifest.from_rows([row])["score"][0] == "0.1"


def test_cells_of_any_type_are_text(tmp_path):
    pandas = pytest.importorskip("pandas")
    day, row = pandas.Timestamp("2024-02-29 12:00"), {"id": "a", "path": Path("wav") / "a.wav"}
    row |= {"posted": day, "day": day.date(), "price": Decimal("1.50"), "vector": np.arange(2.0)}
    written = {"path": "wav/a.wav", "posted": "2024-02-29 12:00:00", "day": "2024-02-29"}
    written |= {"price": "1.50", "vector": "[0.0, 1.0]"}
    frame = pandas.DataFrame([row])
    frame.drop(columns="path").assign(text="t").to_parquet(tmp_path / "clips.parquet")
    for clips in (
        Manifest.from_rows([row]),
        Manifest.from_frame(frame),
        Manifest.read(tmp_path / "clips.parquet"),
    ):
        known = {name: clips[name][0] for name in written if name in clips}
        assert known == {name: written[name] for name in known}
        assert len(known) >= 4
    nested = Manifest.from_rows([{"id": "a", "text": "t", "seen": [day, None]}])
    assert nested["seen"][0] == '["2024-02-29 12:00:00", null]'


@pytest.mark.parametrize("make", ["from_rows", "from_frame", "read", "__call__"])
def test_an_object_that_is_not_a_table_is_refused_with_what_reads_it(make):
    rows = [{"id": "a", "text": "t"}]
    pandas = pytest.importorskip("pandas")
    call = Manifest if make == "__call__" else getattr(Manifest, make)
    with pytest.raises(InputError, match=r"from_frame of a DataFrame.*from_rows of dictionaries"):
        call(pandas.DataFrame(rows) if make != "from_frame" else rows)


def test_a_frame_with_two_columns_of_a_name_is_refused():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame([["1", "a.wav", "x", "y"]], columns=["id", "path", "mood", "mood"])
    with pytest.raises(InputError, match="column mood appears twice"):
        Manifest.from_frame(frame)
    indexed = frame.set_index(pandas.Index(["a.wav"], name="file"))
    with pytest.raises(InputError, match="column mood appears twice"):
        Manifest.from_audformat(indexed, ".")


def test_whole_numbers_of_a_column_with_blanks_have_no_point():
    """pandas makes floats of them; a CSV file has 1."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": ["a", "b", "c"],
            "speaker": [1, None, 2],
            "label": pandas.Series([3, 4, 5], dtype="float32"),
            "rating": [3.5, 4.0, float("nan")],
        }
    )
    clips = Manifest.from_frame(frame)
    assert list(clips["speaker"]) == ["1", "", "2"]
    assert list(clips["label"]) == ["3", "4", "5"]
    assert list(clips["rating"]) == ["3.5", "4.0", ""]
    assert {type(value) for value in clips["speaker"]} == {str}
