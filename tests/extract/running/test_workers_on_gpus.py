"""How many processes extract on a machine with GPUs; the GPUs are pretended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from affekt.extract.running.engines import feeders, workers


@pytest.mark.parametrize(
    ("misses", "gpus", "expected"), [(100, 2, 1), (5_000, 1, 1), (5_000, 3, 3), (40_000, 1, 1)]
)
@pytest.mark.parametrize("modality", ["audio", "text"])
def test_one_process_for_each_gpu(misses, gpus, expected, modality, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    backend = SimpleNamespace(device="cuda")
    encoder = SimpleNamespace(name="xlsr", modality=modality, arguments={}, backend=backend)
    assert workers.count_workers(encoder, misses, "local", None) == expected


@pytest.mark.parametrize(
    ("clips", "on_gpu", "modality", "processors", "expected"),
    [
        (100, True, "audio", 16, 0),  # not worth a start
        (5_000, True, "audio", 16, 8),
        (5_000, True, "audio", 1, 1),
        (5_000, True, "audio", 192, 16),
        (5_000, True, "text", 16, 0),
        (5_000, False, "audio", 16, 0),  # an encoder on a CPU needs the processors
    ],
)
def test_feeders_by_what_there_is_to_do(clips, on_gpu, modality, processors, expected, monkeypatch):
    monkeypatch.setattr(feeders, "processors", lambda: processors)
    encoder = SimpleNamespace(modality=modality, backend=SimpleNamespace(on_gpu=on_gpu))
    assert feeders.how_many(encoder, clips) == expected
    assert feeders.how_many(encoder, clips, 4) == (2 if expected else 0)  # of several GPUs
