"""A frozen encoder with its rules for input: name it, and it embeds batches of clips.

It joins a backend, which runs one model, with what holds for every model: how clips are made
ready, how long they may be, what happens when memory is short, and the spec that says all this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import signature
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..cache.errors import CanaryError, InputError, first_line, one_of
from ..cache.identity.spec import FORMAT, Spec
from .backend import Backend, Pooled, as_backend
from .encoder_names import is_code, open_named, options_of_own, works_everywhere
from .errors import Unusable
from .pooling import merge_windows, split_evenly

#: Raised when a release changes embeddings in a way that no other field of a spec shows.
NUMERICS_EPOCH = 1


class Encoder:
    """Open an encoder by name.

    Parameters
    ----------
    name : str
        ``"spectral"``, ``"ngram"``, one of your own (`register_encoder`), a folder, or a Hub id.
    modality : str, optional
        ``"audio"`` or ``"text"``; needed only where a checkpoint does not say it.
    revision : str, optional
        Commit of a Hub id.
    pooling : str, optional
        ``"mean"``, ``"mean+std"``, ``"max"``, and for text ``"cls"`` or ``"last"``. By default what
        a sentence-transformers folder says itself, and the mean otherwise; the built-in encoders
        have their own.
    dtype : str
        ``"float32"``, ``"bfloat16"`` or ``"float16"`` to compute in.
    device : str
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` ...
    long : str
        What happens to audio longer than `max_seconds`: ``"fail"`` refuses the clip,
        ``"truncate"`` keeps its beginning, ``"chunk"`` embeds even windows and takes their mean,
        weighted by frames.
    max_seconds, min_seconds : float
        Longest audio that is embedded whole, and shortest that is embedded at all.
    damage : str
        Audio with up to 50 ms or 1 % missing is read and flagged; beyond
        that ``"refuse"`` quarantines it, and ``"accept"`` reads and flags it too.
    silence : str
        ``"keep"`` embeds and flags clips below -80 dBFS, ``"refuse"`` quarantines them.
    **options
        Passed to the backend.

    Attributes
    ----------
    spec : Spec
        Everything that decides the numbers.
    backend : Backend
        What the name resolves to.
    title : str or None
        What to call a new space of its embeddings; its own name by default.

    Raises
    ------
    InputError
        Unknown name, option or value.

    Examples
    --------
    >>> encoder = Encoder("ngram")
    >>> [good] = encoder.embed(["so good"])
    >>> good.values.shape, encoder.spec.modality
    ((1, 4096), 'text')
    """

    title: str | None = None
    _own_options = ""  # as JSON, of a registered encoder

    def __init__(
        self,
        name: str,
        *,
        modality: str | None = None,
        revision: str | None = None,
        pooling: str | None = None,
        dtype: str = "float32",
        device: str = "auto",
        long: str = "fail",
        max_seconds: float = 60.0,
        min_seconds: float = 0.1,
        silence: Literal["keep", "refuse"] = "keep",
        damage: str = "refuse",
        **options: Any,
    ) -> None:
        rules = _checked_rules(long, max_seconds, min_seconds, silence, damage)
        model: dict[str, Any] = {
            "modality": modality,
            "revision": revision,
            "pooling": pooling,
            "dtype": dtype,
            "device": device,
            **options,
        }
        self._set(open_named(str(name), model), rules)
        self._own_options = options_of_own(str(name), model)
        if works_everywhere(str(name)):
            self.arguments = {"name": str(name), **model, **self._rules()}

    @classmethod
    def of(
        cls,
        backend: Backend,
        *,
        long: Literal["fail", "truncate", "chunk"] = "fail",
        max_seconds: float = 60.0,
        min_seconds: float = 0.1,
        silence: Literal["keep", "refuse"] = "keep",
        damage: str = "refuse",
    ) -> Encoder:
        """Make an encoder of a backend of your own.

        Such an encoder works in this process only (no ``workers``, no Ray). One that is opened by
        name everywhere is registered: see `affekt.extract.register_encoder`.

        Parameters
        ----------
        backend : Backend
        long, max_seconds, min_seconds, silence, damage
            As for `Encoder`.

        Raises
        ------
        InputError
            An attribute of the backend or a rule with an impossible value.
        """
        rules = _checked_rules(long, max_seconds, min_seconds, silence, damage)
        encoder = cls.__new__(cls)
        encoder._set(as_backend(backend), rules)
        return encoder

    def _set(self, backend: Backend, rules: dict[str, Any]) -> None:
        self.backend = backend
        self.long, self.silence, self.damage = rules["long"], rules["silence"], rules["damage"]
        # what a model itself cannot take at once (Whisper: 30 s) is its limit here too
        most = backend.max_samples / (backend.sampling_rate or 1)
        self.max_seconds = min(rules["max_seconds"], most or rules["max_seconds"])
        self.min_seconds = rules["min_seconds"]
        self.arguments: dict[str, Any] | None = None  # what opens it again in another process
        if self.modality == "text":
            usual = signature(Encoder.of).parameters
            for name, rule in rules.items():
                if rule != usual[name].default:
                    cut = "; texts are truncated by the tokenizer" * (name == "long")
                    raise InputError(f"`{name}={rule!r}` is for audio{cut}")

    def _rules(self) -> dict[str, Any]:
        names = ("long", "max_seconds", "min_seconds", "silence", "damage")
        return {name: getattr(self, name) for name in names}

    @property
    def name(self) -> str:
        """As the backend calls itself."""
        return self.backend.name

    @property
    def modality(self) -> str:
        """``"audio"`` or ``"text"``."""
        return self.backend.modality

    @property
    def folder(self) -> Path | None:
        """The folder that it was opened from; None for a built-in one or a Hub id."""
        name = self.arguments["name"] if self.arguments else ""
        if not name or is_code(name) or not Path(name).expanduser().is_dir():
            return None
        return Path(name).expanduser().resolve()

    @cached_property
    def spec(self) -> Spec:
        """The spec, for float32 storage; `Spec.with_store_dtype` gives others."""
        described = self.backend.describe()
        encoder = {"name": self.name, **described["encoder"]}
        if self._own_options:
            encoder["options"] = self._own_options
        fields = {
            "format": FORMAT,
            "modality": self.modality,
            **described,
            "encoder": encoder,
            "input": self._input_rules(),
            "store_dtype": "float32",
            "numerics_epoch": NUMERICS_EPOCH,
        }
        if self.backend.labels is not None:
            fields["labels"] = list(self.backend.labels)
        return Spec(fields)

    def embed(self, inputs: Sequence[Any]) -> list[Pooled | Unusable]:
        """Embed one batch.

        Parameters
        ----------
        inputs : sequence
            1-D float32 samples at ``backend.sampling_rate`` (see `affekt.extract.decode`), or
            texts (see `affekt.extract.inputs.text_checks.ready_text`).

        Returns
        -------
        list of Pooled or Unusable
            One for each input, in order. A row does not depend on its neighbours.
        """
        self._load  # noqa: B018 - brings the weights into memory once
        answers: list[Pooled | Unusable | None] = [None] * len(inputs)
        windows: list[Any] = []
        owners: list[int] = []
        for position, one in enumerate(inputs):
            try:
                parts = self._parts(one)
            except Unusable as error:
                answers[position] = error
                continue
            windows += parts
            owners += [position] * len(parts)
        pooled = _embed_halving(self.backend.embed, windows) if windows else []
        gathered: dict[int, list[Pooled | Unusable]] = {}
        for owner, one in zip(owners, pooled, strict=True):
            gathered.setdefault(owner, []).append(one)
        for position, parts in gathered.items():
            answers[position] = self._checked(merge_windows(parts, self.backend.pooling))
        return [answer for answer in answers if answer is not None]

    def canary(self) -> np.ndarray:
        """Embed the fixed inputs of `inputs.canary_inputs`; ``(inputs, layers, dim)`` float32."""
        from .inputs.canary_inputs import canary_inputs, embed_canary

        exact = self.spec.fields.get("compute", {}).get("dtype", "float32") == "float32"
        return embed_canary(self._values, canary_inputs(self.backend), 1e-4 if exact else 1e-2)

    def __repr__(self) -> str:
        return f"Encoder({self.name!r}, {self.modality}, {self.spec.n_layers} x {self.spec.dim})"

    def decoding_rules(self) -> dict[str, Any]:
        """Return its rules for long and damaged audio, as options of `affekt.extract.decode`."""
        rules: dict[str, Any] = {"truncate": self.long == "truncate", "damage": self.damage}
        if self.long != "chunk":
            rules["max_seconds"] = self.max_seconds
        return rules

    @cached_property
    def _load(self) -> bool:
        self.backend.load()
        return True

    def _input_rules(self) -> dict[str, Any]:
        if self.modality == "text":
            return {"normalisation": "NFC"}
        from .inputs.decode import RULES

        policy = "whole" if self.long == "fail" else f"{self.long} {self.max_seconds!r} s"
        rules = {**RULES, "sampling_rate": self.backend.sampling_rate, "long": policy}
        return rules if self.damage == "refuse" else {**rules, "damage": self.damage}

    def _parts(self, one: Any) -> list[Any]:
        """Check one input and cut it into windows."""
        if self.modality == "text":
            from .inputs.text_checks import ready_text

            return [ready_text(one)]
        samples = np.asarray(one)
        if samples.ndim != 1 or samples.dtype != np.float32:
            raise InputError(
                f"audio of shape {samples.shape} and type {samples.dtype}:"
                " expected one channel, (samples,) float32"
            )
        rate = self.backend.sampling_rate
        # a NaN, or samples so large that no model can scale them; `np.dot` would wake BLAS threads
        if not math.isfinite(float(np.einsum("i,i->", samples, samples))):
            raise Unusable("non_finite_input")
        least = max(self.backend.min_samples, round(self.min_seconds * rate))
        if len(samples) < least:
            raise Unusable("too_short", f"{len(samples)} samples at {rate} Hz, at least {least}")
        longest = round(self.max_seconds * rate)
        if len(samples) <= longest:
            return [samples]
        if self.long == "fail":
            found, limit = len(samples) / rate, self.max_seconds
            raise Unusable("too_long", f"{found:.1f} s, the limit is {limit:g} s")
        if self.long == "truncate":
            return [samples[:longest]]
        return split_evenly(samples, longest)

    def _checked(self, pooled: Pooled | Unusable) -> Pooled | Unusable:
        if isinstance(pooled, Unusable):
            return pooled
        if not isinstance(pooled, Pooled):
            raise InputError(
                f"{self.name}: embed gave {type(pooled).__name__} for a clip; expected a "
                "Pooled(values, frames) for each, with values (layers, dim) "
                "(docs/how-to/encoder.md)"
            )
        expected = (self.backend.n_layers, self.backend.dim)
        if pooled.values.shape != expected:
            raise RuntimeError(f"{self.name} gave {pooled.values.shape}, expected {expected}")
        if not np.isfinite(pooled.values).all():
            bad = np.flatnonzero(~np.isfinite(pooled.values).all(axis=1)).tolist()
            return Unusable("non_finite_output", f"NaN or infinity in layers {bad}")
        return pooled

    def _values(self, inputs: Sequence[Any]) -> list[np.ndarray]:
        """Embed inputs that every encoder has to embed."""
        values = []
        for answer in self.embed(inputs):
            if isinstance(answer, Unusable):
                raise CanaryError(
                    f"{self.name} gave no numbers for a fixed {self.modality} input that every "
                    f"encoder has to embed, so that later runs can be compared with it: {answer}. "
                    "Embed any sound, or any text, as some numbers; nothing was stored",
                    [],
                )
            values.append(answer.values)
        return values


def _checked_rules(
    long: str, max_seconds: float, min_seconds: float, silence: str, damage: str
) -> dict[str, Any]:
    """Return the rules for input, checked."""
    one_of(long, ("fail", "truncate", "chunk"), "long")
    one_of(silence, ("keep", "refuse"), "silence")
    one_of(damage, ("refuse", "accept"), "damage")
    if not 0 < min_seconds <= max_seconds < math.inf:
        raise InputError(
            f"`{min_seconds=:g}` and `{max_seconds=:g}`: expected 0 < `min_seconds` <= "
            "`max_seconds`, both finite"
        )
    return {
        "long": long,
        "max_seconds": float(max_seconds),
        "min_seconds": float(min_seconds),
        "silence": silence,
        "damage": damage,
    }


def _embed_halving(
    embed: Callable[[Sequence[Any]], Sequence[Pooled | Unusable]], inputs: Sequence[Any]
) -> list[Pooled | Unusable]:
    """Embed; if memory is short, in halves; a single input that does not fit is unusable."""
    try:
        answers = embed(inputs)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = first_line(error) or "MemoryError"
    else:
        if len(answers) != len(inputs):
            raise RuntimeError(f"{len(answers)} answers for {len(inputs)} inputs")
        return list(answers)
    # outside of the handler: its traceback would keep the failed batch in memory
    if len(inputs) == 1:
        return [Unusable("out_of_memory", reason)]
    half = len(inputs) // 2
    return _embed_halving(embed, inputs[:half]) + _embed_halving(embed, inputs[half:])


def _is_out_of_memory(error: Exception) -> bool:
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "out of memory" in words
        or "can't allocate memory" in words
    )
