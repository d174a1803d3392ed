"""A probe of ratings: ridge regressions against scikit-learn, one fit after another."""

from __future__ import annotations

import json
from functools import partial
from itertools import product

import audmetric
import numpy as np
import pytest
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.care.import_export import import_space
from affekt.classify import Task, probe
from affekt.classify.cli import affekt
from affekt.classify.heads.linear.ridge import ALPHAS
from affekt.classify.metrics.concordance import measure
from affekt.classify.probing import best_layer
from affekt.classify.probing.layer_rows import Rows
from affekt.classify.probing.nested_folds import outer_folds
from affekt.classify.probing.ridge_batch import predict, solve, solve_shifted
from click.testing import CliRunner
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.preprocessing import StandardScaler

from tests.support.probed_recipe import layers_of_members

CLIPS, DIM, LAYERS = 180, 12, 3
VALUES = (0.1, 100.0)
SPEC = {
    "type": "regression",
    "dimensions": {"arousal": {"range": [1, 9]}, "valence": {"range": [1, 9]}},
}
TASK = "type: regression\ndimensions: {arousal: {range: [1, 9]}, valence: {range: [1, 9]}}\n"


# ---- the solver


@pytest.mark.parametrize("in_memory", [1 << 28, 0], ids=["memory", "file"])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize(
    ("n", "dim", "n_cells"),
    [(300, 40, 4), (90, 200, 4), (300, 40, 60)],
    ids=["tall", "wide", "many"],
)
def test_weights_and_objectives_are_scikit_learns(n, dim, n_cells, gaps, scale, in_memory):
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((n, dim)) * rng.uniform(0.1, 5, dim) + 3).astype(np.float32)
    X[:, 3] = 2
    y = 5 + X[:, :2] @ [[1, 0], [1, 1]] + rng.standard_normal((n, 2))
    y[rng.random(n) < 0.3 * gaps, 1] = np.nan
    cells = rng.integers(0, n_cells, n)
    masks = np.array([np.arange(n_cells) % 4 != held for held in range(4)])
    alphas = [1e-3, 1.0, 1e3]
    with Rows(X.__getitem__, y, cells, scale=scale, in_memory=in_memory) as rows:
        shrink = np.ones((4, dim))
        if scale:
            shrink = np.array([rows.ratios(mask)[:-1] for mask in masks], float)
        W = solve(rows, masks, alphas, shrink)
        said = predict(rows, W, masks)
        every = np.concatenate([X[:, :-1] for _, _, X, _ in rows.blocks()]).astype(float)
    for (held, at), d in product(np.ndindex(4, len(alphas)), range(2)):
        train = masks[held][rows.cells]
        own = train & np.isfinite(rows.targets[:, d])
        scaled, truth = every * shrink[held], rows.targets[own, d]
        oracle = Ridge(alpha=alphas[at]).fit(scaled[own], truth)
        found = W[held, at, d]
        assert np.allclose(found[:-1], oracle.coef_ * shrink[held], rtol=1e-5, atol=1e-6)
        w = np.divide(found[:-1], shrink[held], out=np.zeros(dim), where=shrink[held] > 0)
        lost, least = (
            ((truth - scaled[own] @ w - b) ** 2).sum() + alphas[at] * (w @ w)
            for w, b in ((w, found[-1]), (oracle.coef_, oracle.intercept_))
        )
        assert lost == pytest.approx(least, rel=1e-5)
        assert np.allclose(said[held, at, ~train, d], oracle.predict(scaled[~train]), rtol=1e-5)
        assert np.isnan(said[held, at, train]).all()


def test_alpha_0_is_least_squares_also_where_a_column_says_nothing():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((50, 5)).astype(np.float32), rng.standard_normal((50, 1))
    X[:, 4] = X[:, 0]
    with Rows(X.__getitem__, y, np.zeros(50, int)) as rows:
        W = solve(rows, np.ones((1, 1), bool), [0.0], np.ones((1, 5)))[0, 0, 0]
        said = np.concatenate([X @ W for _, _, X, _ in rows.blocks()])
    assert np.allclose(said, LinearRegression().fit(X, y[:, 0]).predict(X), atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 30])
def test_one_reduction_serves_every_alpha(n):
    A = np.random.default_rng(n).standard_normal((n, n + 3))
    S, B = A @ A.T, A[:, :2]
    expected = [np.linalg.solve(S + alpha * np.eye(n), B) for alpha in (1e-2, 1.0, 1e4)]
    assert np.allclose(solve_shifted(S, B, (1e-2, 1.0, 1e4)), expected, rtol=1e-9)


def test_what_rounding_made_indefinite_is_solved():
    S = np.diag([1.0, 1.0, -1e-9])
    found = solve_shifted(S, np.ones((3, 1)), [1e-12])
    assert np.isfinite(found).all()
    assert np.allclose(found[0, :2], 1)


# ---- the whole probe


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Of the first space layer 1 knows the ratings, of the second layer 0, but less well."""
    folder = tmp_path_factory.mktemp("ratings")
    rng = np.random.default_rng(7)
    lines, first, second = ["id,text,speaker,language,arousal,valence"], {}, {}
    for n in range(CLIPS):
        rated = rng.integers(1, 10, 2)
        cells = [str(one) for one in rated]
        if n % 5 == 0:
            cells[n % 2] = ""
        lines.append(f"{n},t{n},s{n % 12},{('deu', 'eng', 'spa')[n % 3]},{','.join(cells)}")
        first[str(n)] = rng.standard_normal((LAYERS, DIM))
        second[str(n)] = rng.standard_normal((2, 2 * CLIPS))  # wide
        first[str(n)][1, :2] += rated / 2
        second[str(n)][0, :2] += 3 * rated
    (folder / "clips.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "affect.yaml").write_text(TASK)
    clips = Manifest.read(folder / "clips.csv")
    cache = Cache(folder / "c")
    spaces = [import_space(cache, *own)[0] for own in ((first, clips, "a"), (second, clips, "b"))]
    return folder, clips, *spaces


@pytest.fixture(scope="module")
def found(corpus):
    _, clips, a, b = corpus
    return probe(clips, {"a": a, "b": b}, Task.from_spec(SPEC), alpha=VALUES)


def ccc(truth, guess):
    """The mean over dimensions, of the clips that are rated."""
    pairs = [(t[np.isfinite(t)], g[np.isfinite(t)]) for t, g in zip(truth.T, guess.T, strict=True)]
    return np.mean([audmetric.concordance_cc(*pair) for pair in pairs])


@pytest.mark.parametrize("scale", [True, False])
def test_nested_folds_are_those_of_a_loop(corpus, found, scale):
    """Layer, alpha and CCC of every fold, from scikit-learn one by one; and of the choice."""
    _, clips, *spaces = corpus
    task = Task.from_spec(SPEC)
    if not scale:
        found = probe(clips, dict(zip("ab", spaces, strict=True)), task, alpha=VALUES, scale=False)
    truth, selected = task.ratings(clips), task.select(clips)[0]
    folds, _ = outer_folds(selected, "group-kfold", n_splits=5)
    X = {(n, k): s.features(layers=k).read(clips) for n, s in zip("ab", spaces, strict=True)
         for k in range(s.n_layers)}  # fmt: skip

    def predicted(train, test, place, alpha):
        scaler = StandardScaler(with_std=scale).fit(X[place][train].astype(float))
        own, held = (scaler.transform(X[place][rows].astype(float)) for rows in (train, test))
        said = np.empty((test.sum(), 2))
        for d in range(2):
            known = np.isfinite(truth[train, d])
            said[:, d] = Ridge(alpha=alpha).fit(own[known], truth[train, d][known]).predict(held)
        return said

    of_choice, every = np.empty_like(truth), []
    by_layer = {place: np.empty_like(truth) for place in X}
    for fold, said in zip(folds, found.data["folds"], strict=True):
        inside, scores = fold.inner >= 0, {}
        for place, alpha in product(X, VALUES):
            guess = np.full_like(truth, np.nan)
            for one in np.unique(fold.inner[inside]):
                held = fold.inner == one
                guess[held] = predicted(inside & ~held, held, place, alpha)
            scores[place, alpha] = ccc(truth[inside], guess[inside])
        every.append(scores)
        best = max(scores, key=lambda key: scores[key])
        assert ((said["space"], said["layer"]), said["alpha"]) == best
        of_choice[fold.test] = predicted(inside, fold.test, *best)
        assert said["ccc"] == pytest.approx(ccc(truth[fold.test], of_choice[fold.test]), abs=1e-5)
        for place in X:
            alpha = max(VALUES, key=lambda alpha: scores[place, alpha])
            by_layer[place][fold.test] = predicted(inside, fold.test, place, alpha)
    mean = {key: np.mean([scores[key] for scores in every]) for key in every[0]}
    (space, layer), alpha = max(mean, key=lambda key: mean[key])
    assert found.chosen == {"space": space, "layer": layer, "alpha": alpha}
    assert found.data["ccc"]["value"] == pytest.approx(ccc(truth, of_choice), abs=1e-5)
    # the intervals are those of `affekt compare` of a run in folds
    systems = {str(place): guess for place, guess in by_layer.items()}
    groups = clips["speaker"].astype(str)
    drawn = measure(truth, systems, groups, task.limits, n_resamples=2000, pooled=True)
    for one in found.data["layers"]:
        place = (one["space"], one["layer"])
        expected = [mean[place, alpha] for alpha in VALUES]
        assert one["inner_ccc"] == pytest.approx(expected, abs=1e-5)
        several = [*one["ccc"]["dimensions"].values(), one["ccc"]]
        for dimension, score in zip((0, 1, -1), several, strict=True):
            value = drawn.estimates[str(place)]["ccc"][dimension]
            assert score["value"] == pytest.approx(value, abs=1e-5)
            interval = drawn.interval(str(place), "ccc", dimension)
            assert score["interval"] == pytest.approx(interval, abs=1e-3)
        of_one = np.array(clips["language"] == "deu")
        expected = ccc(truth[of_one], by_layer[place][of_one])
        assert one["ccc"]["by_language"]["deu"]["value"] == pytest.approx(expected, abs=1e-5)


def test_what_is_shown(found, tmp_path):
    assert found.chosen["space"] == "a"
    assert found.chosen["layer"] == 1
    assert json.loads(found.to_json()) == found.data
    frame = found.frame
    assert len(frame) == 5 * 4 * 3  # layers, all clips and three languages, mean and dimensions
    assert list(frame.columns[:6]) == ["space", "layer", "alpha", "language", "dimension", "ccc"]
    chosen = frame[frame.chosen & (frame.language == "all")].set_index("dimension").ccc
    assert chosen["mean"] == pytest.approx((chosen["arousal"] + chosen["valence"]) / 2)
    lines = found.table().splitlines()
    assert lines[1].split() == [
        *("layer", "CCC", "95", "%", "interval", "alpha", "arousal", "valence"),
        *("deu", "eng", "spa"),
    ]
    assert lines[3].split()[0] == "*1"
    assert all(len(line) == len(lines[1]) for line in lines[2:5])
    figure = found.plot(tmp_path / "p.png")
    assert len(figure.axes) == 4 * 3
    assert figure.axes[5].get_title() == "deu, arousal"


def test_one_dimension_has_no_column_of_its_own(corpus):
    _, clips, a, _ = corpus
    one = {**SPEC, "dimensions": {"valence": {"range": [1, 9]}}}
    rated = clips.select(clips["valence"] != "")
    found = probe(rated, a, Task.from_spec(one), alpha=[1.0], scheme="leave-one-language-out")
    assert "dimension" not in found.frame.columns
    assert "valence" not in found.table()
    assert [fold["name"] for fold in found.data["folds"]] == ["deu", "eng", "spa"]
    assert len(found.plot().axes) == 4


@pytest.mark.parametrize("scale", [True, "speaker"])
def test_threads_and_memory_change_nothing(corpus, scale, monkeypatch):
    from affekt.classify.probing import grid

    _, clips, a, b = corpus
    of = partial(probe, clips, {"a": a, "b": b}, Task.from_spec(SPEC), alpha=VALUES, scale=scale)
    whole = of(n_jobs=1)
    assert of(n_jobs=2).data == whole.data
    replaced = grid.replace
    monkeypatch.setattr(grid, "replace", lambda job, **new: replaced(job, **{**new, "memory": 0}))
    least = of()
    assert least.chosen == whole.chosen
    for one, other in zip(least.data["layers"], whole.data["layers"], strict=True):
        assert one["ccc"]["value"] == pytest.approx(other["ccc"]["value"], abs=1e-6)


def test_by_default_alpha_is_that_of_the_head(corpus):
    _, clips, a, _ = corpus
    found = best_layer(clips, a, Task.from_spec(SPEC))
    assert found["layer"] == 1
    assert found["alpha"] in ALPHAS
    assert found["ccc"] == max(found["by_layer"])


def test_input_errors(corpus):
    _, clips, a, _ = corpus
    task = Task.from_spec(SPEC)
    for options, words in (
        ({"alpha": []}, r"`alpha` is \[\]; expected numbers, as `alpha=\[1,10\]`"),
        ({"alpha": [-1.0]}, "`alpha` is -1.0; expected a finite number of at least 0"),
        ({"alpha": [1, 1]}, "expected each value once"),
        ({"C": [0.1]}, "'task' is a regression task, whose models have `alpha` in its place"),
    ):
        with pytest.raises(InputError, match=words):
            probe(clips, a, task, **options)
    with pytest.raises(
        InputError, match=r"'valence' is a classification task, whose .* have `C` in"
    ):
        probe(clips, a, "valence", alpha=[1.0])
    said = []
    same = clips.with_columns(arousal=["5"] * CLIPS)
    found = probe(same, a, task, alpha=[1.0], progress=said.append)
    assert found.data["layers"][0]["ccc"]["dimensions"]["arousal"]["value"] == 0
    assert any("every test rating of arousal is 5" in line for line in said)
    with pytest.raises(InputError, match=r"have the same ratings \(arousal 5, valence 3\)"):
        probe(same.with_columns(valence=["3"] * CLIPS), a, task)


def test_folds_that_cannot_be_trained_are_refused_with_what_helps_there(corpus):
    _, clips, a, _ = corpus
    own = [name == "s0" for name in clips["speaker"]]
    one = clips.with_columns(
        arousal=[str(n % 9 + 1) if there else "" for n, there in enumerate(own)],
        valence=["4", "5"] * (CLIPS // 2),
        label=["positive" if there else "negative" for there in own],
    )
    for task, words in (
        (Task.from_spec(SPEC), "none is rated for arousal; expected some in each: "),
        (Task.named("valence"), "the label 'negative' alone; expected at least two .*: "),
    ):
        with pytest.raises(InputError, match=f"{words}use fewer folds, or another --split"):
            probe(one, a, task)
        with pytest.raises(InputError, match=f"{words}.*; name a layer in place of probe"):
            best_layer(task.select(one)[0], a, task)


@pytest.mark.parametrize(
    ("task", "scale", "why"),
    [(Task.from_spec(SPEC), True, "the task has ratings"), ("valence", False, "scale is false")],
)
def test_another_device_is_refused_in_a_note(corpus, monkeypatch, task, scale, why):
    from affekt.classify.probing import grid

    _, clips, a, _ = corpus
    monkeypatch.setattr(grid, "choose_device", lambda device, work: device)
    labelled, said = clips.with_columns(label=["positive", "negative"] * (CLIPS // 2)), []
    probe(labelled, a, task, scale=scale, device="cuda", progress=said.append)
    assert f"{why}: models are trained on the processor; cuda is not used" in said


def test_the_choice_reaches_train_and_recipes(corpus, tmp_path):
    folder, _, a, b = corpus
    words = [str(folder / "clips.csv"), "--cache", str(folder / "c"), "--space", a.name]
    words += ["--task", str(folder / "affect.yaml")]
    result = CliRunner().invoke(
        affekt,
        [
            "train",
            *words,
            "--head",
            "ridge",
            "--layers",
            "probe",
            "--json",
            "-o",
            str(tmp_path / "m"),
        ],
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert said["chosen"]["layers"] == {a.name: 1}
    assert len(said["probed"][a.name]["by_layer"]) == LAYERS
    assert layers_of_members(folder, folder / "affect.yaml", "ridge", a, b, tmp_path) == [[1], [0]]


def test_the_command(corpus, tmp_path):
    folder, _, a, b = corpus
    words = ["probe", str(folder / "clips.csv"), "--cache", str(folder / "c")]
    words += ["--task", str(folder / "affect.yaml"), "--space", a.name, "--space", b.name]
    figure = tmp_path / "layers.svg"
    result = CliRunner().invoke(
        affekt, [*words, "--alpha", "1,100", "--json", "--figure", str(figure)]
    )
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["chosen"]["space"] == a.name
    assert (data["measure"], data["alpha"]) == ("ccc", [1.0, 100.0])
    assert figure.read_text().startswith("<?xml")
    result = CliRunner().invoke(affekt, [*words, "--C", "0.1"])
    assert "expected numbers, as --alpha 1,10" in str(result.exception)
