"""The front of text encoders: one text becomes token ids, cut at a stated length.

A text is text: ``[SEP]`` or ``</s>`` written in it are split like other words, not read as the
model's own marks. Padding is ours, on the right, so a tokenizer's own side and missing padding
token do not matter.
"""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path
from typing import Any

import torch

from ....cache.errors import InputError
from ....cache.files.reading import flag, read_object
from ...errors import Unusable
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.fingerprint import fingerprint
from ..checkpoints.reading import library_errors
from ..checkpoints.tokenizer_inputs import absent_files, further_files, optional_packages
from ..families import Family
from .front import Example

_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model", "spiece.model",
    "spm.model", "tokenizer.model", "bpe_encoder.bin",
)  # fmt: skip
_UNLIMITED = 10**6  # tokenizers without a limit say 1e30
_FALLBACK_LENGTH = 512


class TokenFront:
    """Token ids of one text.

    Parameters
    ----------
    checkpoint : Checkpoint
        With the tokenizer's files.
    family : Family
        Says where positions start.
    special_tokens : bool
        Pool the marks that the tokenizer adds as well (they are always given to the model).
    prefix : str
        Put before every text, for models trained with one (``"query: "``).
    max_length : int, optional
        Tokens, marks included; the model's own limit if left out.

    Attributes
    ----------
    max_length : int
        Longer texts are cut here, and the row is flagged ``truncated_tokens``. Texts with mostly
        characters that are not in the vocabulary are flagged ``unknown_tokens``.
    padding : dict of str to int
        What ids are padded with.
    """

    mask: str | None = "attention_mask"
    sampling_rate = min_samples = max_samples = 0

    def __init__(
        self,
        checkpoint: Checkpoint,
        family: Family,
        *,
        special_tokens: bool = True,
        prefix: str = "",
        max_length: int | None = None,
    ) -> None:
        self.files = _tokenizer_files(checkpoint)
        self.tokenizer = _load(checkpoint)
        self.files += further_files(self.tokenizer, checkpoint.folder, _FILES)
        digests = "\n".join(f"{path.name} {fingerprint(path)}" for path in self.files)
        self._digest = hashlib.sha256(digests.encode()).hexdigest()  # of what was just read
        self._packages = optional_packages(self.tokenizer)
        self._unknown = _unknown_ids(self.tokenizer)
        self.special_tokens = special_tokens
        self.prefix = unicodedata.normalize("NFC", prefix)
        limit, self._lowercase = _limits(checkpoint, family, self.tokenizer)
        if max_length is not None and not 1 <= max_length <= limit:
            raise InputError(f"`{max_length=}`; {checkpoint.name} takes 1 to {limit} tokens")
        self.max_length = max_length or limit
        self._name, self._tokens = checkpoint.name, checkpoint.config.get("vocab_size")
        padding = self.tokenizer.pad_token_id
        self.padding = {"input_ids": checkpoint.config.get("pad_token_id") or padding or 0}

    @property
    def starts_with_cls(self) -> bool:
        """Whether the first token is the one that pooling ``cls`` takes."""
        ids = self._encode("a")["input_ids"]
        return self.tokenizer.cls_token_id is not None and ids[0] == self.tokenizer.cls_token_id

    def describe(self) -> dict[str, Any]:
        """Return the ``processor`` part of the spec."""
        return {
            "class": type(self.tokenizer).__name__,
            "files": self._digest,
            "unicode": "NFC",
            "lowercase": self._lowercase,
            "max_length": self.max_length,
            "truncation": "right",
            "special_tokens": self.special_tokens,
            "marks_in_text": "split",
            "prefix": self.prefix,
            **({"packages": self._packages} if self._packages else {}),
        }

    def prepare(self, item: Any) -> Example:
        """Tokenize one text."""
        if not isinstance(item, str):
            raise InputError(f"got a {type(item).__name__}; a text encoder takes str")
        text = unicodedata.normalize("NFC", item)
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            raise Unusable("bad_text")
        if not text.strip():
            raise Unusable("empty_text")
        made = alone = self._encode(text)
        if self.prefix:
            made = self._encode(self.prefix + text)
        if all(alone["special_tokens_mask"]):
            raise Unusable("empty_text", f"the tokenizer finds no token in {text[:40]!r}")
        flags = ("truncated_tokens",) if made["truncated"] else ()
        if self._mostly_unknown(alone):
            flags += ("unknown_tokens",)
        ids = made["input_ids"]
        if isinstance(self._tokens, int) and max(ids) >= self._tokens:
            raise InputError(
                f"{self._name}: its tokenizer makes token {max(ids)} of {text[:40]!r}, and the "
                f"model knows {self._tokens} tokens: the files come from two different checkpoints"
            )
        marks = torch.tensor(made["special_tokens_mask"], dtype=torch.bool)
        tensors = {
            "input_ids": torch.tensor(ids),
            "attention_mask": torch.ones(len(ids), dtype=torch.long),
        }
        if "token_type_ids" in made:
            tensors["token_type_ids"] = torch.tensor(made["token_type_ids"])
        keep = torch.ones(len(ids), dtype=torch.bool) if self.special_tokens else ~marks
        return Example(tensors, keep, len(ids), {}, flags)

    def probe(self) -> str:
        """Return a short text."""
        return "One, two and three."

    def _encode(self, text: str) -> dict[str, Any]:
        if self._lowercase:
            text = text.lower()
        options = {
            "add_special_tokens": True,
            "return_special_tokens_mask": True,
            "split_special_tokens": True,
            "verbose": False,
            "return_offsets_mapping": self.tokenizer.is_fast,  # which characters a token covers
        }
        made = dict(self.tokenizer(text, **options))
        if self._strays(made):  # a Unigram vocabulary holds its marks as pieces
            for mark in self.tokenizer.all_special_tokens:
                text = text.replace(mark, f"{mark[0]} {mark[1:]}")
            made = dict(self.tokenizer(text, **options))
        made["truncated"] = len(made["input_ids"]) > self.max_length
        if made["truncated"]:
            cut = self.tokenizer(text, truncation=True, max_length=self.max_length, **options)
            made = {**dict(cut), "truncated": True}
        return {**made, "text": text}

    def _mostly_unknown(self, made: dict[str, Any]) -> bool:
        """Whether most characters became the token for unknown ones, or no token at all."""
        pairs = zip(made["input_ids"], made["special_tokens_mask"], strict=True)
        unknown = [token in self._unknown and not added for token, added in pairs]
        if "offset_mapping" not in made:
            return 2 * sum(unknown) > len(unknown) - sum(made["special_tokens_mask"])
        text, spans = made["text"], made["offset_mapping"]
        end = max(end for _, end in spans) if made["truncated"] else len(text)
        seen = {i for i in range(end) if not text[i].isspace()}
        known, lost = (
            {
                i
                for span, one in zip(spans, unknown, strict=True)
                if one is lost
                for i in range(*span)
            }
            for lost in (False, True)
        )
        return 2 * len(seen - (known - lost)) > len(seen)

    def _strays(self, made: dict[str, Any]) -> bool:
        """Whether the text itself was read as one of the model's marks."""
        marks = set(self.tokenizer.all_special_ids) - {self.tokenizer.unk_token_id}
        pairs = zip(made["input_ids"], made["special_tokens_mask"], strict=True)
        return any(token in marks and not added for token, added in pairs)


def _load(checkpoint: Checkpoint) -> Any:
    from transformers import AutoTokenizer

    missing = absent_files(checkpoint.folder)
    what = "its tokenizer cannot be loaded" + (f" ({missing} is missing)" if missing else "")
    with library_errors(checkpoint.name, what):
        tokenizer = AutoTokenizer.from_pretrained(
            checkpoint.folder, local_files_only=True, trust_remote_code=False
        )
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return tokenizer


def _unknown_ids(tokenizer: Any) -> set[int]:
    """Return the tokens for unknown words: the configuration may not name that of the model."""
    found = {tokenizer.unk_token_id}
    if tokenizer.is_fast:
        backend = tokenizer.backend_tokenizer
        token = getattr(backend.model, "unk_token", None)
        found.add(backend.token_to_id(token) if token else None)
    return found - {None}


def _tokenizer_files(checkpoint: Checkpoint) -> list[Path]:
    files = [checkpoint.folder / name for name in _FILES if (checkpoint.folder / name).is_file()]
    if not files:
        raise InputError(
            f"{checkpoint.name} holds no tokenizer files; expected tokenizer.json or a vocabulary"
        )
    return files


def _limits(checkpoint: Checkpoint, family: Family, tokenizer: Any) -> tuple[int, bool]:
    """Return the longest input in tokens, and whether texts are lower-cased before."""
    config = checkpoint.config
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    limits = [int(tokenizer.model_max_length)]
    if positions:
        offset = (config.get("pad_token_id", 1) or 0) + 1 if family.position_offset else 0
        limits.append(int(positions) - offset)
    lowercase = False
    settings = checkpoint.folder / "sentence_bert_config.json"
    if settings.is_file():
        read = read_object(settings, lenient=True)
        if read.get("max_seq_length"):
            limits.append(int(read["max_seq_length"]))
        lowercase = flag(read, "do_lower_case", settings)
    known = [limit for limit in limits if 0 < limit < _UNLIMITED]
    return (min(known) if known else _FALLBACK_LENGTH), lowercase
