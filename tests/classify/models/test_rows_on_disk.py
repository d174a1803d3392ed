"""Features that stay on the disk give the models that features in memory give."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from affekt.cache import (
    Cache,
    InputError,
    Manifest,
    MissingError,
    Spec,
    row_key,
    text_digest,
)
from affekt.cache.care import pack
from affekt.classify import LogisticHead, Model, Task
from affekt.classify.heads import (
    ConcatFusionHead,
    LDAHead,
    MLPHead,
    MultiTaskHead,
    RegressionHead,
    RidgeHead,
)
from affekt.classify.heads.training import rows_on_disk as on_disk
from affekt.classify.models import read_features as reading
from sklearn.exceptions import ConvergenceWarning

CLIPS, DIM = 300, 16
LABELS = {2: ("negative", "positive"), 3: ("negative", "neutral", "positive")}
HEADS = {
    "logistic": LogisticHead(tol=1e-8),
    "lda": LDAHead(shrinkage="auto"),
    "mlp": MLPHead(hidden=(8,), max_epochs=3, batch_size=32, device="cpu"),
}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Clips in a cache of several shards, in another order, one of them twice."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": f"c{n}", "text": f"text {n % (CLIPS - 1)}", "speaker": f"s{n % 10}"}
        for n in range(CLIPS)
    ]
    clips = Manifest.from_rows(rows)
    cache = Cache(tmp_path_factory.mktemp("rows") / "my.cache")
    mixed = rng.permutation(CLIPS)
    layers = {"count": 2, "dim": DIM}
    spec = {"format": 1, "modality": "text", "encoder": {"name": "toy"}, "pooling": ""}
    space = cache.create(Spec({**spec, "layers": layers, "store_dtype": "float16"}))
    for part in np.array_split(mixed, 4):
        with space.writer() as writer:
            for n in part.tolist():
                key = row_key(space.key, "text", text_digest(clips["text"][n]))
                row = rng.standard_normal((2, DIM)) + 3 + 0.5 * (n % 3)
                writer.add(key, clips.ids[n], row.astype(np.float32))
    assert len(space.index.shards) == 4
    return clips, cache, space.name


@pytest.fixture
def small_memory(monkeypatch):
    """Call for anything to be left on the disk, and for blocks of 50 rows."""

    def use():
        monkeypatch.setattr(on_disk, "LARGE", 0)
        monkeypatch.setattr(on_disk, "BLOCK", 50 * DIM)
        monkeypatch.setattr(reading, "read_features", lambda *a, **k: pytest.fail("read whole"))

    return use


def labelled(clips, n):
    names = LABELS[n]
    return clips.with_columns(label=[names[i % n] for i in range(len(clips))])


def trained(clips, space, head, n, **options):
    clips = labelled(clips, n)
    train, dev = clips.select(np.arange(240)), clips.select(np.arange(240, CLIPS))
    model = Model(HEADS[head], Task.from_labels(LABELS[n]), space, **options)
    return model.fit(train, dev, allow_duplicates=True), model.predict(clips).proba


@pytest.mark.parametrize("n", LABELS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_model_is_the_one_that_is_trained_in_memory(
    stored, small_memory, tmp_path, head, n, packed
):
    clips, cache, name = stored
    space = Cache(pack(cache, tmp_path / "p.h5") if packed else cache.path).space(name)
    features = space.features(layers=1)
    memory, expected = trained(clips, features, head, n)
    small_memory()
    disk, found = trained(clips, features, head, n)
    np.testing.assert_allclose(disk.scaling.mean, memory.scaling.mean, rtol=1e-12)
    np.testing.assert_allclose(disk.scaling.deviation, memory.scaling.deviation, rtol=1e-12)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if head == "mlp":
        scores = [[row["dev_uar"] for row in model.head_.history_] for model in (disk, memory)]
        assert scores[0] == scores[1]
    else:
        np.testing.assert_allclose(disk.head_.coef_, memory.head_.coef_, atol=1e-6)


@pytest.mark.parametrize("options", [{"scale": False}, {"layers": "all"}, {"combine": "mean"}])
def test_other_features(stored, small_memory, options):
    clips, cache, name = stored
    space = cache.space(name)
    scale = options.get("scale", True)
    features = space.features(options.get("layers", [0, 1]), options.get("combine", "concat"))
    expected = trained(clips, features, "logistic", 3, scale=scale)[1]
    small_memory()
    found = trained(clips, features, "logistic", 3, scale=scale)[1]
    # features that are not scaled are ill-conditioned: where the solver stops is less exact
    np.testing.assert_allclose(found, expected, atol=1e-6 if scale else 1e-5)


def test_shares_of_votes_and_row_weights():
    """A distribution counts as scikit-learn's rows of each label, weighted by their shares."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((120, 5)).astype(np.float32)
    votes = rng.random((120, 3))
    weight = rng.integers(0, 3, 120)
    whole = LogisticHead(tol=1e-9).fit(X, votes, weight, classes=["a", "b", "c"])
    rows = on_disk.RowsOnDisk(X.__getitem__, 5, rng.permutation(120))
    found = LogisticHead(tol=1e-9).fit(rows, votes, weight, classes=["a", "b", "c"])
    assert pytest.approx(whole.C_) == found.C_
    np.testing.assert_allclose(found.coef_, whole.coef_, atol=1e-6)
    np.testing.assert_allclose(found.intercept_, whole.intercept_, atol=1e-6)
    with pytest.warns(ConvergenceWarning, match="after 2 iterations"):
        LogisticHead(max_iter=2).fit(rows, votes, classes=["a", "b", "c"])


@pytest.mark.parametrize("settings", [{}, {"shrinkage": "auto"}, {"priors": "train"}])
@pytest.mark.parametrize("width", [5, 200])
def test_lda_of_shares_of_votes(settings, width):
    """With more features than clips too, where it needs all clips at once."""
    rng = np.random.default_rng(4)
    X = 3 + rng.standard_normal((120, width))
    votes, weight = rng.random((120, 3)), rng.integers(0, 3, 120)
    rows = on_disk.RowsOnDisk(X.__getitem__, width, rng.permutation(120))
    whole, found = (
        LDAHead(**settings).fit(x, votes, weight, classes=["a", "b", "c"]) for x in (X, rows)
    )
    assert found.shrinkage_ == pytest.approx(whole.shrinkage_, rel=1e-9)
    np.testing.assert_allclose(found.coef_, whole.coef_, atol=1e-9)
    np.testing.assert_allclose(found.intercept_, whole.intercept_, atol=1e-9)


@pytest.mark.parametrize(
    ("alpha", "width"), [("auto", 5), ("auto", 200), (0.0, 5), (3.0, 5), (3.0, 200)]
)
def test_ridge_is_that_of_scikit_learn(small_memory, alpha, width):
    rng = np.random.default_rng(5)
    X = 100 + rng.standard_normal((150, width))
    y = X[:, :2] + rng.standard_normal((150, 2))
    y[::3, 1] = np.nan
    weight = rng.integers(0, 3, 150)
    rows = on_disk.RowsOnDisk(X.__getitem__, width, rng.permutation(150))
    small_memory()
    whole, found = (RidgeHead(alpha=alpha).fit(x, y, weight) for x in (X, rows))
    np.testing.assert_array_equal(found.alpha_, whole.alpha_)
    np.testing.assert_allclose(found.predict(rows), whole.predict(X), atol=1e-7)
    np.testing.assert_allclose(found.coef_, whole.coef_, atol=1e-7)


NETWORK = {"hidden": (8,), "max_epochs": 2, "batch_size": 32, "device": "cpu", "random_state": 0}


def numbers(y):
    return {"feeling": y, "strength": 1.0 * (y == "joy"), "both": np.stack([y, y[::-1]], axis=1)}


@pytest.mark.parametrize(
    ("head", "target"),
    [
        (RegressionHead(**NETWORK), "strength"),
        (MultiTaskHead(**NETWORK), "both"),
        (ConcatFusionHead(**NETWORK), "feeling"),
    ],
)
def test_other_networks_learn_block_by_block(monkeypatch, head, target):
    from sklearn.base import clone

    rng = np.random.default_rng(6)
    X = rng.standard_normal((120, 6)).astype(np.float32)
    y = numbers(np.where(X[:, 0] > 0, "joy", "fear"))[target]
    rows = on_disk.RowsOnDisk(X.__getitem__, 6, rng.permutation(120))
    monkeypatch.setattr(on_disk, "BLOCK", 6 * 50)
    whole, found = (clone(head).fit(x, y, X_dev=x, y_dev=y) for x in (X, rows))
    assert [row["dev_loss"] for row in found.history_] == pytest.approx(
        [row["dev_loss"] for row in whole.history_], rel=1e-5
    )
    np.testing.assert_array_equal(found.predict(X), whole.predict(X))
    np.testing.assert_allclose(
        getattr(found, "predict_proba", found.predict)(rows),
        getattr(whole, "predict_proba", whole.predict)(X),
        atol=1e-6,
    )


def test_targets_of_rows_on_disk_are_checked():
    rows = on_disk.RowsOnDisk(np.ones((4, 2)).__getitem__, 2, np.arange(4))
    for head in (RidgeHead(), RegressionHead()):
        with pytest.raises(ValueError, match="NaN"):
            head.fit(rows, [1.0, np.nan, 2.0, 3.0])


@pytest.mark.parametrize("head", HEADS)
def test_a_map_is_read_by_blocks(tmp_path, monkeypatch, head):
    """A head that is handed a large map never holds it as a whole."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((20_000, 96)).astype(np.float16)
    y = np.where(X[:, 0] > 0, "joy", "fear")
    X.tofile(tmp_path / "X")
    mapped = np.memmap(tmp_path / "X", np.float16, "r", shape=X.shape)
    from sklearn.base import clone

    made = clone(HEADS[head]).set_params(**({"C": 1.0} if head == "logistic" else {}))
    if head == "mlp":
        made.set_params(random_state=0, max_epochs=1, batch_size=256)
    expected = clone(made).fit(X.astype(np.float32), y).predict_proba(X)
    monkeypatch.setattr(on_disk, "LARGE", 1 << 20)
    monkeypatch.setattr(on_disk, "BLOCK", 1 << 16)
    tracemalloc.start()
    try:
        made.fit(mapped, y)
        found = made.predict_proba(mapped)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert most < 0.6 * X.size * 4  # of float32: in memory it takes 1 and more


def test_a_map_with_a_hole_is_refused(tmp_path, monkeypatch):
    X = np.zeros((50, 4), np.float16)
    X[7, 1] = np.nan
    X.tofile(tmp_path / "X")
    monkeypatch.setattr(on_disk, "LARGE", 0)
    mapped = np.memmap(tmp_path / "X", np.float16, "r", shape=X.shape)
    with pytest.raises(InputError, match="NaN or infinity"):
        LogisticHead().fit(mapped, ["a", "b"] * 25)


def test_clips_that_are_not_stored_are_named(stored, small_memory):
    _, cache, name = stored
    small_memory()
    more = Manifest.from_rows(
        [{"id": "new", "text": "never stored"}, {"id": "c0", "text": "text 0"}]
    )
    with pytest.raises(MissingError, match="new"):
        Model(LogisticHead(), Task.from_labels(LABELS[2]), cache.space(name).features()).fit(
            labelled(more, 2)
        )


def test_a_head_of_another_kind_and_scaling_within_groups_read_whole(stored, monkeypatch):
    """They need all rows at once; what they give is not changed by the limit."""
    from sklearn.tree import DecisionTreeClassifier

    clips, cache, name = stored
    clips = labelled(clips, 2)
    features, task = cache.space(name).features(), Task.from_labels(LABELS[2])
    monkeypatch.setattr(on_disk, "LARGE", 0)
    tree = Model(DecisionTreeClassifier(random_state=0), task, features).fit(clips)
    speakers = Model(LogisticHead(), task, features, scale="speaker").fit(clips)
    found = [model.predict(clips).proba for model in (tree, speakers)]
    monkeypatch.setattr(on_disk, "LARGE", 1 << 26)
    np.testing.assert_array_equal(found[0], tree.predict(clips).proba)
    np.testing.assert_array_equal(found[1], speakers.predict(clips).proba)


def test_rows_on_disk_are_an_array():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((40, 3))
    rows = on_disk.RowsOnDisk(X.__getitem__, 3, rng.permutation(40))
    keep = rng.random(40) < 0.5
    kept = rows.select(keep)
    assert (rows.shape, rows.size, len(kept)) == ((40, 3), 120, keep.sum())
    np.testing.assert_array_equal(kept.apply(lambda block: block), X[keep])
    np.testing.assert_array_equal(np.sort(kept.order), np.arange(keep.sum()))
    np.testing.assert_array_equal(kept.changed(np.negative).read(np.arange(2)), -X[keep][:2])
