"""The valence head: sizes from shapes, probabilities against the equations, doubts refused."""

from __future__ import annotations

import pickle  # noqa: TID251 - makes the scaler that has to be converted

import numpy as np
import pytest
from affekt.cache import InputError
from affekt.classify.models.published.vocametrix import load_vocametrix
from affekt.classify.models.published.vocametrix_layout import read_layout
from affekt.classify.models.scalers.plain_scaler import convert_scaler
from safetensors.torch import load_file
from sklearn.preprocessing import StandardScaler

from tests.support.vocametrix_models import DEFAULTS, SMALL, A, B, C, tensors, write


def expected(state, X, *, patch, heads, gelu=False, head_gelu=None, norm_first=False, **parts):
    """The card's network, written out in float64: ``(clips, classes)`` probabilities."""
    s = {name: value.double().numpy() for name, value in state.items()}
    names = parts.get("names", ("patch_embedding", "cls_token", "pos_embedding"))
    first, last = parts.get("head", ("classifier.0", "classifier.3"))
    stem = parts.get("stem", "transformer.")
    X = np.asarray(X, dtype=np.float64)
    X = np.pad(X, ((0, 0), (0, -X.shape[1] % patch)))
    tokens = X.reshape(len(X), -1, patch) @ s[f"{names[0]}.weight"].T + s[f"{names[0]}.bias"]
    cls = np.broadcast_to(s[names[1]], (len(X), 1, tokens.shape[2]))
    positions = s[names[2]]
    if positions.shape[1] == tokens.shape[1]:
        x = np.concatenate([cls, tokens + positions], 1)
    else:
        x = np.concatenate([cls, tokens], 1) + positions
    blocks = len([name for name in s if name.endswith("linear1.bias")])
    for block in range(blocks):
        w = {n.removeprefix(f"{stem}layers.{block}."): v for n, v in s.items()}
        if norm_first:
            x = x + attention(norm(x, w, "norm1"), w, heads)
            x = x + feed(norm(x, w, "norm2"), w, gelu)
        else:
            x = norm(x + attention(x, w, heads), w, "norm1")
            x = norm(x + feed(x, w, gelu), w, "norm2")
    x = x[:, 0]
    for extra in parts.get("norms", ()):
        x = norm(x, s, extra)
    x = active(x @ s[f"{first}.weight"].T + s[f"{first}.bias"], head_gelu or gelu)
    logits = x @ s[f"{last}.weight"].T + s[f"{last}.bias"]
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def attention(x, w, heads):
    rows, length, dim = x.shape
    q, k, v = np.split(x @ w["self_attn.in_proj_weight"].T + w["self_attn.in_proj_bias"], 3, axis=2)
    q, k, v = (a.reshape(rows, length, heads, -1).transpose(0, 2, 1, 3) for a in (q, k, v))
    scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(dim // heads)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    joined = (weights @ v).transpose(0, 2, 1, 3).reshape(rows, length, dim)
    return joined @ w["self_attn.out_proj.weight"].T + w["self_attn.out_proj.bias"]


def feed(x, w, gelu):
    inner = active(x @ w["linear1.weight"].T + w["linear1.bias"], gelu)
    return inner @ w["linear2.weight"].T + w["linear2.bias"]


def norm(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def active(x, gelu):
    if not gelu:
        return np.maximum(x, 0)
    from scipy.special import erf

    return x * (1 + erf(x / np.sqrt(2))) / 2


def inputs(width, rows=3):
    return np.random.default_rng(5).normal(0, 1, (rows, width)).astype("f4")


@pytest.mark.parametrize(
    ("sizes", "parameters"), [(A, 3_212_547), (B, 8_590_851), (C, 3_213_571)], ids="ABC"
)
def test_published_layouts(tmp_path, sizes, parameters):
    """No size is said: width, patches, layers and classes come from the tensors alone."""
    state = tensors(**sizes)
    assert sum(value.numel() for value in state.values()) == pytest.approx(parameters, rel=1e-3)
    model = load_vocametrix(write(tmp_path, state), scaler=False, **DEFAULTS)
    assert model.width == sizes["width"]
    layout = model.layout
    assert (layout.d_model, layout.patches) == (sizes["d_model"], sizes["width"] // 64)
    assert (layout.n_blocks, layout.feedforward, layout.hidden) == (4, 1024, sizes["hidden"])
    assert model.labels == ("negative", "neutral", "positive")
    X = inputs(sizes["width"], rows=2)
    # of layout B PyTorch's own float32 is 4e-6 off, by the processor
    np.testing.assert_allclose(
        model.predict_proba(X), expected(state, X, patch=64, heads=8), atol=1e-5
    )


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("norm_first", [False, True])
def test_variants_against_the_equations(tmp_path, gelu, norm_first):
    state = tensors(**SMALL)
    model = load_vocametrix(
        write(tmp_path, state),
        scaler=False,
        input_dim=40,
        nhead=4,
        activation="gelu" if gelu else "relu",
        norm_first=norm_first,
    )
    X = inputs(40)
    wanted = expected(state, X, patch=8, heads=4, gelu=gelu, norm_first=norm_first)
    np.testing.assert_allclose(model.predict_proba(X), wanted, atol=2e-6)


def test_padding_other_names_and_norms(tmp_path):
    names = ("embed", "cls", "pos_embed", "head.1", "head.4")
    norms = ("model.encoder.norm", "head.0")
    sizes = {**SMALL, "width": 37, "classes": 4}
    state = tensors(**sizes, stem="model.encoder.", names=names, norms=norms, cls_position=False)
    config = {"nhead": 2, "activation": "GELU", "norm_first": True, "head_activation": "relu"}
    config |= {"id2label": {"0": "d", "1": "c", "2": "b", "3": "a"}}
    model = load_vocametrix(write(tmp_path, state, config), scaler=False, input_dim=37)
    assert model.labels == ("d", "c", "b", "a")
    X = inputs(37)
    wanted = expected(
        state,
        X,
        patch=8,
        heads=2,
        gelu=True,
        norm_first=True,
        names=names,
        head=("head.1", "head.4"),
        stem="model.encoder.",
        norms=norms,
    )
    assert not model.layout.cls_has_position
    found = model.predict_proba(X)
    assert np.abs(found - wanted).max() > 1e-6  # the last activation is another
    folder = write(tmp_path / "g", state, {**config, "head_activation": "gelu"})
    model = load_vocametrix(folder, scaler=False, input_dim=37)
    np.testing.assert_allclose(model.predict_proba(X), wanted, atol=2e-6)
    head = model.as_head()  # two norms, no position for CLS
    assert list(head.classes_) == ["a", "b", "c", "d"]
    np.testing.assert_allclose(head.predict_proba(X)[:, ::-1], wanted, atol=2e-6)


def test_as_a_head_of_ours(tmp_path):
    state = tensors(**SMALL)
    labels = ["positive", "negative", "neutral"]
    settings = {**DEFAULTS, "nhead": 4, "labels": labels}
    model = load_vocametrix(write(tmp_path, state), scaler=False, input_dim=40, **settings)
    head = model.as_head()
    X = inputs(40)
    order = [labels.index(label) for label in head.classes_]
    np.testing.assert_allclose(head.predict_proba(X), model.predict_proba(X)[:, order], atol=1e-6)


@pytest.fixture
def scaled(tmp_path):
    """A folder as it is published, with the pickled scaler."""
    X = np.random.default_rng(3).normal(4, 3, (60, 40))
    scaler = StandardScaler().fit(X)
    folder = write(tmp_path / "published", tensors(**SMALL), {**DEFAULTS, "nhead": 4})
    (folder / "emotion_classifier_scaler.pkl").write_bytes(pickle.dumps(scaler))
    return folder, scaler


def test_the_scaler_is_never_unpickled(scaled):
    folder, _ = scaled
    with pytest.raises(InputError, match=r"convert-scaler .*--i-trust-this-file"):
        load_vocametrix(folder)


def test_the_scaler_gives_the_width(scaled):
    folder, scaler = scaled
    convert_scaler(
        folder / "emotion_classifier_scaler.pkl", folder / "scaler.safetensors", trust=True
    )
    model = load_vocametrix(folder)
    assert model.width == 40
    X = np.random.default_rng(4).normal(4, 3, (5, 40)).astype("f4")
    state = load_file(folder / "emotion_classifier_complete.safetensors")
    wanted = expected(state, scaler.transform(X), patch=8, heads=4)
    np.testing.assert_allclose(model.predict_proba(X), wanted, atol=5e-6)
    with pytest.raises(InputError, match=r"\(5, 39\).*\(clips, 40\)"):
        model.predict_proba(X[:, :39])
    X[0, 0] = np.nan
    with pytest.raises(InputError, match="NaN"):
        model.predict_proba(X)


def test_a_scaler_of_another_width(scaled, tmp_path):
    folder, _ = scaled
    source = tmp_path / "s.pkl"
    source.write_bytes(pickle.dumps(StandardScaler().fit(np.random.randn(9, 24))))
    convert_scaler(source, tmp_path / "s.safetensors", trust=True)
    with pytest.raises(InputError, match="24 inputs make 3 patches of 8; the file has 6 positions"):
        load_vocametrix(folder, scaler=tmp_path / "s.safetensors")


SHAPES = {name: tuple(value.shape) for name, value in tensors(**SMALL).items()}


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_one_missing_tensor_is_refused_by_name(name):
    less = {key: shape for key, shape in SHAPES.items() if key != name}
    with pytest.raises(InputError) as error:
        read_layout(less, 40)
    stem = name.removesuffix(".weight").removesuffix(".bias")
    roles = {"cls_token": "'cls'", "pos_embedding": "'pos'"}
    if stem in ("patch_embedding", "classifier.0", "classifier.3") and name.endswith("weight"):
        assert "0 ways to read" in str(error.value)
        assert stem not in str(error.value)
    elif name == "transformer.layers.0.linear1.weight":
        assert "linear1.weight" in str(error.value)
    else:
        assert roles.get(name, name) in str(error.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("extra", (3,)),
        ("norm.weight", (16,)),  # before or after the encoder: nobody knows
        ("classifier.1.running_mean", (12,)),
        ("transformer.layers.0.norm3.weight", (16,)),
        ("second.layers.0.linear1.weight", (24, 16)),
        ("cls_token_2", (1, 1, 16)),
        ("position_2", (1, 6, 16)),
        ("fc.weight", (3, 12)),
        ("transformer.layers.2.linear1.weight", (24, 16)),
    ],
)
def test_one_extra_tensor_is_refused_by_name(name, shape):
    with pytest.raises(InputError) as error:
        read_layout({**SHAPES, name: shape}, 40)
    assert name.split(".layers")[0] in str(error.value)


def test_mixed_layouts_are_refused():
    """An encoder of one published width and a head of the other."""
    a, b = ({n: tuple(v.shape) for n, v in tensors(**size).items()} for size in (C, B))
    mixed = {name: (b if name.startswith("classifier") else a)[name] for name in a}
    with pytest.raises(InputError, match="0 ways to read"):
        read_layout(mixed)
    mixed = dict(a) | {"transformer.layers.1.linear1.weight": (2048, 256)}
    with pytest.raises(InputError, match=r"layers\.1\.linear1\.weight is \(2048, 256\)"):
        read_layout(mixed)
    with pytest.raises(InputError, match=r"\[0, 2, 3\].*without a gap"):
        read_layout({name: shape for name, shape in a.items() if "layers.1." not in name})


def test_shapes_that_fit_in_two_ways_need_names():
    square = {**SMALL, "patch": 16, "hidden": 16, "width": 48}
    good = {name: tuple(value.shape) for name, value in tensors(**square).items()}
    assert read_layout(good, 48).names["patch"] == "patch_embedding"
    names = ("a", "cls_token", "pos", "b", "c")
    bare = {n: tuple(v.shape) for n, v in tensors(**square, names=names).items()}
    with pytest.raises(InputError, match=r"a\.weight \(16, 16\), b\.weight \(16, 16\), c"):
        read_layout(bare, 48)


def test_a_width_that_positions_leave_open():
    with pytest.raises(InputError, match=r"40 inputs with a position for CLS, or 48 without"):
        read_layout(SHAPES)
    assert read_layout(SHAPES, 40).cls_has_position
    assert not read_layout(SHAPES, 48).cls_has_position
    assert list(read_layout(SHAPES, 40).widths()) == list(range(33, 41))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"d_model": 512}, r"d_model: 512 says config\.json \(d_model\), 16 says the tensors"),
        ({"num_layers": 4}, "n_blocks: 4 says"),
        ({"dim_feedforward": 1024}, "feedforward: 1024 says"),
        ({"patch_size": 64}, "patch_size: 64 says"),
        ({"num_classes": 7}, "classes: 7 says"),
        ({"model": {"num_layers": 4}}, "n_blocks: 4 says"),
        ({"nhead": 8, "num_heads": 4}, "nhead: 8 says"),
        ({"input_dim": 768}, "768 says config.json .input_dim., 40 says you"),
        ({"nhead": 3}, "nhead 3 .*does not divide d_model 16"),
        ({"activation": "swish"}, "'swish'; expected relu or gelu"),
        ({"labels": ["a", "b"]}, "3 classes; the labels are a, b"),
    ],
)
def test_a_config_that_contradicts_is_refused(tmp_path, config, said):
    whole = {"activation": "relu", "norm_first": False}
    whole |= {} if "nhead" in config else {"nhead": 4}
    folder = write(tmp_path, tensors(**SMALL), {**whole, **config})
    with pytest.raises(InputError, match=said):
        load_vocametrix(folder, scaler=False, input_dim=40)


def test_what_no_tensor_shows_is_not_guessed(tmp_path):
    folder = write(tmp_path, tensors(**SMALL), {"wav2vec2": {"num_layers": 13}, "nhead": 4})
    with pytest.raises(InputError, match="cannot show activation, norm_first"):
        load_vocametrix(folder, scaler=False, input_dim=40)
    with pytest.raises(InputError, match=r"nhead: 4 says config\.json \(nhead\), 8 says you"):
        load_vocametrix(folder, scaler=False, input_dim=40, **DEFAULTS)


def test_which_file(tmp_path):
    folder = write(tmp_path, tensors(**SMALL))
    with pytest.raises(InputError, match=r"holds no scaler\.safetensors"):
        load_vocametrix(folder)
    write(folder, tensors(**SMALL), name="other.safetensors")
    with pytest.raises(InputError, match=r"emotion_classifier_complete\.safetensors, other"):
        load_vocametrix(folder, scaler=False)
