"""All layers on a device: the guesses of the processor's path, whatever the memory."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from affekt.cache import Cache, InputError, Manifest
from affekt.cache.care.import_export import import_space
from affekt.classify import Task, probe
from affekt.classify.probing import logistic_batch
from affekt.classify.probing.device import choice, layers as device_layers, rows as device_rows
from affekt.classify.probing.device.choice import choose_device
from affekt.classify.probing.device.layers import run_layers
from affekt.classify.probing.label_layer import LabelJob
from affekt.classify.probing.nested_folds import masks_of, outer_folds

LABELS = ("negative", "neutral", "positive")
CLIPS, DIM, LAYERS = 300, 24, 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Layers that know the label more and more; German clips are never neutral."""
    rng = np.random.default_rng(5)
    lines, values = [], {}
    for n in range(CLIPS):
        german = n < CLIPS // 3
        label = int(rng.choice([0, 2] if german else [0, 1, 2]))
        lines.append(
            {"id": str(n), "text": f"t{n}", "label": LABELS[label], "speaker": f"s{n // 20}"}
            | {"language": "deu" if german else "eng"}
        )
        values[str(n)] = 2 + rng.standard_normal((LAYERS, DIM)) * rng.uniform(0.1, 5, DIM)
        values[str(n)][:, label] += np.arange(LAYERS)
    clips = Manifest.from_rows(lines)
    space, _ = import_space(Cache(tmp_path_factory.mktemp("device")), values, clips, "five")
    return clips, space


@pytest.mark.parametrize("room", [1 << 29, 3 << 20, 200_000], ids=["all", "some", "few problems"])
@pytest.mark.parametrize("scale", [True, False, "speaker"])
@pytest.mark.parametrize("scheme", ["group-kfold", "leave-one-language-out"])
def test_guesses_are_those_of_one_layer_after_another(corpus, scheme, scale, room, monkeypatch):
    clips, space = corpus
    monkeypatch.setattr(device_layers, "ON_CPU", room)
    monkeypatch.setattr(device_layers, "GUESSES", room)
    monkeypatch.setattr(device_rows, "BLOCK", 128)
    masks = masks_of(outer_folds(clips, scheme, **{"n_splits": 3} if "group" in scheme else {})[0])
    job = LabelJob(
        clips=clips, task=Task.named("valence"), masks=masks, values=[0.01, 1.0], scale=scale
    )
    layers = [space.features(layers=layer) for layer in range(LAYERS)]
    found = list(run_layers(job, layers, "cpu"))
    assert len(found) == LAYERS
    for features, guesses in zip(layers, found, strict=True):
        expected = job.run(features)
        assert guesses.shape == expected.shape
        assert ((guesses < 0) == (expected < 0)).all()
        assert (guesses == expected).mean() > 0.999


def test_memory_says_how_much_at_a_time(monkeypatch):
    """A matrix of all layers; then fewer layers; then fewer problems of one."""
    sizes = []
    for room in (1 << 40, 1 << 29, 1 << 26, 1):
        monkeypatch.setattr(device_layers, "ON_CPU", room)
        sizes.append(device_layers._sizes(4000, 1024, 6, 60, "cpu"))
    assert sizes[0][0] > 25
    assert sizes[0][1] == sizes[1][1] == 60
    assert sizes[1][0] < sizes[0][0]
    assert sizes[2][0] == 1
    assert sizes[2][1] < 60
    assert sizes[3] == (1, 1)


def test_which_device(monkeypatch):
    monkeypatch.setattr(choice, "_has_driver", lambda: True)
    monkeypatch.setattr(choice, "find_device", lambda name: "mps" if name == "mps" else "cuda")
    assert choose_device("auto", logistic_batch.LONGEST) == "cpu"  # little to do
    assert choose_device("auto", 1e12) == "cuda"
    assert choose_device("cuda", 1.0) == "cuda"
    with pytest.raises(InputError, match="no float64"):
        choose_device("mps", 1.0)
    monkeypatch.setattr(choice, "_has_driver", lambda: False)
    assert choose_device("auto", 1e12) == "cpu"


@pytest.mark.parametrize("given", ["gpu", "cuda:99"])
def test_a_device_that_is_not_there(corpus, given):
    clips, space = corpus
    with pytest.raises(InputError, match="cannot be used here"):
        probe(clips, space, "valence", device=given)


def test_the_whole_probe_on_a_device(corpus, monkeypatch):
    """The same choice; only clips at the edge may change sides."""
    from affekt.classify.probing import grid

    clips, space = corpus
    plain = probe(clips, space, "valence", device="cpu")
    monkeypatch.setattr(grid, "choose_device", lambda *given: "torch")
    monkeypatch.setattr(
        grid, "_on_device", lambda job, layers, device: enumerate(run_layers(job, layers, "cpu"))
    )
    _alike(probe(clips, space, "valence"), plain)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_whole_probe_on_a_gpu(corpus):
    clips, space = corpus
    _alike(
        probe(clips, space, "valence", device="cuda"), probe(clips, space, "valence", device="cpu")
    )


def _alike(found, plain):
    assert found.chosen == plain.chosen
    assert found.data.keys() == plain.data.keys()
    for one, other in zip(found.data["layers"], plain.data["layers"], strict=True):
        assert one["uar"]["value"] == pytest.approx(other["uar"]["value"], abs=0.01)


def test_the_processors_path_needs_no_torch():
    code = (
        "import sys, affekt.classify.probing.nested, affekt.classify.probing.logistic_batch\n"
        "from affekt.classify.probing.device.choice import choose_device\n"
        "choose_device('cpu', 1e12), choose_device('auto', 1e6)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
