"""What the name of an encoder means: built in, registered, installed, a folder or a Hub id."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from affekt.plugins import Plugins

from ..cache.errors import InputError, nearest
from .backend import Backend, as_backend

#: Built-in encoders; they need no download.
BUILT_IN = ("spectral", "ngram")

#: Options of `Encoder` that have no effect with these values.
_UNSET = {"revision": None, "pooling": None, "dtype": "float32", "device": "auto", "modality": None}


def _check(name: str, factory: Any) -> None:
    if not callable(factory):
        raise InputError(
            f"encoder {name!r} is {factory!r}; expected a subclass of affekt.extract.Backend, or "
            "a function that returns an instance of one"
        )
    if isinstance(factory, type) and inspect.isabstract(factory):
        methods = ", ".join(sorted(factory.__abstractmethods__))
        raise InputError(f"encoder {name!r}: {factory.__name__} has no {methods}")


_OWN = Plugins("encoder", "affekt.encoders", lambda: BUILT_IN, _check)


def register_encoder(name: str, factory: Callable[..., Backend]) -> None:
    """Let ``Encoder(name)``, recipes and saved models of this process find an encoder of your own.

    For the command line, a package declares it in the group of entry points ``affekt.encoders``;
    see ``docs/how-to/encoder.md``.

    Parameters
    ----------
    name : str
        The `name` of its backend as well.
    factory : subclass of Backend, or callable that returns a Backend
        Called with the options given to `Encoder`.

    Raises
    ------
    InputError
        A name that is taken, or something that makes no backend.

    Examples
    --------
    >>> import numpy as np
    >>> from affekt.extract import Backend, Encoder, Pooled, register_encoder
    >>> class Length(Backend):
    ...     name, modality, dim = "text-length", "text", 1
    ...     def embed(self, inputs):
    ...         return [Pooled(np.array([[len(text)]], np.float32), len(text)) for text in inputs]
    >>> register_encoder("text-length", Length)
    >>> Encoder("text-length")
    Encoder('text-length', text, 1 x 1)
    """
    _OWN.register(name, factory)


def is_code(name: str) -> bool:
    """Whether a name is one of installed or registered code, which needs no checkpoint.

    Examples
    --------
    >>> is_code("ngram"), is_code("facebook/wav2vec2-large-xlsr-53")
    (True, False)
    """
    return name in BUILT_IN or name in _OWN


def works_everywhere(name: str) -> bool:
    """Whether another process can open it: not what was only registered in this one."""
    return name in BUILT_IN or name not in _OWN or _OWN.is_declared(name)


def open_named(name: str, options: Mapping[str, Any]) -> Backend:
    """Open the backend of a name."""
    if name in BUILT_IN:
        return _built_in(name, options)
    if name in _OWN:
        return _own(name, options)
    known = [*BUILT_IN, *_OWN.names()]
    hint = nearest(name, known)
    if hint and not Path(name).exists():
        raise InputError(
            f"no encoder {name!r}: expected {', '.join(known)}, a folder, or a Hub id.{hint}"
        )
    from .encoders import open_backend

    taken = inspect.signature(open_backend).parameters
    for option in options:
        if option not in taken or option == "name":
            raise InputError(
                f"encoder {name}: unknown option {option!r}; a pretrained encoder has "
                f"{', '.join(list(taken)[1:])}.{nearest(option, list(taken)[1:])}"
            )
    return open_backend(name, **options)


def options_of_own(name: str, options: Mapping[str, Any]) -> str:
    """Return the options of a registered encoder that may change its numbers, as JSON."""
    given = {key: value for key, value in _given(options).items() if key != "device"}
    if name not in _OWN or not given:
        return ""
    try:
        return json.dumps(given, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError):
        raise InputError(
            f"options {given!r} of the encoder {name!r}; expected text, numbers, lists and "
            "mappings, which a saved model can keep"
        ) from None


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: v for key, v in options.items() if key not in _UNSET or v != _UNSET[key]}


def _own(name: str, options: Mapping[str, Any]) -> Backend:
    factory = _OWN.get(name)
    given = _given(options)
    modality = given.pop("modality", None)
    signature = inspect.signature(factory)
    kinds = {one.kind for one in signature.parameters.values()}
    takes_any = inspect.Parameter.VAR_KEYWORD in kinds
    if "device" in signature.parameters:
        from .encoders.hardware.device import find_device

        given["device"] = find_device(options.get("device"))
    elif not takes_any:
        given.pop("device", None)
    unknown = [key for key in given if not takes_any and key not in signature.parameters]
    if unknown:
        known = ", ".join(signature.parameters) or "none"
        raise InputError(
            f"{name} has no option `{unknown[0]}={given[unknown[0]]!r}`; its options: {known}"
        )
    try:
        signature.bind(**given)
    except TypeError as error:
        raise InputError(f"{name}: {error} among its options") from None
    backend = as_backend(factory(**given))
    if backend.name != name:
        raise InputError(
            f"the encoder registered as {name!r} has the name {backend.name!r}; make both the same"
        )
    if modality not in (None, backend.modality):
        raise InputError(f"{name} takes {backend.modality}, not {modality}")
    return backend


def _built_in(name: str, options: Mapping[str, Any]) -> Backend:
    modality = "audio" if name == "spectral" else "text"
    plain = {"modality": modality, "revision": None, "pooling": "mean", "dtype": "float32"}
    for option, value in options.items():
        if option in ("device", "dim", "longest") and (option == "device" or name == "ngram"):
            continue
        if value not in (None, plain.get(option)):
            raise InputError(f"{name} has no option `{option}={value!r}`")
    if name == "spectral":
        from .builtin.spectral import Spectral

        return Spectral()
    from .builtin.ngram import Ngram

    return Ngram(**{key: options[key] for key in ("dim", "longest") if key in options})
