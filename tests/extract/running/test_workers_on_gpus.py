"""How many processes extract on a machine with GPUs; the GPUs are pretended."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from affekt.extract.running.engines import workers

GIB = 1 << 30


@pytest.mark.parametrize(
    ("misses", "gpus", "processors", "free", "modality", "expected"),
    [
        (100, 2, 16, 140, "audio", 1),  # not worth a second start
        (5_000, 1, 16, 140, "audio", 1),
        (5_000, 3, 16, 140, "audio", 3),
        (40_000, 1, 16, 140, "audio", 4),
        (40_000, 1, 8, 140, "audio", 2),  # each needs processors that decode
        (40_000, 1, 2, 140, "audio", 1),
        (40_000, 1, 16, 40, "audio", 2),  # and memory of the card
        (40_000, 1, 16, 7, "audio", 1),
        (40_000, 2, 32, 140, "audio", 8),
        (40_000, 2, 32, 140, "text", 2),
    ],
)
def test_processes_by_what_the_machine_has(
    misses, gpus, processors, free, modality, expected, monkeypatch
):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda: (free * GIB, 141 * GIB))
    monkeypatch.setattr(workers, "processors", lambda: processors)
    encoder = SimpleNamespace(
        name="xlsr",
        modality=modality,
        arguments={},
        backend=SimpleNamespace(device="cuda"),
    )
    assert workers.count_workers(encoder, misses, "local", None) == expected
