"""Two modalities: interactions, missing sides, the toolkit's arithmetic, real speech and text."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.cache import Cache, Manifest
from affekt.cache.errors import InputError
from affekt.classify.heads import ConcatFusionHead, CrossAttentionFusionHead, MeanFusionHead
from affekt.extract import Encoder, extract
from sklearn.preprocessing import StandardScaler
from torch import nn

FUSIONS = [
    ConcatFusionHead(max_epochs=4, hidden=(32,), n_threads=1, random_state=0),
    MeanFusionHead(max_epochs=4, hidden=(32,), dim=32, n_threads=1, random_state=0),
    CrossAttentionFusionHead(
        max_epochs=4, d_model=16, n_blocks=1, n_attention_heads=2, feedforward=16, hidden=16,
        patch_size=4, n_threads=1, random_state=0,
    ),
    CrossAttentionFusionHead(attention="umuteam", max_epochs=4, n_threads=1, random_state=0),
]  # fmt: skip


def with_settings(head, **settings):
    return type(head)(**head.get_params() | settings)


def sides(rows=120, seed=0):
    """Speech tells sad from the rest, text glad from the rest."""
    rng = np.random.default_rng(seed)
    y = np.array(["sad", "calm", "glad"])[rng.integers(0, 3, rows)]
    speech = rng.standard_normal((rows, 8)) + 2 * (y == "sad")[:, None]
    text = rng.standard_normal((rows, 6)) + 2 * (y == "glad")[:, None]
    return speech, text, y


def xor(rows, seed, width=16):
    """The label is whether the signs planted in the two sides agree: neither side says anything."""
    rng = np.random.default_rng(seed)
    a, b = rng.choice([-1.0, 1.0], (2, rows))
    X = 0.5 * rng.standard_normal((rows, 2 * width))
    X[:, 0:4] += a[:, None]
    X[:, width : width + 4] += b[:, None]
    return X, np.where(a * b > 0, "agree", "differ")


def test_cross_attention_solves_an_xor_of_the_sides_that_concat_linear_cannot():
    (X, y), (X_test, y_test) = xor(400, 0), xor(400, 1)
    scores = {}
    for head in (
        CrossAttentionFusionHead(
            widths=(16, 16), patch_size=8, d_model=32, feedforward=64, n_attention_heads=4,
            hidden=32, max_epochs=18, learning_rate=3e-3, dropout=0.0, n_threads=1, random_state=0,
        ),
        ConcatFusionHead(
            widths=(16, 16), hidden=(), max_epochs=25, learning_rate=1e-2, n_threads=1,
            random_state=0,
        ),
    ):  # fmt: skip
        scores[head.name] = head.fit(X, y).score(X_test, y_test)
    assert scores["cross-attention"] > 0.95
    assert scores["concat"] < 0.6


@pytest.mark.parametrize("head", FUSIONS, ids=lambda head: f"{head.name}")
@pytest.mark.parametrize("side", ["speech", "text"])
def test_a_signal_in_either_side_is_found(head, side):
    rng = np.random.default_rng(0)
    y = np.repeat(["sad", "glad"], 60)
    speech, text = rng.standard_normal((120, 8)), rng.standard_normal((120, 6))
    (speech if side == "speech" else text)[:] += 2.5 * (y == "sad")[:, None]
    head = with_settings(head, widths=(8, 6), max_epochs=20, learning_rate=1e-2)
    X = np.hstack([speech, text])
    train = np.arange(120) % 2 == 0
    assert head.fit(X[train], y[train]).score(X[~train], y[~train]) > 0.9


@pytest.mark.parametrize("head", FUSIONS, ids=lambda head: head.name)
def test_missing_sides_are_an_error_by_default(head):
    speech, text, y = sides(30)
    text[[4, 9]] = np.nan
    head = with_settings(head, widths=(8, 6))
    with pytest.raises(InputError, match="of 30 clips, 0 lack the first modality and 2 the second"):
        head.fit(np.hstack([speech, text]), y)
    head.fit(np.hstack([speech, np.nan_to_num(text)]), y)
    with pytest.raises(InputError, match="2 of 30 clips lack a modality"):
        head.predict(np.hstack([speech, text]))


@pytest.mark.parametrize("head", FUSIONS, ids=lambda head: head.name)
def test_drop_trains_without_them_and_refuses_to_predict_them(head):
    speech, text, y = sides(30)
    text[[4, 9]] = np.nan
    speech[20] = np.nan
    X = np.hstack([speech, text])
    head = with_settings(head, widths=(8, 6), missing="drop").fit(X, y, X_dev=X, y_dev=y)
    counts = {"clips": 30, "first_missing": 1, "second_missing": 2, "left_out": 3}
    assert head.missing_ == {"train": counts, "dev": counts}
    whole = ~np.isnan(X).any(axis=1)
    plain = with_settings(head, missing="error")
    plain.fit(X[whole], y[whole], X_dev=X[whole], y_dev=y[whole])
    assert np.array_equal(head.predict_proba(X[whole]), plain.predict_proba(X[whole]))
    with pytest.raises(InputError, match="cannot predict"):
        head.predict(X)


@pytest.mark.parametrize("head", FUSIONS, ids=lambda head: head.name)
def test_predict_learns_from_what_is_there_and_predicts_with_either_side(head):
    rng = np.random.default_rng(5)
    y = np.repeat(["sad", "glad"], 80)
    speech = rng.standard_normal((160, 8)) + 1.5 * (y == "sad")[:, None]
    text = rng.standard_normal((160, 6)) + 1.5 * (y == "sad")[:, None]
    train = np.arange(160) % 2 == 0
    X = np.hstack([speech, text])
    X[:12, :8] = np.nan
    X[40:60, 8:] = np.nan
    head = with_settings(
        head, widths=(8, 6), missing="predict", max_epochs=20, learning_rate=1e-2
    ).fit(X[train], y[train])
    assert head.missing_["train"]["first_missing"] == 6
    assert head.missing_["train"]["left_out"] == 0
    for lost in (slice(0, 8), slice(8, None), slice(0, 0)):
        test = np.hstack([speech, text])[~train]
        test[:, lost] = np.nan
        assert head.score(test, y[~train]) > 0.85
    test[:] = np.nan
    with pytest.raises(InputError, match="lack both modalities"):
        head.predict(test)
    again = type(head).from_state(*head.get_state())
    half = np.hstack([speech, np.full_like(text, np.nan)])
    assert np.array_equal(again.predict_proba(half), head.predict_proba(half))


def test_half_a_side_is_never_a_missing_side():
    speech, text, y = sides(30)
    text[3, :2] = np.nan
    for missing in ("error", "drop", "predict"):
        head = ConcatFusionHead(widths=(8, 6), missing=missing)
        with pytest.raises(InputError, match=r"NaN in some columns of one modality \(row 3\)"):
            head.fit(np.hstack([speech, text]), y)


def test_widths_are_checked():
    speech, text, y = sides(30)
    X = np.hstack([speech, text])
    with pytest.raises(InputError, match=r"14 features, widths=\(8, 7\) add up to 15"):
        ConcatFusionHead(widths=(8, 7)).fit(X, y)
    with pytest.raises(InputError, match="`widths` is 14"):
        ConcatFusionHead(widths=14).fit(X, y)
    with pytest.raises(InputError, match="is not 3 layers of equal width"):
        CrossAttentionFusionHead(widths=(8, 6), n_layers=(3, 3)).fit(X, y)


def test_layers_of_both_sides_are_tokens_or_mixed():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 160)
    speech = rng.standard_normal((160, 3, 8))
    text = rng.standard_normal((160, 2, 4))
    speech[:, 1] += 2.0 * y[:, None]
    X = np.hstack([speech.reshape(160, -1), text.reshape(160, -1)])
    common = {"widths": (24, 8), "n_layers": (3, 2), "n_threads": 1, "random_state": 0}
    tokens = CrossAttentionFusionHead(
        **common, tokens="layers", d_model=16, n_attention_heads=2, max_epochs=12
    ).fit(X, y)
    body = tokens.networks_[0].body
    assert body.tokens[0].position.shape == (1, 3, 16)
    assert body.tokens[1].position.shape == (1, 2, 16)
    assert tokens.score(X, y) > 0.9
    mixed = ConcatFusionHead(**common, layer_mix=True, max_epochs=30).fit(X, y)
    speech_weights, text_weights = mixed.layer_weights_
    assert speech_weights.argmax() == 1
    assert len(text_weights) == 2
    assert mixed.score(X, y) > 0.9
    with pytest.raises(InputError, match="mixed layers are one token"):
        CrossAttentionFusionHead(**common, tokens="layers", layer_mix=True).fit(X, y)


def test_attention_goes_both_ways_over_the_tokens_of_the_other_side():
    """Moving one patch of a side moves the other side's tokens, and only through attention."""
    head = CrossAttentionFusionHead(
        widths=(16, 12), patch_size=4, d_model=8, n_blocks=1, n_attention_heads=2, feedforward=8,
        hidden=8, random_state=0,
    )  # fmt: skip
    body = head._build(28, 3).body.eval()
    speech, text = torch.randn(2, 16), torch.randn(2, 12)
    seen = {}
    for i, direction in enumerate(body.blocks[0].children()):
        direction.register_forward_hook(lambda _, __, out, i=i: seen.update({i: out}))
    body(speech, text)
    first = {i: out.clone() for i, out in seen.items()}
    assert first[0].shape == (2, 4, 8)  # speech: 4 patches, each looked at 3 of text
    assert first[1].shape == (2, 3, 8)
    moved = text.clone()
    moved[:, 8:] += 1.0
    body(speech, moved)
    assert (seen[0] - first[0]).abs().amin(dim=2).max() > 0  # every speech token noticed
    moved = speech.clone()
    moved[:, :4] += 1.0
    body(moved, text)
    assert (seen[1] - first[1]).abs().max() > 0


class ToolkitHead(nn.Module):
    """One head of the toolkit's `multihead` mode, with its queries and keys."""

    def __init__(self, dim):
        super().__init__()
        for name in ("Wq", "Wk", "Wv", "Wq_reverse", "Wk_reverse", "Wv_reverse"):
            setattr(self, name, nn.Linear(dim, dim))
        self.norm = nn.LayerNorm(dim)
        self.linear_out = nn.Linear(2 * dim, dim)

    def forward(self, text, speech):  # (batch, dim): the batch axis acts as the sequence
        values = self.Wv(speech)
        first = nn.functional.scaled_dot_product_attention(
            self.norm(self.Wq(text)), self.norm(self.Wk(speech)), values
        )
        reverse = self.Wv_reverse(text)
        second = nn.functional.scaled_dot_product_attention(
            self.Wq_reverse(speech), self.Wk_reverse(text), reverse
        )
        return self.linear_out(torch.cat([first + values, second + reverse], dim=-1))


def test_umuteam_equals_the_toolkits_equations_one_clip_at_a_time():
    torch.manual_seed(0)
    dim, classes = 12, 6
    head = CrossAttentionFusionHead(attention="umuteam", widths=(dim, dim), random_state=0)
    ours = head._build(2 * dim, classes).double().eval()
    heads = nn.ModuleList(ToolkitHead(dim) for _ in range(8)).double()
    for mine, theirs in zip(ours.body.heads, heads, strict=True):
        theirs.load_state_dict(mine.state_dict(), strict=False)  # Wq, Wk, norm: as they come
    speech, text = torch.randn(2, 5, dim, dtype=torch.float64)
    expected = []
    for i in range(5):
        one = slice(i, i + 1)
        fused = ours.body.proj(torch.cat([h(text[one], speech[one]) for h in heads], dim=-1))
        expected.append(ours.body.out_proj(torch.tanh(ours.body.dense(fused))))
    found = ours(torch.cat([speech, text], dim=1))
    torch.testing.assert_close(found, torch.cat(expected), rtol=0, atol=1e-12)
    # what the toolkit computes for a whole batch is something else: clips mix
    mixed = ours.body.proj(torch.cat([h(text, speech) for h in heads], dim=-1))
    assert (ours.body.out_proj(torch.tanh(ours.body.dense(mixed))) - found).abs().max() > 1e-3


def test_umuteam_parameters_at_the_toolkits_size():
    head = CrossAttentionFusionHead(attention="umuteam", widths=(768, 768))
    with torch.device("meta"):
        network = head._build(1536, 6)
    counts = {name: p.numel() for name, p in network.named_parameters()}
    d = 768
    per_head = 2 * (d * d + d) + 2 * d * d + d
    assert sum(n for name, n in counts.items() if ".heads." in name) == 8 * per_head
    assert counts["body.proj.0.weight"] == 6144 * 768


def test_plain_mean_is_the_seeds_and_unequal_sides_are_projected():
    head = MeanFusionHead(widths=(6, 6), dim=None, input_dropout=0.0)
    network = head._build(12, 2).eval()
    speech, text = torch.randn(2, 3, 6)
    expected = network.body.mlp((speech + text) / 2)
    torch.testing.assert_close(network(torch.cat([speech, text], 1)), expected)
    uneven = MeanFusionHead(widths=(8, 6), dim=None)._build(14, 2).body.projections
    assert [type(p).__name__ for p in uneven] == ["Linear", "Identity"]


@pytest.mark.data
@pytest.mark.parametrize("name", ["nemo", "ravdess", "emodb"])
def test_fusion_trains_on_real_speech_and_text_and_predicts_with_either(
    shared_data, tmp_path, name
):
    clips = Manifest.read(shared_data / name / "manifest.csv")
    clips = clips.select(np.arange(len(clips)) % 8 == 0)
    cache = Cache(tmp_path)
    sides = [
        cache.read(extract(clips, cache, Encoder(encoder)), clips, layers=-1)
        for encoder in ("spectral", "ngram")
    ]
    X, y = StandardScaler().fit_transform(np.hstack(sides)), clips["label"].astype(str)
    widths = tuple(side.shape[1] for side in sides)
    for head in FUSIONS[:3]:
        more = {"patch_size": 64} if head.name == "cross-attention" else {}
        fitted = with_settings(
            head, widths=widths, missing="predict", max_epochs=8, learning_rate=5e-3, **more
        ).fit(X, y)
        for lost in (slice(0, 0), slice(widths[0], None), slice(0, widths[0])):
            seen = X.copy()
            seen[:, lost] = np.nan
            proba = fitted.predict_proba(seen)
            np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-12)
        assert fitted.score(X, y) > 1.5 / len(fitted.classes_)
