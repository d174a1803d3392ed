"""What a model received of each clip: audio, text, or both; and what is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ....cache.errors import InputError, listed
from ..read_features import accepts_missing_side

if TYPE_CHECKING:
    from ...data.predictions import Predictions
    from ...data.task import Task
    from ..needs import Needs
    from ..scalers.scaling import Scaling

#: why a clip cannot be predicted: a reason code, and what was found (may be empty)
Reason = tuple[str, str]


class Trained(Protocol):
    """What a system needs from a `Model`."""

    needs: list[Needs]
    canaries: list[np.ndarray | None]
    encoder_folders: dict[str, Path]
    task: Task
    head_: Any
    scaling: Scaling
    predict: Callable[..., Predictions]
    predict_features: Callable[..., Predictions]


@dataclass(frozen=True)
class Side:
    """What one of a model's needs received.

    Attributes
    ----------
    kind : str
        "audio" or "text".
    failed : dict of str to Reason
        Clips that cannot be embedded; the codes ``no audio`` and ``no text`` among the reasons.
    flags : dict of str to list of str
        Remarks (``silent``, ``clipped`` ...) -> ids, of the clips that were embedded just now.
    values : dict of str to ndarray
        Id -> ``(layers, dim)`` float32, rounded to the type in which the spec stores; only of clips
        that are embedded in memory.
    """

    kind: str
    failed: dict[str, Reason] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    values: dict[str, np.ndarray] = field(default_factory=dict)


def unusable(model: Trained, sides: Sequence[Side]) -> dict[str, Reason]:
    """Return the clips that the model cannot predict, and what is missing for each of its needs."""
    if not accepts_missing_side(model.head_):
        return {name: reason for side in sides for name, reason in side.failed.items()}
    lost = set.intersection(*(set(side.failed) for side in sides))
    joined = {}
    for name in sorted(lost):
        reasons = [side.failed[name] for side in sides]
        found = "; ".join(one for _, one in reasons if one)
        joined[name] = (" and ".join(code for code, _ in reasons), found)
    return joined


def one_sided(model: Trained, sides: Sequence[Side]) -> dict[str, str]:
    """Return id -> remark, of the clips that the model predicts from one side alone."""
    lost = unusable(model, sides)
    remarks = {}
    for side in sides:
        rest = " and ".join(other.kind for other in sides if other is not side)
        for name, (code, _) in side.failed.items():
            if name not in lost:
                what = code if code == f"no {side.kind}" else f"{side.kind} {code}"
                remarks[name] = f"{what}; predicted from {rest} alone"
    return remarks


def reason_text(reason: Reason) -> str:
    """Return a reason on one line.

    Examples
    --------
    >>> reason_text(("empty", "0 bytes")), reason_text(("no text", ""))
    ('empty (0 bytes)', 'no text')
    """
    code, found = reason
    return f"{code} ({found})" if found else code


def refuse_failed(reasons: Mapping[str, str], among: int) -> None:
    """Raise an `InputError` that names the clips and why, if there are any."""
    if reasons:
        named = listed([f"{name}: {reason}" for name, reason in reasons.items()])
        needs_text = "no text" in reasons.values()
        advice = "; give `text` or `texts`, or load a `system` without text" if needs_text else ""
        raise InputError(f"{len(reasons)} of {among} clips cannot be embedded: {named}{advice}")
