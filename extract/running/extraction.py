"""What an extraction did: counts, quarantined clips with their reasons, remarks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from ...cache.space import Space


@dataclass(frozen=True, slots=True)
class Failure:
    """A clip that could not be embedded: its id, the reason code, and what was found.

    Examples
    --------
    >>> Failure("clip7", "too_short", "200 samples at 16000 Hz, at least 1600").code
    'too_short'
    """

    id: str
    code: str
    message: str


@dataclass
class Extraction:
    """What an extraction did.

    Attributes
    ----------
    space : Space
        Where the embeddings are.
    clips, hits, without : int
        Clips asked for; stored already; without audio (or text) for this encoder.
    computed : int
        Rows embedded and stored.
    repeated : int
        Clips with the content of another clip; they share its row.
    failures : list of Failure
        Quarantined clips.
    flags : dict of str to list of str
        Remarks (``clipped``, ``silent``, ``truncated_tokens`` ...) and the ids they hold for.
    audio_seconds, seconds : float
        Length of the audio that was embedded, and the time the run took.
    notes : list of str
        What the caller should know.
    """

    space: Space
    clips: int = 0
    hits: int = 0
    without: int = 0
    computed: int = 0
    repeated: int = 0
    failures: list[Failure] = field(default_factory=list)
    flags: dict[str, list[str]] = field(default_factory=dict)
    audio_seconds: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, or 3 if clips were quarantined."""
        return 3 if self.failures else 0

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return {
            "space": self.space.name,
            "spec": self.space.key,
            "clips": self.clips,
            "hits": self.hits,
            "computed": self.computed,
            "repeated": self.repeated,
            "without": self.without,
            "quarantined": [asdict(one) for one in self.failures],
            "flags": self.flags,
            "audio_seconds": round(self.audio_seconds, 3),
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }
