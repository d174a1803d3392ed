"""What the service answers is what `affekt predict` prints, also to many at once."""

from __future__ import annotations

import io
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from tests.support.services import predicted

TEXT = "such a wonderful monday"


def test_an_answer_equals_what_predict_prints(service, run, recordings, monkeypatch):
    monkeypatch.chdir(recordings)
    audio = {"audio": ("3.wav", (recordings / "3.wav").read_bytes())}
    answer = service.client.post("/predict", files=audio, data={"text": TEXT})
    assert answer.status_code == 200, answer.text
    assert answer.json() == predicted(run, "3.wav", "--text", TEXT)
    top = service.client.post("/predict?top=1", files=audio, data={"text": TEXT})
    assert top.json() == predicted(run, "3.wav", "--text", TEXT, "--top", 1)


@pytest.mark.parametrize("name", ["talk.wav", "talk.mp3"])
def test_windows_equal_what_predict_prints(service, run, tmp_path, monkeypatch, name):
    """Two channels at 22.05 kHz: cut at the file's own rate, whatever its format."""
    monkeypatch.chdir(tmp_path)
    samples = np.random.default_rng(0).normal(0, 0.1, (50_000, 2))
    soundfile.write(tmp_path / name, samples, 22_050)
    sent = {"audio": (name, (tmp_path / name).read_bytes())}
    answer = service.client.post("/predict?window=1", files=sent, data={"text": TEXT})
    found, expected = answer.json(), predicted(run, name, "--text", TEXT, "--window", 1)
    assert len(found) > 3
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["scores"] == pytest.approx(other.pop("scores"), abs=1e-6)
        assert {key: one[key] for key in ("recording", "start", "end", "label")} == {
            key: other[key] for key in ("recording", "start", "end", "label")
        }


def test_the_flags_of_a_recording_and_of_its_windows(service):
    """The second of three seconds is silent; the right channel always is."""
    samples = np.random.default_rng(0).normal(0, 0.1, (48_000, 2)) * [1, 0]
    samples[16_000:32_000] = 0
    file = io.BytesIO()
    soundfile.write(file, samples, 16_000, format="WAV")
    found = service.client.post(
        "/predict?window=1&hop=1&details=true",
        files={"audio": ("a.wav", file.getvalue())},
        data={"text": TEXT},
    ).json()
    assert [row["start"] for row in found["rows"]] == [0, 1, 2]
    silent = ["silent", "unlike_training"]  # the model was trained on noise
    assert found["flags"] == {"a.wav": ["silent_channel"], "a.wav#1.00-2.00": silent}


def test_details_name_members_and_flags(service, recordings):
    audio = {"audio": ("3.wav", (recordings / "3.wav").read_bytes())}
    found = service.client.post("/predict?details=true", files=audio, data={"text": TEXT}).json()
    [row] = found["rows"]
    members = [rows[0]["scores"] for rows in found["members"].values()]
    assert list(found["members"]) == ["speech-lr", "text-lr"]
    for label, score in row["scores"].items():
        assert score == pytest.approx(sum(one[label] for one in members) / 2, abs=1e-12)
    assert found["failed"] == found["flags"] == {}
    assert found["notes"] == []


def test_labels_health_and_schema(service):
    labels = service.client.get("/labels").json()
    assert labels["labels"] == ["negative", "neutral", "positive"]
    assert labels["inputs"] == {"audio": "required", "text": "required"}
    assert labels["members"] == {"speech-lr": ["audio"], "text-lr": ["text"]}
    assert service.client.get("/health").json()["status"] == "ok"
    api = service.client.get("/openapi.json").json()
    assert list(api["paths"]) == ["/predict", "/labels", "/health"]
    assert "multipart/form-data" in api["paths"]["/predict"]["post"]["requestBody"]["content"]


def test_many_clients_get_the_right_answers_and_memory_is_flat(service, run, recordings):
    """120 requests of 8 clients: every answer is the one that its clip gets alone."""
    names = [f"{number}.wav" for number in range(6)]
    sent = {name: (recordings / name).read_bytes() for name in names}

    def ask(name: str) -> str:
        answer = service.client.post(
            "/predict", files={"audio": (name, sent[name])}, data={"text": f"wonderful {name}"}
        )
        assert answer.status_code == 200, answer.text
        return answer.text

    alone = {name: ask(name) for name in names}
    for name in names[:2]:
        rows = predicted(run, recordings / name, "--text", f"wonderful {name}")
        assert json.loads(alone[name])[0]["scores"] == rows[0]["scores"]
    with ThreadPoolExecutor(8) as clients:
        for name, answer in zip(names * 7, clients.map(ask, names * 7), strict=True):
            assert answer == alone[name]
        before = service.memory()
        for name, answer in zip(names * 13, clients.map(ask, names * 13), strict=True):
            assert answer == alone[name]
    assert service.memory() < 1.05 * before
