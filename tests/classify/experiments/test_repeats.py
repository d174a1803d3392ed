"""A recipe with repeats: every repeat is compared for itself, and all of them together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from affekt.cache import InputError
from affekt.cache.errors import in_shell
from affekt.classify import Comparison, Predictions, Recipe, run
from affekt.classify.cli import affekt
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.experiments.prepare import prepare
from affekt.classify.experiments.results.next_step import next_step
from affekt.classify.experiments.results.repeats import spread
from affekt.classify.serving.loading import open_system
from click.testing import CliRunner
from scipy import stats

RECIPE = """\
manifest: clips.csv
task: valence
encoders: {speech: spectral, text: ngram}
split: {scheme: SCHEME, SIZE dev_size: 0.25, repeats: 2}
members:
  speech: {head: logistic, on: speech}
  words: {head: mlp, on: text, hidden: [[8]], max_epochs: 2, seeds: 3}
ensembles: [mean]
compare: {n_resamples: 100, audit_audio: false, learning_curve: false}
report: SCHEME
"""

MEMBERS = ("speech", "words", "mean")


def recipe_of(scheme: str) -> str:
    size = {"speaker": "test_size: 0.3,", "group-kfold": "n_splits: 3,"}.get(scheme, "")
    return RECIPE.replace("SCHEME", scheme).replace("SIZE", size)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("repeats")
    write_corpus(folder, voices=8, clips_per_voice=9)
    for scheme in ("speaker", "group-kfold"):
        text = recipe_of(scheme)
        (folder / f"{scheme}.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def finished(project) -> Path:
    outcome = run(project / "speaker.yaml")
    assert outcome.exit_code == 0
    assert "means over 2 repeats" in outcome.table
    assert run(project / "speaker.yaml").did == []
    return project / "speaker"


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_summary_is_that_of_the_repeats(finished):
    summary = load(finished / "repeats.json")
    each = [load(finished / f"repeat-{n}/comparison.json") for n in (1, 2)]
    assert [one["test"]["clips"] for one in each] == [
        one["test_clips"] for one in summary["repeats"].values()
    ]
    for name in MEMBERS:
        values = [one["systems"][name]["test"]["uar"]["value"] for one in each]
        result = summary["systems"][name]["uar"]
        assert result["values"] == values
        assert result["mean"] == pytest.approx(np.mean(values))
        assert result["sd"] == pytest.approx(np.std(values, ddof=1))
    chosen = [one["systems"][one["chosen"]]["test"]["uar"]["value"] for one in each]
    assert summary["systems"]["(what dev chose)"]["uar"]["values"] == chosen
    first, *in_order = summary["systems"]
    dev = [sum(one["systems"][name]["dev"]["uar"] for one in each) for name in in_order]
    assert first == "(what dev chose)"
    assert dev == sorted(dev, reverse=True)  # sorted by test, the first is the luckiest
    report = (finished / "report.md").read_text(encoding="utf-8")
    assert "# 2 repeats: valence" in report
    at = [report.index(f"| {name} |") for name in summary["systems"]]
    assert at == sorted(at)
    assert f"{np.mean(chosen):.3f}" in report
    assert "`repeat-2/report.md`" in report


def test_repeats_divide_anew(finished):
    first, second = ((finished / f"repeat-{n}/split.csv").read_text() for n in (1, 2))
    assert first != second


def test_the_interval_allows_for_shared_clips():
    values = [0.6, 0.65, 0.7, 0.62]
    found = spread(values, overlap=0.5)
    plain = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    wider = (found["interval"][1] - found["interval"][0]) / (plain[1] - plain[0])
    assert wider == pytest.approx((1 + 4 * 0.5) ** 0.5)


def test_seeds_are_a_source_of_variance_in_the_report(finished):
    data = load(finished / "repeat-1/comparison.json")
    assert set(data["seeds"]) == {"words"}
    found = data["seeds"]["words"]
    assert set(found["seeds"]) == {"0", "1", "2"}
    record = load(finished / "repeat-1/members/words/member.json")["parts"][0]
    result = [one["test_uar"] for one in record["seeds"]]
    assert list(found["seeds"].values()) == pytest.approx(result)
    assert "## Seeds" in (finished / "repeat-1/report.md").read_text(encoding="utf-8")
    kept = Predictions.read(finished / "repeat-1/members/words/seeds/1.csv")
    assert set(kept.ids) == set(Predictions.read(finished / "repeat-1/members/words/pred.csv").ids)


def test_repeated_cross_validation_tests_every_clip_in_each_repeat(project):
    run(project / "group-kfold.yaml")
    intervals = []
    for n in (1, 2):
        data = load(project / f"group-kfold/repeat-{n}/comparison.json")
        assert data["test"]["clips"] == 72
        assert len(data["splits"]) == 3
        intervals.append(data["systems"]["speech"]["test"]["uar"]["interval"])
    # of repeats that test the same speakers, Nadeau and Bengio's covered 35 to 48 %
    found = load(project / "group-kfold/repeats.json")["systems"]["speech"]["uar"]
    assert found["interval"] == pytest.approx(np.mean(intervals, axis=0))


def test_few_speakers_have_no_interval_over_repeats_of_folds(tmp_path):
    write_corpus(tmp_path, voices=3, clips_per_voice=9)
    (tmp_path / "r.yaml").write_text(recipe_of("group-kfold"), encoding="utf-8")
    outcome = run(tmp_path / "r.yaml")
    assert "\nmeans over 2 repeats: too few speakers for intervals\n" in outcome.table
    found = load(tmp_path / "group-kfold/repeats.json")["systems"]["speech"]["uar"]
    assert found["interval"] is None
    report = (tmp_path / "group-kfold/report.md").read_text(encoding="utf-8")
    assert "Means over repeats: too few speakers for intervals." in report
    tex = tmp_path / "tables.tex"
    done = CliRunner().invoke(affekt, ["report", str(tmp_path / "group-kfold"), "-o", str(tex)])
    assert done.exit_code == 0, done.output
    assert "Means over 2 divisions of the clips." in tex.read_text(encoding="utf-8")


def test_a_card_and_a_prediction_name_a_repeat(finished, project):
    with pytest.raises(InputError, match=r"name one of its repeats: .*repeat-1$"):
        Comparison.read(finished)
    with pytest.raises(InputError, match=r"Did you mean .*speech/model\?"):
        open_system(finished / "repeat-1/members/speech")
    with pytest.raises(InputError, match="repeat-1"):
        open_system(finished)
    assert open_system(finished / "repeat-1").labels == ("negative", "neutral", "positive")
    said = next_step(prepare(Recipe.read(project / "speaker.yaml")))
    assert said.startswith(f"New clips: affekt predict {in_shell(finished / 'repeat-1')} FILE...")


def test_the_means_are_written_for_latex(finished, tmp_path):
    path, summary = tmp_path / "tables.tex", load(finished / "repeats.json")
    done = CliRunner().invoke(affekt, ["report", str(finished), "-o", str(path)])
    assert done.exit_code == 0, done.output
    lines = path.read_text(encoding="utf-8").splitlines()
    assert "Means over 2 divisions" in "".join(lines)
    for name, row in summary["systems"].items():
        [line] = [line for line in lines if line.startswith(f"{name} & ")]
        cells = line.removesuffix(r" \\").split(" & ")
        low, high = row["uar"]["interval"]
        assert cells[1:3] == [
            f"{row['uar']['mean']:.3f} [{max(low, 0):.3f}, {min(high, 1):.3f}]",
            f"{row['uar']['sd']:.3f}",
        ]
        assert cells[3] == f"{row['accuracy']['mean']:.3f}"


def test_schemes_that_divide_in_one_way_are_refused(project, tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(recipe_of("column"), encoding="utf-8")
    with pytest.raises(InputError, match=r"r\.yaml:4: .*divides in one way only"):
        Recipe.read(path)
