"""What the torch heads share: settings, training, prediction, state.

A head of its own is a dataclass that adds settings and builds a network.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from ...cache.errors import InputError
from ..losses import cross_entropy
from ..sampling import batches, row_shares, strata
from ..training import Settings, Trained, pick_device, private_random, train
from .base import Head, check_choice, check_number, check_state_arrays
from .layer_mix import LayerMix
from .targets import Targets, class_weights, known_labels
from .validation import check_is_fitted, validate_data

__all__ = ["TorchHead"]

LOSSES = ("cross-entropy", "focal")


@dataclass(kw_only=True, eq=False, repr=False)
class TorchHead(Head):
    """A head that is a torch network. All of these have the settings below; defaults may differ.

    Parameters
    ----------
    learning_rate : float
        Peak of the schedule: linear warm-up, then cosine to zero over `max_epochs`.
    weight_decay : float
        Of AdamW.
    batch_size : int
        Rows in a step.
    max_epochs : int
        Without dev data all of them are trained and the last is kept.
    patience : int or None
        With dev data: stop after so many epochs without a better dev UAR, and keep the best.
    warmup : float
        Part of all steps in which the learning rate rises.
    clip_norm : float or None
        Largest norm of the gradient.
    label_smoothing : float
        Part of each target that is spread over all classes.
    class_weight : {"balanced"}, dict of label to weight, or None
    loss : {"cross-entropy", "focal"}
    gamma : float
        Focus of the focal loss.
    logit_adjustment : float
        Train with this times the log of the class shares added to the logits (1 is the usual
        value; Menon and others, ICLR 2021): rare classes gain at prediction. Instead of class
        weights, not with them.
    sampling : {"class", "group", "class-and-group"} or None
        What each epoch shows in equal parts; groups (languages, corpora) are given to `fit`.
    n_layers : int
        How many layers of equal width lie side by side in a row of features.
    layer_mix : bool
        Mix the layers with learnt softmax weights; otherwise they are one long vector.
    n_members : int
        Networks trained from different seeds, whose probabilities are averaged.
    device : str
        "auto" takes a CUDA GPU where there is one.
    random_state : int, RandomState or None
        One whole number gives one result: bit-equal on a CPU with the same number of threads.
    verbose : bool
        Show loss, dev UAR and time left on stderr.
    callback : callable or None
        Takes each row of `history_` as it is made.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 32
    max_epochs: int = 100
    patience: int | None = 20
    warmup: float = 0.05
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    class_weight: str | dict[Any, float] | None = "balanced"
    loss: str = "cross-entropy"
    gamma: float = 2.0
    logit_adjustment: float = 0.0
    sampling: str | None = None
    n_layers: Any = 1
    layer_mix: bool = False
    n_members: int = 1
    device: str = "auto"
    random_state: Any = None
    verbose: bool = False
    callback: Callable[[dict[str, Any]], Any] | None = None

    _chunk: ClassVar[int] = 1024  # rows that are predicted at once

    @abstractmethod
    def _network(self, width: int, outputs: int) -> nn.Module:
        """Return a network from (rows, width) to logits (rows, outputs)."""

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_dev: Any = None,
        y_dev: Any = None,
        *,
        groups: Any = None,
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Train on features and labels, stopping early where dev data are given.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips,), or (clips, classes)
            Labels; or distributions over the labels (or vote counts), then `classes` names the
            columns.
        sample_weight : array-like of shape (clips,), optional
        X_dev, y_dev : array-like, optional
            Where given, the epoch with the best dev UAR is kept (equal ones: the lower dev loss).
            Where not, `max_epochs` epochs are trained; nothing is split off.
        groups : array-like of shape (clips,), optional
            Group of each clip (its language, say), for `sampling`.
        classes : sequence of label, optional
            Column names of a two-dimensional `y`.

        Returns
        -------
        TorchHead

        Raises
        ------
        InputError
            A setting out of range, one class only, dev data without labels.
        ValueError
            NaN or infinity in `X`, or lengths that differ.
        DivergedError
            The loss became NaN or infinite.
        """
        X, targets, weight, keep = self._read(X, y, sample_weight, classes, **self._checks())
        if groups is not None:
            groups = np.asarray(groups)
            if groups.shape != keep.shape:
                raise InputError(f"groups has shape {groups.shape}; expected {keep.shape}")
            groups = groups[keep]
        stratum = strata(self.sampling, targets.hard, groups)
        dev = self._read_dev(X_dev, y_dev, targets.classes, classes)
        device = pick_device(self.device)
        shares = row_shares(stratum, len(X))
        data = _Data(
            x=torch.from_numpy(np.ascontiguousarray(X)).to(device),
            soft=torch.from_numpy(targets.soft.astype(np.float32)).to(device),
            # float32 loses the sum of 1e38 and 1: weights are made to have mean 1 first
            row_weight=torch.from_numpy((weight / weight.mean()).astype(np.float32)).to(device),
            class_weight=torch.from_numpy(
                class_weights(self.class_weight, targets, weight * shares).astype(np.float32)
            ).to(device),
            log_prior=torch.from_numpy(_log_prior(targets, weight * shares)).to(device),
        )
        self.classes_ = targets.classes
        self.networks_: list[nn.Module] = []
        self.history_ = []
        for member, seed in enumerate(self._seeds()):
            network, trained = self._train_one(data, dev, stratum, seed, device)
            label = {"member": member} if self.n_members > 1 else {}
            self.networks_.append(network.cpu())
            self.history_ += [label | row for row in trained.history]
            self.best_epoch_ = trained.best_epoch
            self.stopped_ = trained.stopped
            if trained.stopped == "interrupted":
                break
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities (clips, classes), float64, in the order of `classes_`.

        Computed in float64, so that a row does not depend on its neighbours.

        Parameters
        ----------
        X : array-like of shape (clips, features)

        Returns
        -------
        ndarray of shape (clips, classes)
        """
        return np.mean([torch.softmax(z, dim=1).numpy() for z in self._outputs(X)], axis=0)

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

    def _checks(self) -> dict[str, Any]:
        return {"dtype": np.float32}

    def _seeds(self) -> list[np.random.SeedSequence]:
        whole = isinstance(self.random_state, (int, np.integer))
        entropy = (
            int(self.random_state)
            if whole
            else int(check_random_state(self.random_state).randint(2**31))
        )
        return np.random.SeedSequence(entropy).spawn(self.n_members)

    def _read_dev(
        self, X_dev: Any, y_dev: Any, known: np.ndarray, columns: Sequence[Any] | None
    ) -> tuple[np.ndarray, np.ndarray] | None:
        if X_dev is None and y_dev is None:
            return None
        if X_dev is None or y_dev is None:
            raise InputError("X_dev and y_dev belong together; one of them is missing")
        X_dev = validate_data(self, X_dev, reset=False, **self._checks())
        truth = known_labels(y_dev, known, columns)
        if len(truth) != len(X_dev):
            raise InputError(f"X_dev has {len(X_dev)} rows, y_dev {len(truth)}; expected as many")
        keep = self._usable(X_dev)
        if not (truth[keep] >= 0).any():
            raise InputError("y_dev holds no label that y holds; dev UAR would be 0 throughout")
        return X_dev[keep], truth[keep]

    def _train_one(
        self,
        data: _Data,
        dev: tuple[np.ndarray, np.ndarray] | None,
        stratum: np.ndarray | None,
        seed: np.random.SeedSequence,
        device: torch.device,
    ) -> tuple[nn.Module, Trained]:
        order, torch_seed = seed.spawn(1)[0], int(seed.generate_state(1, np.uint64)[0] >> 1)
        rng, rows = np.random.default_rng(order), len(data.x)
        with private_random(torch_seed, device):
            network = self._build(data.x.shape[1], data.soft.shape[1]).to(device)
            gamma = self.gamma if self.loss == "focal" else 0.0

            def loss(batch: Tensor) -> Tensor:
                return cross_entropy(
                    network(data.x[batch]) + self.logit_adjustment * data.log_prior,
                    data.soft[batch],
                    class_weight=data.class_weight,
                    row_weight=data.row_weight[batch],
                    label_smoothing=self.label_smoothing,
                    gamma=gamma,
                )

            def score() -> tuple[tuple[float, ...], dict[str, float]]:
                logits = torch.cat([network(x) for x in x_dev.split(4 * self._chunk)])
                return _dev_score(logits, truth, data.class_weight)

            if dev is not None:
                x_dev = torch.from_numpy(np.ascontiguousarray(dev[0])).to(device)
                truth = torch.from_numpy(dev[1]).to(device)
            trained = train(
                network,
                loss,
                lambda: batches(rows, self.batch_size, stratum, rng),
                Settings(
                    self.learning_rate,
                    self.weight_decay,
                    self.max_epochs,
                    self.patience,
                    self.warmup,
                    self.clip_norm,
                ),
                steps_per_epoch=-(-rows // self.batch_size),
                score=None if dev is None else score,
                callback=self.callback,
                progress=self.name if self.verbose else None,
            )
        return network, trained

    def _outputs(self, X: Any) -> list[Tensor]:
        """Return the outputs of each member for all rows, on the CPU, float64."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **self._checks())
        self._check_rows(X)
        device = pick_device(self.device)
        if device.type == "mps":  # has no float64
            device = torch.device("cpu")
        x = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float64))
        found = []
        with torch.inference_mode():
            for member in self.networks_:
                network = copy.deepcopy(member).to(device, torch.float64).eval()
                parts = [network(part.to(device)).cpu() for part in x.split(self._chunk)]
                found.append(torch.cat(parts))
        return found

    def _check_rows(self, X: np.ndarray) -> None:
        """Raise for rows that cannot be predicted."""

    def _check_settings(self) -> None:
        check_number("learning_rate", self.learning_rate, 1e-12)
        check_number("weight_decay", self.weight_decay, 0)
        check_number("batch_size", self.batch_size, 1, whole=True)
        check_number("max_epochs", self.max_epochs, 1, whole=True)
        if self.patience is not None:
            check_number("patience", self.patience, 1, whole=True)
        check_number("warmup", self.warmup, 0, 1)
        if self.clip_norm is not None:
            check_number("clip_norm", self.clip_norm, 1e-12)
        check_number("label_smoothing", self.label_smoothing, 0, 1)
        check_choice("loss", self.loss, LOSSES)
        check_number("gamma", self.gamma, 0)
        check_number("logit_adjustment", self.logit_adjustment, 0)
        if self.logit_adjustment and self.class_weight is not None:
            raise InputError(
                "logit_adjustment and class_weight both correct for rare classes; "
                "set class_weight=None to use logit_adjustment"
            )
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

    def _n_outputs(self) -> int:
        return len(self.classes_)


class Mixed(nn.Module):
    """A network behind a learnt mix of layers."""

    def __init__(self, layers: int, body: nn.Module) -> None:
        super().__init__()
        self.mix = LayerMix(layers)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Return the body's output for the mixed layers."""
        return self.body(self.mix(x))


@dataclass(frozen=True)
class _Data:
    """Training data on the device."""

    x: Tensor
    soft: Tensor
    row_weight: Tensor
    class_weight: Tensor
    log_prior: Tensor


def _log_prior(targets: Targets, row_weight: np.ndarray) -> np.ndarray:
    mass = row_weight @ targets.soft
    return np.log(np.maximum(mass / mass.sum(), 1e-12)).astype(np.float32)


def _dev_score(
    logits: Tensor, truth: Tensor, weight: Tensor
) -> tuple[tuple[float, ...], dict[str, float]]:
    """Return (UAR, -loss) and both by name; a class that training never saw is recalled never."""
    right = (logits.argmax(1) == truth).double()
    recalls = [right[truth == label].mean().item() for label in truth.unique()]
    uar = sum(recalls) / len(recalls)
    seen = truth >= 0
    target = nn.functional.one_hot(truth[seen], logits.shape[1]).to(logits.dtype)
    loss = cross_entropy(logits[seen], target, class_weight=weight).item()
    return (uar, -loss), {"dev_loss": loss, "dev_uar": uar}
