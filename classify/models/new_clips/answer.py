"""The answers of a system: predictions and failures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from ....cache.errors import InputError
from ...data.predictions import Predictions
from .modalities_seen import refuse_failed

log = logging.getLogger(__name__)

UNLIKE = "unlike_training"  # the remark on clips far from all that a model was trained on
OUTSIDE = "outside_scale"  # the remark on numbers that no rater could have given
SAID = {
    UNLIKE: "unlike every clip of training: do not trust the answer",
    OUTSIDE: "far outside of the scale: do not trust the answer",
}


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
        ``unlike_training``, whose features are far from all that a model was trained on, and
        ``outside_scale``, of which a number is far outside of its scale.
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
        """Id -> why an answer deserves less trust than others, such as unlike training."""
        found = dict(self.one_sided)
        for flag, said in SAID.items():
            for name in self.flags.get(flag, ()):
                found[name] = f"{found[name]}; {said}" if name in found else said
        return found

    def complete(self) -> Predictions:
        """Return the predictions, and log the remarks; a clip that failed is an error."""
        found = self.predictions
        refuse_failed(self.reasons, len(self.reasons) + (0 if found is None else len(found)))
        if found is None:
            raise InputError("nothing to predict: the manifest has no clip")
        for name, remark in self.remarks.items():
            log.warning("%s: %s", name, remark)
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
