"""A report says how many texts an encoder could not read, also when all were embedded before."""

from __future__ import annotations

import json

import numpy as np
import pytest
from affekt.cache import Cache, Manifest
from affekt.cache.care import merge
from affekt.cache.rows.remarks import NAME, note_remarks, read_remarks
from affekt.classify.experiments.run import run

LABELS = ("negative", "neutral", "positive")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """30 texts, 12 of them emoji, of which a vocabulary of ten words knows nothing."""
    torch = pytest.importorskip("torch")
    import transformers as tf

    folder = tmp_path_factory.mktemp("remarks")
    words = ["happy", "sad", "calm", "rain", "sun", "news", "day", "night"]
    bert = folder / "bert"
    bert.mkdir()
    (bert / "vocab.txt").write_text(
        "\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    )
    tf.BertTokenizer(str(bert / "vocab.txt")).save_pretrained(bert)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = tf.BertConfig(**sizes, intermediate_size=16, vocab_size=13, max_position_embeddings=32)
    tf.BertModel(config).save_pretrained(bert)
    random = np.random.default_rng(0)
    rows = []
    for i in range(30):
        text = (
            "😭" * (1 + i) if i % 5 < 2 else " ".join(random.choice(words, 4)) + f" {words[i % 8]}"
        )
        rows.append({"id": f"c{i}", "text": text, "label": LABELS[i % 3], "speaker": f"s{i // 3}"})
    Manifest.from_rows(rows).write(folder / "clips.csv")
    (folder / "recipe.yaml").write_text(
        "manifest: clips.csv\ntask: valence\ncache: my.cache\n"
        f"encoders: {{text: {{name: {bert}}}}}\n"
        "split: {scheme: speaker, test_size: 0.3, dev_size: 0.2, random_state: 0}\n"
        "members: {lr: {head: logistic, on: text}}\nreport: out\n"
    )
    run(folder / "recipe.yaml")
    return folder


def test_a_report_counts_texts_of_unknown_characters(recipe):
    text = (recipe / "out" / "report.md").read_text(encoding="utf-8")
    warning = "- most characters of 12 of 30 texts are not in the vocabulary of text: "
    assert warning in text[text.index("## Warnings") :]
    data = json.loads((recipe / "out" / "comparison.json").read_text(encoding="utf-8"))
    assert data["run"]["remarks"] == {"text": {"unknown_tokens": 12}}


def test_remarks_are_a_memo(recipe, tmp_path):
    [space] = Cache(recipe / "my.cache").spaces()
    before = read_remarks(space.folder)
    assert sorted(before.values()) == [("unknown_tokens",)] * 12
    merge([Cache(recipe / "my.cache")], Cache(tmp_path / "other"))
    [copied] = Cache(tmp_path / "other").spaces()
    assert read_remarks(copied.folder) == before
    with (copied.folder / NAME).open("ab") as stream:
        stream.write(b'{"key": 7}\n[]\n\xff\n{"key": "00')  # others, and a line cut short
    note_remarks(copied.folder, [("a" * 64, ["clipped"])])
    assert read_remarks(copied.folder) == before | {"a" * 64: ("clipped",)}
    (copied.folder / NAME).unlink()  # a cache of an earlier release
    assert read_remarks(copied.folder) == {}
    assert len(copied) == 30
