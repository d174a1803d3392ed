"""The training loop: early stopping, schedule, interruption, divergence, progress, callback."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.cache.errors import InputError
from affekt.classify.heads import MLPHead, PatchTransformerHead
from affekt.classify.heads.training import loop
from affekt.classify.heads.training.loop import DivergedError, Settings, pick_device, train
from sklearn.metrics import recall_score
from torch import nn


def corpus(rows=90, seed=0):
    rng = np.random.default_rng(seed)
    y = np.array(["sad", "calm", "glad"])[rng.integers(0, 3, rows)]
    X = rng.standard_normal((rows, 4)) + (y[:, None] == np.array(["sad", "glad", "sad", "calm"]))
    return X, y


def head(**settings):
    return MLPHead(
        **{"max_epochs": 12, "hidden": (8,), "random_state": 0, "n_threads": 1}
        | {"early_stopping": True}
        | settings
    )


def test_the_best_dev_epoch_is_kept_and_scored_as_scikit_learn_does():
    (X, y), (X_dev, y_dev) = corpus(), corpus(seed=1)
    fitted = head(learning_rate=0.02).fit(X, y, X_dev=X_dev, y_dev=y_dev)
    best = max(fitted.history_, key=lambda row: (row["dev_uar"], -row["dev_loss"]))
    assert fitted.best_epoch_ == best["epoch"]
    uar = recall_score(y_dev, fitted.predict(X_dev), average="macro")
    assert uar == pytest.approx(best["dev_uar"], abs=1e-12)


def test_patience_stops_and_no_dev_means_all_epochs():
    X, y = corpus()
    noise = np.random.default_rng(0).permutation(y)
    fitted = head(max_epochs=200, patience=3).fit(X, y, X_dev=X, y_dev=noise)
    assert fitted.stopped_ == "patience"
    assert len(fitted.history_) == fitted.best_epoch_ + 3
    fitted = head().fit(X, y)
    assert fitted.stopped_ == "max_epochs"
    assert len(fitted.history_) == fitted.best_epoch_ == 12
    assert "dev_uar" not in fitted.history_[0]
    fitted = head(patience=None).fit(X, y, X_dev=X, y_dev=noise)
    assert len(fitted.history_) == 12


@pytest.mark.parametrize("kind", [MLPHead, PatchTransformerHead])
def test_by_default_dev_is_recorded_and_does_not_choose_the_epoch(kind):
    (X, y), (X_dev, y_dev) = corpus(), corpus(seed=1)
    small = {"d_model": 8, "n_blocks": 1, "n_attention_heads": 1, "feedforward": 8}
    settings = {"max_epochs": 6, "patience": 1, "random_state": 0, "n_threads": 1}
    settings |= small if kind is PatchTransformerHead else {}
    alone = kind(**settings).fit(X, y)
    watched = kind(**settings).fit(X, y, X_dev=X_dev, y_dev=y_dev)
    assert np.array_equal(alone.predict_proba(X), watched.predict_proba(X))
    assert (watched.best_epoch_, watched.stopped_) == (6, "max_epochs")
    assert all("dev_uar" in row for row in watched.history_)
    with pytest.raises(InputError, match="early_stopping"):
        kind(early_stopping="yes").fit(X, y)


def test_interrupted_without_early_stopping_keeps_the_last_epoch():
    (X, y), (X_dev, y_dev) = corpus(), corpus(seed=1)

    def interrupt(row):
        if row["epoch"] == 5:
            raise KeyboardInterrupt

    fitted = head(callback=interrupt, early_stopping=False)
    fitted.fit(X, y, X_dev=X_dev, y_dev=y_dev)
    assert (fitted.best_epoch_, fitted.stopped_) == (5, "interrupted")


def test_warm_up_then_cosine():
    X, _ = corpus(64)
    rates = []
    network = nn.Linear(4, 3)
    data = torch.from_numpy(X.astype(np.float32))
    settings = Settings(0.1, 0.0, 20, None, 0.1, None)
    trained = train(
        network,
        lambda rows: network(data[rows]).square().mean(),
        lambda: [np.arange(64)],
        settings,
        steps_per_epoch=1,
        callback=lambda row: rates.append(row["learning_rate"]),
    )
    cosine = 0.05 * (1 + np.cos(np.pi * np.arange(18) / 18))
    np.testing.assert_allclose(rates, [0.05, 0.1, *cosine])
    assert [row["epoch"] for row in trained.history] == list(range(1, 21))


def test_ctrl_c_keeps_the_best_epoch_so_far():
    (X, y), (X_dev, y_dev) = corpus(), corpus(seed=1)

    def interrupt(row):
        if row["epoch"] == 5:
            raise KeyboardInterrupt

    fitted = head(callback=interrupt, n_members=3).fit(X, y, X_dev=X_dev, y_dev=y_dev)
    assert fitted.stopped_ == "interrupted"
    assert len(fitted.networks_) == 1
    assert fitted.best_epoch_ <= 5 == len(fitted.history_)
    whole = head(n_members=1).fit(X, y, X_dev=X_dev, y_dev=y_dev)
    assert fitted.history_[2]["train_loss"] == whole.history_[2]["train_loss"]
    restored = MLPHead.from_state(*fitted.get_state())
    assert np.array_equal(restored.predict_proba(X), fitted.predict_proba(X))

    def at_once(row):
        raise KeyboardInterrupt

    class Early(MLPHead):
        def _network(self, width, outputs):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):  # nothing was learnt yet
        Early(max_epochs=2).fit(X, y)


def test_a_loss_that_is_not_finite_is_an_error_with_advice():
    X, y = corpus()
    with pytest.raises(DivergedError, match="learning_rate below 1e"):
        head(learning_rate=1e30, clip_norm=None, max_epochs=30).fit(X * 1e6, y)


def test_progress_goes_to_stderr_with_loss_uar_and_time_left(capsys):
    X, y = corpus()
    head(verbose=True).fit(X, y, X_dev=X, y_dev=y)
    out, err = capsys.readouterr()
    assert out == ""
    assert "mlp: 100%" in err
    assert "train_loss=" in err
    assert "dev_uar=" in err
    assert "<" in err  # elapsed<remaining


def test_random_state_may_be_a_generator_or_none_and_globals_stay():
    X, y = corpus()
    state, threads = np.random.get_state()[1].copy(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    first = head(random_state=np.random.RandomState(3)).fit(X, y)
    again = head(random_state=np.random.RandomState(3)).fit(X, y)
    assert np.array_equal(first.predict_proba(X), again.predict_proba(X))
    assert np.array_equal(np.random.get_state()[1], state)
    head(n_threads=2).fit(X, y)
    assert torch.get_num_threads() == threads
    assert torch.are_deterministic_algorithms_enabled() == deterministic


def test_members_differ_and_their_probabilities_are_averaged():
    X, y = corpus()
    fitted = head(n_members=3).fit(X, y)
    single = [torch.softmax(logits, 1).numpy() for logits in fitted._outputs(X)]
    assert not np.array_equal(single[0], single[1])
    np.testing.assert_allclose(fitted.predict_proba(X), np.mean(single, axis=0))
    assert {row["member"] for row in fitted.history_} == {0, 1, 2}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"learning_rate": -1}, "`learning_rate` is -1"),
        ({"batch_size": 0}, "`batch_size` is 0"),
        ({"max_epochs": 1.5}, "`max_epochs` is 1.5"),
        ({"dropout": 2}, "`dropout` is 2"),
        ({"loss": "focl"}, "Did you mean 'focal'"),
        ({"activation": "rely"}, "Did you mean 'relu'"),
        ({"hidden": 5}, "`hidden` is 5"),
        ({"hidden": (8, 9_999_999_999_999)}, "`hidden` is 9999999999999; .*from 1 to 16384"),
        ({"n_threads": 10**12}, "`n_threads` is 1000000000000"),
        ({"sampling": "speaker"}, "`sampling` is 'speaker'"),
        ({"sampling": "group"}, "needs fit"),
        ({"class_weight": {"sadd": 2}}, "Did you mean 'sad'"),
        ({"logit_adjustment": 1.0}, "set class_weight=None"),
        ({"n_layers": 3}, "not 3 layers of equal width"),
        ({"device": "gpu9"}, "device 'gpu9'"),
    ],
)
def test_settings_are_checked_before_any_work(settings, words):
    X, y = corpus()
    with pytest.raises(InputError, match=words):
        head(**settings).fit(X, y)


def test_a_number_of_layers_is_checked_with_the_other_settings():
    with pytest.raises(InputError, match="`n_layers` is None"):
        head(n_layers=None)._check_settings()


def test_dev_data_have_to_be_whole():
    X, y = corpus()
    with pytest.raises(InputError, match="belong together"):
        head().fit(X, y, X_dev=X)
    with pytest.raises(InputError, match="expected as many"):
        head().fit(X, y, X_dev=X, y_dev=y[:-1])


def test_auto_is_the_cpu_without_a_gpu():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert pick_device("auto").type == expected
    assert pick_device("cpu").type == "cpu"


@pytest.mark.gpu
def test_gpu_probabilities_agree_with_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    X, y = corpus()
    settings = {"max_epochs": 3, "dropout": 0.0, "d_model": 32, "random_state": 0}
    settings |= {"precision": "highest"}
    found = [
        PatchTransformerHead(**settings, device=device).fit(X, y).predict_proba(X)
        for device in ("cpu", "cuda")
    ]
    np.testing.assert_allclose(*found, atol=1e-3)


def test_the_layer_mix_finds_a_planted_layer():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 240)
    layers = rng.standard_normal((240, 6, 8))
    layers[:, 4] += np.where(y, 1.0, -1.0)[:, None]
    X = layers.reshape(240, -1)
    fitted = head(n_layers=6, layer_mix=True, max_epochs=40, hidden=()).fit(X, y)
    weights = fitted.layer_weights_
    assert weights.shape == (6,)
    assert weights.sum() == pytest.approx(1)
    assert weights.argmax() == 4
    assert weights[4] > 0.5
    assert head().fit(X, y).layer_weights_ is None
    restored = MLPHead.from_state(*fitted.get_state())
    assert np.array_equal(restored.layer_weights_, weights)


@pytest.mark.parametrize("faster", [True, False])
def test_products_go_to_onednn_where_that_is_faster_and_only_in_training(faster, monkeypatch):
    monkeypatch.setattr(loop, "onednn_is_faster", lambda: faster)
    seen = set()

    class Probe(nn.Linear):
        def forward(self, x):
            seen.add((self.training, torch.get_float32_matmul_precision()))
            return super().forward(x)

    X, y = corpus()
    network = Probe(4, 3)
    targets = torch.from_numpy(np.unique(y, return_inverse=True)[1])
    rows = torch.from_numpy(X).float()

    def loss(batch):
        return nn.functional.cross_entropy(network(rows[batch]), targets[batch])

    def score():
        return (float(network(rows).sum()),), {}

    settings = Settings(0.01, 0.0, 2, None, 0.1, 1.0)
    batches = [np.arange(45), np.arange(45, 90)]
    train(network, loss, lambda: batches, settings, steps_per_epoch=2, score=score)
    assert seen == {(True, "medium" if faster else "highest"), (False, "highest")}
    assert torch.get_float32_matmul_precision() == "highest"


def test_a_head_learns_where_the_process_has_used_the_newer_settings(monkeypatch):
    monkeypatch.setattr(loop, "onednn_is_faster", lambda: True)
    place = torch.backends.mkldnn.matmul
    before = place.fp32_precision
    place.fp32_precision = "tf32"
    try:
        head(max_epochs=1).fit(*corpus())
        assert place.fp32_precision == "tf32"
    finally:
        place.fp32_precision = before
