"""Learning curve: what a model reaches with a part of the training speakers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ....cache.errors import InputError
from ...data.predictions import Predictions
from ...metrics import measures as metrics
from ...metrics.bootstrap import resample
from ...metrics.scored_clips import cluster_names, clusters

if TYPE_CHECKING:
    from ....cache.manifest import Manifest
    from ...data.splitting.split import Split


class Trainable(Protocol):
    """A model that a curve or a matrix trains."""

    def fit(self, train: Manifest, dev: Manifest | None = None) -> object:
        """Learn from clips."""
        ...

    def predict(self, clips: Manifest) -> Predictions:
        """Predict clips."""
        ...


def learning_curve(
    make: Callable[[], Trainable],
    split: Split,
    labels: Sequence[str],
    *,
    shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    n_orders: int = 3,
    groups: str | None = "speaker",
    n_resamples: int = 2000,
    random_state: int = 0,
    level: float = 0.95,
    whole: Predictions | None = None,
) -> list[dict[str, Any]]:
    """Train on growing parts of train, each holding the one before, and score on the same test.

    Parameters
    ----------
    make
        Returns a new model. One is made for each share, and fitted again for each order.
    split
        With task labels.
    labels
        The task's labels.
    shares
        Parts of train. Whole speakers are taken, in an order drawn by seed, until the share of
        clips is reached and two labels are there.
    n_orders
        In how many orders; all of train is trained on once.
    groups, n_resamples, random_state
        What is taken as a whole and resampled, how often, and the seed.
    level
        Coverage of the intervals.
    whole : Predictions, optional
        What a model that learnt from all of train predicts for test, where that is known.

    Returns
    -------
    points
        For each share: UAR and its interval over test groups as the means over orders (None
        below five test groups); `orders`, the UAR of each; clips and groups of the first;
        `test_clips`. A share that cannot be trained on, such as one without enough clips of a
        language, has `share` and the `reason` alone.
    """
    train, test = split.train, split.test
    names = np.array(cluster_names(train, groups), dtype=object)
    rng = np.random.default_rng(random_state)
    orders = [rng.permutation(np.unique(names)) for _ in range(n_orders)]
    truth = metrics.codes(list(test["label"]), labels)
    cluster, _ = clusters(test, groups)
    points = []
    for share in sorted(shares):
        found, model = [], make()
        for order in orders[: 1 if share >= 1 else None]:
            part, taken = _first(train, names, order, share)
            if whole is not None and len(part) == len(train):
                test_predictions = whole
            else:
                try:
                    model.fit(part, split.dev if len(split.dev) else None)
                except InputError as error:
                    if share >= 1:
                        raise
                    points.append({"share": share, "reason": str(error)})
                    break
                test_predictions = model.predict(test)
            codes = test_predictions.reorder(labels).align(test.ids).codes
            drawn = resample(
                truth,
                {"": codes},
                cluster,
                len(labels),
                n_resamples=n_resamples,
                random_state=random_state,
            )
            found.append(
                (drawn.estimates[""]["uar"], drawn.interval("", "uar", level), len(part), taken)
            )
        else:
            points.append(_point(share, found, len(test)))
    return points


def _point(share: float, found: Sequence[tuple], test_clips: int) -> dict[str, Any]:
    """Return a share with the means over its orders, each UAR, interval, clips and groups."""
    values = [value for value, *_ in found]
    interval = np.mean([limits for _, limits, _, _ in found], axis=0).tolist()
    _, _, n_clips, n_groups = found[0]
    return {
        "share": share,
        "clips": n_clips,
        "groups": n_groups,
        "test_clips": test_clips,
        "orders": values,
        "uar": {
            "value": float(np.mean(values)),
            "interval": [None if math.isnan(bound) else bound for bound in interval],
        },
    }


def _first(
    train: Manifest, names: np.ndarray, order: np.ndarray, share: float
) -> tuple[Manifest, int]:
    """Return the clips of the first groups of an order that hold a share and two labels."""
    rank = {name: place for place, name in enumerate(order)}
    place = np.array([rank[name] for name in names])
    sizes = np.cumsum(np.bincount(place))
    taken = int(np.searchsorted(sizes, share * len(train) - 1e-9)) + 1
    while len(set(train["label"][place < taken])) < 2 and taken < len(order):
        taken += 1
    return train.select(place < taken), taken
