"""`logistic_batch` on a device: the problems of several layers in one batch, in torch.

Objective, step and when it ends are those of `logistic_batch`. What differs on a device:

- All problems of all layers start from weights of 0 and take each step together, whatever their C;
  rows that a problem does not train on weigh 0. A step is a few large products and some hundred
  small operations, none of which waits.
- Which problems are finished is fetched every few steps; the others go on.
- The two loops of L-BFGS are two small systems of equations of the remembered steps.
- A step that went too far is remembered too, and the next one found again: that costs no product.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.linalg import cholesky, solve_ex, solve_triangular

from ..logistic_batch import CAUTION, LONGEST, MEMORY, RETRIES, Problems
from .rows import DeviceRows

RANK = 256  # eigenvectors of the preconditioner
TOL = 1e-6  # as `logistic_batch.TOL`
FETCH = 4  # steps between two looks at what is finished
NOISE = 1e-4  # of the objective: where less changes, the slope says if a step went too far
SHRINK = 0.85  # of the problems: where no more are left, the finished ones are dropped


@dataclass(frozen=True)
class DeviceProblems:
    """Problems on a device, as many in each layer, layer after layer.

    Attributes
    ----------
    trains : tensor of bool (problems, cells)
    weights : tensor of float32 (problems, cells * classes)
        Weight of a row of each cell and class; 0 where the problem does not train on it.
    ridge : tensor of float32 (problems,)
        The factor of ``|W|^2 / 2``.
    shrink : tensor of float32 (problems, features + 1) or None
        As in `Problems`.
    """

    trains: torch.Tensor
    weights: torch.Tensor
    ridge: torch.Tensor
    shrink: torch.Tensor | None

    @classmethod
    def of(
        cls, several: Sequence[Problems], rows: DeviceRows, *, own_scale: bool = False
    ) -> DeviceProblems:
        """Put the problems of each layer on the device of the rows.

        Parameters
        ----------
        own_scale : bool
            Divide columns by their deviation over the cells of each problem, as `Problems.shrink`
            does. Then all layers have the same masks.
        """
        masks = np.concatenate([one.masks for one in several])
        weights = np.concatenate([one.weights for one in several])
        weights = (masks[:, :, None] * weights[:, None]).reshape(len(masks), -1)
        ridge = np.concatenate([one.ridge()[:, 0, 0] for one in several])
        trains, weights, ridge = (
            torch.from_numpy(values).to(rows.X.device) for values in (masks, weights, ridge)
        )
        shrink = None
        if own_scale:
            shrink = rows.ratios(trains[: len(several[0])]).flatten(0, 1)
        return cls(trains, weights, ridge, shrink)

    def take(self, which: torch.Tensor) -> DeviceProblems:
        """Return some of the problems."""
        shrink = None if self.shrink is None else self.shrink[which]
        return DeviceProblems(self.trains[which], self.weights[which], self.ridge[which], shrink)


def solve(
    rows: DeviceRows,
    problems: DeviceProblems,
    *,
    check: Callable[[], None] = lambda: None,
) -> torch.Tensor:
    """Minimise every problem of every layer, as `logistic_batch.solve` does.

    Parameters
    ----------
    check
        As there; called every few steps.

    Returns
    -------
    W : tensor of float32 (problems, classes, features + 1)
    """
    layers, count = len(rows.X), len(problems.ridge)
    device = rows.X.device
    classes = problems.weights.shape[1] // problems.trains.shape[1]
    metric = _Metric(rows)
    found = torch.zeros(count, classes, rows.dim + 1, device=device)
    going = torch.arange(count, device=device)
    W = found.clone()
    F, G, curvature = _objective(rows, W, problems)
    step = -metric.apply(G, curvature, problems.ridge)
    slope, length = _dot(G, step), torch.ones(count, device=device)
    failed = torch.zeros(count, dtype=torch.int64, device=device)
    done = torch.zeros(count, dtype=torch.bool, device=device)
    steps, changes = torch.zeros(2, count, MEMORY, W[0].numel(), device=device)
    slot = torch.zeros_like(failed)  # where the next step is remembered
    for number in range(LONGEST):
        moved = length[:, None, None] * step
        F_new, G_new, curvature_new = _objective(rows, W + moved, problems)
        better = F_new <= F + 1e-4 * length * slope
        better |= (F_new <= F + NOISE * F.abs()) & (_dot(G_new, step) <= 0.8 * slope.abs())
        change = G_new - G
        use = _dot(moved, change) > 1e-8 * slope.abs()
        for memory, new in ((steps, moved), (changes, change)):
            place = (torch.arange(len(slot), device=device), slot)
            memory[place] = torch.where(use[:, None], new.flatten(1), memory[place])
        slot = torch.where(use, (slot + 1) % MEMORY, slot)
        gained = torch.where(better, F - F_new, 0)
        W, G = (torch.where(better[:, None, None], *pair) for pair in ((W + moved, W), (G_new, G)))
        F, curvature = torch.where(better, F_new, F), torch.where(better, curvature_new, curvature)
        failed = torch.where(better, 0, failed + 1)
        length = torch.where(better, 1, 0.6 * length)
        step = _direction(G, steps, changes, slot, metric, curvature, problems.ridge)
        slope = _dot(G, step)
        enough = TOL * F.abs()
        done |= (better & (-0.5 * slope <= enough) & (gained <= 4 * enough)) | (failed > RETRIES)
        if number % FETCH:
            continue
        check()
        each = len(done) // layers
        left = each - int(done.view(layers, each).sum(dim=1).min())
        if not left:
            break
        if left <= SHRINK * each:  # as many in each layer; where fewer are left, some go on
            found[going] = W
            first = done.view(layers, each).byte().argsort(dim=1, stable=True)[:, :left]
            keep = (first + each * torch.arange(layers, device=device)[:, None]).flatten()
            going, done, failed = going[keep], done[keep], failed[keep]
            problems = problems.take(keep)
            W, F, G, curvature = W[keep], F[keep], G[keep], curvature[keep]
            step, slope, length = step[keep], slope[keep], length[keep]
            steps, changes, slot = steps[keep], changes[keep], slot[keep]
    found[going] = W
    return found


def predict(rows: DeviceRows, W: torch.Tensor, problems: DeviceProblems) -> torch.Tensor:
    """Return the most probable class `(problems, rows)` int16; -1 in train."""
    found = torch.empty(len(W), len(rows), dtype=torch.int16, device=W.device)
    V = _shrunk(W, problems)
    for at in rows.blocks():
        best = _logits(V, rows.X[:, at]).argmax(dim=1).short()
        found[:, at] = torch.where(problems.trains[:, rows.cells[at]], -1, best)
    return found


class _Metric:
    """As in `logistic_batch`, of each layer."""

    def __init__(self, rows: DeviceRows) -> None:
        self.values, self.vectors, self.rest = _spectrum(rows)
        self.count = len(rows)

    def apply(self, G: torch.Tensor, curvature: torch.Tensor, ridge: torch.Tensor) -> torch.Tensor:
        """Multiply gradients ``(problems, classes, features + 1)``."""
        layers, rank = self.values.shape
        mean = (CAUTION * curvature / self.count).clip(min=1e-6).float().view(layers, -1, 1)
        ridge = ridge.view(layers, -1, 1)
        rest = 1 / (self.rest[:, None, None] * mean + ridge)
        lead = 1 / (self.values[:, None] * mean + ridge) - rest
        by_layer = G.view(layers, -1, *G.shape[1:])
        plain = by_layer[..., :-1].flatten(1, 2)
        turned = (plain @ self.vectors).view(*by_layer.shape[:3], rank) * lead[:, :, None]
        found = rest[..., None] * by_layer
        found[..., :-1] += (turned.flatten(1, 2) @ self.vectors.mT).view_as(by_layer[..., :-1])
        found[..., -1] = by_layer[..., -1] / (mean * self.count)
        return found.view_as(G)


def _spectrum(rows: DeviceRows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return leading eigenvalues `(layers, rank)`, -vectors `(layers, dim, rank)`, others' mean."""
    X, dim = rows.X[..., :-1], rows.dim
    rank = min(RANK, dim, len(rows))
    draw = np.random.default_rng(0).standard_normal((dim, rank)).astype(np.float32)
    basis = torch.from_numpy(draw).to(X.device).expand(len(X), dim, rank)

    def times(basis: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.T @ (x @ own) for x, own in zip(X, basis, strict=True)])

    for _ in range(3):
        basis = _orthonormal(times(basis))
    values, turn = torch.linalg.eigh(basis.mT @ times(basis))
    total = torch.stack([(x * x).sum(dtype=torch.float64) for x in X])
    rest = (total - values.sum(dim=1)).clip(min=0) / max(dim - rank, 1)
    return values.clip(min=0), basis @ turn, rest.float()


def _orthonormal(Y: torch.Tensor) -> torch.Tensor:
    """Return columns that span the same, by Cholesky factors: devices are slow at Householder's.

    The second time makes up for what the first one loses where the columns are nearly parallel.
    Directions that are not there become 0.
    """
    Q = Y.double()
    for _ in range(2):
        gram = Q.mT @ Q
        level = gram.diagonal(dim1=1, dim2=2)
        level += 1e-12 * level.sum(dim=1, keepdim=True) + 1e-30
        Q = solve_triangular(cholesky(gram).mT, Q, upper=True, left=False)
    return Q.float()


def _objective(
    rows: DeviceRows, W: torch.Tensor, problems: DeviceProblems
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """As in `logistic_batch`."""
    V = _shrunk(W, problems)
    layers, (count, classes, width) = len(rows.X), W.shape
    loss, curvature = torch.zeros(2, count, dtype=torch.float64, device=W.device)
    G = torch.zeros_like(W)
    slopes = G.view(layers, -1, classes, width)
    for at in rows.blocks():
        X, y = rows.X[:, at], rows.codes[at]
        weight = problems.weights[:, rows.cells[at] * classes + y]
        y = y.expand(count, 1, -1)
        P = _logits(V, X)
        P -= P.amax(dim=1, keepdim=True)
        true = P.gather(1, y)[:, 0]
        P.exp_()
        own = P.gather(1, y)[:, 0]
        P.scatter_(1, y, 0)
        rest = P.sum(dim=1)
        total = own + rest
        lost = torch.where(true == 0, rest.log1p(), total.log() - true)
        loss += (lost * weight).sum(dim=1, dtype=torch.float64)
        P /= total[:, None]
        wrong = rest / total
        spread = wrong * (2 - wrong) - (P * P).sum(dim=1)
        curvature += (spread * weight).sum(dim=1, dtype=torch.float64)
        P.scatter_(1, y, -wrong[:, None])
        residual = (P[:, :-1] * weight[:, None]).view(layers, -1, len(weight[0]))
        slopes[:, :, :-1] += (residual @ X).view(layers, -1, classes - 1, width)
    G[:, -1] = -G[:, :-1].sum(dim=1)
    if problems.shrink is not None:
        G *= problems.shrink[:, None]
    penalty = problems.ridge[:, None, None] * W
    penalty[..., -1] = 0
    G += penalty
    return loss + 0.5 * _dot(penalty, W), G, curvature / classes


def _logits(V: torch.Tensor, X: torch.Tensor) -> torch.Tensor:
    """Return ``(problems, classes, rows)``; the last class is minus the sum of the others."""
    count, classes, width = V.shape
    found = V.new_empty(count, classes, X.shape[1])
    product = V[:, :-1].reshape(len(X), -1, width) @ X.mT
    found[:, :-1] = product.view(count, classes - 1, -1)
    torch.sum(found[:, :-1], dim=1, out=found[:, -1]).neg_()
    return found


def _direction(
    G: torch.Tensor,
    steps: torch.Tensor,
    changes: torch.Tensor,
    slot: torch.Tensor,
    metric: _Metric,
    curvature: torch.Tensor,
    ridge: torch.Tensor,
) -> torch.Tensor:
    """Return the direction of L-BFGS; a remembered step of 0 has no effect.

    Parameters
    ----------
    steps, changes : tensor (problems, MEMORY, classes * (features + 1))
        Steps and how they changed the gradient, in a ring.
    slot : tensor of int (problems,)
        The place of the oldest one.
    """
    age = (torch.arange(MEMORY, device=G.device) - slot[:, None]) % MEMORY  # 0: the oldest
    later = age[:, None] >= age[..., None]
    products = (steps @ changes.mT).double() * later
    diagonal = products.diagonal(dim1=1, dim2=2)
    diagonal += diagonal == 0
    q = G.flatten(1)[..., None]
    first = solve_ex(products, (steps @ q).double())[0]
    q = q - changes.mT @ first.float()
    q = metric.apply(q.view_as(G), curvature, ridge).flatten(1)[..., None]
    second = diagonal[..., None] * first - (changes @ q).double()
    second = solve_ex(products.mT, second)[0]
    return -(q + steps.mT @ second.float()).view_as(G)


def _shrunk(W: torch.Tensor, problems: DeviceProblems) -> torch.Tensor:
    return W if problems.shrink is None else W * problems.shrink[:, None]


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(dim=(1, 2)).double()
