"""Read a checkpoint with transformers; what the library raises becomes an affekt error."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ....cache.errors import AffektError, InputError

if TYPE_CHECKING:
    from .checkpoint import Checkpoint

_FIELD = re.compile(
    r"Field '(?P<field>\w+)' expected (?P<kind>.+), got \w+ \(value: (?P<value>.*)\)"
)


@contextmanager
def library_errors(name: str, file: str) -> Iterator[None]:
    """Turn whatever transformers raises for a file's content into an `InputError`.

    transformers and huggingface_hub raise errors without a common base (a strict data class, an
    attribute of the wrong type, a recursion), so all are caught; lack of memory is not.

    Parameters
    ----------
    name : str
        The checkpoint's name, for the message.
    file : str
        What was read.

    Examples
    --------
    >>> with library_errors("wav2vec2", "config.json"):
    ...     [].items()
    Traceback (most recent call last):
        ...
    affekt.cache.errors.InputError: wav2vec2: config.json: AttributeError: 'list' object has no...
    """
    try:
        yield
    except (AffektError, MemoryError):
        raise
    except Exception as error:
        if "out of memory" in str(error).lower():  # torch has no MemoryError
            raise
        raise InputError(f"{name}: {file}: {_reason(error)}") from error


def read_configuration(checkpoint: Checkpoint, kind: Any = None) -> Any:
    """Read ``config.json`` as transformers does.

    Parameters
    ----------
    kind : config class, optional
        The class to read it as; the one of its ``model_type`` by default.
    """
    from transformers import AutoConfig

    for table in ("id2label", "label2id"):
        if not isinstance(checkpoint.config.get(table), dict | None):
            kind = type(checkpoint.config[table]).__name__
            raise InputError(f"{checkpoint.name}: config.json: {table} is a {kind}, expected {{}}")
    with library_errors(checkpoint.name, "config.json"):
        return (kind or AutoConfig).from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )


def read_sizes(checkpoint: Checkpoint) -> tuple[int, int]:
    """Read the number of blocks and the hidden size from the configuration, defaults included."""
    config = read_configuration(checkpoint)
    if checkpoint.model_type == "whisper":
        return int(config.encoder_layers), int(config.d_model)
    try:
        return int(config.num_hidden_layers), int(config.hidden_size)
    except AttributeError as error:
        raise InputError(
            f"{checkpoint.name}: its configuration names no layers: {error}"
        ) from error


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' load report and progress bar: what it says is an error here."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


def _reason(error: BaseException) -> str:
    """Return the message of the innermost error, on one line."""
    found = error
    while found.__cause__ is not None:
        found = found.__cause__
    if match := _FIELD.search(str(found)):
        return f"{match['field']} is {match['value']}, expected {match['kind']}"
    if isinstance(found, RecursionError):
        return "it refers to itself (RecursionError); expected a plain configuration"
    text = " ".join(str(found).split())
    if "set_default_language" in text:  # xmod has a part for each language
        text = "it does not know the language: write default_language into its config.json"
    text = text if len(text) <= 300 else f"{text[:300]}..."
    return text if isinstance(found, (ValueError, OSError)) else f"{type(found).__name__}: {text}"
