"""The commands that make a run predict, as its card prints them: each works as it stands."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from ...cache.errors import AffektError

if TYPE_CHECKING:
    from ..models.new_clips.system import System

SAID = "What a wonderful day!"


def usage(run: str | os.PathLike[str], name: str) -> str:
    """Return how to predict new clips with a system of a run, as Markdown.

    Parameters
    ----------
    run : path
        As the reader would write it.
    name : str
        A member or ensemble.

    Examples
    --------
    >>> usage("nowhere", "mean").splitlines()[0]
    'This folder predicts no new clips: ...'
    """
    from .loading import open_system

    try:
        system = open_system(run, system=name)
    except (AffektError, OSError) as error:
        return f"This folder predicts no new clips: {error}"
    place = _short(run)
    words = ["affekt", "predict", place, "--system", name, *_inputs(system)]
    gone = _missing_encoders(system)
    for folder in gone:
        words += ["--encoder", folder]
    lines = ["With affekt (`pip install affekt`):", "", "```bash", shlex.join(words), "```"]
    if len(system.models) == 1:
        words[2:5] = ["OWNER/NAME"]
        lines += ["", "From the Hub, where OWNER/NAME is the repository of this model:", ""]
        lines += ["```bash", shlex.join(words), "```"]
    if gone:
        lines += ["", f"`--encoder` names the folder of {', '.join(gone)}, wherever it is now."]
    return "\n".join(lines)


def pipeline(run: str | os.PathLike[str], name: str) -> str:
    """Return the Hub's name for what a system of a run does: by the inputs that it reads.

    A system that predicts no new clips is taken to read audio.

    Examples
    --------
    >>> pipeline("nowhere", "mean")
    'audio-classification'
    """
    from .loading import open_system

    try:
        models = open_system(run, system=name).models.values()
    except (AffektError, OSError):
        return "audio-classification"
    reads = {need.spec.modality for model in models for need in model.needs}
    return "text-classification" if reads == {"text"} else "audio-classification"


def _inputs(system: System) -> list[str]:
    """Return the arguments that name a clip with every side that the system reads."""
    models = system.models.values()
    if any(isinstance(model.scaling.scale, str) for model in models):
        return ["clips.csv"]  # one clip alone cannot be scaled within its speaker
    reads = {need.spec.modality for model in models for need in model.needs}
    audio = ["clip.wav"] if "audio" in reads else []
    return audio + (["--text", SAID] if "text" in reads else [])


def _missing_encoders(system: System) -> list[str]:
    """Return the names of encoders that were folders and are not where they were."""
    found = {}
    for model in system.models.values():
        for need in model.needs:
            encoder = need.spec.fields["encoder"]
            noted = model.encoder_folders.get(need.spec.key)
            if encoder.get("origin") == "folder" and (noted is None or not noted.is_dir()):
                found[encoder["name"]] = True
    return list(found)


def _short(run: str | os.PathLike[str]) -> str:
    """Return a path without this machine's folders above the working folder."""
    path = Path(run)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    text = str(path)
    return f"./{text}" if text.startswith("-") else text
