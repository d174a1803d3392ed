"""Results that are kept: to the last bit, never stale, never damaged, and not beyond measure."""

from __future__ import annotations

import os
import shutil
import time

import numpy as np
import pytest
import soundfile
from affekt.cache import Manifest
from affekt.cache.files import kept_results
from affekt.cache.files.kept_results import FOLDER, keeping_results, kept
from affekt.classify.evaluation.analyses import audio_facts

from tests.support.encoder_models import tone


@pytest.fixture
def store(tmp_path):
    (tmp_path / "my.cache").mkdir()
    return tmp_path / "my.cache"


def counted(store, inputs, value, name="sums"):
    """Return the result in a block of its own, and whether it was computed."""
    calls = []
    with keeping_results(store):
        found = kept(name, inputs, lambda: calls.append(1) or value)
    return found, bool(calls)


def test_the_same_to_the_last_bit_and_not_shared(store):
    value = {"x": [0.1 + 0.2, 1e-308, -0.0, float("inf"), None, 3, "ä"]}
    assert counted(store, {"a": 1}, value) == (value, True)
    found, computed = counted(store, {"a": 1}, "other")
    assert (found, computed) == (value, False)
    assert np.signbit(found["x"][2])
    assert isinstance(found["x"][5], int)
    found["x"].clear()
    assert counted(store, {"a": 1}, "other") == (value, False)


@pytest.mark.parametrize("other", [{"a": 2}, {"a": 1.0}, {"a": "1"}, [1], {}])
def test_other_inputs_are_computed(store, other):
    counted(store, {"a": 1}, "first")
    assert counted(store, other, "second") == ("second", True)
    assert counted(store, {"a": 1}, "third", name="products") == ("third", True)


def test_arrays_count_by_shape_type_and_content(store):
    array = np.arange(6.0)
    counted(store, array, "first")
    for other in (array.reshape(2, 3), array.astype(np.float32), np.nextafter(array, 9), -array):
        assert counted(store, other, "second") == ("second", True)
    assert counted(store, array.copy(), "third") == ("first", False)
    with pytest.raises(TypeError, match="objects"):
        counted(store, np.array(["a"], dtype=object), "x")


def test_changed_programs_compute_again(store, monkeypatch):
    counted(store, 1, "before")
    monkeypatch.setattr(kept_results, "programs", lambda: "others")
    assert counted(store, 1, "after") == ("after", True)


def test_the_programs_are_all_sources(tmp_path, monkeypatch):
    top = tmp_path / "affekt"
    for package in ("cache", "classify", "extract"):
        (top / package / "deep").mkdir(parents=True)
        (top / package / "deep" / "a.py").write_text("x = 1\n")
    monkeypatch.setattr(kept_results, "__file__", str(top / "cache" / "files" / "kept_results.py"))
    digest = kept_results.programs.__wrapped__
    before = digest()
    assert digest() == before
    (top / "extract" / "deep" / "a.py").write_text("x = 2\n")
    assert digest() != before


def test_a_damaged_file_is_not_used(store):
    counted(store, 1, {"uar": 0.5})
    [path] = (store / FOLDER).iterdir()
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert counted(store, 1, {"uar": 0.5})[0] == {"uar": 0.5}
    for text in (b"", b"[]", b"{}", b"\xff", b"[" * 100_000, whole[: len(whole) // 2]):
        path.write_bytes(text)
        assert counted(store, 1, {"uar": 0.5}) == ({"uar": 0.5}, True)


def test_what_raises_is_not_kept(store):
    with keeping_results(store), pytest.raises(ZeroDivisionError):
        kept("sums", 1, lambda: 1 / 0)
    assert counted(store, 1, "now") == ("now", True)


def test_the_oldest_go(store, monkeypatch):
    monkeypatch.setattr(kept_results, "MOST", 3)
    for number in range(6):
        counted(store, number, number)
        for age, path in enumerate(sorted((store / FOLDER).iterdir(), key=os.path.getmtime)):
            os.utime(path, (age + 1, age + 1))
    assert len(list((store / FOLDER).iterdir())) == 3
    assert counted(store, 5, "new") == (5, False)


def test_a_cache_that_takes_no_files_keeps_in_memory(store):
    calls = []
    with keeping_results(store, readonly=True):
        for _ in range(2):
            assert kept("sums", 1, lambda: calls.append(1) or "x") == "x"
    assert len(calls) == 1
    assert not (store / FOLDER).exists()
    assert kept("sums", 1, lambda: "outside") == "outside"


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    """Three recordings and a missing one, and how often a file was decoded."""
    old = time.time() - 100
    for name, length in {"a": 6400, "b": 8000, "c": 9600}.items():
        soundfile.write(tmp_path / f"{name}.wav", tone(length), 16_000)
        os.utime(tmp_path / f"{name}.wav", (old, old))
    decoded, plain = [], audio_facts._of_file
    monkeypatch.setattr(
        audio_facts, "_of_file", lambda *args: decoded.append(args[1]) or plain(*args)
    )
    rows = [{"id": name, "path": f"{name}.wav"} for name in ("a", "b", "c", "gone")]
    return Manifest.from_rows(rows, root=tmp_path), decoded


def test_audio_facts_are_found_once_until_a_file_changes(store, recordings, tmp_path):
    clips, decoded = recordings
    plain = audio_facts.facts(clips)

    def again(expected):
        decoded.clear()
        with keeping_results(store):
            assert audio_facts.facts(clips) == expected
        return bool(decoded)

    assert again(plain)
    assert not again(plain)
    shutil.copyfile(tmp_path / "c.wav", tmp_path / "a.wav")
    old = time.time() - 100
    os.utime(tmp_path / "a.wav", (old, old))
    changed = audio_facts.facts(clips)
    assert changed != plain
    assert again(changed)
    assert not again(changed)
    shutil.copyfile(tmp_path / "b.wav", tmp_path / "gone.wav")
    os.utime(tmp_path / "gone.wav", (time.time() + 1e6,) * 2)  # it may change within its time stamp
    whole = audio_facts.facts(clips)
    for _ in range(2):
        assert again(whole)


def test_audio_facts_are_not_kept_where_a_file_could_not_be_read(store, recordings, tmp_path):
    clips, decoded = recordings
    (tmp_path / "b.wav").unlink()
    (tmp_path / "b.wav").mkdir()
    os.utime(tmp_path / "b.wav", (1e9, 1e9))
    for _ in range(2):
        decoded.clear()
        with keeping_results(store):
            assert audio_facts.facts(clips)["duration"][1] is None
        assert decoded == [0, 1, 2, 3]
    assert not (store / FOLDER).exists()


def test_what_cannot_be_decoded_is_not_tried_for_every_analysis(store, recordings, tmp_path):
    clips, decoded = recordings
    (tmp_path / "b.wav").write_bytes(b"no audio at all")
    os.utime(tmp_path / "b.wav", (1e9, 1e9))
    for expected in ([0, 1, 2, 3], []):
        decoded.clear()
        with keeping_results(store):
            assert audio_facts.facts(clips)["duration"][1] is None
        assert decoded == expected
