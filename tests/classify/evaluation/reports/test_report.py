"""Reports: names of other people are harmless, LaTeX holds the JSON's numbers."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from affekt.cache.manifest import Manifest
from affekt.classify.data.escape import cell, latex, md
from affekt.classify.data.predictions import Predictions
from affekt.classify.data.task import Task
from affekt.classify.evaluation.compare import compare
from affekt.classify.evaluation.comparison import Comparison
from affekt.classify.evaluation.reports.latex import tables
from affekt.classify.metrics.scored_clips import NO_SPEAKERS
from hypothesis import given, strategies as st

from .test_golden import read

NASTY = "=cmd|'/C calc'!A0 <script>alert(1)</script> \\input{/etc/passwd} 50%_$x$ a|b\n# head"


@pytest.fixture(scope="module")
def comparison():
    rng = np.random.default_rng(0)
    labels = ["no", "yes|maybe", "$x$ & <b>"]
    rows = [
        {"id": f"c{i}", "text": "-", "label": labels[i % 3], "speaker": f"s{i % 12}"}
        | {"language": ["deu", "=1+1|x"][i % 2]}
        for i in range(120)
    ]
    clips = Manifest.from_rows(rows)
    members = {
        name: Predictions(clips.ids, labels, rng.dirichlet(np.ones(3), 120))
        for name in (NASTY, "plain", "third_one")
    }
    return compare(
        members,
        clips,
        Task.from_labels(labels, name=NASTY),
        dev=members,
        allow_overlap=True,
        dev_truth=clips,
        n_resamples=50,
    )


def test_markdown_tables_stay_whole_and_carry_no_html(comparison):
    report = comparison.report()
    assert "<script>" not in report
    assert "\n# head" not in report
    for block in re.findall(r"(?:^\|.*\n)+", report, flags=re.M):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1, block


def test_latex_tables_are_balanced_and_carry_no_command(comparison):
    text = tables(comparison.data)
    assert r"\input" not in text
    assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")
    for block in re.findall(r"\\toprule\n(.*?)\\bottomrule", text, flags=re.S):
        rows = [line for line in block.splitlines() if line.endswith(r"\\")]
        assert len({len(re.findall(r"(?<!\\)&", row)) for row in rows}) == 1
    assert "third\\_one" in text
    best = max(s["test"]["uar"]["value"] for s in comparison.data["systems"].values())
    assert f"{best:.3f}" in text


@given(st.text(max_size=40))
def test_escapes_leave_nothing_that_acts(text):
    shown = md(text)
    assert "\n" not in shown
    assert "<" not in shown
    assert re.fullmatch(r"(?:[^|]|\\\|)*", shown.replace("\\\\", ""))
    assert not re.search(r"(?<!\\)[&%$#_]", latex(text).replace(r"\\", ""))
    assert cell(text)[:1] not in ("=", "@")


def test_every_speaker_is_shown_and_the_worst_is_named():
    truth = Manifest.from_rows(
        [
            {"id": f"c{i}", "text": "-", "label": "xy"[i // 2 % 2], "speaker": f"s{i // 4}"}
            for i in range(24)
        ]
    )
    proba = np.eye(2)[[i // 2 % 2 for i in range(24)]]
    proba[8:10] = [0.0, 1.0]  # both clips of x of s2 are wrong
    system = {"sure": Predictions(truth.ids, ["x", "y"], proba)}
    found = compare(system, truth, Task.from_labels(["x", "y"]), n_resamples=100)
    assert {row["group"]: row["uar"]["sure"] for row in found.data["groups"]["values"]} == {
        "s0": 1.0, "s1": 1.0, "s2": 0.5, "s3": 1.0, "s4": 1.0, "s5": 1.0,
    }  # fmt: skip
    assert "lowest 0.500 (s2), median 1.000, highest 1.000" in found.report()


def test_single_clips_are_not_whole_groups_with_many_clips():
    rows = [{"id": f"c{i}", "text": "-", "label": "x" if i % 12 else "y"} for i in range(60)]
    truth, task = Manifest.from_rows(rows), Task.from_labels(["x", "y"])
    draws = np.random.default_rng(0).dirichlet(np.ones(2), (2, 60))
    systems = {n: Predictions(truth.ids, ["x", "y"], p) for n, p in zip("ab", draws, strict=True)}
    found = compare(systems, truth, task, groups=None, n_resamples=100)
    text = found.report()
    assert "exchanges the two systems on single clips (" in text
    assert "whole single clips" not in text + tables(found.data)
    assert "some have more clips or rarer labels: together they tell as much as 18.3" in text


def test_clips_without_a_speaker_are_not_called_speakers():
    rows = [
        {"id": f"c{i}", "text": "-", "label": "xy"[i % 2], "speaker": f"s{i % 8}" if i > 4 else ""}
        for i in range(40)
    ]
    truth, task = Manifest.from_rows(rows), Task.from_labels(["x", "y"])
    draws = np.random.default_rng(0).dirichlet(np.ones(2), (2, 40))
    systems = {n: Predictions(truth.ids, ["x", "y"], p) for n, p in zip("ab", draws, strict=True)}
    found = compare(systems, truth, task, n_resamples=100)
    assert "40 test clips, 13 speakers and single clips; 95 %" in found.table()
    assert "on 40 test clips of 13 speakers and single clips;" in found.report()
    assert "13 speakers." not in found.report()
    groups = [row["group"] for row in found.data["groups"]["values"]]
    assert groups == [f"s{i}" for i in range(8)]


@pytest.mark.parametrize("group", ["id", "speaker", None])
def test_unknown_speakers_are_the_first_thing_to_doubt(group):
    rows = [{"id": f"c{i}", "text": "-", "label": "xy"[i % 2]} for i in range(24)]
    truth = Manifest.from_rows(rows)
    proba = np.eye(2)[[i // 2 % 2 for i in range(24)]]
    system = {"one": Predictions(truth.ids, ["x", "y"], proba)}
    found = compare(system, truth, Task.from_labels(["x", "y"]), groups=group, n_resamples=100)
    assert found.data["warnings"] == [NO_SPEAKERS]
    assert NO_SPEAKERS in found.report()
    assert "24 test clips, speakers unknown; 95 % intervals" in found.table()
    assert "of 24 single clips" not in found.report().split("## Systems")[0]
    known = Manifest.from_rows([row | {"speaker": f"s{i % 12}"} for i, row in enumerate(rows)])
    asked = compare(system, known, Task.from_labels(["x", "y"]), groups=group, n_resamples=100)
    alone = ["group: id: clips were treated as independent, so intervals may be too narrow"]
    assert asked.data["warnings"] == (alone if group != "speaker" else [])


@pytest.mark.parametrize(("languages", "systems", "rows"), [(2, 9, 9), (9, 9, 0), (9, 8, 0)])
def test_a_table_by_a_column_has_all_systems_or_says_how_many_it_leaves_out(
    languages, systems, rows
):
    table = [
        {"id": f"c{i}", "text": "-", "label": "xy"[i % 2], "speaker": f"s{i % 6}"}
        | {"language": f"l{i % languages}"}
        for i in range(90)
    ]
    truth, rng = Manifest.from_rows(table), np.random.default_rng(0)
    members = {
        f"m{at}": Predictions(truth.ids, ["x", "y"], rng.dirichlet([1, 1], 90))
        for at in range(systems)
    }
    found = compare(members, truth, Task.from_labels(["x", "y"]), strategies=[], n_resamples=50)
    text = found.report().split("## UAR by language")[1].split("\n## ")[0]
    assert len(re.findall(r"^\| m\d \|", text, re.MULTILINE)) == rows
    assert ("- 1 more system in comparison.json" in text) == (not rows and systems == 9)
    one = found.data["by"]["language"]["values"]["l1"]["systems"]["m8" if rows else "m1"]
    assert f"{one['uar']['value']:.3f}" in text
    paper = tables(found.data).split("tab:language")[1].split("end{table}")[0]
    assert len(re.findall(r"^(?:\\textbf\{)?m\d", paper, re.MULTILINE)) == rows
    assert ("of the first 6 of" in tables(found.data)) == (rows == 0)


def test_sections_name_speakers_only_where_they_are_known():
    rows = [
        {"id": f"c{i}", "text": "-", "label": "xy"[i % 2], "speaker": f"s{i % 30}"}
        for i in range(120)
    ]
    proba = np.random.default_rng(0).dirichlet([1, 1], len(rows))
    without = [{k: v for k, v in row.items() if k != "speaker"} for row in rows]
    texts = []
    for table in (rows, without):
        truth = Manifest.from_rows(table)
        one = {"one": Predictions(truth.ids, ["x", "y"], proba)}
        task = Task.from_labels(["x", "y"])
        found = compare(
            one, truth, task, dev=one, dev_truth=truth, allow_overlap=True, n_resamples=50
        )
        units = 30 if table is rows else 120
        curve = [
            {"share": s, "clips": int(s * 120), "groups": int(s * units), "uar": {"value": 0.5}}
            for s in (0.5, 1.0)
        ]
        found.data["learning_curve"] = [{"share": 0.1, "reason": "too few clips"}, *curve]
        texts.append(found.report())
    known, unknown = texts
    assert "10 % is left out: too few clips." in known
    assert "by whole speakers, so that the set of a new speaker's clip holds" in known
    assert "so that the set of a new clip of the same kind holds" in unknown
    assert "a new speaker's clip" not in unknown
    assert "Trained on a growing part of the training speakers" in known
    assert "| train | clips | speakers | UAR on test |" in known
    assert "Trained on a growing part of the training clips" in unknown
    assert "| train | clips | UAR on test |" in unknown


def test_a_row_of_a_latex_table_never_begins_with_a_bracket():
    assert latex("[m] vs [n]") == "{[}m] vs {[}n]"


def test_a_report_says_what_changed_and_what_took_how_long():
    data = read("split")
    del data["made"]  # as in predictions of other programs
    assert "What took how long" not in Comparison(data).report()
    data["made"] = {
        "affekt": "0.1.0", "date": "2026-11-27 17:40 UTC", "command": "affekt run `a`.yaml",
        "machine": "Linux, x86_64, 2 processors, Python 3.11.7", "last": "2026-11-26 09:00 UTC",
        "embedding": {"speech": {"clips": 360, "seconds": 12.4, "now": True}},
        "training": {
            "speech-lr": {"seconds": 1.2, "now": True, "why": "C"},
            "text-lr": {"seconds": 0.7, "now": False, "why": ""},
            "both-lr": {"seconds": None, "now": False, "why": ""},
        },
    }  # fmt: skip
    text = Comparison(data).report()
    assert (
        "- made by affekt 0.1.0, 2026-11-27 17:40 UTC; since the last report, of 2026-11-26 09:00 "
        "UTC: embedded 360 clips with speech, trained speech-lr (C changed)"
    ) in text
    assert "- command `affekt run 'a'.yaml`" in text
    assert "| training text-lr |  | 0.7 | kept |" in text
    assert "both-lr |  |" not in text
    data["made"]["last"] = None
    assert "the first report in this folder" in Comparison(data).report()


def test_layers_that_were_tried_have_a_table():
    data = read("split")
    tried = [{"layers": {"speech": n}, "dev_uar": 0.5 + n / 16} for n in (0, 1, 1, 2)]
    data["run"]["members"]["speech-lr"]["parts"][0]["tried"] = tried
    assert "| layer | speech, tried for speech-lr |" in Comparison(data).report()
    assert "| 2 | 0.625 |" in Comparison(data).report()
    probed = {"speech": {"layer": 1, "C": 1.0, "uar": 0.5, "by_layer": [0.25, 0.5, 0.375]}}
    data["run"]["members"]["text-lr"]["parts"][0]["probed"] = probed
    assert "| 1 | 0.562 | 0.500 |" in Comparison(data).report()


def test_times_are_those_of_the_run_that_made_what_is_kept(tmp_path):
    from affekt.classify.experiments.results.last_report import step_times

    record = step_times(tmp_path, {"speech": {"clips": 3, "seconds": 2.5}}, {"lr": ("", 1.25)})
    assert record["last"] is None
    made = {"date": "today", **record}
    (tmp_path / "comparison.json").write_text(json.dumps({"made": made}))
    again = step_times(tmp_path, {}, {"lr": None})
    assert again["last"] == "today"
    assert again["training"]["lr"] == {**record["training"]["lr"], "now": False}
    assert again["embedding"]["speech"]["seconds"] == 2.5
    for damage in ('{"made": 7}', '{"made": {"training": [], "embedding": 1}}', "[", "{}"):
        (tmp_path / "comparison.json").write_text(damage)
        broken = step_times(tmp_path, {}, {"lr": None})
        assert broken["training"]["lr"]["seconds"] is None
