"""What the service answers is what `affekt predict` prints, also to many at once."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from .services import predicted, wav

TEXT = "such a wonderful monday"


def test_an_answer_equals_what_predict_prints(service, run, recordings, monkeypatch):
    monkeypatch.chdir(recordings)
    audio = {"audio": ("3.wav", (recordings / "3.wav").read_bytes())}
    answer = service.client.post("/predict", files=audio, data={"text": TEXT})
    assert answer.status_code == 200, answer.text
    assert answer.json() == predicted(run, "3.wav", "--text", TEXT)
    top = service.client.post("/predict?top=1", files=audio, data={"text": TEXT})
    assert top.json() == predicted(run, "3.wav", "--text", TEXT, "--top", 1)


def test_windows_equal_what_predict_prints(service, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talk.wav").write_bytes(wav(2.3))
    audio = {"audio": ("talk.wav", wav(2.3))}
    answer = service.client.post("/predict?window=1", files=audio, data={"text": TEXT})
    found, expected = answer.json(), predicted(run, "talk.wav", "--text", TEXT, "--window", 1)
    assert [row["id"] for row in found] == [row["id"] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["scores"] == pytest.approx(other.pop("scores"), abs=1e-6)
        assert {key: one[key] for key in ("recording", "start", "end", "label")} == {
            key: other[key] for key in ("recording", "start", "end", "label")
        }


def test_details_name_members_and_flags(service, recordings):
    audio = {"audio": ("3.wav", (recordings / "3.wav").read_bytes())}
    found = service.client.post("/predict?details=true", files=audio, data={"text": TEXT}).json()
    [row] = found["rows"]
    members = [rows[0]["scores"] for rows in found["members"].values()]
    assert list(found["members"]) == ["speech-lr", "text-lr"]
    for label, score in row["scores"].items():
        assert score == pytest.approx(sum(one[label] for one in members) / 2, abs=1e-12)
    assert found["failed"] == found["flags"] == {}


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
