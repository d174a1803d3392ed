"""`figures/`: every number is one of the JSON, and only what changed is drawn again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from affekt.classify.evaluation.reports import figure_folder
from affekt.classify.evaluation.reports.figure_folder import draw_changed
from affekt.classify.evaluation.reports.figures import drawn_files, figures, pictures
from affekt.classify.evaluation.reports.pictures.kinds import Cell, Curve, Dot, Dots, Matrix
from affekt.classify.serving.drawing import fonts_for

from .hard_pages import HEBREW, SCRIPT, hard, rated
from .test_golden import GIVEN, numbers, read

JAPANESE = ("喜び", "怒り")


def with_all() -> dict[str, Any]:
    """Return a comparison with the parts that only some runs have."""
    data, value = read("split"), {"value": 0.5125, "interval": [0.4375, 0.5875]}
    points = [{"clips": n, "groups": 3, "uar": value} for n in (9, 90)]
    data["learning_curve"] = [{"share": 0.05, "reason": "too few clips"}, *points]
    tried = [{"layers": {"speech": n}, "dev_uar": 0.5 + n / 16} for n in (0, 1, 1, 2)]
    data["run"]["members"]["speech-lr"]["parts"][0]["tried"] = tried
    cells = {"deu": {"uar": value}, "eng": {"uar": {"value": None, "interval": None}}}
    data["transfer"] = {
        "by": "language",
        "names": list(cells),
        "cells": dict.fromkeys(cells, cells),
    }
    return data


@pytest.fixture(scope="module")
def files() -> dict[str, tuple[bytes, bytes]]:
    found = {}
    for name, shown in pictures(with_all()).items():
        (_, svg), (_, png) = drawn_files(shown)
        found[name] = svg, png
    return found


def test_there_is_a_figure_for_every_picture_of_the_page(files):
    assert files.keys() == {
        *("abstain", "by-language", "by-speaker", "classes", "confusion"),
        *("differences", "diversity", "layers", "learning", "reliability", "shortcuts", "systems"),
        "transfer",
    }
    for svg, png in files.values():
        assert svg.startswith(b"<?xml")
        assert png.startswith(b"\x89PNG")
    assert set(pictures(read("repeats"))) == {"systems"}
    assert set(pictures(rated().data)) == {
        *("systems", "differences", "dimensions", "by-language", "each-speaker"),
    }


def texts(node: ElementTree.Element, *, in_tick: bool = False) -> Iterator[str]:
    in_tick = in_tick or node.get("id", "").startswith("xtick")
    if node.tag.endswith("}text") and not in_tick:
        yield "".join(node.itertext())
    for child in node:
        yield from texts(child, in_tick=in_tick)


def test_every_number_that_is_written_is_a_rounding_of_one_in_the_json(files):
    data = with_all()
    known = {abs(value) for value in numbers(data)}
    for name, (svg, _) in files.items():
        shown = " ".join(texts(ElementTree.fromstring(svg)))
        axes = isinstance(pictures(data)[name], Curve)  # its texts are ticks
        found = [] if axes else re.findall(r"\d+\.\d+", shown)
        assert axes or found or name == "confusion"
        for one in found:
            digits = len(one.partition(".")[2])
            near = any(abs(float(one) - value) <= 0.5001 * 10**-digits for value in known)
            assert near or one in GIVEN, (name, one)


@pytest.mark.parametrize("case", ["split", "folds", "repeats", "rated"])
def test_every_value_that_is_drawn_is_in_the_json(case):
    data = rated().data if case == "rated" else read(case)
    known = set(numbers(data)) | {-value for value in numbers(data)} | {0.0, 1.0}
    if "labels" in data["task"]:
        known.add(1 / len(data["task"]["labels"]))
    drawn = 0
    for name, shown in pictures(data).items():
        values: list[Any] = []
        if isinstance(shown, Dots):
            values = [one for row in shown.rows for one in (row.value, *(row.interval or ()))]
            values += shown.lines.values()
        elif isinstance(shown, Curve):
            values = [one for point in shown.points for one in point]
            values += [one for bar in shown.bars or () if bar for one in bar]
        elif name != "confusion":  # counts are there; shares are counts over their row
            values = [
                cell.shade for row in shown.cells for cell in row if not isinstance(cell.shade, str)
            ]
        assert set(values) - {None} <= known, name
        drawn += len(values)
    assert drawn > 10


@pytest.fixture
def report(tmp_path) -> Path:
    (tmp_path / "comparison.json").write_text(json.dumps(read("folds")), "utf-8")
    return tmp_path


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "figures").iterdir()}


def saved(folder: Path, data: dict[str, Any]) -> None:
    (folder / "comparison.json").write_text(json.dumps(data), "utf-8")


def test_only_what_changed_is_drawn_again(report, monkeypatch):
    assert draw_changed(report) == []
    first = stamps(report)
    assert {"systems.svg", "systems.png", "by-language.svg", "drawn.json"} <= first.keys()
    with monkeypatch.context() as patch:
        patch.setattr(figure_folder, "_draw", lambda *_: pytest.fail("drawn again"))
        assert draw_changed(report) == []
    data = read("folds")
    data["abstain"]["curve"][0]["risk"] = 0.0625
    saved(report, data)
    assert draw_changed(report) == []
    again = stamps(report)
    changed = {name for name in first if first[name] != again[name]}
    assert changed == {"abstain.svg", "abstain.png", "drawn.json"}
    del data["abstain"]
    saved(report, data)
    assert draw_changed(report) == []
    assert first.keys() - stamps(report).keys() == {"abstain.svg", "abstain.png"}


def test_files_of_others_stay(report):
    place = report / "figures"
    place.mkdir()
    (place / "systems.svg").write_text("mine")
    (place / "notes.txt").write_text("mine")
    [said] = draw_changed(report)
    assert "systems.svg" in said
    assert (place / "systems.svg").read_text() == "mine"
    assert not (place / "systems.png").exists()
    assert (place / "abstain.png").is_file()
    (place / "abstain.svg").write_text("changed by hand")
    data = read("folds")
    del data["abstain"]
    saved(report, data)
    draw_changed(report)
    assert (place / "abstain.svg").read_text() == "changed by hand"
    assert not (place / "abstain.png").exists()
    assert (place / "notes.txt").read_text() == "mine"


def test_a_folder_that_is_a_link_or_a_file_is_left_alone(report, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (report / "figures").symlink_to(elsewhere)
    [said] = draw_changed(report)
    assert "is not a folder of this report" in said
    assert list(elsewhere.iterdir()) == []


def test_a_run_that_ended_between_two_files_goes_on(report, monkeypatch):
    write = figure_folder.write_whole

    def ends(path: Path, content: Any) -> None:
        if path.name == "abstain.png":
            raise KeyboardInterrupt
        write(path, content)

    draw_changed(report)
    data = read("folds")
    data["abstain"]["curve"][0]["risk"] = 0.0625
    saved(report, data)
    with monkeypatch.context() as patch:
        patch.setattr(figure_folder, "write_whole", ends)
        with pytest.raises(KeyboardInterrupt):
            draw_changed(report)
    before = stamps(report)
    assert draw_changed(report) == []
    assert before["abstain.png"] != stamps(report)["abstain.png"]


def test_a_save_ends_drawing_and_the_rest_is_drawn_later(report):
    asked = iter([False, True])
    assert draw_changed(report, stop=lambda: next(asked)) == []
    assert len(stamps(report)) == 3  # two files and the note
    assert draw_changed(report) == []
    assert len(stamps(report)) > 10


def only_dejavu(patch: pytest.MonkeyPatch) -> None:
    from matplotlib.font_manager import fontManager

    patch.setattr(fontManager, "ttflist", [f for f in fontManager.ttflist if "DejaVu" in f.name])


def test_names_that_no_font_has_stay_apart(monkeypatch):
    only_dejavu(monkeypatch)
    families, missing = fonts_for(["joy", *JAPANESE])
    assert families == ["DejaVu Sans"]
    assert missing == set("".join(JAPANESE))
    rows = [Dot(name, 0.5) for name in JAPANESE]
    dots = Dots("Leaderboard", "UAR", ["system", "UAR"], rows)
    cells = [[Cell("1", 0.5), Cell("0")]] * 2
    for shown in (dots, Matrix("Confusion", "true", "predicted", JAPANESE, cells)):
        (_, svg), (_, png) = drawn_files(shown)
        assert all(name in svg.decode() for name in JAPANESE)
        assert png.startswith(b"\x89PNG")
        (kind, boxes) = drawn_files(
            Dots("Leaderboard", "UAR", ["system", "UAR"], [Dot("□□ (1)", 0.5), Dot("□□ (2)", 0.5)]),
            ("png",),
        )[0]
        assert kind == "png"
        if shown is dots:
            assert png == boxes


def test_hostile_names_are_text(tmp_path):
    paths = figures(hard().data, tmp_path)
    svg = next(path for path in paths if path.name == "confusion.svg").read_text("utf-8")
    shown = " ".join(texts(ElementTree.fromstring(svg)))
    assert SCRIPT in shown
    assert HEBREW in shown


def test_the_same_numbers_give_the_same_bytes(files):
    shown = pictures(with_all())["systems"]
    assert tuple(content for _, content in drawn_files(shown)) == files["systems"]
