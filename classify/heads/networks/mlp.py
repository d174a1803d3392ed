"""A multilayer perceptron: the head for most uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from ....cache.errors import InputError, check_number, one_of
from ..training.estimator import WIDEST
from ..training.losses import CrossEntropy
from ..training.shared_layers import Dropout, Linear
from ..training.torch_classifier import TorchHead
from .mlp_on_cpu import LearningMLP

if TYPE_CHECKING:
    from ..training.stacked.stacked_networks import Make

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh}


class MLP(nn.Module):
    """Linear layers with activation and dropout between; no hidden layer makes it linear.

    Parameters
    ----------
    width : int
        Input features.
    hidden : sequence of int
        Units of each hidden layer.
    dropout : float
        After each hidden layer.
    activation : str
        Name in `ACTIVATIONS`.
    input_dropout : float, default=0.0
        Before the first layer.
    skip : bool, default=False
        Add a linear path from the input to the output.

    Examples
    --------
    >>> import torch
    >>> MLP(4, [8], 3, dropout=0.1, activation="relu")(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        width: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        dropout: float,
        activation: str,
        input_dropout: float = 0.0,
        skip: bool = False,
    ) -> None:
        super().__init__()
        sizes = [width, *hidden]
        steps: list[nn.Module] = [Dropout(input_dropout)]
        for before, after in pairwise(sizes):
            steps += [Linear(before, after), ACTIVATIONS[activation](), Dropout(dropout)]
        self.layers = nn.Sequential(*steps, nn.Linear(sizes[-1], outputs))
        self.skip = nn.Linear(width, outputs, bias=False) if skip and hidden else None

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (rows, outputs)."""
        out = self.layers(x)
        return out if self.skip is None else out + self.skip(self.layers[0](x))

    def written_out(self, x: Any, loss: Any) -> LearningMLP | None:
        """Return the training loss as a CPU computes it without autograd; None if it does not."""
        on_cpu = self.layers[-1].weight.device.type == "cpu"
        by_hand = on_cpu and self._is_plain() and self.skip is None
        known = isinstance(loss, CrossEntropy) and loss.gamma == 0
        return LearningMLP(self, x, loss) if by_hand and known else None

    def _is_plain(self) -> bool:
        other = nn.GELU, nn.Tanh
        return type(self) is MLP and not any(isinstance(one, other) for one in self.layers)

    def stacked(self) -> Make | None:
        """Return how several of these train at once on a GPU; None if they do not."""
        if not self._is_plain():
            return None
        from ..training.stacked.stacked_networks import StackedVectors

        return partial(StackedVectors, self)


@dataclass(kw_only=True, eq=False, repr=False)
class MLPSettings:
    """The settings of a head that is a multilayer perceptron, or has one."""

    hidden: tuple[int, ...] = (256,)
    dropout: float = 0.5
    input_dropout: float = 0.5
    activation: str = "relu"

    def _mlp(self, width: int, outputs: int, *, skip: bool = False) -> MLP:
        return MLP(
            width,
            self.hidden,
            outputs,
            dropout=self.dropout,
            activation=self.activation,
            input_dropout=self.input_dropout,
            skip=skip,
        )

    def _check_settings(self) -> None:
        super()._check_settings()  # pyright: ignore[reportAttributeAccessIssue]
        if not isinstance(self.hidden, (tuple, list)) or len(self.hidden) > 64:
            raise InputError(
                f"`hidden` is {self.hidden!r}; expected at most 64 layer sizes: (128, 64) in "
                "Python, [[128, 64]] in a recipe, where the outer list is of values to choose from"
            )
        for size in self.hidden:
            check_number("hidden", size, 1, WIDEST, whole=True)
        check_number("dropout", self.dropout, 0, 1)
        check_number("input_dropout", self.input_dropout, 0, 1)
        one_of(self.activation, ACTIVATIONS, "activation")


@dataclass(kw_only=True, eq=False, repr=False)
class MLPHead(MLPSettings, TorchHead):
    """Multilayer perceptron on an embedding.

    Parameters
    ----------
    hidden : tuple of int, default=(256,)
        Units of each hidden layer; `()` makes it a linear classifier.
    dropout : float, default=0.5
        After each hidden layer.
    input_dropout : float, default=0.5
        On the input.
    activation : {"relu", "gelu", "tanh"}, default="relu"
    skip : bool, default=False
        Add a linear path from the input to the logits.
    label_smoothing : float, default=0.1
    max_epochs : int or None, default=None
        None: some 1,500 steps, but 10 to 30 epochs.
    early_stopping : bool, default=False
        True keeps the epoch with the best dev UAR, which is mostly a lucky one where dev has few
        clips.
    **settings
        See `TorchHead`.

    Attributes
    ----------
    classes_ : ndarray of shape (classes,)
    history_ : list of dict
    best_epoch_ : int
        The epoch that was kept.
    stopped_ : str
        "max_epochs", "patience" or "interrupted" (Ctrl-C: what was reached so far was kept).

    See Also
    --------
    LogisticHead : without hidden layers, to the optimum.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((40, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "other")  # no line separates these
    >>> head = MLPHead(input_dropout=0.0, max_epochs=60, learning_rate=1e-2, random_state=0)
    >>> bool(head.fit(X, y).score(X, y) > 0.9)
    True
    """

    name: ClassVar[str] = "mlp"

    label_smoothing: float = 0.1
    max_epochs: int | None = None
    early_stopping: bool = False
    skip: bool = False

    def _network(self, width: int, outputs: int) -> nn.Module:
        return self._mlp(width, outputs, skip=self.skip)
