"""Make a text ready for an encoder: NFC, checked, otherwise untouched."""

from __future__ import annotations

import unicodedata

from ..errors import Unusable

_INVISIBLE = ("C", "Z")  # Unicode's control, format and separator classes


def ready_text(text: str) -> str:
    r"""Check a text and bring it into Unicode's composed form.

    Parameters
    ----------
    text : str
        As written in the manifest. What looks like a special token (``[SEP]``, ``</s>``) is text.

    Returns
    -------
    str
        NFC; case, spaces and zero-width characters inside stay.

    Examples
    --------
    >>> ready_text("cafe\u0301")
    'café'
    >>> ready_text(" \u200b ")
    Traceback (most recent call last):
    ...
    affekt.extract.errors.Unusable: no visible character in 3 characters
    """
    if "\0" in text:
        raise Unusable("bad_text", f"a NUL at character {text.index(chr(0))}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Unusable("bad_text", f"a lone surrogate at character {error.start}") from None
    text = unicodedata.normalize("NFC", text)
    if all(unicodedata.category(character)[0] in _INVISIBLE for character in text):
        raise Unusable("empty_text", f"no visible character in {len(text)} characters")
    return text
