"""Systems over several corpora: scipy, published tables and a brute-force posterior as oracles."""

from __future__ import annotations

import json
import shlex
from itertools import combinations, product

import numpy as np
import pytest
from affekt.cache import Manifest
from affekt.cache.errors import InputError
from affekt.classify import Predictions, Task, compare
from affekt.classify.cli import affekt
from affekt.classify.data.splitting.split import write_rows
from affekt.classify.evaluation.across_runs import (
    across,
    critical_difference,
    runs_needed,
    signed_rank,
    signed_rank_posterior,
)
from affekt.classify.evaluation.reports.markdown.across_report import runs_text
from click.testing import CliRunner
from scipy import stats


@pytest.mark.parametrize("n", [6, 9, 16, 30])
def test_signed_rank_is_scipys(n):
    values = np.random.default_rng(n).normal(0.3, 1, n)
    method = "exact" if n <= 16 else "asymptotic"
    oracle = stats.wilcoxon(values, method=method, correction=True).pvalue
    assert signed_rank(values) == pytest.approx(oracle)


def test_signed_rank_with_ties_counts_every_exchange_of_signs():
    values = np.array([0.1, 0.1, -0.1, 0.2, 0.2, 0.3, 0.0])
    kept = values[values != 0]
    ranks = stats.rankdata(abs(kept))
    observed = abs((np.sign(kept) * ranks).sum())
    sums = [abs(np.dot(signs, ranks)) for signs in product((-1, 1), repeat=6)]
    assert signed_rank(values) == np.mean([one >= observed - 1e-9 for one in sums])
    assert signed_rank([0.0] * 8) == 1
    assert signed_rank([0.1 + 0.2 - 0.3] * 8) == 1  # equal but for rounding


def test_critical_differences_are_those_of_demsar():
    for k, q in ((2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)):
        found = critical_difference(k, 12)
        assert found == pytest.approx(q * (k * (k + 1) / 72) ** 0.5, abs=2e-3)


def test_the_posterior_is_that_of_sums_over_pairs():
    values, rope = [0.05, -0.01, 0.03, 0.002, -0.06, 0.04], 0.01
    found = signed_rank_posterior(values, rope, n_draws=4000)
    z = [0.0, *values]
    counts = {"first": 0, "equal": 0, "second": 0}
    rng = np.random.default_rng(1)
    for _ in range(1500):
        w = rng.dirichlet([0.5] + [1.0] * 6)
        theta = dict.fromkeys(counts, 0.0)
        for i in range(7):
            for j in range(7):
                mean = (z[i] + z[j]) / 2
                side = "first" if mean > rope else "second" if mean < -rope else "equal"
                theta[side] += w[i] * w[j]
        counts[max(theta, key=theta.get)] += 1
    for side, count in counts.items():
        assert found[side] == pytest.approx(count / 1500, abs=0.06)
    mirrored = signed_rank_posterior([-v for v in values], rope, n_draws=4000)
    assert mirrored["second"] == found["first"]
    assert sum(found.values()) == pytest.approx(1)
    assert signed_rank_posterior([0.001] * 6, rope)["equal"] == 1


def test_ranks_friedman_and_corrected_p():
    rng = np.random.default_rng(0)
    scores = {name: (rng.uniform(0.4, 0.8, 9) + 0.1 * i).tolist() for i, name in enumerate("abc")}
    found = across(scores)
    oracle = stats.friedmanchisquare(*scores.values())
    assert found["friedman"]["p"] == pytest.approx(oracle.pvalue)
    ranks = stats.rankdata(-np.array(list(scores.values())), axis=0).mean(axis=1)
    assert [one["rank"] for one in found["systems"].values()] == pytest.approx(list(ranks))
    raw = [stats.wilcoxon(scores[a], scores[b]).pvalue for a, b in combinations("abc", 2)]
    order = np.argsort(raw)
    holm = np.maximum.accumulate([min(1, (3 - k) * raw[i]) for k, i in enumerate(order)])
    assert [found["pairs"][i]["p_corrected"] for i in order] == pytest.approx(list(holm))


@pytest.mark.parametrize(("pairs", "needed"), [(1, 6), (3, 7), (6, 8), (45, 11)])
def test_how_many_corpora_are_needed(pairs, needed):
    assert runs_needed(pairs) == needed
    assert pairs * signed_rank(np.arange(1, needed + 1)) <= 0.05
    assert pairs * signed_rank(np.arange(1, needed)) > 0.05


def test_no_difference_is_found_in_more_than_one_of_twenty_families():
    rng = np.random.default_rng(0)
    false = 0
    for _ in range(200):
        matrix = rng.normal(size=(3, 8))
        raw = [signed_rank(matrix[i] - matrix[j]) for i, j in combinations(range(3), 2)]
        false += min(raw) * 3 < 0.05
    assert false <= 20  # .05 would be 10, with a standard deviation of 3


@pytest.fixture
def runs(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        level = rng.uniform(0.4, 0.7)
        systems = {
            name: {"test": {"uar": {"value": level + more + rng.normal(0, 0.005)}}}
            for name, more in (("lr", 0.0), ("mlp", 0.1), (f"own{number}", 0.0))
        }
        data = {
            "format": 2,
            "task": {"name": "valence"},
            "test": {"clips": 50 + number, "manifest": str(number)},
            "systems": systems,
        }
        (tmp_path / f"c{number}").mkdir()
        (tmp_path / f"c{number}/comparison.json").write_text(json.dumps(data))
    return tmp_path


def test_runs_are_compared_from_the_command_line(runs, monkeypatch):
    monkeypatch.chdir(runs)
    names = [f"c{number}" for number in range(8)]
    result = CliRunner().invoke(affekt, ["compare", *names, "-o", "all"], catch_exceptions=False)
    assert "mlp over lr" in result.output
    assert "better on 8 of 8" in result.output
    assert "A difference is shown" in result.output
    assert "left out: own0" in result.output
    data = json.loads((runs / "all/runs.json").read_text())
    assert data["pairs"][0]["p"] == 2 / 2**8
    report = (runs / "all/report.md").read_text()
    assert "| mlp |" in report
    assert "`c7`" in report
    assert report.splitlines()[2].startswith("mlp has the best mean rank, 1.00 of 2 systems")
    page = (runs / "all/report.html").read_text()
    best = data["systems"]["mlp"]
    board = page[page.index("<table") : page.index("</table>")]
    assert board.index("mlp") < board.index(f"{best['mean']:.3f}") < board.index(">lr<")
    assert runs_text(data) in result.output
    CliRunner().invoke(affekt, ["compare", *names, "-o", "all"], catch_exceptions=False)

    def refused(message, *words):
        result = CliRunner().invoke(affekt, ["compare", *words])
        assert isinstance(result.exception, InputError), result.output
        assert message in str(result.exception)

    refused("Expected at least 6", *names[:5])
    refused("--truth MANIFEST", *names[:5])
    refused("two runs have the name 'c0'", "c0", "./c0", *names[1:])
    refused("test the same clips", "again=c0", *names)
    refused("affekt compare again=c0/members/NAME/pred.csv c0=c0/members/", "again=c0", *names)
    refused("holds comparison.json", *names, "-o", "c0")
    refused("--where has no effect on runs", *names, "--where", "split=test")
    refused("--measure is 'f1'", *names, "--measure", "f1")
    (runs / "c1/comparison.json").write_text("{}")
    refused("is not a comparison", *names)
    with pytest.raises(InputError, match="expected at least two"):
        across({"lr": [0.5] * 8})


def test_two_runs_on_the_same_clips_get_a_command_that_compares_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels, rng = ["negative", "neutral", "positive"], np.random.default_rng(0)
    rows = [
        {"id": f"c{i}", "text": f"t{i}", "label": ("angry", "calm", "happy")[i % 3]}
        | {"speaker": f"s{i // 6}"}
        for i in range(60)
    ]
    clips = Manifest.from_rows(rows)
    clips.write("clips.csv")
    tested = clips.select(range(36, 60))
    parts = [(clip, "test" if clip in tested.ids else "train") for clip in clips.ids]
    task = Task.named("valence")
    for name in ("old run", "new run"):
        one = Predictions(tested.ids, labels, rng.dirichlet([1, 1, 1], len(tested)))
        compare({"lr": one}, tested, task, dev={"lr": one}, dev_truth=tested, allow_overlap=True,
                n_resamples=50).write(name)  # fmt: skip
        (tmp_path / name / "members" / "lr").mkdir(parents=True)
        one.write(f"{name}/members/lr/pred.csv")
        write_rows(tmp_path / name / "split.csv", parts)
    message = str(CliRunner().invoke(affekt, ["compare", "old run", "new run"]).exception)
    command = message.split("predictions: affekt ")[1].replace("MANIFEST", "clips.csv")
    result = CliRunner().invoke(affekt, [*shlex.split(command), "--resamples", "50"])
    assert result.exit_code == 0, result.output
    assert "24 test clips, 4 speakers" in result.stdout
    assert "\n- old run against new run: UAR" in result.stdout
    for name in ("old run", "new run"):  # of numbers
        data = json.loads((tmp_path / name / "comparison.json").read_text())
        (tmp_path / name / "comparison.json").write_text(json.dumps(data | {"measure": "ccc"}))
    message = str(CliRunner().invoke(affekt, ["compare", "old run", "new run"]).exception)
    assert "--task TASK.yaml --split 'new run/split.csv'" in message
