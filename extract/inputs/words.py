"""Cut a text into words, in every script: what n-grams and word counts are made of."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

# Chinese characters and kana: no spaces between words, and a character is much of a word
_SINGLE = "\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_JOINERS = "\u200c\u200d"  # inside words of Persian and of Indian languages


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded, in Unicode's form NFKC.

    Vowel signs and accents belong to the letter before them. A Chinese character or kana is a word,
    and so is every sign that is neither letter nor digit, such as ``!`` or an emoji.

    Examples
    --------
    >>> words("Don't worry, be HAPPY!")
    ["don't", 'worry', ',', 'be', 'happy', '!']
    >>> words("बहुत अच्छा"), words("真好")
    (['बहुत', 'अच्छा'], ['真', '好'])
    """
    return _pattern().findall(unicodedata.normalize("NFKC", text).casefold())


@cache
def _pattern() -> re.Pattern[str]:
    # Python's \w leaves combining marks out: \w+ would cut most words of Hindi
    marks = "".join(
        chr(point)
        for point in (*range(0x300, 0x1F000), *range(0xE0100, 0xE01F0))
        if unicodedata.category(chr(point))[0] == "M"
    )
    letter = rf"[^\W_{_SINGLE}]"
    word = rf"{letter}+(?:(?=[^\0-\u02ff])(?:[{marks}{_JOINERS}]|{letter})+)?"
    return re.compile(rf"{word}(?:['’]{word})*|\S")
