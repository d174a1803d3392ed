"""Batching, bodies and answers on their own, in this process."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.cli import affekt
from affekt.classify.models.new_clips.new_clip import RawClip
from affekt.classify.serving.http.allowed_hosts import refusal
from affekt.classify.serving.http.answers import describe, merged
from affekt.classify.serving.http.batching import Batcher, Full
from affekt.classify.serving.http.bodies import Refused, Sent, read_body
from affekt.classify.serving.http.service import Limits, Service, create_app
from affekt.classify.serving.loading import open_system
from affekt.extract import Encoder, extract
from click.testing import CliRunner
from hypothesis import example, given, strategies as st

from tests.support.services import wav


def test_what_waits_becomes_one_batch():
    sizes, go = [], threading.Event()

    def answer(tasks):
        go.wait(10)
        sizes.append(len(tasks))
        return [10 * task for task in tasks]

    async def main():
        async with Batcher(answer, most=4, wait=0.05) as batcher:
            first = asyncio.create_task(batcher.submit(0))
            await asyncio.sleep(0.2)  # its wait is over: it is a batch alone
            others = [asyncio.create_task(batcher.submit(task)) for task in range(1, 8)]
            await asyncio.sleep(0)
            others[6].cancel()  # given up before it was started
            go.set()
            return await asyncio.gather(first, *others[:6])

    assert asyncio.run(main()) == [0, 10, 20, 30, 40, 50, 60]
    assert sizes == [1, 4, 2]


def test_an_error_reaches_everyone_who_waits_and_the_next_batch_is_answered():
    def answer(tasks):
        if "bad" in tasks:
            raise ValueError("a bad one")
        return tasks

    async def main():
        async with Batcher(answer, most=2, wait=0.05) as batcher:
            told = await asyncio.gather(
                *(batcher.submit(task) for task in ("bad", "good")), return_exceptions=True
            )
            return [str(one) for one in told], await batcher.submit("next")

    assert asyncio.run(main()) == (["a bad one", "a bad one"], "next")


def test_places_are_bounded_and_given_back():
    async def main():
        batcher = Batcher(list, places=2)
        with batcher.place(), batcher.place(), pytest.raises(Full), batcher.place():
            pass
        assert batcher.taken == 0

    asyncio.run(main())


def read(body: bytes, kind: str, step: int = 7, limit: int = 10_000) -> Sent | Refused:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    try:
        return asyncio.run(read_body({"content-type": kind}, chunks(), limit))
    except Refused as refused:
        return refused


def test_a_file_under_another_name_is_told_the_name_to_use():
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    refused = read(head + b"RIFF\xff\xfe\r\n--b--", "multipart/form-data; boundary=b")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.reason) == (
        "unknown_field",
        "unknown field 'file'; expected audio, text or id",
    )


PIECES = st.sampled_from(
    [
        *(b"--b", b"--b--", b"\r\n", b"\r\n\r\n", b'Content-Disposition: form-data; name="text"'),
        *(b'; filename="a.wav"', b'name="audio"', b"Content-Disposition:", b"Content-Type: a/b"),
        *(b"hello", b"\xff\xfe", b"\0", b"{", b'"text"', b": ", b'"a"', b"}", b"[", b"NaN", b";"),
    ]
)


@given(st.lists(PIECES | st.binary(max_size=9), max_size=25), st.sampled_from(["json", "form"]))
@example(
    [b"--b\r\n", b'Content-Disposition: form-data; name="text"\r\n\r\n', b"a\r\n--b--"], "form"
)
def test_any_bytes_are_a_clip_or_a_refusal(pieces, kind):
    """Nothing else leaves the reader: no other exception, no clip without content."""
    media = {"json": "application/json", "form": "multipart/form-data; boundary=b"}[kind]
    found = read(b"".join(pieces), media)
    if isinstance(found, Refused):
        assert 400 <= found.status < 500
        assert found.reason
    else:
        assert found.audio or found.text
        assert found.id


def test_a_form_is_read_whole_in_any_pieces():
    content = wav(0.1)
    head = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="\xc3\xa4.wav"\r\n\r\n'
    text = (
        b'\r\n--b\r\nContent-Disposition: form-data; name="text"\r\n\r\n\xc2\xa1hola!\r\n--b--\r\n'
    )
    for step in (1, 5, 1000):
        found = read(head + content + text, "multipart/form-data; boundary=b", step)
        assert found == Sent("ä.wav", content, "¡hola!")


def test_only_a_text_comes_as_json():
    """Millions of small values would keep the parser busy for seconds."""
    longest = json.dumps({"text": "\N{GRINNING FACE}" * 20_000}).encode()
    found = read(longest, "application/json", 1000, limit=1 << 25)
    assert found == Sent("text", None, "\N{GRINNING FACE}" * 20_000)
    refused = read(b"[" + b"0," * (1 << 20), "application/json", 1000, limit=1 << 25)
    assert isinstance(refused, Refused)
    assert (refused.status, refused.code) == (413, "too_large")


def test_clips_of_one_batch_are_answered_as_each_alone(models):
    """Whatever their ids; a bad one fails alone, and a remark belongs to its own clip."""
    clips = [
        RawClip("same", wav(seed=1), text="furious 1"),
        RawClip("same", b"not audio"),
        RawClip("same", wav(seed=2), text="wonderful 2"),
        RawClip("other", text="monday"),
    ]
    with open_system(models / "fused") as system:
        together = merged(system.answer, clips)
        alone = [system.answer([clip]) for clip in clips]
    for one, other in zip(together, alone, strict=True):
        assert (one.failed, one.reasons, one.one_sided) == (
            other.failed, other.reasons, other.one_sided
        )  # fmt: skip
        assert (one.predictions is None) == (other.predictions is None)
        if one.predictions is not None and other.predictions is not None:
            assert list(one.predictions.ids) == list(other.predictions.ids)
            assert one.predictions.proba == pytest.approx(other.predictions.proba, abs=1e-6)
    assert together[1].failed == {"same": "not_audio and no text"}
    assert together[3].one_sided == {"other": "no audio; predicted from text alone"}


@pytest.mark.parametrize(
    ("name", "audio", "text"),
    [
        ("speech", "required", "unused"),
        ("words", "unused", "required"),
        ("fused", "optional", "optional"),
    ],
)
def test_what_a_model_needs(models, name, audio, text):
    with open_system(models / name) as system:
        told = describe(system, {})
    assert told["inputs"] == {"audio": audio, "text": text}
    assert told["system"] == name
    assert str(models) not in str(told)


def ask_in_process(service: Service, path: str, **options: object) -> httpx.Response:
    """Ask without a network, with the service's own start and end."""
    app = create_app(service)

    async def main() -> httpx.Response:
        where = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=where, base_url="http://localhost") as client,
        ):
            return await client.post(path, **options)  # pyright: ignore[reportArgumentType]

    return asyncio.run(main())


def test_what_goes_wrong_inside_is_logged_and_not_shown(models, monkeypatch, caplog):
    with open_system(models / "words") as system:
        service = Service(system, Limits())
        monkeypatch.setattr(service.batcher, "answer", lambda clips: 1 / 0)
        answer = ask_in_process(service, "/predict", json={"text": "a"})
    assert (answer.status_code, answer.json()["code"]) == (500, "failed")
    assert "division" not in answer.text
    assert "ZeroDivisionError: division by zero" in caplog.text
    assert "Traceback" not in caplog.text


def test_one_side_is_remarked_as_predict_does(models):
    with open_system(models / "fused") as system:
        answer = ask_in_process(Service(system, Limits()), "/predict", json={"text": "furious"})
    told = CliRunner().invoke(
        affekt, ["predict", str(models / "fused"), "--text", "furious", "--json"]
    )
    assert answer.json() == json.loads(told.stdout)
    assert answer.json()[0]["remark"] == "no audio; predicted from text alone"


def test_a_model_that_scales_within_languages_is_not_served(tmp_path):
    rows = [
        {"id": str(i), "text": f"{word} {i}", "label": label, "language": "deu" if i % 2 else "eng"}
        for i, (word, label) in enumerate([("furious", "anger"), ("lovely", "happiness")] * 8)
    ]
    clips = Manifest.from_rows(rows)
    words = extract(clips, Cache(tmp_path / "cache"), Encoder("ngram"), progress=False).features()
    model = Model(LogisticHead(), Task.named("valence"), words, scale="language")
    model.fit(clips).save_pretrained(tmp_path / "model")
    told = CliRunner().invoke(affekt, ["serve", str(tmp_path / "model"), "--port", "0"])
    assert "scales features within each language, and a client cannot" in str(told.exception)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["MODEL", "--port", "TAKEN"], "cannot listen on 127.0.0.1 port"),
        (["MODEL", "--host", "nowhere.invalid"], "cannot listen on nowhere.invalid"),
        (["MODEL/gone"], "gone"),
        (["MODEL", "--port", "70000"], "not in the range"),
        (["MODEL", "--timeout", "nan"], "nan"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_served(models, words, said):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fill = {"MODEL": str(models / "words"), "TAKEN": str(taken.getsockname()[1])}
        for key, value in fill.items():
            words = [word.replace(key, value) for word in words]
        told = CliRunner().invoke(affekt, ["serve", *words])
    assert getattr(told.exception, "exit_code", told.exit_code) == 2
    assert said in f"{told.output}{told.exception}"


def test_a_page_of_a_given_name_may_ask_and_one_of_this_machine_may_not():
    names = ["localhost", "127.0.0.1", "emo.example"]
    host = "127.0.0.1:8000"  # a proxy need not pass on the name
    assert refusal(host, "https://emo.example", names) is None
    for origin in ("http://localhost:3000", "http://127.0.0.1:3000", "https://x.emo.example",
                   "https://emo.example.org", "null", "emo.example"):  # fmt: skip
        assert "a name of --allow-host" in str(refusal(host, origin, names))


def test_the_extra_is_named_where_it_is_missing(models, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    told = CliRunner().invoke(affekt, ["serve", str(models / "words")])
    assert isinstance(told.exception, InputError)
    assert str(told.exception) == (
        "serving needs fastapi, not installed: pip install 'affekt[serve]'"
    )


def test_nothing_of_the_page_is_elsewhere():
    """Also in the files: no address of another place but the namespaces of SVG.

    Nor one of a root: a proxy may serve the page below a path.
    """
    from affekt.classify.serving.http import service as module

    for path in (Path(str(module.__file__)).parent / "page").iterdir():
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        text = text.replace("only on https:// and", "")
        assert "://" not in text, path
        assert not re.search(r"""(href|src)="/|from "/|fetch\([`"]/|addModule\("/""", text), path
