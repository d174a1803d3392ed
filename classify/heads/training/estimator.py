"""What everything made of torch networks shares: settings, training, prediction, state.

`TorchHead` classifies, `RegressionHead` predicts numbers, `MultiTaskHead` several label sets.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..sklearn_shim import check_is_fitted, check_random_state, validate_data
from ..state import Stored, check_state_arrays
from .loop import Settings, Trained, cpu_threads, pick_device, private_random, train
from .rows_for_torch import in_blocks, on_device
from .rows_on_disk import RowsOnDisk
from .sampling import batches
from .shared_layers import LayerMix
from .stacked.at_once import most_at_once, stackable

STEPS = 1500  # of training, where `max_epochs` is None
WIDEST = 16_384  # units of a layer: two such layers have 1 GiB of weights
_MOST_THREADS = 1024
PRECISIONS = ("highest", "high", "medium")  # float32, TF32, bfloat16

Loss = Callable[[Tensor, Tensor], Tensor]
Score = Callable[[Tensor], tuple[tuple[float, ...], dict[str, float]]]


@dataclass(kw_only=True, eq=False, repr=False)
class TorchEstimator(Stored):
    """One or several torch networks with scikit-learn's interface.

    Parameters
    ----------
    learning_rate : float
        Peak of the schedule: linear warm-up, then cosine to zero over `max_epochs`.
    weight_decay : float
        Of AdamW.
    batch_size : int or None
        Rows in a step. None: a fiftieth of the rows, from 32 to 256.
    max_epochs : int or None
        Without early stopping or dev data all of them are trained and the last is kept. None: some
        1,500 steps, but 10 to 30 epochs.
    early_stopping : bool
        With dev data: keep the epoch with the best dev score. False: dev scores are only recorded
        in `history_`.
    patience : int or None
        With early stopping: stop after this many epochs without a better dev score.
    warmup : float
        Part of all steps in which the learning rate rises.
    clip_norm : float or None
        Largest norm of the gradient.
    n_layers : int
        How many layers of equal width are side by side in a row of features.
    layer_mix : bool
        Mix the layers with learnt softmax weights; otherwise they are one long vector.
    n_members : int
        Networks trained from different seeds, whose probabilities are averaged.
    device : str
        "auto" takes a CUDA GPU where there is one.
    precision : {"highest", "high", "medium"}
        Of products while training on a GPU, as in `torch.set_float32_matmul_precision`: float32,
        TF32 or bfloat16. Weights and sums are float32, and predictions are computed as always.
    n_threads : int or None
        CPU threads of torch while training; None leaves torch's own setting.
    random_state : int, RandomState or None
        One whole number gives one result: bit-equal on a CPU with the same number of threads.
    verbose : bool
        Show loss, dev UAR and time left on stderr.
    callback : callable or None
        Takes each row of `history_` as it is made.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int | None = None
    max_epochs: int | None = 100
    early_stopping: bool = True
    patience: int | None = 20
    warmup: float = 0.05
    clip_norm: float | None = 1.0
    n_layers: Any = 1
    layer_mix: bool = False
    n_members: int = 1
    device: str = "auto"
    precision: str = "high"
    n_threads: int | None = None
    random_state: Any = None
    verbose: bool = False
    callback: Callable[[dict[str, Any]], Any] | None = None

    reads_blocks: ClassVar[bool] = True
    _chunk: ClassVar[int] = 1024  # rows that are predicted at once
    # Rows of every forward on the CPU, in float32: one size, so that a row has the same bits
    # whatever its neighbours are. 0: float64, which needs no care and twice the time.
    _block: ClassVar[int] = 0
    # Heads whose networks are trained together with this one's, see `fit_at_once`.
    _beside: ClassVar[Sequence[Any]] = ()

    @abstractmethod
    def _network(self, width: int, outputs: int) -> nn.Module:
        """Return a network from (rows, width) to (rows, outputs)."""

    @abstractmethod
    def _n_outputs(self) -> int:
        """Return how many numbers the network gives for a row."""

    @property
    def n_parameters_(self) -> int:
        """Number of learnt numbers of one member."""
        check_is_fitted(self)
        return sum(p.numel() for p in self.networks_[0].parameters())

    @property
    def layer_weights_(self) -> np.ndarray | tuple[np.ndarray, ...] | None:
        """Weights (layers,) of the learnt mix (members averaged), None without one."""
        check_is_fitted(self)
        mixes = [[m for m in net.modules() if isinstance(m, LayerMix)] for net in self.networks_]
        found = tuple(
            np.mean([mix.weights.detach().numpy() for mix in same], axis=0)
            for same in zip(*mixes, strict=True)
        )
        return None if not found else found[0] if len(found) == 1 else found

    def _build(self, width: int, outputs: int) -> nn.Module:
        """Return the whole network for rows of `width` features."""
        check_number("n_layers", self.n_layers, 1, whole=True)
        if width % self.n_layers:
            raise InputError(
                f"{width} features are not {self.n_layers} layers of equal width; "
                "set n_layers to the number of layers that were read"
            )
        if not self.layer_mix:
            return self._network(width, outputs)
        return Mixed(self.n_layers, self._network(width // self.n_layers, outputs))

    def trains_at_once(self, width: int) -> bool:
        """Return whether networks for rows of `width` features train at once, as on many GPUs."""
        return stackable(lambda: self._build(width, 2), pick_device(self.device)) is not None

    def _checks(self) -> dict[str, Any]:
        return {"dtype": np.float32}

    def _dev_features(self, X_dev: Any, y_dev: Any) -> Any:
        """Return checked dev features, or None where no dev data are given."""
        if X_dev is None and y_dev is None:
            return None
        if X_dev is None or y_dev is None:
            raise InputError("X_dev and y_dev belong together; one of them is missing")
        return validate_data(self, X_dev, reset=False, **self._checks())

    def _seeds(self) -> list[np.random.SeedSequence]:
        whole = isinstance(self.random_state, (int, np.integer))
        entropy = (
            int(self.random_state)
            if whole
            else int(check_random_state(self.random_state).randint(2**31))
        )
        return np.random.SeedSequence(entropy).spawn(self.n_members)

    def _train_members(
        self,
        X: Any,
        loss: Loss,
        device: torch.device,
        *,
        x_dev: Any = None,
        score: Score | None = None,
        stratum: np.ndarray | None = None,
    ) -> None:
        """Train each member on `X`; set networks_, history_, best_epoch_ and stopped_.

        `loss` takes the outputs for rows and their positions, `score` the outputs for all dev rows.
        """
        rows, (_, width) = len(X), X.shape
        batch_size = self.batch_size or min(max(rows // 50, 32), 256)
        steps = -(-rows // batch_size)
        settings = Settings(
            self.learning_rate,
            self.weight_decay,
            self.max_epochs or min(max(STEPS // steps, 10), 30),
            self.patience,
            self.warmup,
            self.clip_norm,
            self.early_stopping,
            self.precision,
        )
        x = on_device(X, device)
        dev = None if x_dev is None else on_device(x_dev, device)
        heads = [self, *self._beside]
        seeds = [seed for head in heads for seed in head._seeds()]
        torch_seeds = [int(seed.generate_state(1, np.uint64)[0] >> 1) for seed in seeds]
        orders = [np.random.default_rng(seed.spawn(1)[0]) for seed in seeds]
        epochs = [partial(batches, rows, batch_size, stratum, order) for order in orders]
        shown: dict[str, Any] = {
            "callback": self.callback, "progress": self.name if self.verbose else None,
        }  # fmt: skip

        def build() -> nn.Module:
            return self._build(width, self._n_outputs())

        def scored(network: nn.Module) -> Any:
            return _scorer(network, dev, score, 4 * self._chunk)

        def at_once(like: Any, some: slice) -> list[tuple[nn.Module, Trained]]:
            from .stacked.stacked_training import StackedTraining  # imports Triton

            networks = []
            for seed in torch_seeds[some]:
                with private_random(seed, device):
                    networks.append(build().to(device))
            training = StackedTraining(
                networks, like.stacked(), x, loss, torch_seeds[some], batch_size, settings, steps
            )
            scores = [scored(network) for network in networks]
            found = training.run(epochs[some], scores, **shown)
            return [(network.cpu(), one) for network, one in zip(networks, found, strict=True)]

        def by_itself(seed: int, epoch: Any) -> tuple[nn.Module, Trained]:
            with cpu_threads(self.n_threads), private_random(seed, device):
                network: Any = build().to(device)
                written = network.written_out(x, loss) if hasattr(network, "written_out") else None
                found = train(
                    network,
                    written or (lambda batch: loss(network(x.index_select(0, batch)), batch)),
                    epoch,
                    settings,
                    steps_per_epoch=steps,
                    score=scored(network),
                    **shown,
                )
            return network.cpu(), found

        def trained() -> Iterator[tuple[nn.Module, Trained]]:
            like = stackable(build, device)
            most = 1 if like is None else most_at_once(like, batch_size, device)
            for at in range(0, len(seeds), most):
                if like is None:
                    found = [by_itself(torch_seeds[at], epochs[at])]
                else:
                    found = at_once(like, slice(at, at + most))
                yield from found
                if found[-1][1].stopped == "interrupted":
                    return

        found = trained()
        for head in heads:
            head._keep(islice(found, head.n_members))

    def _keep(self, found: Iterator[tuple[nn.Module, Trained]]) -> None:
        """Take over the networks of all members, and their history."""
        self.networks_: list[nn.Module] = []
        self.history_ = []
        for network, trained in found:
            label = {"member": len(self.networks_)} if self.n_members > 1 else {}
            self.networks_.append(network)
            self.history_ += [label | row for row in trained.history]
            self.best_epoch_, self.stopped_ = trained.best_epoch, trained.stopped
        if not self.networks_:  # the training was interrupted before its turn came
            raise KeyboardInterrupt

    def _outputs(self, X: Any) -> list[Tensor]:
        """Return the outputs of each member for all rows, on the CPU, as float64."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **self._checks())
        if isinstance(X, RowsOnDisk):
            found = X.apply(lambda rows: torch.stack(self._outputs(rows), dim=1).numpy())
            return list(torch.from_numpy(found).unbind(dim=1))
        self._check_rows(X)
        device = pick_device(self.device)
        if device.type == "mps":  # has no float64
            device = torch.device("cpu")
        block = self._block if device.type == "cpu" else 0
        x = torch.from_numpy(np.ascontiguousarray(X, np.float32 if block else np.float64))
        if block:
            return [in_blocks(self._frozen(net), x, block).double() for net in self.networks_]
        found = []
        with torch.inference_mode():
            for member in self.networks_:
                network = copy.deepcopy(member).to(device, x.dtype).eval()
                parts = [network(part.to(device)).cpu() for part in x.split(self._chunk)]
                found.append(torch.cat(parts))
        return found

    def _frozen(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return what predicts blocks of rows on the CPU in float32 as `network` does."""
        return copy.deepcopy(network).float().eval()

    def _check_rows(self, X: np.ndarray) -> None:
        """Raise for rows that cannot be predicted."""

    def _check_settings(self) -> None:
        check_number("learning_rate", self.learning_rate, 1e-12)
        check_number("weight_decay", self.weight_decay, 0)
        if self.batch_size is not None:
            check_number("batch_size", self.batch_size, 1, whole=True)
        if self.max_epochs is not None:
            check_number("max_epochs", self.max_epochs, 1, whole=True)
        one_of(self.early_stopping, (False, True), "early_stopping")
        if self.patience is not None:
            check_number("patience", self.patience, 1, whole=True)
        check_number("warmup", self.warmup, 0, 1)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, 1e-12)
        if self.n_threads is not None:
            check_number("n_threads", self.n_threads, 1, _MOST_THREADS, whole=True)
        one_of(self.precision, PRECISIONS, "precision")
        if not hasattr(self, "widths"):  # a fusion head takes a pair
            check_number("n_layers", self.n_layers, 1, whole=True)
        check_number("n_members", self.n_members, 1, 1000, whole=True)

    def _learnt(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        several = len(self.networks_) > 1
        arrays = {
            (f"members.{i}.{name}" if several else name): tensor.numpy().copy()
            for i, network in enumerate(self.networks_)
            for name, tensor in network.state_dict().items()
        }
        return {"members": len(self.networks_)}, arrays

    def _restore(self, learnt: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
        members = learnt.get("members")
        if set(learnt) != {"members"} or not isinstance(members, int) or not 1 <= members <= 1000:
            raise InputError(f"learnt is {dict(learnt)!r}; expected the number of members")
        with torch.device("meta"):  # no memory before the shapes are known to agree
            network = self._build(self.n_features_in_, self._n_outputs())
        shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        prefixes = [f"members.{i}." for i in range(members)] if members > 1 else [""]
        expected = {prefix + name: shape for prefix in prefixes for name, shape in shapes.items()}
        check_state_arrays(expected, arrays, np.float32)
        self.networks_ = []
        for prefix in prefixes:
            member = copy.deepcopy(network)
            state = {name: torch.tensor(np.asarray(arrays[prefix + name])) for name in shapes}
            member.load_state_dict(state, assign=True)
            self.networks_.append(member.eval())


class Mixed(nn.Module):
    """A network after a learnt mix of layers."""

    def __init__(self, layers: int, body: nn.Module) -> None:
        super().__init__()
        self.mix = LayerMix(layers)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the body's output for the mixed layers."""
        return self.body(self.mix(x))


def _scorer(
    network: nn.Module, dev: Any, score: Score | None, chunk: int
) -> Callable[[], tuple[tuple[float, ...], dict[str, float]]] | None:
    if dev is None or score is None:
        return None
    return lambda: score(torch.cat([network(part) for part in dev.split(chunk)]))
