"""Marks of tests that need a GPU."""

from __future__ import annotations

import pytest
import torch

ON_GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]
CUDA = pytest.param("cuda", marks=ON_GPU)
TWO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="no second CUDA device")
