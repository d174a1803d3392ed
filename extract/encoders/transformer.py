"""The backend of a transformers encoder: layers of a base model, or a classifier's probabilities.

Rows are laid end to end without padding where the family allows it (`packed`): a few on a CPU,
whose cache should hold them, thousands on a GPU. Where it does not, a CPU runs one clip at a time
and short texts in small batches of similar length, and a GPU padded, masked passes up to a budget
of frames. Either way a row is what it is alone.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch

from ...cache.errors import AffektError, InputError
from ..backend import Backend, Pooled
from ..errors import Unusable
from ..pooling import pooled_dim
from .checkpoints.checkpoint import Checkpoint
from .checkpoints.reading import library_errors, read_sizes
from .checkpoints.strict import load_model
from .clipwise import PerClip, wrap_per_clip
from .families import GENERIC, Family
from .fronts.front import Example, Front, collate
from .hardware.cpu import avoid_wrong_kernels, speed_up
from .hardware.device import until_now
from .hardware.exactness import exact_arithmetic
from .hardware.worker_threads import deal, run_side_by_side, stop_if_asked
from .layers import TappedLayers, check_probe, masked_pool, plain_states, stack_layers
from .packed.layout import fill_packs
from .packed.on_cpu import BUDGET, CpuModel
from .packed.packed_encoder import PackedModel, PaddedConformer, pack_model
from .packed.thirty_seconds import ThirtySeconds

_log = logging.getLogger(__name__)

_BUDGET = {"cpu": 512, "cuda": 16384}  # padded frames or tokens of one pass
_ROWS = {"cpu": 8, "cuda": 1024}
_PACKED = 65536  # frames or tokens of one pass without padding, where memory allows
_SHARE, _LONG = 256, 4096  # frames: worth a thread; too long to have several in memory at once
_AGREE = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 2e-2}  # relative, of ways to compute
_Ready = tuple[int, Example]  # with its position


class TransformerBackend(Backend):
    """Embed with a frozen transformers model (see `affekt.extract.backend.Backend`).

    Parameters
    ----------
    checkpoint : Checkpoint
        What to load.
    family : Family
        How it is run.
    front : Front
        What makes its input.
    pooling : str
        One of `affekt.extract.pooling.POOLINGS`.
    dtype : str
        Of weights and activations; pooling is float32 always.
    device : str
        As torch spells it.
    batching : str
        ``"auto"``, ``"single"`` (one row per pass), ``"padded"`` or ``"packed"`` (as on a GPU);
        changes speed only.
    allow_extra : sequence of str
        Tensors of the checkpoint that may stay behind besides the family's heads, such as
        ``"age.*"``.
    normalise : bool
        Scale every vector to length 1.

    Attributes
    ----------
    notes : list of str
        What a user should know about the folder.
    dropped : tuple of str
        Tensors of the checkpoint that were left behind; known after `load`.
    tapped : bool
        Layers are pooled while the model runs, not after; known after `load`.
    prepacked : bool
        Its products run with weights laid out for the processor; known after `load`.
    packed : PackedModel or PaddedConformer or None
        What runs clips laid end to end; known after `load`.
    max_samples : int
        Longer clips are refused by the model itself (Whisper: 30 s); 0 where there is no limit.
    """

    _classifier = False

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        front: Front,
        *,
        modality: str,
        pooling: str = "mean",
        dtype: str = "float32",
        device: str = "cpu",
        batching: str = "auto",
        allow_extra: Sequence[str] = (),
        normalise: bool = False,
    ) -> None:
        self.notes: list[str] = []
        self.normalise = normalise
        self.allow_extra = tuple(allow_extra)
        self.checkpoint, self.family, self.front = checkpoint, family, front
        self.name, self.modality, self.pooling = checkpoint.name, modality, pooling
        self.sampling_rate, self.min_samples = front.sampling_rate, front.min_samples
        self.max_samples = front.max_samples
        self.dtype, self.device, self.batching = dtype, device, batching
        self.dropped: tuple[str, ...] = ()
        self.tapped = False
        self.prepacked = False
        self.packed: PackedModel | PaddedConformer | None = None
        self._running = threading.RLock()  # layers are collected, and clips laid out, in the model
        self._model: Any = None
        self._taps: TappedLayers | None = None
        self._per_clip: dict[str, PerClip] = {}
        self._described: dict[str, Any] | None = None
        self._set_axes()

    def _set_axes(self) -> None:
        blocks, self._hidden = read_sizes(self.checkpoint)
        self.n_layers, self.dim = blocks + 1, pooled_dim(self.pooling, self._hidden)

    def describe(self) -> dict[str, Any]:
        """Return what decides the numbers; reads no tensor."""
        self._described = self.checkpoint.describe()
        extra = {"allow_extra": list(self.allow_extra)} if self.allow_extra else {}
        return {
            "encoder": {**self._described, "family": self.checkpoint.model_type, **extra},
            "processor": self.front.describe(),
            "layers": {
                "semantics": "hs-1",
                "count": self.n_layers,
                "dim": self.dim,
                **({"norm": "l2"} if self.normalise else {}),
            },
            "pooling": self.pooling,
            "compute": {"dtype": self.dtype, "attention": self.family.attention, "tf32": "off"},
        }

    def provenance(self) -> dict[str, Any]:
        """Return how it was computed, beyond what decides the numbers."""
        import transformers

        return {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "device": self.device,
            "class": type(self._model).__name__ if self._model is not None else None,
            "dropped_tensors": list(self.dropped),
            "layers_pooled": "as made" if self.tapped else "after the pass",
            "weights_prepacked": self.prepacked,
            "rows": "packed" if self.packed else "padded or alone",
        }

    def load(self) -> None:
        """Load the weights, account for every tensor, and try the model on a probe.

        Raises
        ------
        InputError
            The checkpoint is not whole, or changed since it was described.
        AffektError
            The model gives other layers than expected, or no finite numbers.
        """
        with self._running:  # several threads may embed first
            if self._model is None:
                self._load()

    def _load(self) -> None:
        exact = None
        if self.dtype != "float32":
            self._model, _ = self._open("float32")
            with library_errors(self.name, f"{type(self._model).__name__} cannot run alone"):
                exact = self._probe()
            self._model = None  # or both would be in memory at once
        self._model, self.dropped = self._open(self.dtype)
        if self.device == "cpu" and self.dtype != "float32":
            avoid_wrong_kernels(self._model)
        if self._described not in (None, self.checkpoint.describe()):
            raise InputError(f"{self.name}: its files changed since it was opened; open it again")
        with library_errors(self.name, f"{type(self._model).__name__} cannot run alone"):
            self._try()
            if exact is not None:
                error = float((self._probe() - exact).norm() / exact.norm())
                _log.warning(
                    "%s in %s: the vectors of a probe differ by %.1e from those in float32",
                    self.name, self.dtype, error,
                )  # fmt: skip

    def _open(self, dtype: str) -> tuple[Any, tuple[str, ...]]:
        return load_model(
            self.checkpoint, self.family, classifier=self._classifier, dtype=dtype,
            device=self.device, allow_extra=self.allow_extra,
        )  # fmt: skip

    def _probe(self) -> torch.Tensor:
        """Return the rows of a short input."""
        with exact_arithmetic(self.device):
            return self._run([self._prepare(self.front.probe())])

    def embed(self, inputs: Sequence[Any]) -> list[Pooled | Unusable]:
        """Embed clips ``(samples,)`` or texts; one answer each, in order."""
        self.load()
        answers: dict[int, Pooled | Unusable] = {}
        ready: list[_Ready] = []
        for position, item in enumerate(inputs):
            try:
                ready.append((position, self._prepare(item)))
            except Unusable as reason:
                answers[position] = reason
        with self._running, exact_arithmetic(self.device):
            made = self._run_all(ready)
            wait = until_now(self.device)
        wait()
        for group, rows in chain.from_iterable(made):
            for (position, example), row in zip(group, rows.numpy(), strict=True):
                answers[position] = self._answer(example, row)
        return [answers[position] for position in range(len(inputs))]

    @property
    def batch_clips(self) -> int:
        """How many clips one `embed` should be given."""
        return 4096 if self.device != "cpu" else max(64, 32 * torch.get_num_threads())

    @property
    def batch_seconds(self) -> float:
        """How many seconds of audio one `embed` should be given."""
        return 1200.0 if self.device != "cpu" else max(60.0, 30.0 * torch.get_num_threads())

    def _prepare(self, item: Any) -> Example:
        return self.front.prepare(item) if self.packed is None else self.packed.prepare(item)

    def _run_all(self, ready: list[_Ready]) -> list[list[tuple[list[_Ready], torch.Tensor]]]:
        """Run all passes; on a CPU in threads side by side where there is enough for each."""
        if self.device != "cpu" or self.batching != "auto" or self._taps is None or self._per_clip:
            return [self._run_share(ready)]  # state may be kept in the model
        sizes, threads = [example.size for _, example in ready], torch.get_num_threads()
        steady = getattr(self.packed, "steady", self.dtype == "float32")
        most = min(threads, sum(sizes) // _SHARE) if max(sizes, default=0) <= _LONG else 1
        shares = deal(ready, sizes, most, even=steady)
        each = threads // len(shares) if steady else 1
        if each == threads:
            return [self._run_share(ready)]
        return run_side_by_side([partial(self._run_share, share) for share in shares], each)

    def _run_share(self, ready: list[_Ready]) -> list[tuple[list[_Ready], torch.Tensor]]:
        """Run all passes; a GPU's rows are still being copied when the next pass is launched."""
        groups = [(one, [example for _, example in one]) for one in self._groups(ready)]
        return [(one, self._run(e).to("cpu", non_blocking=self.on_gpu)) for one, e in groups]

    def _groups(self, ready: list[_Ready]) -> list[list[_Ready]]:
        """Cut into passes of similar size, within the budget; longest first."""
        kind = "cuda" if self.batching in ("padded", "packed") or self.device != "cpu" else "cpu"
        single = self.batching == "single" or not self.family.batched
        if self.packed is not None and self.packed.joins:
            sizes = [example.size for _, example in ready]
            return fill_packs(ready, sizes, self._pack_budget())
        if single or (kind == "cpu" and self.modality == "audio"):
            return [[one] for one in ready]
        groups: list[list[_Ready]] = []
        for one in sorted(ready, key=lambda pair: -pair[1].size):
            last = groups[-1] if groups else []
            rows = len(last) + 1
            if last and rows <= _ROWS[kind] and rows * last[0][1].size <= _BUDGET[kind]:
                last.append(one)
            else:
                groups.append([one])
        return groups

    def _pack_budget(self) -> int:
        """How many frames or tokens may be in memory at once."""
        if self.device == "cpu":
            return BUDGET
        free, _ = torch.cuda.mem_get_info(self.device)
        free += torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        each = 64 * self._hidden * getattr(torch, self.dtype).itemsize
        return max(2048, min(_PACKED, int(free / 2 / each)))

    def _run(self, examples: list[Example]) -> torch.Tensor:
        """Run one pass; ``(rows, layers, dim)`` float32."""
        if self.packed is not None:
            return self.packed(examples, self.pooling)
        stop_if_asked()
        return self._layers(*self._inputs(examples))

    def _inputs(self, examples: list[Example]) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        inputs, keep = collate(examples, getattr(self.front, "padding", {}), self.front.mask)
        for path, module in self._per_clip.items():
            module.lengths = [e.lengths[path] for e in examples] if len(examples) > 1 else None
        kind = self._model.dtype
        moved = {
            name: tensor.to(self.device, kind if tensor.is_floating_point() else None)
            for name, tensor in inputs.items()
        }
        return moved, keep.to(self.device)

    def _layers(self, inputs: dict[str, torch.Tensor], keep: torch.Tensor) -> torch.Tensor:
        if self._taps is None:
            return torch.stack(self._plain(inputs, keep), dim=1)
        pooled = self._taps.run(inputs, lambda states: masked_pool(states, keep, self.pooling))
        return torch.stack(pooled, dim=1)  # (rows, layers, dim)

    def _plain(self, inputs: dict[str, torch.Tensor], keep: torch.Tensor) -> list[torch.Tensor]:
        states = plain_states(self._model, inputs, self.n_layers, self.family.final)
        own = [keep] * len(states)
        if self.family is GENERIC and self.modality == "audio":
            # an unknown model may have other frames than its convolutions say; it runs one clip
            # at a time, so every frame is the clip's
            own = [keep.new_ones(layer.shape[:2]) for layer in states]
        return [masked_pool(*pair, self.pooling) for pair in zip(states, own, strict=True)]

    def _answer(self, example: Example, row: np.ndarray) -> Pooled | Unusable:
        if layers := np.flatnonzero(~np.isfinite(row).all(axis=-1)).tolist():
            return Unusable("non_finite_output", f"NaN or infinity in layers {layers}")
        if self.normalise:
            row = row / np.maximum(np.linalg.norm(row, axis=-1, keepdims=True), 1e-12)
        return Pooled(row, int(example.keep.sum()), example.flags)

    def _try(self) -> None:
        """Check layers and dims on a probe, and that pooling as made is the same as after."""
        example = self.front.prepare(self.front.probe())
        with exact_arithmetic(self.device):
            inputs, keep = self._inputs([example])
            pooled = self._plain(inputs, keep)
            plain = stack_layers(self.name, pooled, dim=1)
            check_probe(self.name, plain[0], (self.n_layers, self.dim))
            if not self.family.layers:
                return
            self._taps = TappedLayers(self._model, self.family.layers, self.family.final)
            tapped = self._layers(inputs, keep)
        error = float((tapped - plain).norm() / plain.norm())
        if not error <= _AGREE[self.dtype]:
            raise AffektError(
                f"{self.name}: this version of transformers passes other states between its layers "
                f"than it reports (relative difference {error:.1e}); nothing is computed"
            )
        self.tapped = True
        if self._pack(tapped):
            return
        self._speed_up(lambda: self._layers(inputs, keep), tapped)
        self._per_clip = wrap_per_clip(self._model, self.family.per_clip, "feature_extractor")

    def _pack(self, before: torch.Tensor) -> bool:
        """Run without padding from now on, if the result is that of the library."""
        if self.batching not in ("auto", "packed") or self._taps is None:
            return False
        on_cpu = self.batching == "auto" and self.device == "cpu"
        if ("cpu" if on_cpu else "cuda") not in self.family.packed:
            return False
        try:
            if on_cpu:
                kind = ThirtySeconds if self.family.front == "mel" else CpuModel
                self.packed = kind(self._model, self.family, self.front)
            else:
                self.packed = pack_model(self._model, self.family, self.front, self._taps)
        except LookupError as reason:
            _log.warning("%s runs in padded batches: %s", self.name, reason)
            return False
        made = self._probe()
        error = float((made - before).norm() / before.norm())
        if not error <= 3 * _AGREE[self.dtype]:  # other sums of the same terms
            _log.warning("%s runs in padded batches: packed it differs by %.1e", self.name, error)
            self.packed.undo()
            self.packed = None
        elif isinstance(self.packed, CpuModel):
            self.packed.settle()
            self._speed_up(self._probe, before)
            with exact_arithmetic():
                self.packed.measure()
        return self.packed is not None

    def _speed_up(self, run: Callable[[], torch.Tensor], before: torch.Tensor) -> None:
        """Take faster modules on a CPU, if the result is that of the library."""
        if self.device != "cpu" or self.dtype == "float16":
            return
        with exact_arithmetic():
            undo = speed_up(self._model, run)
            error = float((run() - before).norm() / before.norm())
        self.prepacked = error <= _AGREE[self.dtype]
        if not self.prepacked:
            undo()
