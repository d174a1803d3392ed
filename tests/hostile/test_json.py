"""Every reader of JSON, over one table of damaged files: an error of affekt, or nothing known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.care.verifying import _load_memo
from affekt.cache.errors import AffektError, InputError
from affekt.cache.files.json_lines import json_lines
from affekt.cache.files.reading import parse_json, read_json, read_note
from affekt.cache.identity.encoder_folder import encoder_folder
from affekt.cache.identity.index_files import Seen, _parse, encode, place_hash
from affekt.cache.identity.spec import Spec
from affekt.cache.manifest.corpora.emobox import read_emobox
from affekt.cache.rows.failures import note_failure, read_failures
from affekt.cache.rows.remarks import note_remarks, read_remarks
from affekt.cache.shards.shard import parse_provenance
from affekt.classify import Comparison, Predictions
from affekt.classify.data.votes import read_votes
from affekt.classify.ensembles.fixed_rules import MeanEnsemble
from affekt.classify.ensembles.saved import Replay, read_replays, write_replays
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.experiments import known_encoders
from affekt.classify.experiments.members.member_folder import is_done
from affekt.classify.experiments.results.last_report import _embedded
from affekt.classify.experiments.results.report_folder import read_state
from affekt.classify.experiments.results.uses_of_test import record_use
from affekt.classify.models.folders.model_folder import ENCODERS_FORMAT, read_folders
from affekt.classify.models.folders.run_folder import read_comparison
from affekt.classify.models.published.recognising import _kind
from affekt.classify.serving.output import is_output
from affekt.extract.encoders.checkpoints.checkpoint import find_checkpoint
from affekt.extract.encoders.checkpoints.sentence_transformers import read_sentence_steps
from affekt.extract.transcription.transcripts import _answer
from safetensors.numpy import save

from tests.support.cache_toy import make_spec

GOLDEN = Path(__file__).parents[1] / "classify" / "evaluation" / "reports" / "golden"
DIGEST = "ab" * 32
#: never JSON as affekt writes it
BROKEN = {
    "empty": b"",
    "cut": b'{"a": ',
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "closed but deep": b"[" * 50_000 + b"]" * 50_000,
    "not UTF-8": b'{"a": "\xff"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "zeros": bytes(4096),
    "a number of 5000 digits": b'{"a": ' + b"9" * 5000 + b"}",
    "words": b"{'a': None}",
}
#: JSON that another tool takes, or of another shape
ODD = {
    "NaN": b'{"format": NaN}',
    "a key twice": b'{"key": 1, "key": 2}',
    "half a character": b'{"key": "\\ud800", "format": "\\udfff"}',
    "too deep for a walk": b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}",
    "list": b"[]",
    "list of lists": b"[[], {}]",
    "null": b"null",
    "true": b"true",
    "number": b"-1e308",
    "text": b'"x"',
    "no keys": b"{}",
}
VALUES: list[Any] = [None, True, -1, 10**30, 1e308, "x", "\ud800", "../x", [], {}, [[]], {"x": {}}]


def variants(value: Any) -> Iterator[Any]:
    """Yield a document with each of its nodes missing, renamed or replaced."""
    yield from VALUES
    if isinstance(value, dict):
        for key, inner in value.items():
            rest = {name: one for name, one in value.items() if name != key}
            yield rest
            yield {**rest, "\ud800": inner}
            for changed in variants(inner):
                yield {**value, key: changed}
    elif isinstance(value, list):
        for i, inner in enumerate(value[:3]):
            yield [*value[:i], *value[i + 1 :]]
            for changed in variants(inner):
                yield [*value[:i], changed, *value[i + 1 :]]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return name -> (a good file, what reads it)."""
    top = tmp_path_factory.mktemp("json")
    found: dict[str, tuple[Path, Callable[[], Any]]] = {}

    def add(name: str, file: Path, read: Callable[[], Any], good: Any = None) -> None:
        if good is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(good))
        assert file.is_file(), name
        read()  # a reader that refuses its good file would prove nothing
        found[name] = (file, read)

    spec = make_spec()
    cache = Cache(top / "my.cache")
    space = cache.create(spec)
    options = {"name": str(top / "encoder")}
    known_encoders.remember(cache, options, spec)
    note = known_encoders._path(cache, options)
    add("what an encoder was", note, lambda: known_encoders.recall(cache, options))
    add("where an encoder lies", space.folder / "encoder.json",
        lambda: encoder_folder(space.folder), {"folder": "../encoder"})  # fmt: skip
    add("what was verified", space.folder / "verified.json", lambda: _load_memo(space),
        {"a.h5": [1, 2, 3, 4, 5]})  # fmt: skip
    note_failure(top / "failures.jsonl", None, "a", "missing", "no file")
    add("failures", top / "failures.jsonl", lambda: read_failures(top / "failures.jsonl"))
    note_remarks(top, [("0" * 64, ["clipped"])])
    add("remarks", top / "remarks.jsonl", lambda: read_remarks(top))
    record_use(top / "uses.jsonl", ["a"], {"C": 1})
    add("uses of a test set", top / "uses.jsonl",
        lambda: record_use(top / "uses.jsonl", ["a"], {"C": 1}))  # fmt: skip
    segment = top / "segment.jsonl"
    segment.write_bytes(encode(Seen("a", "a.wav", None, 2.0, DIGEST)))

    def indexed() -> str:
        line = _parse(segment.read_bytes(), "segment")
        return place_hash(line.path, line.start, line.end)

    add("a segment of the index", segment, indexed)
    add("a spec", top / "spec.json",
        lambda: Spec.from_json((top / "spec.json").read_bytes()), spec.fields)  # fmt: skip
    add("provenance", top / "p.json",
        lambda: parse_provenance("p", (top / "p.json").read_text("utf-8", "replace")),
        {"affekt": "1"})  # fmt: skip
    heard = {"audio": DIGEST, "text": "a", "language": "en"}
    add("a transcript", top / "heard.json",
        lambda: _answer((top / "heard.json").read_bytes()), heard)  # fmt: skip

    for name in ("clips.json", "clips.jsonl"):
        clips = [{"id": "a", "path": "a.wav"}] if name == "clips.json" else {"id": "a", "path": "b"}
        add(name, top / name, lambda name=name: Manifest.read(top / name, root=top), clips)
    voted = Manifest.from_rows([{"id": "a", "path": "a.wav", "label": "{}"}], top)
    add("votes", top / "votes.json",
        lambda: read_votes(voted.with_columns(
            label=[(top / "votes.json").read_text("utf-8", "replace")])), {"joy": 3})  # fmt: skip
    fold = top / "corpus" / "fold_1"
    for split in ("train", "test"):
        fold.mkdir(parents=True, exist_ok=True)
        row = {"key": split, "wav": f"{split}.wav", "emo": "joy"}
        (fold / f"corpus_{split}_fold_1.jsonl").write_text(json.dumps(row))
    read = lambda: read_emobox(top / "corpus", 1, root=top)  # noqa: E731
    add("a fold of EmoBox", fold / "corpus_test_fold_1.jsonl", read)
    add("labels of EmoBox", top / "corpus" / "label_map.json", read, {"joy": "happy"})

    compared = top / "run" / "comparison.json"
    data = json.loads((GOLDEN / "split" / "comparison.json").read_text())
    readers = (Comparison.read, model_card, _embedded, lambda run: read_comparison(compared))

    def comparison() -> None:
        for one in readers:
            with suppress(AffektError):
                one(top / "run")

    add("a comparison", compared, comparison, data)
    add("the state of a report", top / "run" / "run.json", lambda: read_state(top / "run"),
        {"files": {"a": DIGEST}, "key": "k"})  # fmt: skip
    add("a member", top / "m" / "member.json", lambda: is_done(top / "m", "k"),
        {"key": "k", "files": {}})  # fmt: skip
    members = {"a": Predictions(["1"], ["x", "y"], [[1, 0]])}
    rule = MeanEnsemble().fit(members, [])
    write_replays(top, {"mean": Replay(rule, ("a",), ("x", "y"))})
    add("ensembles", top / "ensembles.json", lambda: read_replays(top))
    add("answers", top / "out.jsonl", lambda: is_output((top / "out.jsonl").read_bytes()),
        {"id": "a", "values": {"x": 1.0}})  # fmt: skip

    add("encoders of a model", top / "model" / "encoders.json",
        lambda: read_folders(top / "model", [spec]),
        {"format": ENCODERS_FORMAT, "encoders": {spec.key[:16]: {"folder": "x"}}})  # fmt: skip
    checkpoint = top / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / "model.safetensors").write_bytes(save({"w": np.zeros(1, np.float32)}))
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    read = lambda: find_checkpoint(str(checkpoint))  # noqa: E731
    add("a checkpoint", checkpoint / "config.json", read, config)
    add("its kind", checkpoint / "config.json", lambda: _kind(checkpoint))
    tokenizer = {"tokenizer_class": "BertTokenizer"}
    add("a tokenizer", checkpoint / "tokenizer_config.json", read, tokenizer)
    modules = [{"type": "a.Transformer", "path": ""}, {"type": "a.Pooling", "path": "1_Pooling"}]
    steps = lambda: [read(), read_sentence_steps(checkpoint)]  # noqa: E731
    add("modules", checkpoint / "modules.json", steps, modules)
    add("a pooling", checkpoint / "1_Pooling" / "config.json", steps, {"pooling_mode": "mean"})
    prompts = {"prompts": {"q": "query: "}, "default_prompt_name": "q"}
    add("prompts", checkpoint / "config_sentence_transformers.json", steps, prompts)
    return found


READERS = [
    *("what an encoder was", "where an encoder lies", "what was verified", "failures", "remarks"),
    *("uses of a test set", "a segment of the index", "a spec", "provenance", "a transcript"),
    *("clips.json", "clips.jsonl", "votes", "a fold of EmoBox", "labels of EmoBox"),
    *("a comparison", "the state of a report", "a member", "ensembles", "answers"),
    *("encoders of a model", "a checkpoint", "its kind", "a tokenizer", "modules", "a pooling"),
    "prompts",
]  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_damaged_file_ends_in_an_error_of_affekt_or_says_nothing(files, name):
    file, read = files[name]
    good = file.read_bytes()
    values = list(variants(json.loads(good.split(b"\n\n")[-1])))
    step = len(values) // 60 + 1  # of a whole comparison every so many
    tries = {**BROKEN, **ODD}
    tries |= {f"variant {i}": json.dumps(values[i]).encode() for i in range(0, len(values), step)}
    try:
        for what, data in tries.items():
            file.write_bytes(data)
            try:
                read()
            except AffektError:
                continue
            except Exception as error:
                raise AssertionError(f"{name}: {what}: {data[:200]!r}") from error
    finally:
        file.write_bytes(good)


def test_every_reader_of_the_table_is_tried(files):
    assert set(READERS) == set(files)


@pytest.mark.parametrize("name", [*BROKEN])
def test_broken_json_is_refused_with_its_path(tmp_path, name):
    path = tmp_path / "a.json"
    path.write_bytes(BROKEN[name])
    for lenient in (False, True):
        with pytest.raises(ValueError):  # noqa: PT011 - the words are those of json
            parse_json(BROKEN[name], lenient=lenient)
        with pytest.raises(InputError, match=r"a\.json cannot be read as a comparison: "):
            read_json(path, "a comparison", lenient=lenient)
    assert read_note(path) == {}
    assert list(json_lines(BROKEN[name])) == []


def test_what_other_tools_write_is_read_where_it_may_be(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"a": NaN, "a": Infinity, "b": "\\ud83d\\ude00"}\r\n')
    assert read_json(path, lenient=True) == {"a": float("inf"), "b": "\N{GRINNING FACE}"}
    with pytest.raises(InputError, match="NaN is not a JSON number"):
        read_json(path)
    with pytest.raises(InputError, match="it has 51 bytes, expected at most 9"):
        read_json(path, largest=9)
    path.write_text('{"a": "\\ud800"}')
    with pytest.raises(InputError, match="half a character"):
        read_json(path)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("1e999", "1e999 is too large for a number"),
        ("-" + "9" * 400 + ".5", "-9999999999999999999 is too large for a number"),
        ("9" * 5000, "a whole number of more than 4300 digits"),
    ],
)
def test_numbers_beyond_all_others_are_no_json(tmp_path, number, words):
    path = tmp_path / "comparison.json"
    path.write_text(f'{{"uar": {number}}}')
    with pytest.raises(InputError, match=rf"cannot be read as a comparison: {words}$"):
        read_json(path, "a comparison")
    assert parse_json("[1e308, -0.5, 1e-999]") == [1e308, -0.5, 0.0]


def test_a_report_of_another_names_no_file_outside_of_it(tmp_path):
    for name in ("../mine.txt", "/etc/passwd", "a/../../b"):
        (tmp_path / "run.json").write_text(json.dumps({"key": "k", "files": {name: DIGEST}}))
        assert read_state(tmp_path) is None
