"""Training losses as plain functions of logits or values.

Every loss is a weighted mean over the rows of a batch, so that class weights and row weights
change what counts and not the size of the step.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(
    logits: Tensor,
    target: Tensor,
    *,
    class_weight: Tensor | None = None,
    row_weight: Tensor | None = None,
    gamma: float = 0.0,
) -> Tensor:
    """Return the mean cross-entropy between label distributions and softmax(logits).

    Equal to `torch.nn.functional.cross_entropy` with `weight` where the targets are one-hot. With
    `gamma` above 0 it is the focal loss: each class term is multiplied by (1 - p)^gamma, so that
    rows that are right already count less.

    Parameters
    ----------
    logits : Tensor (rows, classes)
    target : Tensor (rows, classes)
        Distributions over the classes. A row of zeros has no label and does not count.
    class_weight : Tensor (classes,), optional
    row_weight : Tensor (rows,), optional
    gamma : float, default=0.0
        Focus of the focal loss.

    Returns
    -------
    Tensor, scalar

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollár: Focal Loss for Dense Object Detection,
    ICCV 2017.

    Examples
    --------
    >>> import torch
    >>> logits = torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    >>> target = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> round(cross_entropy(logits, target).item(), 4)
    0.2201
    >>> round(cross_entropy(logits, target, gamma=2.0).item(), 4)
    0.0122
    """
    log_p = F.log_softmax(logits, dim=1)
    # (rows, classes): what each row counts in the mean
    mass = target if class_weight is None else target * class_weight
    if row_weight is not None:
        mass = mass * row_weight[:, None]
    terms = mass * log_p
    if gamma:
        terms = terms * (1 - log_p.exp()) ** gamma
    # a batch without any label gives 0, not NaN
    return -terms.sum() / mass.sum().clamp_min(torch.finfo(log_p.dtype).tiny)


@dataclass(frozen=True, eq=False)
class CrossEntropy:
    """`cross_entropy` of logits for some of the rows.

    Attributes
    ----------
    target : Tensor (all rows, classes)
    gamma : float
    shift : Tensor (classes,), optional
        Is added to the logits.
    """

    target: Tensor
    gamma: float = 0.0
    shift: Tensor | None = None

    def __call__(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the loss of logits (rows, classes); `rows` are their positions."""
        if self.shift is not None:
            logits = logits + self.shift
        return cross_entropy(logits, self.target.index_select(0, rows), gamma=self.gamma)

    def with_gradient(self, logits: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and its gradient without autograd: on a CPU, where `gamma` is 0.

        Examples
        --------
        >>> rows = torch.arange(2)
        >>> CrossEntropy(torch.eye(2)).with_gradient(torch.zeros(2, 2), rows)[1]
        tensor([[-0.2500,  0.2500],
                [ 0.2500, -0.2500]])
        """
        mass = self.target.index_select(0, rows)
        log_p = F.log_softmax(logits if self.shift is None else logits + self.shift, dim=1)
        total = mass.sum().clamp_min(torch.finfo(log_p.dtype).tiny)
        grad = torch.ops.aten._log_softmax_backward_data(mass * (-1 / total), log_p, 1, log_p.dtype)
        return -(mass * log_p).sum() / total, grad


def weighted_targets(target: Tensor, class_weight: Tensor, label_smoothing: float) -> Tensor:
    """Return targets for `cross_entropy` that hold class weights and smoothing.

    A row counts by the weight of its own labels, and what smoothing takes from it goes to all
    classes in equal parts. `torch.nn.functional.cross_entropy` gives each class its own weight in
    the smoothed part too. Next to a very rare class every row then asks, above all, for that class:
    with 8 clips of 1,893 and a smoothing of 0.1 a third of the loss did.

    Parameters
    ----------
    target : Tensor (rows, classes)
        Distributions over the classes. A row of zeros has no label and does not count.
    class_weight : Tensor (classes,)

    Returns
    -------
    Tensor (rows, classes)

    Examples
    --------
    >>> import torch
    >>> weighted_targets(torch.eye(2), torch.tensor([1.0, 3.0]), 0.2)
    tensor([[0.9000, 0.1000],
            [0.3000, 2.7000]])
    """
    mass = target * class_weight
    spread = mass.sum(1, keepdim=True) * (label_smoothing / target.shape[1])
    return mass * (1 - label_smoothing) + spread


def _weights(truth: Tensor, row_weight: Tensor | None) -> Tensor:
    """Return weights (rows, dimensions) that sum to 1 by dimension; 0 where truth is missing."""
    known = torch.isfinite(truth).to(truth.dtype)
    if row_weight is not None:
        known = known * row_weight[:, None]
    return known / known.sum(0).clamp_min(torch.finfo(truth.dtype).tiny)


def mse_loss(values: Tensor, truth: Tensor, row_weight: Tensor | None = None) -> Tensor:
    """Return the mean squared error, averaged over dimensions; NaN in `truth` does not count.

    Parameters
    ----------
    values, truth : Tensor (rows, dimensions)
    row_weight : Tensor (rows,), optional

    Examples
    --------
    >>> import torch
    >>> truth = torch.tensor([[1.0], [float("nan")]])
    >>> mse_loss(torch.tensor([[3.0], [9.0]]), truth).item()
    4.0
    """
    error = (values - torch.nan_to_num(truth)) ** 2
    return (_weights(truth, row_weight) * error).sum(0).mean()


def ccc_loss(values: Tensor, truth: Tensor, row_weight: Tensor | None = None) -> Tensor:
    """Return 1 - concordance correlation coefficient, averaged over dimensions.

    CCC = 2 cov(x, y) / (var x + var y + (mean x - mean y)^2), with variances over the batch
    (divided by the number of rows). From 0 (perfect) to 2; NaN in `truth` does not count.

    Parameters
    ----------
    values, truth : Tensor (rows, dimensions)
    row_weight : Tensor (rows,), optional

    References
    ----------
    L. I-K. Lin: A Concordance Correlation Coefficient to Evaluate Reproducibility,
    Biometrics 45, 1989.

    Examples
    --------
    >>> import torch
    >>> truth = torch.tensor([[0.0], [1.0], [2.0]])
    >>> round(ccc_loss(truth + 1, truth).item(), 4)
    0.4286
    """
    weight, truth = _weights(truth, row_weight), torch.nan_to_num(truth)
    mean_x, mean_y = (weight * values).sum(0), (weight * truth).sum(0)
    x, y = values - mean_x, truth - mean_y
    spread = (weight * (x * x + y * y)).sum(0) + (mean_x - mean_y) ** 2
    tiny = torch.finfo(values.dtype).eps  # a constant batch gives 1, not NaN
    return (1 - 2 * (weight * x * y).sum(0) / spread.clamp_min(tiny)).mean()
