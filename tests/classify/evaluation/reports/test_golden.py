"""What is written about a comparison, word for word, and that its numbers are those of the JSON.

`AFFEKT_GOLDEN=write` takes what is written now as right: read the difference in git before you
commit it. `golden/make.py` makes the JSON anew.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from affekt.classify.evaluation.reports.card import model_card
from affekt.classify.evaluation.reports.latex import tables
from affekt.classify.evaluation.reports.markdown.clips_and_training import describe_run
from affekt.classify.evaluation.reports.markdown.report import label_report, text_table
from affekt.classify.evaluation.reports.sections import as_markdown
from affekt.classify.experiments.results.repeats import repeats_table, write_repeats

GOLDEN = Path(__file__).parent / "golden"
#: numbers that are written and not measured: years, chances, shares asked for
GIVEN = {"0.05", "0.02", "8", "10"}


def read(case: str) -> dict[str, Any]:
    name = "repeats.json" if case == "repeats" else "comparison.json"
    return json.loads((GOLDEN / case / name).read_text("utf-8"))


def report(case: str, folder: Path) -> str:
    data = read(case)
    if case == "repeats":
        write_repeats(folder, data)
        return (folder / "report.md").read_text("utf-8")
    return as_markdown([*label_report(data), *describe_run(data["run"], "clips.csv")])


def card(case: str, folder: Path) -> str:
    (folder / "comparison.json").write_text(json.dumps(read(case)), "utf-8")
    return model_card(folder)


WRITTEN = {
    "report.md": report,
    "tables.tex": lambda case, folder: tables(read(case)),
    "table.txt": lambda case, folder: (
        repeats_table(read(case)) if case == "repeats" else text_table(read(case))
    ),
    "card.md": card,
}
CASES = [
    *(("split", file) for file in WRITTEN),
    *(("folds", file) for file in WRITTEN),
    ("repeats", "report.md"),
    ("repeats", "table.txt"),
]


@pytest.mark.parametrize(("case", "file"), CASES)
def test_it_is_written_as_it_was(case, file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a card names the folder of its run
    text = WRITTEN[file](case, Path())
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    if os.environ.get("AFFEKT_GOLDEN") == "write":
        (GOLDEN / case / file).write_text(text, "utf-8")
    assert text == (GOLDEN / case / file).read_text("utf-8")


def test_what_folds_and_languages_lack_or_settled_on_is_told_of_each(tmp_path):
    data = read("folds")
    parts = data["run"]["members"]["speech-lr"]["parts"]
    for count, part in enumerate(parts, 1):
        part["chosen"]["layers"] = {"speech": min(count, 2)}
        part["trained"] |= {"epochs": count, "stopped": "max_epochs"}
    text = as_markdown(describe_run(data["run"], "clips.csv"))
    told = re.findall(r"- speech-lr, .*: .*layer (\d) of.*; trained for (\d epochs?)\n", text)
    assert told == [("1", "1 epoch"), ("2", "2 epochs"), ("2", "3 epochs")]
    assert len(re.findall("trained for", text)) == len(parts)
    data["by"]["language"]["values"]["deu"]["absent"] = ["neutral"]
    (tmp_path / "comparison.json").write_text(json.dumps(data), "utf-8")
    text = model_card(tmp_path, "speech-lr")
    assert "| speech, layer 1 or 2 |" in text
    assert "| deu (no neutral) |" in text
    paper = tables(data)
    assert "\ndeu (no neutral) & " in paper
    assert "UAR by language; each is the mean over the classes that occur in it.}" in paper
    data["by"]["dataset"] = data["by"]["language"]
    assert tables(data) == paper  # the same division twice


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers(item)
    elif isinstance(value, list):
        yield len(value)
        for item in value:
            yield from numbers(item)
    elif isinstance(value, str):  # a warning holds the numbers that it is about
        yield from (float(one) for one in re.findall(r"\d+(?:\.\d+)?", value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


@pytest.mark.parametrize("case", ["split", "folds", "repeats"])
def test_every_number_is_a_rounding_of_one_in_the_json(case, tmp_path):
    text = re.sub(r"`[^`]*`", "", report(case, tmp_path))  # names of files and hashes
    known = {abs(value) for value in numbers(read(case))}
    known |= {100 * value for value in known if value <= 1}
    unknown = []
    for found in re.findall(r"(?<![\w.-])\d+\.\d+(?![\w.]\d)", text):
        digits = len(found.partition(".")[2])
        if not any(abs(float(found) - value) <= 0.5001 * 10**-digits for value in known):
            unknown.append(found)
    assert not set(unknown) - GIVEN
