"""Tasks of numbers: head, files, and the whole way of a clip."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import audmetric
import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.classify import Task, compare, load_model
from affekt.classify.cli import affekt
from affekt.classify.data.estimates import Estimates
from affekt.classify.evaluation.reports.markdown.markdown_tables import score
from affekt.classify.experiments.demo.corpus import write_corpus
from affekt.classify.serving.output import is_output
from click.testing import CliRunner

SPEC = {
    "type": "regression",
    "dimensions": {"arousal": {"range": [1, 7]}, "valence": {"column": "v", "range": [-1, 1]}},
}
RECIPE = """\
manifest: clips.csv
task: affect.yaml
cache: my.cache
encoders: {speech: spectral, text: ngram}
split: {scheme: group-kfold, n_splits: 3}
members:
  speech: {head: ridge, on: speech}
  text: {head: ridge, on: text, alpha: [1, 100]}
  net: {head: regression, on: speech, max_epochs: 3, hidden: [[8]], seeds: 2}
report: out
compare: {n_resamples: 200}
"""
CENTRES = {"anger": (6, -0.7), "fear": (5, -0.5), "happiness": (5, 0.8), "sadness": (2, -0.6)}


def invoke(*words: object, code: int = 0) -> str:
    result = CliRunner().invoke(affekt, [*map(str, words)])
    if code == 2:
        assert isinstance(result.exception, InputError), result.output
        return str(result.exception)
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result.stdout + result.stderr * (words[0] == "run")


# ---- head, task, predictions


def table(**columns: list[object]) -> Manifest:
    size = len(next(iter(columns.values())))
    rows = [
        {"id": f"c{i}", "text": "t", **{n: c[i] for n, c in columns.items()}} for i in range(size)
    ]
    return Manifest.from_rows(rows)


def test_what_is_not_rated_is_nan_and_what_is_wrong_is_named():
    task = Task.from_spec(SPEC)
    clips = table(arousal=["1", "NA", "7"], v=["", "null", "0,5"])
    with pytest.raises(InputError, match="1 clips have no rating for arousal, valence"):
        task.select(clips)
    kept, left = task.select(clips, blank="drop")
    assert (kept.ids, left, list(kept["label"])) == (["c0", "c2"], {"": 1}, ["low", "high"])
    np.testing.assert_array_equal(task.targets(kept), [[1, np.nan], [7, 0.5]])
    for wrong, said in (
        (table(arousal=["1", "x"], v=["0", "0"]), "'arousal' holds 'x'"),
        (table(arousal=["1", "8"], v=["0", "0"]), "1 cells of column 'arousal' are not between 1"),
        (table(arousal=["1", "nan"], v=["0", "0"]), "holds 'nan'"),
        (table(arousal=["1"], w=["0"]), "no column 'v' for valence"),
    ):
        with pytest.raises(InputError, match=said):
            task.select(wrong)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "numbers"}, "type is 'numbers'; expected regression"),
        ({"dimensions": {"a": {"range": [0, 1]}}}, "add type: regression"),
        ({"type": "regression"}, "dimensions is None"),
        ({"type": "regression", "dimensions": {"a": {"range": [5, 1]}}}, "range of a is"),
        ({"type": "regression", "dimensions": {"a": {"column": "a"}}}, "range of a is None"),
        ({"type": "regression", "dimensions": {"a": {"rang": [1, 5]}}}, "dimension a is"),
        ({"type": "regression", "labels": ["a"]}, "unknown key 'labels'"),
        ({"type": "regression", "dimensions": {"id": {"range": [0, 1]}}}, "called 'id'"),
    ],
)
def test_a_wrong_task_is_refused(spec, said):
    with pytest.raises(InputError, match=said):
        Task.from_spec(spec)


def test_a_task_comes_back_from_its_record():
    task = Task.from_spec(SPEC, default_name="affect")
    assert Task.from_record(json.loads(json.dumps(task.record()))) == task
    with pytest.raises(InputError, match="was changed"):
        Task.from_record(task.record() | {"dimensions": {"arousal": {"range": [1, 5]}}})


def test_files_of_numbers_read_back_and_those_of_others_too(tmp_path):
    found = Estimates(["a", "b"], ["arousal", "valence"], [[0.4, 0.6], [1 / 3, -2.0]])
    found.write(tmp_path / "pred.csv")
    again = Estimates.read(tmp_path / "pred.csv", ["valence", "arousal"])
    np.testing.assert_array_equal(again.values, found.values[:, ::-1])
    (tmp_path / "theirs.csv").write_text("id;valence;arousal\na;0.333;0.666\n")
    theirs = Estimates.read(tmp_path / "theirs.csv", ["arousal", "valence"])
    assert theirs.values.tolist() == [[0.666, 0.333]]  # nearly 1 in sum, and no distribution
    for text, said in (
        ("id,label\na,joy\n", "labels only"),
        ("id,arousal\na,1\n", "missing: valence"),
        ("id,arousal,valence\na,1,x\n", "expected a number"),
        ("id,arousal,valence\na,1,inf\n", "not finite"),
        ("id,arousal,valence\na,1,1e200\n", "beyond 1e"),
        ("id,label,arousal,valence\na,x,1,2\n", "column label with numbers"),
    ):
        (tmp_path / "wrong.csv").write_text(text)
        with pytest.raises(InputError, match=said):
            Estimates.read(tmp_path / "wrong.csv", ["arousal", "valence"])
    assert is_output((tmp_path / "pred.csv").read_bytes())
    assert not is_output(b"id,arousal,valence\na,1,2\n")  # ratings of the user


def test_numbers_are_frames_and_read_back_without_their_task(tmp_path):
    pytest.importorskip("pandas")
    found = Estimates(["a", "b"], ["arousal", "valence"], [[0.4, 0.6], [1 / 3, -2.0]])
    frame = found.to_frame()
    assert list(frame.columns) == ["id", "predicted_arousal", "predicted_valence"]
    assert Estimates.from_frame(frame) == found
    assert Estimates.from_frame(frame, ["valence", "arousal"]).values.tolist()[1] == [-2.0, 1 / 3]
    theirs = frame.rename(columns={"predicted_valence": "valence"})[["valence", "id"]]
    assert Estimates.from_frame(theirs).labels == ("valence",)
    found.write(tmp_path / "pred.csv")
    assert Estimates.read(tmp_path / "pred.csv") == found
    assert "<th>valence</th>" in found._repr_html_()
    assert "<th>label</th>" not in found._repr_html_()


def test_a_dimension_that_does_not_vary_decides_nothing():
    """To meet a constant exactly is no concordance: CCC of a constant is 0 divided by 0."""
    task = Task.from_spec(SPEC)
    clips = table(id=list("abcdef"), text=["-"] * 6, arousal=[1, 2, 3, 4, 5, 6], v=[1] * 6)
    near = np.stack([np.arange(1.0, 7), np.full(6, 0.99)], axis=1)
    exact = np.stack([np.arange(1.0, 7), np.full(6, 1.0)], axis=1)
    members = {
        name: Estimates(clips.ids, task.labels, values)
        for name, values in {"near": near, "exact": exact}.items()
    }
    data = compare(members, clips, task, strategies=[], n_resamples=20).data
    assert [one["test"]["ccc"]["value"] for one in data["systems"].values()] == [0.5, 0.5]
    assert any("every test rating of valence is 1" in said for said in data["warnings"])
    blank = clips.with_columns(v=[""] * 6)
    data = compare(members, blank, task, strategies=[], n_resamples=20).data
    assert [one["test"]["ccc"]["value"] for one in data["systems"].values()] == [1.0, 1.0]
    assert any("no test clip is rated for valence" in said for said in data["warnings"])


def test_probabilities_are_not_compared_with_ratings():
    from affekt.classify import Predictions

    clips = table(arousal=["1", "7"], v=["0", "1"])
    one = Predictions(clips.ids, ["arousal", "valence"], [[0.5, 0.5]] * 2)
    with pytest.raises(InputError, match="has class probabilities"):
        compare({"one": one}, clips, Task.from_spec(SPEC))
    two = Estimates(clips.ids, ["arousal", "valence"], [[2.0, 0.0], [6.0, 1.0]])
    with pytest.raises(InputError, match="'max' combines class probabilities"):
        compare({"a": two, "b": two}, clips, Task.from_spec(SPEC), strategies=("mean", "max"))
    found = compare({"a": two, "b": two}, clips, Task.from_spec(SPEC), n_resamples=20)
    assert list(found.data["systems"]) == ["a", "b", "mean"]
    assert found.data["settings"]["strategies"] == ["mean"]
    for option in ("calibrate", "calibrate_fused", "crossed"):
        with pytest.raises(InputError, match=f"^`{option}` is for labels.* leave it out"):
            compare({"a": two}, clips, Task.from_spec(SPEC), **{option: "temperature"})
    with pytest.raises(InputError, match="are not labels"):
        _ = two.label


# ---- the whole way


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A run of three members on a small corpus with ratings."""
    folder = tmp_path_factory.mktemp("dimensions")
    write_corpus(folder, voices=6, clips_per_voice=8)
    text = (folder / "clips.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    rng = np.random.default_rng(0)
    for row in rows:
        arousal, valence = CENTRES.get(row["label"], (3, 0))
        row["arousal"] = f"{np.clip(arousal + rng.normal(0, 0.6), 1, 7):.2f}"
        row["v"] = f"{np.clip(valence + rng.normal(0, 0.2), -1, 1):.2f}"
    rows[3]["v"] = ""
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    (folder / "affect.yaml").write_text(json.dumps(SPEC), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    invoke("run", folder / "recipe.yaml")
    return folder


def test_a_run_is_scored_as_its_files_say(finished, tmp_path):
    data = json.loads((finished / "out/comparison.json").read_text(encoding="utf-8"))
    assert data["measure"] == "ccc"
    assert set(data["systems"]) == {"speech", "text", "net", "mean"}
    task = Task.read(finished / "affect.yaml")
    clips = Manifest.read(finished / "clips.csv")
    members = {}
    for name in ("speech", "text", "net"):
        pred = task.read_predictions(finished / "out/members" / name / "pred.csv")
        assert sorted(pred.ids) == sorted(clips.ids)
        members[name] = pred.align(clips.ids).values
    members["mean"] = np.mean([members[name] for name in ("net", "speech", "text")], axis=0)
    truth = task.ratings(clips)
    for name, values in members.items():
        for at, dimension in enumerate(task.labels):
            known = np.isfinite(truth[:, at])
            one = data["systems"][name]["test"]["dimensions"][dimension]
            ccc = audmetric.concordance_cc(truth[known, at], values[known, at])
            assert one["ccc"]["value"] == pytest.approx(ccc)
            low, high = one["ccc"]["interval"]
            assert low < ccc < high
            assert one["clips"] == known.sum() == (48 if at == 0 else 47)
            x, y = truth[known, at], values[known, at]
            assert one["bias"] == pytest.approx((y - x).mean())
            assert one["spread"] == pytest.approx(y.std() / x.std())
    dev = {name: one["dev"]["ccc"] for name, one in data["systems"].items()}
    assert dev[data["chosen"]] == max(dev.values())
    assert {(pair["a"], pair["b"]) for pair in data["pairs"]} == {
        (data["chosen"], name) for name in data["systems"] if name != data["chosen"]
    }
    for pair in data["pairs"]:
        ccc = [data["systems"][pair[side]]["test"]["ccc"]["value"] for side in "ab"]
        assert [pair["ccc_a"], pair["ccc_b"]] == pytest.approx(ccc)
        assert pair["ccc_difference"] == pytest.approx(ccc[0] - ccc[1])
    report = (finished / "out/report.md").read_text(encoding="utf-8")
    for part in ("## Systems", "## Each dimension", "## CCC by language", "test CCC over 2 seeds"):
        assert part in report
    invoke("report", finished / "out", "-o", tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text(encoding="utf-8")
    for name, system in data["systems"].items():
        own = [score(one["ccc"]) for one in system["test"]["dimensions"].values()]
        assert f"{name} & {' & '.join(own)} " in latex
    for language, row in data["by"]["language"]["values"].items():
        cells = []
        for at, one in enumerate(row["systems"][data["chosen"]]["dimensions"].values()):
            known = np.isfinite(truth[:, at]) & (np.array(list(clips["language"])) == language)
            ccc = audmetric.concordance_cc(truth[known, at], members[data["chosen"]][known, at])
            cells.append(score({"value": ccc, "interval": one["ccc"]["interval"]}))
        assert f"| {language} | {' | '.join(cells)} |" in report
        assert f"{language} & {' & '.join(cells)} " in latex
    assert "UAR" not in report
    assert "if the systems were trained again on as many" in report  # three folds
    assert "Nothing to do" in invoke("run", finished / "recipe.yaml")


def test_ratings_that_change_are_trained_again(finished):
    text = (finished / "clips.csv").read_text(encoding="utf-8")
    lines = text.splitlines()
    changed = lines[1].split(",")
    place = lines[0].split(",").index("arousal")
    changed[place] = "4.44"
    (finished / "clips.csv").write_text("\n".join([lines[0], ",".join(changed), *lines[2:]]) + "\n")
    try:
        checked = invoke("run", "--check", finished / "recipe.yaml")
        assert "48 clips (arousal 48, valence 47)" in checked
        assert "Nothing to do" not in checked
    finally:
        (finished / "clips.csv").write_text(text, encoding="utf-8")


def test_new_clips_get_the_same_numbers_on_every_way(finished, tmp_path):
    clips = Manifest.read(finished / "clips.csv")
    wav = str(clips.file(0))
    [row] = json.loads(invoke("predict", finished / "out", "--system", "net", wav, "--json"))
    assert list(row["values"]) == ["arousal", "valence"]
    found = load_model(finished / "out", system="net")
    once = found.predict([wav])
    np.testing.assert_allclose(once.values[0], list(row["values"].values()), atol=1e-5)
    one = load_model(finished / "out/members/speech/model-1", Cache(finished / "my.cache"))
    cached = one.predict(clips.select([clips.ids[0]]), Cache(finished / "my.cache"))
    raw = load_model(finished / "out/members/speech/model-1").predict([wav])
    np.testing.assert_allclose(raw.values, cached.values, atol=1e-4)
    shown = invoke("predict", finished / "out", "--system", "text", "--text", "oh")
    assert "arousal " in shown
    invoke("predict", finished / "out", "--system", "mean", "--text", "oh", wav, "-o",
           tmp_path / "a.csv")  # fmt: skip
    assert (tmp_path / "a.csv").read_text().startswith("id,predicted_arousal,predicted_valence\n")
    assert "--top 1 is for labels" in invoke(
        *("predict", finished / "out", "--top", "1", "--text", "oh"), code=2
    )
    invoke("predict", finished / "out", "--system", "speech", wav, "--window", "0.5", "-o",
           tmp_path / "t.csv")  # fmt: skip
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "id,start,end,predicted_arousal,predicted_valence"
    assert len(lines) > 2


def test_card_compare_and_train(finished, tmp_path):
    card = invoke("card", finished / "out")
    assert "Predicts numbers" in card
    assert "| arousal |" in card
    assert "| part | clips | speakers | thirds of the scale of arousal |" in card
    members = [finished / "out/members" / name / "pred.csv" for name in ("speech", "text")]
    common = ["--truth", finished / "clips.csv", "--task", finished / "affect.yaml"]
    for option in ("--calibrate-fused=vector", "--crossed=text", "--subsets"):
        found = invoke("compare", *members, *common, option, "-o", tmp_path / "refused", code=2)
        assert "is for labels, and the task" in found
        assert not (tmp_path / "refused" / "report.html").exists()
    invoke("compare", *members, *common, "--resamples", 100, "-o", tmp_path / "c", "--latex")
    again = json.loads((tmp_path / "c/comparison.json").read_text(encoding="utf-8"))
    data = json.loads((finished / "out/comparison.json").read_text(encoding="utf-8"))
    for name in ("speech", "text"):
        mine, theirs = (one["systems"][name]["test"]["ccc"]["value"] for one in (again, data))
        assert mine == pytest.approx(theirs)
    assert "CCC" in (tmp_path / "c/tables.tex").read_text(encoding="utf-8")
    space = next((finished / "my.cache/spaces").glob("spectral*")).name
    train = ["train", finished / "clips.csv", "--cache", finished / "my.cache", "--space", space]
    said = invoke(
        *train, "--task", finished / "affect.yaml", "--head", "ridge", "-o", tmp_path / "m"
    )
    assert "test CCC" in said
    said = invoke(*train, "--task", finished / "affect.yaml", "--head", "ridge", "--split",
                  "group-kfold", "-o", tmp_path / "folds")  # fmt: skip
    assert "Test CCC" in said
    assert "on the 48 clips of 5 folds together" in said
    for task, head, expected in (
        (
            finished / "affect.yaml",
            "logistic",
            "predicts labels, and the task 'affect' has numbers",
        ),
        ("valence", "ridge", "predicts numbers, and the task 'valence' has labels"),
    ):
        said = invoke(*train, "--task", task, "--head", head, "-o", tmp_path / "n", code=2)
        assert expected in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("head: ridge, on: speech", "head: logistic, on: speech", "'logistic' predicts labels"),
        ("report: out", "ensembles: [max]\nreport: out", "'max' combines class probabilities"),
        ("n_resamples: 200", "calibrate: temperature", "compare: calibrate is for labels"),
        ("n_resamples: 200", "calibrate_fused: vector", "compare: calibrate_fused is for labels"),
        ("n_resamples: 200", "crossed: text", "compare: crossed is for labels"),
        ("n_splits: 3", "n_splits: 3, repeats: 2", "repeats are summarised for labels"),
        ("head: ridge, on: speech", "on: speech", "'speech': it has no head"),
        ("alpha: [1, 100]", "alpha: [-1, 100]", "`alpha` is -1"),
    ],
)
def test_what_only_labels_have_is_refused_before_any_work(finished, old, new, said):
    assert old in RECIPE
    path = finished / "wrong.yaml"
    path.write_text(RECIPE.replace(old, new), encoding="utf-8")
    found = invoke("run", path, code=2)
    assert said in found
    assert "wrong.yaml:" in found


def test_a_dimension_that_no_train_clip_is_rated_for_stops_a_run_before_any_work(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    rows = [f"{i},word {i},s{i % 6},{1 + i % 7},\n" for i in range(24)]
    Path("clips.csv").write_text("id,text,speaker,arousal,v\n" + "".join(rows))
    Path("affect.yaml").write_text(json.dumps(SPEC))
    recipe = RECIPE.replace("speech: spectral, ", "").replace("  speech: {", "  # ")
    Path("recipe.yaml").write_text(recipe.replace("  net: {", "  # "))
    found = invoke("run", "recipe.yaml", code=2)
    assert "recipe.yaml:" in found
    assert "fold 1: none of 8 clips of train is rated for valence" in found
    assert not Path("my.cache").exists()


@pytest.mark.parametrize("own", [{}, {"raw_label": "0"}])
def test_ratings_in_the_column_label_are_those_of_any_other_column(own):
    """`select` puts thirds of the scale there, and would read them as the ratings."""
    rows = [{"id": str(i), "text": "x", "label": str(1 + i % 9), **own} for i in range(30)]
    rows.append({"id": "30", "text": "x", "label": "", **own})
    spec = {"type": "regression", "dimensions": {"valence": {"column": "label", "range": [1, 9]}}}
    task, clips = Task.from_spec(spec), Manifest.from_rows(rows)
    once, left = task.select(clips, blank="drop")
    twice, _ = task.select(once)
    assert left == {"": 1}
    assert set(once["label"]) == {"low", "middle", "high"}
    for found in (clips.select(once.ids), once, twice, twice.select(once.ids)):
        assert task.targets(found).tolist() == [float(row["label"]) for row in rows[:30]]
