"""The parts of a saved model: each is checked against the others before it is used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ....cache.errors import InputError

if TYPE_CHECKING:
    from ..needs import Needs


def looks_like_an_id(name: object) -> bool:
    """Whether a name that is not a folder can be a Hub id: ``owner/name``.

    Examples
    --------
    >>> looks_like_an_id("lab/valence"), looks_like_an_id("models/a/b"), looks_like_an_id("./x/y")
    (True, False, False)
    """
    return re.fullmatch(r"[A-Za-z0-9][\w-]*/[A-Za-z0-9][\w.-]*", str(name)) is not None


def head_name(head: Any) -> str:
    """Return the name of a head of affekt; others cannot be saved."""
    from ...heads import HEADS
    from ...heads.registry import stored_head

    name = getattr(head, "name", "")
    if name and type(head) is stored_head(name):
        return name
    raise InputError(
        f"{type(head).__name__} cannot be saved; expected one of the heads {', '.join(HEADS)}, or "
        "one of your own after register_head (docs/how-to/head.md)"
    )


def restore_head(config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], source: str) -> Any:
    """Rebuild the head from its state and the tensors ``head.*``."""
    from ...heads import HEADS
    from ...heads.registry import stored_head, unknown_head

    name = config["name"]
    known = stored_head(name)
    if known is None:
        raise InputError(f"{source}: {unknown_head(name, HEADS)}")
    own = {key.removeprefix("head."): a for key, a in arrays.items() if key.startswith("head.")}
    try:
        return known.from_state(config["state"], own)
    except InputError as error:
        raise InputError(f"{source}, with model.safetensors: {error}") from None


def restore_canary(
    arrays: Mapping[str, np.ndarray], position: int, need: Needs, source: str
) -> np.ndarray | None:
    """Return ``(inputs, layers, dim)``: what the encoder answered when the model was trained."""
    values = arrays.get(f"canary.{position}")
    if values is None:
        return None
    shape = (need.spec.n_layers, need.spec.dim)
    if values.ndim != 3 or values.shape[1:] != shape or not np.isfinite(values).all():
        raise InputError(
            f"{source}: canary.{position} is {values.shape}; expected finite (inputs, *{shape})"
        )
    return values
