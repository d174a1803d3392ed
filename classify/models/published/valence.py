"""The Vocametrix valence head with its encoder and scaler, as a model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ....cache.errors import InputError
from ....extract.encoder import Encoder
from .as_model import Part, Published, assembled, default_part, task_of

if TYPE_CHECKING:
    from .vocametrix import Valence

__all__ = ["valence_model", "valence_parts"]

XLSR = "facebook/wav2vec2-large-xlsr-53"  # last layer, mean over time, says the card


def valence_parts(
    place: str | os.PathLike[str],
    *,
    encoders: Sequence[str | os.PathLike[str]] = (),
    device: str = "auto",
    **said: Any,
) -> Published:
    """Load a valence head and put it behind its encoder.

    Parameters
    ----------
    place : path or str
    encoders : sequence of path
        Folder or Hub id of XLSR-53; the Hub id by default.
    device : str
    **said
        As for `load_vocametrix`.
    """
    from .vocametrix import load_vocametrix

    if len(encoders) > 1:
        raise InputError(f"{len(encoders)} encoders; expected one, XLSR-53: --encoder FOLDER")
    valence = load_vocametrix(place, **said)
    return valence_model(valence, encoders[0] if encoders else None, device=device)


def valence_model(
    valence: Valence, encoder: str | os.PathLike[str] | None = None, *, device: str = "auto"
) -> Published:
    """Put a loaded valence head behind an encoder, XLSR-53 by default.

    Raises
    ------
    InputError
        An encoder of another width.
    """
    if encoder is None:
        part = default_part(XLSR, "the valence head", modality="audio", device=device)
    else:
        part = Part(Encoder(str(encoder), modality="audio", device=device), str(encoder))
    source = {"kind": "vocametrix valence", "name": valence.name}
    task = task_of(valence.labels, "valence")
    return assembled(valence.as_head(), task, [part], source=source, scaler=valence.scaler)
