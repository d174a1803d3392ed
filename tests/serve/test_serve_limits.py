"""Hostile bodies, foreign pages, too much at once, and the end: always an answer with a reason."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.services import Served, served, wav

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def part(name: str, content: bytes, more: str = "") -> bytes:
    head = f'--b\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


HOSTILE = {
    "empty": (400, b"", {"Content-Type": "audio/wav"}),
    "no content type": (415, b"x", {}),
    "another content type": (415, b"x", {"Content-Type": "text/plain"}),
    "compressed": (415, b"x", {"Content-Type": "audio/wav", "Content-Encoding": "gzip"}),
    "not audio": (422, b"dear diary" * 99, {"Content-Type": "audio/wav"}),
    "half a header": (422, wav()[:30], {"Content-Type": "audio/wav"}),
    "cut audio": (422, wav()[:2000], {"Content-Type": "audio/wav"}),
    "deep JSON": (400, b"[" * 100_000, JSON),
    "deep object": (400, b'{"text":' * 50_000, JSON),
    "not JSON": (400, b"text=hello", JSON),
    "not an object": (400, b'["a"]', JSON),
    "NaN": (400, b'{"text": NaN}', JSON),
    "a number of 10,000 digits": (400, b'{"text": ' + b"1" * 10_000 + b"}", JSON),
    "bad UTF-8": (400, b'{"text": "\xff"}', JSON),
    "a key twice": (400, b'{"text": "a", "text": "b"}', JSON),
    "text is a number": (400, b'{"text": 7}', JSON),
    "text is a list": (400, b'{"text": ["a"]}', JSON),
    "null": (400, b'{"text": null}', JSON),
    "audio in JSON": (400, b'{"audio": "/etc/passwd"}', JSON),
    "unknown field": (400, b'{"path": "/etc/passwd"}', JSON),
    "lone surrogate": (400, b'{"text": "\\ud800"}', JSON),
    "surrogate in the id": (400, b'{"text": "a", "id": "\\udfff"}', JSON),
    "NUL": (400, b'{"text": "\\u0000"}', JSON),
    "long text": (413, b'{"text": "' + b"a" * 30_000 + b'"}', JSON),
    "text only": (422, b'{"text": "a"}', JSON),
    "no boundary": (400, b"--b--", {"Content-Type": "multipart/form-data"}),
    "odd boundary": (400, b"--b--", {"Content-Type": "multipart/form-data; boundary=" + "é" * 90}),
    "cut multipart": (400, part("audio", b"abc"), FORM),
    "no parts": (400, b"--b--\r\n", FORM),
    "not multipart": (400, b"hello", FORM),
    "part without name": (400, b"--b\r\nX-A: 1\r\n\r\nabc\r\n--b--", FORM),
    "part without header": (400, b"--b\r\n\r\nabc\r\n--b--", FORM),
    "10,000 parts": (400, part("text", b"a") * 10_000 + b"--b--", FORM),
    "a part twice": (400, part("text", b"a") * 2 + b"--b--", FORM),
    "an unknown part": (400, part("path", b"a") + b"--b--", FORM),
    "text that is not UTF-8": (400, part("text", b"\xff") + b"--b--", FORM),
    "empty audio": (400, part("audio", b"", '; filename="a"') + b"--b--", FORM),
    "a name of two lines": (400, part("audio", wav()) + part("id", b"a\nb") + b"--b--", FORM),
    "a long name": (400, part("audio", wav()) + part("id", b"a" * 999) + b"--b--", FORM),
}


def test_a_recording_that_is_too_long_is_sent_to_the_timeline(light):
    headers = {"Content-Type": "audio/wav"}
    told = light.client.post("/predict", content=wav(61, rate=8000), headers=headers)
    assert told.status_code == 422
    assert told.json()["code"] == "too_long"
    assert told.json()["detail"].endswith("; /predict?window=SECONDS answers with a timeline")
    told = light.client.post("/predict?window=30", content=wav(61, rate=8000), headers=headers)
    assert len(told.json()) == 4


@pytest.fixture(scope="module")
def light(models) -> Iterator[Served]:
    with served(str(models / "speech"), "--max-mb", "1") as one:
        yield one
        code, said = one.end()
        assert code == 0
        assert said == "stopped; every request in progress was answered\n"


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_body_gets_a_reason(light, what):
    status, body, headers = HOSTILE[what]
    headers = {name: value.encode() for name, value in headers.items()}
    answer = light.client.post("/predict", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"code", "detail"}
    assert len(answer.json()["detail"]) > 10
    assert "--damage" not in answer.json()["detail"]  # a client has no such option


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("window=nan", 422),
        ("window=-1", 422),
        ("window=1&hop=2", 422),
        ("window=1e999", 422),
        ("window=0.001&hop=0.001", 422),
        ("hop=1", 400),
        ("top=0", 422),
        ("top=a", 422),
        ("path=/etc/passwd", 400),
    ],
)
def test_a_wrong_parameter_gets_a_reason(light, query, status):
    sent = {"audio": ("a.wav", wav(5))}
    answer = light.client.post(f"/predict?{query}", files=sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["detail"]


def test_other_paths_and_verbs(light):
    for verb, path, status in (
        ("GET", "/predict", 405),
        ("POST", "/labels", 405),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/page/index.html", 404),
    ):
        answer = light.client.request(verb, path)
        assert answer.status_code == status
        assert answer.json()["code"] == "http"


def test_a_name_is_never_a_path(light, tmp_path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav(seed=1))
    good, told = wav(seed=2), {}
    for name in ("clip.wav", str(secret), "../../../etc/passwd"):
        [told[name]] = light.client.post("/predict", files={"audio": (name, good)}).json()
    assert {name: row["id"] for name, row in told.items()} == {name: name for name in told}
    assert len({json.dumps(row["scores"]) for row in told.values()}) == 1
    named = light.client.post("/predict", files={"audio": (str(secret), b"")})
    assert named.json()["code"] == "empty"


def raw(service: Served, head: str, body: bytes = b"") -> bytes:
    """Send bytes as they are; return what comes back until the answer's JSON is whole."""
    place = httpx.URL(service.url)
    with socket.create_connection((place.host, place.port or 80), timeout=20) as line:
        line.sendall(head.replace("\n", "\r\n").encode() + body)
        found = b""
        while not found.rstrip().endswith(b"}") and (more := line.recv(65536)):
            found += more
    return found


@pytest.mark.parametrize("media", ["application/json", "audio/wav"])
def test_a_client_that_sends_too_much_gets_the_answer(light, media):
    """It was a reset of the connection: the server had closed it while the client was sending."""
    head = f"POST /predict HTTP/1.1\nHost: localhost\nConnection: close\nContent-Type: {media}\n"
    assert b" 413 " in raw(light, f"{head}Content-Length: {20 << 20}\n\n", bytes(20 << 20))


def test_a_body_is_counted_whatever_it_claims(light):
    claimed = "POST /predict HTTP/1.1\nHost: localhost\nContent-Type: audio/wav\n"
    assert b" 413 " in raw(light, f"{claimed}Content-Length: {1 << 30}\n\n", b"RIFF")
    chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
    assert b" 413 " in raw(light, f"{claimed}Transfer-Encoding: chunked\n\n", chunk * 17)
    assert b" 400 " in raw(light, f"{claimed}Content-Length: -5\n\n", b"x")
    assert b" 400 " in raw(light, f"{claimed}Content-Length: 5\nContent-Length: 6\n\n", b"x")
    assert light.client.get("/health").json() == {"status": "ok", "under_way": 0, "at_most": 32}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "192.168.0.7"}, 200),
        ({"Host": "rebound.example"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "["}, 403),
        ({"Host": "localhost", "Origin": "http://localhost"}, 200),
        ({"Host": "localhost", "Origin": "null"}, 403),
        ({"Host": "localhost", "Origin": "https://elsewhere.example"}, 403),
        ({"Host": "localhost:1", "Origin": "http://localhost:2"}, 403),
    ],
)
def test_pages_of_other_places_are_refused(light, headers, status):
    answer = light.client.get("/labels", headers=headers)
    assert answer.status_code == status, answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


def test_one_place_and_a_slow_body(models):
    """While one client dawdles over its body, the next is sent away; then the first is, too."""
    with served(str(models / "speech"), "--queue", "1", "--timeout", "2") as service:
        head = "POST /predict HTTP/1.1\nHost: localhost\nContent-Type: audio/wav\n"
        answers: list[bytes] = []

        def dawdle() -> None:
            answers.append(raw(service, f"{head}Content-Length: 1000\n\n", b"RIFF"))

        slow = threading.Thread(target=dawdle)
        slow.start()
        while service.client.get("/health").json()["under_way"] < 1:
            time.sleep(0.01)
        busy = service.client.post("/predict", files={"audio": ("a", wav())})
        assert (busy.status_code, busy.json()["code"]) == (503, "busy")
        assert busy.headers["Retry-After"] == "1"
        slow.join()
        assert b" 408 " in answers[0]
        long = service.client.post(
            "/predict?window=1&hop=0.002", files={"audio": ("a", wav(8))}
        )  # 3,500 windows
        assert (long.status_code, long.json()["code"]) == (503, "timeout")
        assert service.client.post("/predict", files={"audio": ("a", wav())}).status_code == 200


def timeline(service: Served, sound: bytes, hop: float, answers: list[httpx.Response]) -> None:
    where = f"{service.url}/predict?window=1&hop={hop}"
    sent = {"audio": ("talk.wav", sound)}
    answers.append(httpx.post(where, files=sent, timeout=60, trust_env=False))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_with_the_last_answers_sent(models, how):
    """Timelines are under way when the signal comes; each is answered whole."""
    with served(str(models / "speech")) as service:
        answers: list[httpx.Response] = []
        asked = (service, wav(8), 0.1, answers)
        clients = [threading.Thread(target=timeline, args=asked) for _ in range(3)]
        for client in clients:
            client.start()
        while service.client.get("/health").json()["under_way"] < 3:
            assert not answers
        code, said = service.end(how)
        for client in clients:
            client.join()
    assert [answer.status_code for answer in answers] == [200] * 3
    assert [len(answer.json()) for answer in answers] == [71] * 3
    assert code == 0, said
    assert "every request in progress was answered" in said
    assert "Traceback" not in said


def test_a_second_signal_cuts_off_what_is_under_way_and_says_so(models):
    with served(str(models / "speech")) as service:
        answers: list[httpx.Response] = []
        client = threading.Thread(target=timeline, args=(service, wav(30), 0.01, answers))
        client.start()
        while service.client.get("/health").json()["under_way"] < 1:
            assert not answers
        service.process.send_signal(signal.SIGTERM)
        while True:  # the first signal closes the address
            try:
                httpx.get(f"{service.url}/health", trust_env=False)
            except httpx.TransportError:
                break
        code, said = service.end()
        client.join()
    assert (answers[0].status_code, answers[0].json()["code"]) == (503, "stopping")
    assert (code, said) == (0, "stopped; requests in progress that got no prediction: 1\n")
