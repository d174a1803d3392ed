"""Everything that decides tokens is in the spec; texts of unknown characters are flagged."""

from __future__ import annotations

import json
import shutil
import sys
import types

import pytest
import torch
import transformers as tf
from affekt.cache import InputError
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.checkpoints.checkpoint import _DOWNLOAD
from affekt.extract.encoders.checkpoints.tokenizer_inputs import optional_packages

from tests.support.encoder_models import TEXT, backend, model_folder

CODES = "h e 10\nl l 9\nl o</w> 8\n"


@pytest.fixture
def bertweet(tmp_path):
    """A small BERTweet, whose merges are in ``bpe.codes``."""
    pieces = ["h@@", "e@@", "l@@", "lo", "he@@", "ll@@", "hello", "happy", "sad", "h@@a"]
    (tmp_path / "vocab.txt").write_text("".join(f"{piece} 9\n" for piece in pieces))
    (tmp_path / "bpe.codes").write_text(CODES)
    settings = {"tokenizer_class": "BertweetTokenizer", "model_max_length": 64}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    config = tf.RobertaConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        vocab_size=64,
        max_position_embeddings=66,
    )
    torch.manual_seed(0)
    tf.RobertaModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_every_file_that_a_tokenizer_reads_is_in_the_spec(bertweet):
    one = open_backend(str(bertweet))
    (bertweet / "bpe.codes").write_text(CODES + "he ll 7\nhell o</w> 6\n")
    two = open_backend(str(bertweet))
    assert one.front.tokenizer("hello")["input_ids"] != two.front.tokenizer("hello")["input_ids"]
    assert one.describe()["processor"]["files"] != two.describe()["processor"]["files"]
    assert "bpe.codes" in _DOWNLOAD
    (bertweet / "bpe.codes").unlink()
    with pytest.raises(InputError, match=r"bpe\.codes is missing"):
        open_backend(str(bertweet))


def test_an_optional_package_that_changes_tokens_is_in_the_spec(bertweet, monkeypatch):
    keys = set()
    for emoji, seen in ((None, "absent"), (types.ModuleType("emoji"), "9.9")):
        monkeypatch.setitem(sys.modules, "emoji", emoji)
        if emoji is not None:
            emoji.demojize, emoji.__version__ = (lambda text, **_: text), "9.9"
        found = open_backend(str(bertweet))
        packages = found.describe()["processor"]["packages"]
        assert packages["emoji"] == seen
        keys.add(Encoder(str(bertweet)).spec.key)
    assert len(keys) == 2


@pytest.mark.parametrize("name", list(TEXT))
def test_plain_tokenizers_need_no_package(name):
    """So that the specs of stored embeddings stay what they are."""
    assert optional_packages(backend(name).front.tokenizer) == {}
    assert len(backend(name).front.files) == 2


@pytest.mark.parametrize(
    ("kind", "package"),
    [
        (tf.BertJapaneseTokenizer, "fugashi"),
        (tf.XLMTokenizer, "sacremoses"),
        (tf.BertweetTokenizer, "emoji"),
        (tf.RoFormerTokenizer, "rjieba"),
    ],
)
def test_packages_are_found_in_the_tokenizers_own_code(kind, package):
    assert package in optional_packages(kind.__new__(kind))


@pytest.mark.parametrize("name", ["bert", "xlm-roberta", "mpnet"])
def test_texts_of_unknown_characters_are_flagged(name):
    texts = ["😂", "ฉันมีความสุขมาก", "one two 😂", "one two three"]
    found = [answer.flags for answer in backend(name).embed(texts)]
    assert found == [("unknown_tokens",), ("unknown_tokens",), (), ()]


def test_characters_count_and_not_tokens():
    """One long unknown word beside three short known ones."""
    [found] = backend("bert").embed(["one two no ☃abcdefghijklmnopqrst☃"])
    assert found.flags == ("unknown_tokens",)
    [found] = backend("roberta").embed(["😂😭"])  # bytes know every text
    assert found.flags == ()


@pytest.mark.parametrize("kind", ["BPE that drops what it does not know", "WordLevel"])
def test_a_tokenizer_without_a_declared_unknown_token(tmp_path, kind):
    tokenizers = pytest.importorskip("tokenizers")
    letters = {letter: at for at, letter in enumerate("[]abcdefghijklmnopqrstuvwxyz")}
    model = tokenizers.models.BPE(letters, [])
    if kind == "WordLevel":
        model = tokenizers.models.WordLevel({"one": 0, "two": 1, "[X]": 2}, unk_token="[X]")
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    shutil.copytree(model_folder("bert"), tmp_path, dirs_exist_ok=True)
    for path in (*tmp_path.glob("vocab*"), *tmp_path.glob("*token*")):
        path.unlink()
    tf.PreTrainedTokenizerFast(tokenizer_object=made).save_pretrained(tmp_path)
    texts = ["one two", "one two 😂", "one 😂😂😂😂😂", "two ฉันมีความสุขมาก"]
    found = [answer.flags for answer in open_backend(str(tmp_path)).embed(texts)]
    assert found == [(), (), ("unknown_tokens",), ("unknown_tokens",)]


def test_a_token_that_the_model_does_not_know_is_refused(tmp_path):
    folder = shutil.copytree(model_folder("bert"), tmp_path / "m")
    (folder / "added_tokens.json").write_text(json.dumps({"<new>": 9000}))
    encoder = Encoder(str(folder))
    encoder.embed(["hello"])
    with pytest.raises(
        InputError, match=r"makes token \d+ of 'hello <new>'.*from two different checkpoints"
    ):
        encoder.embed(["hello <new>"])
