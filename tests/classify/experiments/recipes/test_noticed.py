"""What `affekt init` notices of recordings, texts and speakers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError
from affekt.classify.evaluation.analyses import audio_facts

from .test_first_recipe import first


@pytest.mark.parametrize(
    ("written", "root", "advice"),
    [
        ("c{}.wav", "wavs/set", "--root .*wavs/set$"),
        ("set/c{}.wav", "wavs/set", "--root .*wavs$"),
        ("set/c{}.wav", "my wavs/set", "--root '.*my wavs'$"),
        ("/their/place/c{}.wav", "wavs", "wavs/c0.wav is there$"),
        ("c{}", "wavs", "wavs/c0.wav is there: add the ending .wav to the paths$"),
        ("d{}.wav", "wavs", "now it is [^ ]*$"),
    ],
)
def test_recordings_that_are_elsewhere(tmp_path, written, root, advice):
    (tmp_path / root).mkdir(parents=True)
    (tmp_path / root / "c0.wav").touch()
    paths = [written.format(i) for i in range(30)]
    given = [{"path": path, "label": "ab"[i % 2]} for i, path in enumerate(paths)]
    with pytest.raises(InputError, match=advice):
        first(tmp_path, given)


def tone(path: Path, seconds=0.4, rate=16_000, level=0.2):
    rng = np.random.default_rng(0)
    soundfile.write(path, level * rng.normal(0, 0.3, int(seconds * rate)), rate)


def test_two_people_on_two_channels_are_noticed(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(20):
        left, right = 0.1 * rng.normal(size=(2, 8000))
        mixed = {0: [left, right], 1: [left + 0.1 * right, left], 2: [left, 0 * left]}[i % 3]
        soundfile.write(tmp_path / f"{i}.wav", np.stack(mixed, axis=1), 8000)
    given = [{"path": f"{i}.wav", "label": "ab"[i % 2]} for i in range(20)]
    [note] = [note for note in first(tmp_path, given).notes if "channels" in note]
    assert "of 20 recordings that were looked at, 7 have two channels" in note


def test_a_recording_is_decoded_once_for_its_length_loudness_and_channels(tmp_path, monkeypatch):
    for i in range(20):
        tone(tmp_path / f"{i}.wav")
    (tmp_path / "6.wav").write_bytes(bytes(100_000))
    decoded, plain = [], audio_facts._of_file
    monkeypatch.setattr(
        audio_facts, "_of_file", lambda *args: decoded.append(args[1]) or plain(*args)
    )
    first(tmp_path, [{"path": f"{i}.wav", "label": "ab"[i % 2]} for i in range(20)])
    assert sorted(decoded) == list(range(20))


def test_what_is_noticed_of_recordings_and_texts(tmp_path):
    for i in range(40):
        tone(tmp_path / f"{i}.wav", rate=8_000 if i < 4 else 16_000, level=0 if i == 9 else 0.2)
    tone(tmp_path / "5.wav", seconds=0.1)
    (tmp_path / "6.wav").write_bytes(b"not audio")
    (tmp_path / "7.wav").unlink()
    given = [
        {"path": f"{i}.wav", "text": "" if i > 30 else "same", "label": "ab"[i % 2],
         "language": ["en", "EN"][i % 2]}
        for i in range(40)
    ]  # fmt: skip
    found = first(tmp_path, given)
    notes = " | ".join(found.notes)
    for words in (
        "1 of 40 recordings are not there and are left out: 7.wav",
        "1 cannot be read: 6.wav",
        "1 are shorter than 0.2 s",
        "1 are silent",
        "16000 Hz (34), 8000 Hz (4)",
        "9 of 40 clips have no text; affekt transcribe",
        "1 different texts in 31 clips: the speakers read a script",
        "so the text can hardly tell the labels apart, and the recipe leaves it out",
        "languages 'en', 'EN': are they the same?",
    ):
        assert words in notes, words
    assert found.members == ["speech-lr"]


def test_paths_of_another_computer_are_known_by_their_end(tmp_path):
    (tmp_path / "wav").mkdir()
    tone(tmp_path / "wav" / "0.wav")
    rows = [{"path": f"C:\\me\\wav\\{i}.wav", "label": "ab"[i % 2]} for i in range(20)]
    with pytest.raises(InputError, match=r"there is wav/0\.wav: leave out"):
        first(tmp_path, rows)
