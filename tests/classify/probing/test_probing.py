"""`probe`: nested folds against loops over scikit-learn, and what reaches a recipe and `train`."""

from __future__ import annotations

import json
from dataclasses import replace

import joblib
import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.care.import_export import import_space
from affekt.classify import Task, probe
from affekt.classify.cli import affekt
from affekt.classify.metrics.measures import uar
from affekt.classify.probing import best_layer
from affekt.classify.probing.nested_folds import masks_of, outer_folds
from click.testing import CliRunner
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tests.support.probed_recipe import layers_of_members

LABELS = ("negative", "neutral", "positive")
VALUES = (0.01, 1.0)
CLIPS, DIM = 240, 16


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Two spaces; of the first, layer 1 knows the label, of the second layer 0, but less well."""
    folder = tmp_path_factory.mktemp("probing")
    rng = np.random.default_rng(3)
    lines, first, second = ["id,text,label,speaker,language"], {}, {}
    for n in range(CLIPS):
        label = int(rng.integers(3))
        lines.append(f"{n},t{n},{LABELS[label]},s{n // 15},{('deu', 'eng')[n // 120]}")
        first[str(n)] = rng.standard_normal((3, DIM))
        second[str(n)] = rng.standard_normal((2, DIM))
        first[str(n)][1, label] += 2
        second[str(n)][0, label] += 1
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    clips = Manifest.read(folder / "clips.csv")
    cache = Cache(folder / "c")
    a, _ = import_space(cache, first, clips, "first")
    b, _ = import_space(cache, second, clips, "second")
    return folder, clips, a, b


@pytest.fixture(scope="module")
def found(corpus):
    _, clips, a, b = corpus
    return probe(clips, {"a": a, "b": b}, "valence", C=VALUES)


def test_nested_folds_are_those_of_a_loop(corpus, found):
    """Layer and C of every fold, and the UAR of the choice, from scikit-learn one by one."""
    _, clips, a, _ = corpus
    labels = clips["label"].astype(str)
    folds, _ = outer_folds(clips, "group-kfold", n_splits=5)
    X = [a.features(layers=layer).read(clips) for layer in range(3)]

    def predicted(train, test, layer, C):
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=C, class_weight="balanced", tol=1e-6)
        )
        return model.fit(X[layer][train], labels[train]).predict(X[layer][test])

    alone = probe(clips, a, "valence", C=VALUES)
    for fold, said in zip(folds, alone.data["folds"], strict=True):
        inside = fold.inner >= 0
        scores = {}
        for layer in range(3):
            for C in VALUES:
                guess = np.full(CLIPS, "", object)
                for one in np.unique(fold.inner[inside]):
                    held = fold.inner == one
                    guess[held] = predicted(inside & ~held, held, layer, C)
                scores[layer, C] = uar(labels[inside], guess[inside], LABELS)
        best = max(scores, key=lambda key: scores[key])
        assert (said["layer"], said["C"]) == best
        guess = predicted(inside, fold.test, *best)
        assert said["uar"] == pytest.approx(uar(labels[fold.test], guess, LABELS), abs=0.03)
        assert (said["train"], said["test"]) == (inside.sum(), fold.test.sum())
    layer = next(one for one in found.data["layers"] if (one["space"], one["layer"]) == ("a", 1))
    assert layer["uar"]["value"] == pytest.approx(
        next(one for one in alone.data["layers"] if one["layer"] == 1)["uar"]["value"]
    )


@pytest.mark.parametrize(("scheme", "pooled"), [("group-kfold", True), ("speaker", False)])
def test_intervals_of_several_folds_allow_for_training_anew(corpus, scheme, pooled, monkeypatch):
    """As those of a run do: they are of the method, not of one model."""
    from affekt.classify.probing import label_layer

    drawn, resample = [], label_layer.resample
    keep = lambda *given, **options: drawn.append(resample(*given, **options)) or drawn[-1]  # noqa: E731
    monkeypatch.setattr(label_layer, "resample", keep)
    _, clips, a, _ = corpus
    data = probe(clips, a, "valence", C=[0.1], scheme=scheme, test_size=0.5).data
    low, high = replace(drawn[0], pooled=pooled).interval("1", "uar")
    assert data["layers"][1]["uar"]["interval"] == pytest.approx([low, high])
    other = replace(drawn[0], pooled=not pooled).interval("1", "uar")
    assert (other[0] < low) != pooled


def test_a_label_that_a_language_lacks_does_not_lower_its_score(corpus):
    _, clips, _, b = corpus
    clips = clips.select((clips["language"] != "eng") | (clips["label"] != "neutral"))
    data = probe(clips, b, "valence", C=[0.1], scheme="leave-one-language-out").data
    for fold in data["folds"]:
        own = data["uar"]["by_language"][fold["name"]]
        assert own["value"] == pytest.approx(fold["uar"])
        assert own["interval"][0] < own["value"] < own["interval"][1] <= 1


def test_what_is_chosen_and_shown(found, tmp_path):
    assert found.chosen["space"] == "a"
    assert found.chosen["layer"] == 1
    low, high = found.data["uar"]["interval"]
    assert 0.5 < low < found.data["uar"]["value"] < high < 1
    assert set(found.data["uar"]["by_language"]) == {"deu", "eng"}
    assert [fold["name"] for fold in found.data["folds"]] == [f"fold {n}" for n in range(1, 6)]
    assert json.loads(found.to_json()) == found.data
    frame = found.frame
    assert len(frame) == 5 * 3  # layers, and all clips and two languages
    assert frame[frame.chosen].layer.unique().tolist() == [1]
    text = found.table()
    assert "   *1  " in text
    assert "fold 5: a, layer 1" in text
    figure = found.plot(tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 3
    assert len(figure.axes[0].get_legend().get_texts()) == 2


def test_threads_and_memory_change_nothing(corpus, found, monkeypatch):
    from affekt.classify.probing import grid

    _, clips, a, b = corpus
    in_threads = grid._in_threads
    again = probe(clips, {"a": a, "b": b}, "valence", C=VALUES, n_jobs=1)
    assert again.data == found.data
    with joblib.parallel_config("loky", n_jobs=2):  # it has threads of its own
        assert probe(clips, {"a": a, "b": b}, "valence", C=VALUES).data == found.data
    # every layer from a scratch file, every problem alone
    monkeypatch.setattr(
        grid, "_in_threads", lambda job, *rest: in_threads(replace(job, memory=0), *rest)
    )
    least = probe(clips, {"a": a, "b": b}, "valence", C=VALUES, n_jobs=2)
    assert least.chosen == found.chosen
    assert [one["uar"]["value"] for one in least.data["layers"]] == pytest.approx(
        [one["uar"]["value"] for one in found.data["layers"]], abs=0.01
    )


def test_a_fold_does_not_see_its_test_clips(corpus, tmp_path):
    """Other features of one fold's test clips leave its choice, and another label too."""
    _, clips, a, _ = corpus
    folds, _ = outer_folds(clips, "group-kfold", n_splits=5)
    values = dict(zip(clips.ids, a.cache.read(a, clips), strict=True))
    for clip in np.asarray(clips.ids)[folds[0].test]:
        values[clip] = -50 * values[clip]
    space, _ = import_space(Cache(tmp_path), values, clips, "first")
    one, other = (probe(clips, s, "valence", C=VALUES).data["folds"] for s in (a, space))
    assert one[0]["layer"] == other[0]["layer"]
    assert one[0]["C"] == other[0]["C"]
    assert one[0]["uar"] != other[0]["uar"]


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("leave-one-language-out", ["deu", "eng"]),
        ("leave-one-speaker-out", sorted(f"s{n}" for n in range(16))),
        ("speaker", ["speaker"]),
    ],
)
def test_every_fold_of_a_scheme_is_scored(corpus, scheme, names):
    _, clips, a, _ = corpus
    data = probe(clips, a, "valence", C=[0.1], scheme=scheme).data
    assert [fold["name"] for fold in data["folds"]] == names
    assert data["tested"] == sum(fold["test"] for fold in data["folds"])
    assert (data["tested"] == CLIPS) == (scheme != "speaker")


def test_inner_folds_keep_speakers_together(corpus):
    _, clips, _, _ = corpus
    speakers = clips["speaker"].astype(str)
    for scheme in ("group-kfold", "speaker", "leave-one-language-out"):
        for fold in outer_folds(clips, scheme)[0]:
            for name in np.unique(speakers):
                assert len(set(fold.inner[speakers == name])) == 1
            assert not (fold.test & (fold.inner >= 0)).any()
    # a model that holds two folds out serves both: 10 pairs and 5 outer ones instead of 25
    assert len(masks_of(outer_folds(clips, "group-kfold")[0]).masks) == 15


def test_a_class_that_a_fold_does_not_train_on(corpus):
    """One language has no neutral clip: a model of it never says so."""
    _, clips, a, _ = corpus
    kept = [
        clip
        for clip, label, language in zip(clips.ids, clips["label"], clips["language"], strict=True)
        if not (language == "deu" and label == "neutral")
    ]
    data = probe(clips.select(kept), a, "valence", C=[0.1], scheme="leave-one-language-out").data
    scores = {fold["name"]: fold["uar"] for fold in data["folds"]}
    assert 0.4 < scores["eng"] <= 2 / 3  # trained on German: two of three classes at most
    assert scores["deu"] > 2 / 3


def test_input_errors(corpus):
    _, clips, a, _ = corpus
    for options, words in (
        ({"C": []}, r"`C` is \[\]; expected numbers, as `C=\[0\.01,0\.1\]`"),
        ({"C": "0.1"}, r"`C` is '0\.1'; expected numbers, as `C=\[0\.01,0\.1\]`"),
        ({"C": 0.1}, r"`C` is 0\.1; expected numbers, as `C=\[0\.01,0\.1\]`"),
        ({"C": [0.1, 1e308]}, "`C` is 1e.308; expected a finite number from 1e-12 to 1e.12"),
        ({"C": [0.1, float("nan")]}, "`C` is nan"),
        ({"C": [0.1, 0.1]}, "expected each value once"),
        ({"n_jobs": 0}, "`n_jobs` is 0"),
        ({"class_weight": "even"}, "`class_weight` is 'even'"),
        ({"scheme": "folds"}, "`scheme` is 'folds'"),
        ({"scale": "room"}, "`scale` is 'room'"),
    ):
        with pytest.raises(InputError, match=words):
            probe(clips, a, "valence", **options)
    with pytest.raises(InputError, match="clips is of type Space, expected a Manifest"):
        probe(a, clips, "valence")
    one = clips.select(
        [c for c, y in zip(clips.ids, clips["label"], strict=True) if y == "neutral"]
    )
    with pytest.raises(InputError, match="at least two labels in each"):
        probe(one, a, "valence")
    with pytest.raises(InputError, match="given twice"):
        probe(clips, [a, a], "valence")


def test_the_choice_reaches_train_and_recipes(corpus, tmp_path):
    folder, clips, a, b = corpus
    assert best_layer(clips, a, Task.named("valence"))["layer"] == 1
    common = [str(folder / "clips.csv"), "--cache", str(folder / "c"), "--task", "valence"]
    words = [*common, "--space", a.name, "--head", "logistic", "--layers", "probe", "--json"]
    result = CliRunner().invoke(affekt, ["train", *words, "-o", str(tmp_path / "m")])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["chosen"]["layers"] == {a.name: 1}
    assert len(said["probed"][a.name]["by_layer"]) == 3
    assert layers_of_members(folder, "valence", "logistic", a, b, tmp_path) == [[1], [0]]


def test_the_command(corpus, tmp_path):
    folder, _, a, b = corpus
    words = ["probe", str(folder / "clips.csv"), "--cache", str(folder / "c"), "--task", "valence"]
    words += ["--space", a.name, "--space", b.name, "--C", "0.01,1"]
    figure = tmp_path / "layers.svg"
    result = CliRunner().invoke(affekt, [*words, "--json", "--figure", str(figure)])
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["chosen"]["space"] == a.name
    assert figure.read_text().startswith("<?xml")
    again = CliRunner().invoke(affekt, [*words, "--figure", str(figure)])
    assert again.exit_code == 0, again.output  # its own figure may be replaced
    assert "Chosen on inner folds" in again.stdout
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"\x89PNG a picture of mine")
    result = CliRunner().invoke(affekt, [*words, "--figure", str(mine)])
    assert isinstance(result.exception, InputError)
    assert mine.read_bytes() == b"\x89PNG a picture of mine"
