"""What a system needs from its models, and its answers: predictions and failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...data.predictions import Predictions

if TYPE_CHECKING:
    from ...data.task import Task
    from ..needs import Needs
    from ..scalers.scaling import Scaling


class Trained(Protocol):
    """What a system needs from a `Model`."""

    @property
    def needs(self) -> list[Needs]: ...  # noqa: D102
    @property
    def canaries(self) -> list[np.ndarray | None]: ...  # noqa: D102
    @property
    def encoder_folders(self) -> dict[str, Path]: ...  # noqa: D102
    @property
    def task(self) -> Task: ...  # noqa: D102
    @property
    def head_(self) -> Any: ...  # noqa: D102
    @property
    def scaling(self) -> Scaling: ...  # noqa: D102
    @property
    def predict(self) -> Callable[..., Predictions]: ...  # noqa: D102
    @property
    def predict_features(self) -> Callable[..., Predictions]: ...  # noqa: D102


UNLIKE = "unlike_training"  # the remark on clips far from all that a model was trained on


@dataclass(frozen=True)
class Answer:
    """Predictions, and the clips that have none.

    Attributes
    ----------
    predictions : Predictions or None
        None if no clip could be embedded.
    failed : dict of str to str
        Id -> reason code.
    reasons : dict of str to str
        Id -> reason code with what was found.
    one_sided : dict of str to str
        Id -> remark on clips that are predicted, but from audio or from text alone.
    flags : dict of str to list of str
        Remarks (``silent``, ``clipped`` ...) -> ids, of the clips that were embedded just now; and
        ``unlike_training``, whose features are far from all that a model was trained on.
    members : dict of str to Predictions
        Predictions of each model; `predictions` combines them.
    notes : list of str
        Other notes on how it was made.
    """

    predictions: Predictions | None
    failed: dict[str, str]
    reasons: dict[str, str] = field(default_factory=dict)
    one_sided: dict[str, str] = field(default_factory=dict)
    flags: dict[str, list[str]] = field(default_factory=dict)
    members: dict[str, Predictions] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def remarks(self) -> dict[str, str]:
        """Id -> why an answer deserves less trust than others: one side, or unlike training."""
        found = dict(self.one_sided)
        for name in self.flags.get(UNLIKE, ()):
            also = f"{found[name]}; " if name in found else ""
            found[name] = f"{also}unlike every clip of training: do not trust the answer"
        return found


def joined(answers: Sequence[Answer]) -> Answer:
    """Return the answers of several groups of clips as one, in their order."""
    if len(answers) == 1:
        return answers[0]
    flags: dict[str, list[str]] = {}
    for answer in answers:
        for flag, ids in answer.flags.items():
            flags.setdefault(flag, []).extend(ids)
    together = Predictions.concatenated
    found = [answer.predictions for answer in answers if answer.predictions is not None]
    members = [answer.members for answer in answers if answer.predictions is not None]
    return Answer(
        together(found) if found else None,
        {name: code for answer in answers for name, code in answer.failed.items()},
        {name: text for answer in answers for name, text in answer.reasons.items()},
        {name: text for answer in answers for name, text in answer.one_sided.items()},
        flags,
        {name: together([one[name] for one in members]) for name in (members or [{}])[0]},
        answers[0].notes,
    )
