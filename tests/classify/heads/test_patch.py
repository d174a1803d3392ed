"""The valence card's patch transformer: size, tensor names, and the same maths as plain PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from affekt.classify.heads import PatchTransformerHead
from affekt.classify.heads.networks.encoder_stack import EncoderStack, to_patches
from affekt.classify.heads.networks.patch import CARD, PatchTransformer
from affekt.classify.heads.training import estimator
from affekt.classify.heads.training.loop import private_random
from affekt.classify.heads.training.sampling import batches
from torch import nn

LAYER = [
    "self_attn.in_proj_weight",
    "self_attn.in_proj_bias",
    "self_attn.out_proj.weight",
    "self_attn.out_proj.bias",
    "linear1.weight",
    "linear1.bias",
    "linear2.weight",
    "linear2.bias",
    "norm1.weight",
    "norm1.bias",
    "norm2.weight",
    "norm2.bias",
]
NAMES = {
    "cls_token": (1, 1, 256),
    "patch_embedding.weight": (256, 64),
    "patch_embedding.bias": (256,),
    "classifier.0.weight": (128, 256),
    "classifier.0.bias": (128,),
    "classifier.3.weight": (3, 128),
    "classifier.3.bias": (3,),
}


@pytest.mark.parametrize(("width", "parameters"), [(768, 3_212_547), (1024, 3_213_571)])
@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_size_and_tensor_names(width, parameters, norm_first, activation):
    network = PatchTransformer(width, 3, norm_first=norm_first, activation=activation)
    assert sum(p.numel() for p in network.parameters()) == parameters
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    layers = {f"encoder.layers.{i}.{name}" for i in range(4) for name in LAYER}
    assert set(shapes) == set(NAMES) | layers | {"position_embedding"}
    assert shapes["position_embedding"] == (1, width // 64 + 1, 256)
    assert {name: shapes[name] for name in NAMES} == NAMES
    assert shapes["encoder.layers.3.linear1.weight"] == (1024, 256)


def test_defaults_are_the_cards_but_for_those_named_card():
    assert PatchTransformerHead().patch_size is None
    head = PatchTransformerHead(**CARD)
    assert head._network(768, 3).state_dict().keys() == PatchTransformer(768, 3).state_dict().keys()
    card = {
        "learning_rate": 2e-4,
        "weight_decay": 0.01,
        "batch_size": 32,
        "label_smoothing": 0.1,
        "class_weight": "balanced",
        "warmup": 0.05,
        "clip_norm": 1.0,
        "patience": 30,
        "dropout": 0.2,
        "patch_size": 64,
        "d_model": 256,
        "n_blocks": 4,
        "n_attention_heads": 8,
        "feedforward": 1024,
        "hidden": 128,
    }
    assert {name: head.get_params()[name] for name in card} == card


@pytest.mark.parametrize(("settings", "size"), [({}, 24), ({"n_layers": 3}, 8)])
@pytest.mark.parametrize("layer_mix", [False, True])
def test_without_a_patch_size_each_layer_is_one_patch(settings, size, layer_mix):
    head = PatchTransformerHead(**settings, layer_mix=layer_mix, d_model=16, feedforward=16)
    network = head._build(24, 3)
    body = network.body if layer_mix else network
    assert body.patch_size == size
    layers = settings.get("n_layers", 1)
    assert body.position_embedding.shape[1] == 1 + (1 if layer_mix else layers)


def test_input_is_padded_with_zeros_to_whole_patches():
    x = torch.arange(70.0)[None]
    patches = to_patches(x, 64)
    assert patches.shape == (1, 2, 64)
    assert torch.equal(patches.flatten(), nn.functional.pad(x, (0, 58)).flatten())


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_one_query_in_the_last_layer_is_exact(norm_first, activation):
    """Output and gradients are those of nn.TransformerEncoder, to rounding in float64."""
    stack = EncoderStack(
        32, 4, 64, 3, dropout=0.0, activation=activation, norm_first=norm_first
    ).double()
    layer = nn.TransformerEncoderLayer(
        32, 4, 64, 0.0, activation, batch_first=True, norm_first=norm_first
    )
    plain = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False).double()
    plain.load_state_dict(stack.state_dict())
    x = torch.randn(5, 7, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ours, theirs = stack(x), plain(x)[:, 0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for (name, mine), other in zip(stack.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-11, msg=name)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize(("patch_size", "blocks"), [(8, 3), (8, 1), (40, 2)])
def test_training_on_a_cpu_is_the_same_function(patch_size, blocks, norm_first):
    """Logits and gradients are those of evaluation, whatever the first layer's maps are made of."""
    torch.manual_seed(0)
    network = PatchTransformer(
        30, 3, patch_size=patch_size, d_model=16, n_blocks=blocks, n_attention_heads=4,
        feedforward=24, hidden=8, dropout=0.0, norm_first=norm_first,
    ).double()  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(5, 30, dtype=torch.float64)
    found = []
    for train in (True, False):
        logits = network.train(train)(x)
        gradients = torch.autograd.grad(logits.square().sum(), list(network.parameters()))
        found.append([logits, *gradients])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


class Plain(nn.Module):
    """The card's classifier as one would write it from its text, with torch's own encoder."""

    def __init__(self, width, classes):
        super().__init__()
        self.patches = -(-width // 64)
        self.embed = nn.Linear(64, 32)
        self.cls = nn.Parameter(torch.zeros(1, 1, 32))
        self.position = nn.Parameter(torch.zeros(1, self.patches + 1, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.0, "relu", batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Sequential(
            nn.Linear(32, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, classes)
        )

    def forward(self, x):
        x = nn.functional.pad(x, (0, self.patches * 64 - x.shape[1]))
        tokens = self.embed(x.reshape(len(x), self.patches, 64))
        tokens = torch.cat([self.cls.repeat(len(x), 1, 1), tokens], dim=1) + self.position
        return self.out(self.encoder(tokens)[:, 0])


def test_loss_curve_equals_plain_pytorch():
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1, 2], [30, 12, 8])
    X = (rng.standard_normal((50, 100)) + y[:, None]).astype(np.float32)
    head = PatchTransformerHead(
        patch_size=64, learning_rate=2e-4,
        d_model=32, n_blocks=2, n_attention_heads=4, feedforward=64, hidden=16, dropout=0.0,
        max_epochs=5, random_state=3, n_threads=1,
    ).fit(X, y)  # fmt: skip
    # the same start and the same batches
    seed = np.random.SeedSequence(3).spawn(1)[0]
    order = np.random.default_rng(seed.spawn(1)[0])
    with private_random(int(seed.generate_state(1, np.uint64)[0] >> 1), torch.device("cpu")):
        start = head._build(100, 3)
    plain = Plain(100, 3)
    ours = start.state_dict()
    renamed = {
        "embed.weight": "patch_embedding.weight", "embed.bias": "patch_embedding.bias",
        "cls": "cls_token", "position": "position_embedding",
    }  # fmt: skip
    plain.load_state_dict(
        {
            name: ours[renamed.get(name, name.replace("out.", "classifier."))]
            for name in plain.state_dict()
        }
    )
    weight = torch.tensor([50 / (3 * n) for n in (30, 12, 8)])
    criterion = nn.CrossEntropyLoss(label_smoothing=0.1, reduction="none")
    optimiser = torch.optim.AdamW(plain.parameters(), lr=2e-4, weight_decay=0.01)
    steps, rise = 5 * 2, 1  # two batches an epoch; 5 % of ten steps, rounded up
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda s: (
            (s + 1) / rise if s < rise else 0.5 * (1 + np.cos(np.pi * (s - rise) / (steps - rise)))
        ),
    )
    curve = []
    for _ in range(5):
        total = 0.0
        for rows in batches(50, 32, None, order):
            optimiser.zero_grad()
            own = weight[torch.from_numpy(y[rows])]  # a clip counts by its own label
            each = criterion(plain(torch.from_numpy(X[rows])), torch.from_numpy(y[rows]))
            loss = (own * each).sum() / own.sum()
            loss.backward()
            nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total += loss.item() * len(rows)
        curve.append(total / 50)
    ours = [row["train_loss"] for row in head.history_]
    np.testing.assert_allclose(ours, curve, rtol=2e-5)
    assert curve[-1] < curve[0]


@pytest.mark.parametrize(("rows", "epochs"), [(40, 30), (240, 18), (640, 10)])
def test_without_max_epochs_there_are_some_1500_steps(rows, epochs, monkeypatch):
    """And 10 to 30 epochs; a tenth of the steps is enough to see it."""
    assert estimator.STEPS == 1500
    monkeypatch.setattr(estimator, "STEPS", 150)
    rng = np.random.default_rng(0)
    tiny = {"d_model": 4, "n_attention_heads": 1, "feedforward": 4, "hidden": 4, "n_blocks": 1}
    X, y = rng.standard_normal((rows, 8)), np.arange(rows) % 2
    fitted = PatchTransformerHead(**tiny, patch_size=8, random_state=0).fit(X, y)
    assert len(fitted.history_) == epochs
