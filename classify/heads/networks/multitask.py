"""One network for several label sets (emotion and valence, say) with labels missing in places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from ....cache.errors import InputError, check_number
from ....cache.manifest.tables.cells import text_of
from ..sklearn_shim import (
    ClassifierMixin,
    check_consistent_length,
    check_row_weights,
    validate_data,
)
from ..state import pack_labels, unpack_labels
from ..targets import Targets, class_weights, known_labels, read_labels
from ..training.estimator import TorchEstimator
from ..training.loop import pick_device
from ..training.losses import cross_entropy, weighted_targets
from ..training.rows_for_torch import float_tensor, row_weights
from ..training.rows_on_disk import some_rows
from ..training.torch_classifier import dev_score
from .mlp import MLPSettings


@dataclass(kw_only=True, eq=False, repr=False)
class MultiTaskHead(ClassifierMixin, MLPSettings, TorchEstimator):
    """Multilayer perceptron with one set of classes per task over shared hidden layers.

    Parameters
    ----------
    task_weights : tuple of float or None, default=None
        Weight of each task's loss; None: all 1.
    class_weight : {"balanced"}, dict of label to weight, or None, default="balanced"
        Within each task, over the clips that have a label in it.
    label_smoothing : float, default=0.1
    hidden : tuple of int, default=(256,)
    dropout : float, default=0.5
    input_dropout : float, default=0.5
    activation : {"relu", "gelu", "tanh"}, default="relu"
    **settings
        See `TorchEstimator`. With dev data the epoch with the best dev UAR, averaged over tasks, is
        kept.

    Attributes
    ----------
    classes_ : list of ndarray, or ndarray where `y` has one axis
        Sorted labels of each task.
    history_ : list of dict

    Notes
    -----
    A missing label is None, NaN, pandas' NA or "" in a two-dimensional `y`; it does not count in
    the loss.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((40, 3))
    >>> emotion = np.where(X[:, 0] > 0, "joy", "fear").astype(object)
    >>> valence = np.where(X[:, 0] > 0, "positive", "negative").astype(object)
    >>> emotion[::4] = None
    >>> head = MultiTaskHead(max_epochs=40, learning_rate=1e-2, random_state=0)
    >>> _ = head.fit(X, np.stack([emotion, valence], axis=1))
    >>> [labels.tolist() for labels in head.classes_]
    [['fear', 'joy'], ['negative', 'positive']]
    >>> head.predict(X).shape
    (40, 2)
    """

    name: ClassVar[str] = "multi-task"

    task_weights: Any = None
    class_weight: Any = "balanced"
    label_smoothing: float = 0.1

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, X_dev: Any = None, y_dev: Any = None
    ) -> Self:
        """Train on features and the labels of each task.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips, tasks), or (clips,) for one task
        sample_weight : array-like of shape (clips,), optional
        X_dev, y_dev : array-like, optional
            Where given, the epoch with the best mean dev UAR is kept; where not, the last.

        Returns
        -------
        MultiTaskHead

        Raises
        ------
        InputError
            A setting out of range, a task with one class only, dev data without labels.
        """
        self._check_settings()
        X, columns, self.vector_ = self._read(X, y)
        weight = check_row_weights(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        keep = weight > 0
        X, weight = some_rows(X, keep), weight[keep]
        columns = [column[keep] for column in columns]
        tasks = [_targets(column, position) for position, column in enumerate(columns)]
        importance = self._importance(len(tasks))
        device = pick_device(self.device)
        row_weight = row_weights(weight, device)
        soft = [float_tensor(task.soft, device) for task in tasks]
        balance = [float_tensor(self._balance(task, weight), device) for task in tasks]
        sizes = [len(task.classes) for task in tasks]

        def loss(outputs: Tensor, batch: Tensor) -> Tensor:
            total = torch.zeros((), device=device)
            for i, logits in enumerate(outputs.split(sizes, dim=1)):
                total = total + importance[i] * cross_entropy(
                    logits,
                    weighted_targets(soft[i][batch], balance[i], self.label_smoothing),
                    row_weight=row_weight[batch],
                )
            return total

        def score(outputs: Tensor) -> tuple[tuple[float, ...], dict[str, float]]:
            found = [
                dev_score(logits[kept], truth[kept], balance[i])[0]
                for i, (logits, truth) in enumerate(
                    zip(outputs.split(sizes, dim=1), dev_truth, strict=True)
                )
                if (kept := truth > -2).any()
            ]
            uar, minus_loss = np.mean(found, axis=0).tolist()
            by_task = {f"dev_uar_{i}": key[0] for i, key in enumerate(found)}
            return (uar, minus_loss), {"dev_loss": -minus_loss, "dev_uar": uar} | by_task

        self._labels = [task.classes for task in tasks]
        x_dev = self._dev_features(X_dev, y_dev)
        if x_dev is not None:
            dev_truth = [torch.from_numpy(t).to(device) for t in self._dev_truth(y_dev, len(x_dev))]
        self._train_members(X, loss, device, x_dev=x_dev, score=score)
        return self

    @property
    def classes_(self) -> Any:
        """Sorted labels of each task; of the only one where `y` had one axis."""
        if not hasattr(self, "_labels"):
            raise AttributeError("classes_: this head is not fitted")
        return self._labels[0] if self.vector_ else self._labels

    def predict_proba(self, X: Any) -> Any:
        """Return probabilities (clips, classes) of each task in a list; bare for one task."""
        sizes = [len(labels) for labels in self._labels] if hasattr(self, "_labels") else []
        members = [
            [torch.softmax(logits, dim=1).numpy() for logits in outputs.split(sizes, dim=1)]
            for outputs in self._outputs(X)
        ]
        tasks = [np.mean(same, axis=0) for same in zip(*members, strict=True)]
        return tasks[0] if self.vector_ else tasks

    def predict(self, X: Any) -> np.ndarray:
        """Return labels (clips, tasks), object where the tasks' labels differ in type."""
        found = self.predict_proba(X)
        if self.vector_:
            return self._labels[0][found.argmax(axis=1)]
        picked = [
            labels[proba.argmax(axis=1)] for labels, proba in zip(self._labels, found, strict=True)
        ]
        kinds = {labels.dtype.kind for labels in picked}
        return np.stack([p.astype(object) for p in picked] if len(kinds) > 1 else picked, axis=1)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Return the accuracy, the mean over tasks, each over the clips that have a label in it.

        Parameters
        ----------
        X : array-like of shape (clips, features)
        y : array-like of shape (clips, tasks), or (clips,) for one task
        sample_weight : array-like of shape (clips,), optional

        Returns
        -------
        float
        """
        found = self.predict(X).reshape(len(X), -1)
        truth = np.asarray(y, dtype=object).reshape(found.shape)
        weight = np.ones(len(X)) if sample_weight is None else np.asarray(sample_weight)
        labelled = [~_missing(column) for column in truth.T]
        if not all(kept.any() for kept in labelled):
            raise InputError("a task of y has no labels; expected some")
        tasks = zip(found.T, truth.T, labelled, strict=True)
        return float(np.mean([np.average(a[k] == b[k], weights=weight[k]) for a, b, k in tasks]))

    def _read(self, X: Any, y: Any) -> tuple[np.ndarray, list[np.ndarray], bool]:
        shape = () if y is None else np.asarray(y).shape
        if len(shape) == 2:
            X = validate_data(self, X, dtype=np.float32)
            table = np.asarray(y, dtype=object)  # of text, NaN would be the label "nan"
            check_consistent_length(X, table)
            return X, list(table.T), False
        X, y = validate_data(self, X, y, dtype=np.float32)
        return X, [y], True

    def _dev_truth(self, y_dev: Any, rows: int) -> list[np.ndarray]:
        """Return class positions per task: -1 for a label that is not in train, -2 for none."""
        table = np.asarray(y_dev, dtype=object).reshape(rows, -1)
        if table.shape[1] != len(self._labels):
            raise InputError(f"y_dev has {table.shape[1]} tasks; expected {len(self._labels)}")
        found = []
        for column, labels in zip(table.T, self._labels, strict=True):
            truth = known_labels(column, labels)
            truth[_missing(column)] = -2
            found.append(truth)
        if not any((truth >= 0).any() for truth in found):
            raise InputError("y_dev has no label of y")
        return found

    def _balance(self, task: Targets, weight: np.ndarray) -> np.ndarray:
        rule = self.class_weight
        if isinstance(rule, dict):
            rule = {label: rule[label] for label in task.classes.tolist() if label in rule}
        return class_weights(rule, task, weight)

    def _importance(self, tasks: int) -> tuple[float, ...]:
        weights = (1.0,) * tasks if self.task_weights is None else tuple(self.task_weights)
        if len(weights) != tasks:
            raise InputError(f"`task_weights` is {weights}; expected {tasks} numbers")
        for weight in weights:
            check_number("task_weights", weight, 0)
        return weights

    def _network(self, width: int, outputs: int) -> nn.Module:
        return self._mlp(width, outputs)

    def _n_outputs(self) -> int:
        return sum(len(labels) for labels in self._labels)

    def _check_settings(self) -> None:
        super()._check_settings()
        check_number("label_smoothing", self.label_smoothing, 0, 1)

    def _pack_targets(self) -> Any:
        return {"vector": self.vector_, "tasks": [pack_labels(labels) for labels in self._labels]}

    def _unpack_targets(self, packed: Any) -> None:
        tasks = packed.get("tasks") if isinstance(packed, Mapping) else None
        if not isinstance(tasks, list) or not tasks:
            raise InputError(f"targets are {packed!r}; expected a list of tasks")
        self._labels = [unpack_labels(task) for task in tasks]
        self.vector_ = packed.get("vector") is True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _missing(column: np.ndarray) -> np.ndarray:
    return np.array([text_of(label) == "" for label in column.tolist()])


def _targets(column: np.ndarray, position: int) -> Targets:
    """Return targets of one task, rows of zeros where the label is missing."""
    gone = _missing(column)
    if gone.all():
        raise InputError(f"task {position} of y has no labels; expected at least two classes")
    known = read_labels(np.array(column[~gone].tolist()))
    soft = np.zeros((len(column), len(known.classes)))
    soft[~gone] = known.soft
    return Targets(known.classes, soft, soft.argmax(axis=1))
