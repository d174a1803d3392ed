"""Hostile requests to the service: headers, parameters, bodies and shapes of JSON."""

from __future__ import annotations

import json
import random
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .mutations import NUMBERS, VALUES, WORDS, damaged

PATHS = ["/predict"] * 12 + [
    "/labels",
    "/health",
    "/",
    "/docs",
    "/openapi.json",
    "/../x",
    "//",
    "/%00",
]
VERBS = ["POST"] * 12 + ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "X"]
HEADERS = {
    "Content-Type": ["", "audio/wav", "application/json; charset=utf-16", "multipart/form-data",
                     "multipart/form-data; boundary=", 'multipart/form-data; boundary="b', "audio/",
                     "application/json;" * 99, "text/html", "video/mp4", "=;=", "b" * 9999],
    "Content-Encoding": ["gzip", "", "identity, gzip", "br", "\x00"],
    "Content-Length": ["0", "-1", "9" * 30, "1e3", "", "٣", "0x10", "5, 6"],
    "Transfer-Encoding": ["chunked", "gzip", ""],
    "Host": ["", "[", "[::1", "a" * 999, "localhost:99999999", "::1", "evil", "é", "@"],
    "Origin": ["null", "", "http://", "http://localhost", "http://localhost@evil", "file:///"],
    "Accept": ["", "*/*;q=nan"], "Range": ["bytes=0-", "bytes=-9999999999999"],
    "Cookie": ["a" * 9999], "Expect": ["100-continue"], "Upgrade": ["websocket", "h2c"],
}  # fmt: skip
QUERIES = ["window", "hop", "top", "details", "x", "", "window[]", "top"]


@dataclass
class Sent:
    """One request."""

    verb: str
    path: str
    query: list[tuple[str, str]]
    headers: dict[str, bytes]
    body: bytes = field(repr=False)

    def __str__(self) -> str:
        headers = {name: value[:60] for name, value in self.headers.items()}
        return f"{self.verb} {self.path} {str(self.query)[:200]} {headers} {self.body[:200]!r}"


def request(rng: random.Random, sound: bytes) -> Sent:
    """Return a good request with one thing or two wrong."""
    body, kind = rng.choice([_json, _form, lambda rng, sound: (sound, "audio/wav")])(rng, sound)
    sent = Sent("POST", "/predict", [], {"Content-Type": kind.encode()}, body)
    for _ in range(rng.choice([1, 1, 2])):
        rng.choice([_new_place, _new_header, _new_query, _new_body, _new_body])(rng, sent)
    return sent


def _json(rng: random.Random, sound: bytes) -> tuple[bytes, str]:
    value: dict[str, Any] = {"text": "anger 1", "id": "a"}
    if rng.random() < 0.3:
        value[rng.choice(["audio", "text", "id", *WORDS])] = rng.choice(VALUES)
    return json.dumps(value).encode(), "application/json"


def _form(rng: random.Random, sound: bytes) -> tuple[bytes, str]:
    parts = [("audio", sound, '; filename="a.wav"'), ("text", b"anger 1", ""), ("id", b"a", "")]
    if rng.random() < 0.4:
        name, content, _ = rng.choice(parts)
        odd = rng.choice(WORDS).encode("utf-8", "surrogatepass")
        parts[rng.randrange(3)] = (name, rng.choice([content, odd]), f'; filename="{len(odd)}"')
    lines = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        % (name.encode(), more.encode(), content)
        for name, content, more in parts
    )
    return lines + b"--b--\r\n", "multipart/form-data; boundary=b"


def _new_place(rng: random.Random, sent: Sent) -> None:
    sent.verb, sent.path = rng.choice(VERBS), rng.choice(PATHS)


def _new_header(rng: random.Random, sent: Sent) -> None:
    name = rng.choice(list(HEADERS))
    value = rng.choice(HEADERS[name] + WORDS[:20])
    sent.headers[name] = value.encode("utf-8", "surrogatepass")


def _new_query(rng: random.Random, sent: Sent) -> None:
    value = str(rng.choice(NUMBERS + WORDS)).encode("utf-8", "replace").decode()[:200]
    sent.query.append((rng.choice(QUERIES), value))


def _new_body(rng: random.Random, sent: Sent) -> None:
    suffix = ".json" if b"json" in sent.headers.get("Content-Type", b"") else ".bin"
    sent.body = damaged(rng, Path(f"x{suffix}"), sent.body)


class Client:
    """The service of a run's folder in this process."""

    def __init__(self, folder: Path) -> None:
        from affekt.classify.serving.http.service import Limits, Service, create_app
        from affekt.classify.serving.loading import open_system
        from starlette.testclient import TestClient

        self._open = ExitStack()
        system = self._open.enter_context(open_system(folder, system="mean"))
        service = Service(system, Limits(size=1 << 20, seconds=20))
        service.warm_up()
        client = TestClient(create_app(service), base_url="http://localhost")
        self.client = self._open.enter_context(client)

    def problem(self, sent: Sent) -> str:
        """Send a request; return what is wrong with its answer, or nothing."""
        answer = self.client.request(
            sent.verb, sent.path, params=sent.query, headers=sent.headers, content=sent.body
        )
        if answer.status_code >= 500:
            return f"status {answer.status_code}: {answer.text[:200]}"
        if "default-src 'none'" not in answer.headers.get("Content-Security-Policy", ""):
            return "an answer without the headers of the guard"
        if answer.status_code >= 400 and sent.verb != "HEAD":
            told = answer.json()
            if set(told) != {"code", "detail"} or not told["detail"]:
                return f"status {answer.status_code} without a reason"
        return ""

    def close(self) -> None:
        """End the service."""
        self._open.close()
