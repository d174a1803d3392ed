"""`report.html`: what it holds, without a browser."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from affekt.cache.errors import AffektError, InputError
from affekt.cache.manifest import Manifest
from affekt.classify.cli import affekt
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.comparison import Comparison
from affekt.classify.evaluation.reports.html.clip_rows import clip_rows
from affekt.classify.evaluation.reports.html.page import page
from affekt.classify.evaluation.reports.html.prose import inline
from affekt.classify.evaluation.reports.markdown.report import label_report
from affekt.classify.evaluation.reports.pictures.of_section import PICTURES
from affekt.classify.experiments.results.repeats import write_repeats
from click.testing import CliRunner
from hypothesis import given, settings, strategies as st

from .hard_pages import HEBREW, SCRIPT, hard, many, rated
from .test_golden import GIVEN, numbers, read

VOID = {"meta", "link", "img", "input", "br"}
SHAPES = {"line", "circle", "polyline"}


class Tags(HTMLParser):
    """Tags, attributes and text of a page; complains about what does not close."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            ticks = ("class", "tick") in attrs
            self.opened.append("tick" if ticks else tag)

    def handle_startendtag(self, tag, attrs):
        assert tag in SHAPES, tag
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.opened.pop() in (tag, "tick"), tag

    def handle_data(self, data):
        if not {"script", "style", "tick", "code"} & set(self.opened):
            self.text.append(data)


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert not tags.opened
    assert not {name for name in tags.attributes if name.startswith("on") or name == "style"}
    return tags


def golden_page(case: str, folder: Path) -> str:
    data = read(case)
    if case == "repeats":
        write_repeats(folder, data)
        return (folder / "report.html").read_text("utf-8")
    return Comparison(data).html()


@pytest.mark.parametrize("case", ["split", "folds", "repeats"])
def test_every_number_is_a_rounding_of_one_in_the_json(case, tmp_path):
    data = read(case)
    known = {abs(value) for value in numbers(data)}
    for system in data["systems"].values():  # shares of a label, next to the counts
        for row in system.get("test", {}).get("confusion", ()):
            known |= {n / sum(row) for n in row if sum(row)}
    known |= {100 * value for value in known if value <= 1}
    text = " ".join(parsed(golden_page(case, tmp_path)).text)
    found = re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?= %|(?![\w.]))", text.replace(",", " "))
    found = [one for one in found if "." in one]
    assert len(found) > 20
    unknown = {
        one
        for one in found
        if not any(
            abs(float(one) - value) <= 0.5001 * 10 ** -len(one.partition(".")[2]) for value in known
        )
    }
    assert not unknown - GIVEN


def test_all_that_the_markdown_says_is_on_the_page():
    data = read("split")
    text = " ".join("".join(parsed(Comparison(data).html()).text).split())
    for line in Comparison(data).report().splitlines():
        if line and not line.startswith(("|", "#")) and "`" not in line:
            said = html.unescape(re.sub(r"<[^>]*>", "", inline(line.removeprefix("- "))))
            assert " ".join(said.split()) in text


def test_every_picture_has_a_section():
    drawn = {section.picture for case in ("split", "folds") for section in label_report(read(case))}
    assert drawn - {""} <= set(PICTURES)
    assert set(PICTURES) - drawn <= {"transfer", "learning", "layers", "dimensions"}


def test_one_file_with_a_strict_policy():
    text = Comparison(read("split")).html()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    assert "unsafe" not in policy[1]
    assert policy[1].startswith("default-src 'none'")
    for tag in ("style", "script"):
        [inside] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy[1]
    assert not re.findall(r"(?:src|href)=\"?(?:https?:)?//", text)
    assert len(text.encode()) < 500_000


def test_hostile_names_are_text(tmp_path):
    hard().write(tmp_path)
    text = (tmp_path / "report.html").read_text("utf-8")
    tags = parsed(text)
    assert "img" not in tags.seen
    assert SCRIPT in "".join(tags.text)
    assert HEBREW in "".join(tags.text)
    assert text.count("<script") == 2  # the data and the program
    [data] = re.findall(r'id="clips-data">(.*?)</script>', text, re.S)
    assert json.loads(data) == json.loads((tmp_path / "clips.json").read_text("utf-8"))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="*`\\<>&|_[]ab \"'", max_size=30))
def test_whatever_a_line_holds_only_our_tags_are_tags(line):
    tags = parsed(inline(line))
    assert tags.seen <= {"strong", "em", "code", "a"}


def test_many_clips_fit_a_page_worst_first(tmp_path):
    data, predictions, clips = many(40_000)
    found = clip_rows(data, predictions, clips, tmp_path)
    assert found["clips"] == 40_000
    assert 3_000 < len(found["rows"]) < found["found"] < 40_000
    assert len(json.dumps(found, ensure_ascii=False).encode()) < 1_400_000
    best = predictions["system 0"]
    wrong = [row[7] != row[8][0][0] for row in found["rows"]]
    assert wrong[0]
    assert wrong == sorted(wrong, reverse=True)
    place = {clip: number for number, clip in enumerate(best.ids)}
    surest = [best.proba[place[row[0]]].max() for row in found["rows"][:50]]
    assert min(surest) > 0.8


def test_rows_are_those_on_which_systems_differ_or_the_best_is_wrong(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    table = "id,path,start,end,label,speaker\n" + "".join(
        f"c{i},{name},{start},{end},{'ab'[i % 2]},s{i}\n"
        for i, (name, start, end) in enumerate(
            [("a.wav", "", ""), ("a.wav", 1, 2.5), ("gone.wav", "", ""), ("a.wav", "", "")]
        )
    )
    (tmp_path / "clips.csv").write_text(table)
    clips = Manifest.read(tmp_path / "clips.csv")
    truth = [0, 1, 0, 1]
    one = Predictions(clips.ids, ["a", "b"], [[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])
    two = Predictions(clips.ids, ["a", "b"], [[0.9, 0.1], [0.1, 0.9], [0.1, 0.9], [0.6, 0.4]])
    task = Task.from_labels(["a", "b"])
    result = compare({"one": one, "two": two}, clips, task, strategies=(), n_resamples=20)
    result.write(tmp_path / "out")
    found = json.loads((tmp_path / "out" / "clips.json").read_text())
    names = found["systems"]
    wrong = {n: p.codes != truth for n, p in (("one", one), ("two", two))}
    differ = one.codes != two.codes
    expected = {f"c{i}" for i in range(4) if differ[i] or wrong[names[0]][i]}
    assert {row[0] for row in found["rows"]} == expected == {"c1", "c2", "c3"}
    audio = {row[0]: row[2:5] for row in found["rows"]}
    assert audio["c1"] == ["../a.wav", 1.0, 2.5]
    assert audio["c2"] == [None, None, None]
    best = {"one": one, "two": two}[names[0]]
    row = next(row for row in found["rows"] if row[0] == "c1")
    assert row[8][0][1::2] == sorted(best.proba[1].tolist(), reverse=True)


def test_rows_of_numbers_are_all_clips_the_largest_error_first(tmp_path):
    result = rated()
    result.write(tmp_path)
    found = json.loads((tmp_path / "clips.json").read_text())
    assert found["dimensions"] == {"arousal": [1, 7], "valence": [-1, 1]}
    assert found["found"] == found["clips"] == len(found["rows"]) == 45
    best = result.predictions[found["systems"][0]]
    errors = []
    for row in found["rows"]:
        ratings, answers = row[7:]
        assert answers[0] == pytest.approx(best.select([row[0]]).values[0], abs=5e-4)
        pairs = zip(ratings, answers[0], (6, 2), strict=True)
        errors.append(np.mean([abs(a - r) / span for r, a, span in pairs if r is not None]))
    assert errors == sorted(errors, reverse=True)
    tags = parsed((tmp_path / "report.html").read_text("utf-8"))
    assert "img" not in tags.seen


def test_a_page_without_clips_has_no_browser():
    data = read("split")
    assert "clips-data" not in page(data, label_report(data)).partition("<script>")[0]


def test_the_command_writes_the_page_again(tmp_path):
    (tmp_path / "a b.wav").write_bytes(b"RIFF sound")
    hard(path=str(tmp_path / "a b.wav")).write(tmp_path / "out")
    before = (tmp_path / "out" / "report.html").read_bytes()
    (tmp_path / "sent").mkdir()
    page_path = tmp_path / "sent" / "page.html"

    def audio(kind: str) -> set[str | None]:
        done = CliRunner().invoke(
            affekt, ["report", str(tmp_path / "out"), "--audio", kind, "-o", str(page_path)]
        )
        assert done.exit_code == 0, done.output
        [data] = re.findall(r'id="clips-data">(.*?)</script>', page_path.read_text("utf-8"), re.S)
        return {row[2] for row in json.loads(data)["rows"]}

    assert audio("link") == {"../a%20b.wav"}
    assert audio("none") == {None}
    [inside] = audio("embed")
    assert base64.b64decode(inside.partition("base64,")[2]) == b"RIFF sound"
    assert (tmp_path / "out" / "report.html").read_bytes() == before


def test_the_command_replaces_no_file_of_others(tmp_path):
    hard().write(tmp_path / "out")
    (tmp_path / "notes.html").write_text("<!doctype html>mine")
    for place in (tmp_path / "notes.html", tmp_path / "out" / "comparison.json"):
        done = CliRunner().invoke(affekt, ["report", str(tmp_path / "out"), "-o", str(place)])
        assert done.exit_code != 0
    assert (tmp_path / "notes.html").read_text() == "<!doctype html>mine"


def test_no_file_but_recordings_gets_into_a_page(tmp_path):
    (tmp_path / "key.pem").write_text("secret")
    hard(path=str(tmp_path / "key.pem")).write(tmp_path / "out")
    command = ["report", str(tmp_path / "out"), "--audio", "embed", "-o", str(tmp_path / "p.html")]
    done = CliRunner().invoke(affekt, command)
    assert "do not have the name of an audio file" in done.output
    assert base64.b64encode(b"secret").decode() not in (tmp_path / "p.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["comparison.json", "clips.json"])
def test_damaged_files_are_refused_in_a_sentence(tmp_path, name):
    hard().write(tmp_path / "out")
    path = tmp_path / "out" / name
    whole = json.loads(path.read_text())
    damages = [{key: value for key, value in whole.items() if key != left} for left in whole]
    damages += [{**whole, key: value} for key in whole for value in (None, 7, "x\ud800", [[]])]
    texts = [json.dumps(damage) for damage in damages] + ["[" * 100_000, "\0"]
    for text in texts:
        path.write_text(text)
        for command in (["card", "out"], ["report", "out", "-o", "p.html"]):
            with pytest.MonkeyPatch.context() as patch:
                patch.chdir(tmp_path)
                error = CliRunner().invoke(affekt, command).exception
            assert error is None or isinstance(error, AffektError | SystemExit), text[:200]
    path.unlink()
    os.mkfifo(path)
    command = ["report", str(tmp_path / "out"), "-o", str(tmp_path / "q.html")]
    assert isinstance(CliRunner().invoke(affekt, command).exception, InputError)
