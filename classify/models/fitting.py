"""Fit models that differ in nothing but the seed, on clips that are read once."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any

from affekt.machine import few_threads

from ...cache.errors import InputError, counted, listed
from ...cache.manifest.manifest import check_manifest
from ..data.splitting.leaks import refuse_leaks
from ..heads.registry import naming_own_head
from .folders.model_folder import describe, versions
from .read_features import check_sides, head_for
from .scalers.scaling import Scaling

if TYPE_CHECKING:
    from ...cache.manifest import Manifest


def fit_models(
    models: Sequence[Any],
    train: Manifest,
    dev: Manifest | None = None,
    *,
    test: Manifest | None = None,
    **allowed: bool,
) -> None:
    """Fit each model as `Model.fit` does.

    Parameters
    ----------
    models : sequence of Model
        They differ in `random_state` alone. Several only if they train at once, see
        `train_at_once`.
    train, dev, test
        As for `Model.fit`.
    allowed
        Options of `refuse_leaks`.
    """
    first = models[0]
    for name, part in {"train": train, "dev": dev, "test": test}.items():
        if part is not None or name == "train":
            check_manifest(part, name)
    train, dropped = first._labelled(train)
    dev = first._labelled(dev)[0] if dev is not None and len(dev) else None
    if dev is not None and not allowed.get("allow_duplicates"):
        _refuse_learnt(train, dev)
    if test is not None:
        parts = {"train": train, "test": test} | ({"dev": dev} if dev is not None else {})
        spaces = [one.space for one in first.features]
        refuse_leaks(parts, spaces, **allowed)
    first.task.check_train(train)
    whole = not getattr(first.head, "reads_blocks", False)
    values = first._read(train, first.features, whole)
    check_sides(values, first.features)
    scaling = Scaling(first.scaling.scale).fit(values, train)
    extra: dict[str, Any] = {}
    if dev is not None and "X_dev" in signature(first.head.fit).parameters:
        extra = {
            "X_dev": scaling.apply(first._read(dev, first.features, whole), dev),
            "y_dev": first.task.targets(dev),
        }
    target = first.task.targets(train)
    if first.votes:
        from ..data.votes import task_votes

        target = task_votes(train, first.task).shares
        extra["classes"] = list(first.task.labels)
    heads = [head_for(one.features, one.head, one.random_state) for one in models]
    values = scaling.apply(values, train)
    doing = f"fit on {len(values)} clips of {values.shape[1]} numbers"
    with few_threads(values.size), naming_own_head(heads[0], doing):
        if len(heads) == 1:
            heads[0].fit(values, target, **extra)
        else:
            from ..heads.training.stacked.at_once import fit_at_once

            fit_at_once(heads, values, target, **extra)
    for model, head in zip(models, heads, strict=True):
        model.scaling, model.head_ = scaling, head
        model.record = {
            "train": describe(train),
            "dev": describe(dev) if dev is not None else None,
            "left_out": dropped,
            "random_state": model.random_state,
            "versions": versions(),
        }


def _refuse_learnt(train: Manifest, dev: Manifest) -> None:
    """Refuse clips of train in dev: a head that stops early would watch what it learns."""
    at = {name: row for row, name in enumerate(dev.ids)} if train.root == dev.root else {}
    both = [
        name
        for row, name in enumerate(train.ids)
        if name in at and all(train[one][row] == dev[one][at[name]] for one in ("path", "text"))
    ]
    if both:
        raise InputError(
            f"{counted(len(both), 'clip')} in both train and dev: {listed(both)}. A head stops "
            "where dev is best, so dev has to hold other clips: leave it out, or allow it "
            "explicitly: allow_duplicates=True"
        )


def train_at_once(models: Sequence[Any]) -> bool:
    """Return whether these models, of one head and several seeds, train at once: on a GPU."""
    if len(models) == 1:
        return False
    features = models[0].features
    head = head_for(features, models[0].head, models[0].random_state)
    width = sum(one.width for one in features)
    return hasattr(head, "trains_at_once") and head.trains_at_once(width)
