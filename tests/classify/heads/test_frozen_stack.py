"""The patch transformer as it predicts on a CPU: the same numbers as the network it was made of."""

from __future__ import annotations

import copy
import pickle  # noqa: TID251 - how joblib hands a head to another process

import numpy as np
import pytest
import torch
from affekt.classify.heads import PatchTransformerHead, head_from_state
from affekt.classify.heads.networks.patch import PatchTransformer
from affekt.classify.heads.networks.patch_on_cpu import FrozenPatchTransformer, can_freeze
from affekt.classify.heads.training.loop import cpu_threads, private_random
from affekt.classify.heads.training.rows_for_torch import in_blocks

pytestmark = pytest.mark.skipif(not can_freeze(), reason="this build of PyTorch lacks oneDNN")
SMALL = {"d_model": 32, "n_attention_heads": 4, "feedforward": 64, "hidden": 16}


def made(width, seed=0, spread=1.0, **settings):
    """A network with every parameter away from its start, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with private_random(seed, torch.device("cpu")):
        network = PatchTransformer(width, 3, **settings).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(noise * (spread * 0.5 / max(parameter.shape[-1], 16) ** 0.5))
    return network, generator


def fitted(width=150, rows=24, **settings):
    rng = np.random.default_rng(0)
    y = np.repeat(["negative", "neutral", "positive"], rows // 3)
    X = (rng.standard_normal((rows, width)) + (y == "positive")[:, None]).astype(np.float32)
    settings = {"max_epochs": 2, "random_state": 0, "device": "cpu"} | SMALL | settings
    return PatchTransformerHead(**settings).fit(X, y), rng


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("n_blocks", [1, 2, 4])
@pytest.mark.parametrize(("width", "patch_size"), [(1, 64), (129, 64), (100, 7), (768, 64)])
def test_logits_are_the_networks(norm_first, activation, n_blocks, width, patch_size):
    settings = {"norm_first": norm_first, "activation": activation, "n_blocks": n_blocks}
    network, generator = made(width, patch_size=patch_size, **settings, **SMALL)
    x = 2 * torch.randn(37, width, generator=generator)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double())
        found = FrozenPatchTransformer(network)(x).double()
    assert exact.std() > 0.03  # a part left out would show
    torch.testing.assert_close(found, exact, rtol=3e-6, atol=3e-6)
    torch.testing.assert_close(found.softmax(1), exact.softmax(1), rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm_first", [False, True])
def test_the_cards_size(norm_first):
    network, generator = made(768, norm_first=norm_first)
    x = torch.randn(64, 768, generator=generator)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double())
        found = FrozenPatchTransformer(network)(x).double()
    torch.testing.assert_close(found.softmax(1), exact.softmax(1), rtol=0, atol=1e-6)


def test_large_scores_do_not_overflow():
    """Attention that sees one position only, with scores in the hundreds."""
    network, generator = made(256, spread=20.0, **SMALL)
    x = 100 * torch.randn(8, 256, generator=generator)
    with torch.inference_mode():
        exact = copy.deepcopy(network).double()(x.double()).softmax(1)
        found = FrozenPatchTransformer(network)(x).double().softmax(1)
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-3)


def test_the_network_is_left_as_it_was():
    network, generator = made(129, **SMALL)
    before = copy.deepcopy(network.state_dict())
    x = torch.randn(5, 129, generator=generator)
    copied = x.clone()
    with torch.inference_mode():
        FrozenPatchTransformer(network)(x)
    assert torch.equal(x, copied)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("size", ["small", "card"])
def test_a_row_has_the_same_bits_in_any_company(norm_first, activation, size):
    shape = SMALL if size == "small" else {"d_model": 256, "feedforward": 1024, "n_blocks": 2}
    shape = {"n_attention_heads": 8} | shape
    head, rng = fitted(200, norm_first=norm_first, activation=activation, max_epochs=1, **shape)
    X = rng.standard_normal((150, 200)).astype(np.float32)
    whole = head.predict_proba(X)
    order = rng.permutation(150)
    assert np.array_equal(head.predict_proba(X[order]), whole[order])
    for row in (0, 63, 64, 149):
        assert np.array_equal(head.predict_proba(X[row : row + 1])[0], whole[row])
    assert np.array_equal(head.predict_proba(X[5:90]), whole[5:90])
    X[1::2] *= 1e30  # neighbours that overflow
    with np.errstate(all="ignore"):
        assert np.array_equal(head.predict_proba(X)[::2], whole[::2])


@pytest.mark.parametrize("settings", [{}, {"n_members": 2}, {"n_layers": 2, "layer_mix": True}])
def test_the_number_of_threads_changes_no_bit_and_is_left_alone(settings):
    head, rng = fitted(**settings)
    X = rng.standard_normal((300, 150)).astype(np.float32)
    found = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        with cpu_threads(threads):
            found.append(head.predict_proba(X))
            assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == before
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])


def test_an_error_in_a_worker_is_raised_and_the_threads_set_back():
    def fail(part):
        raise ValueError("no such part")

    with cpu_threads(2):
        with pytest.raises(ValueError, match="no such part"):
            in_blocks(fail, torch.zeros(10, 2), 4)
        assert torch.get_num_threads() == 2


@pytest.mark.parametrize("settings", [{}, {"n_members": 2}, {"n_layers": 3, "layer_mix": True}])
@pytest.mark.parametrize("n_blocks", [1, 2])
def test_a_head_predicts_as_its_networks_in_float64(settings, n_blocks):
    head, rng = fitted(n_blocks=n_blocks, **settings)
    X = rng.standard_normal((70, 150)).astype(np.float32)
    with torch.inference_mode():
        exact = [
            copy.deepcopy(network).double()(torch.from_numpy(X).double()).softmax(1).numpy()
            for network in head.networks_
        ]
    np.testing.assert_allclose(head.predict_proba(X), np.mean(exact, axis=0), rtol=0, atol=1e-6)


def test_new_weights_are_seen_at_once():
    head, rng = fitted()
    X = rng.standard_normal((10, 150)).astype(np.float32)
    before = head.predict_proba(X)
    again = pickle.loads(pickle.dumps(head))
    assert np.array_equal(again.predict_proba(X), before)
    assert np.array_equal(head_from_state(*head.get_state()).predict_proba(X), before)
    with torch.no_grad():
        head.networks_[0].classifier[3].bias[0] += 5
    after = head.predict_proba(X)
    assert (after[:, 0] > before[:, 0]).all()
    assert np.array_equal(again.predict_proba(X), before)


def test_without_prepacking_the_network_itself_predicts(monkeypatch):
    head, rng = fitted(n_members=2)
    X = rng.standard_normal((70, 150)).astype(np.float32)
    frozen = head.predict_proba(X)
    monkeypatch.setattr("affekt.classify.heads.networks.patch.can_freeze", lambda: False)
    plain = head.predict_proba(X)
    np.testing.assert_allclose(plain, frozen, rtol=0, atol=1e-6)
    assert np.array_equal(head.predict_proba(X[:3]), plain[:3])
