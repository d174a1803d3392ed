"""A frozen encoder with its rules for input. (In work: the signature is fixed, the body follows.)"""

from __future__ import annotations

from typing import Any

__all__ = ["Encoder"]


class Encoder:
    """Open an encoder by name.

    `name` is ``"spectral"``, ``"ngram"``, a folder or a Hub id; the last two go to
    ``extract.encoders.open_backend(name, modality=, revision=, pooling=, dtype=, device=,
    **options) -> Backend``.
    """

    def __init__(
        self,
        name: str,
        *,
        modality: str | None = None,
        revision: str | None = None,
        pooling: str = "mean",
        dtype: str = "float32",
        device: str = "auto",
        long: str = "fail",
        max_seconds: float = 60.0,
        min_seconds: float = 0.1,
        **options: Any,
    ) -> None:
        raise NotImplementedError("in work")
