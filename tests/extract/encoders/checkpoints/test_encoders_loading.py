"""What is loaded is what was named, whole, and nothing else; or it is refused with a reason."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
import transformers as tf
from affekt.cache.errors import InputError
from affekt.extract import Encoder
from affekt.extract.encoders import open_backend
from affekt.extract.encoders.checkpoints.checkpoint import find_checkpoint
from affekt.extract.encoders.checkpoints.fingerprint import fingerprint
from safetensors.torch import load_file, save_file

from tests.support.encoder_models import TEXTS, backend, distance, model_folder, saved, tone

CLIP = tone(8000)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def copy(name, folder):
    shutil.copytree(model_folder(name), folder)
    return folder


def copy_tokenizer(folder):
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_folder("bert") / file, folder)


def rewrite(folder, change):
    """Change the dictionary of tensors of a checkpoint."""
    tensors = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("name", ["xlsr", "wav2vec2-bert", "whisper", "bert", "deberta-v2"])
def test_one_missing_tensor_is_an_error(name, tmp_path):
    folder = copy(name, tmp_path / "x")
    wanted = {"whisper": "encoder.layers.1", "bert": "encoder.layer.1"}.get(name, "encoder")
    names = [k for k in load_file(folder / "model.safetensors") if wanted in k]
    lost = sorted(names)[0]
    rewrite(folder, lambda tensors: {k: v for k, v in tensors.items() if k != lost})
    with pytest.raises(InputError, match=f"missing, .*{re.escape(lost.split('encoder.', 1)[1])}"):
        open_backend(str(folder)).load()


@pytest.mark.parametrize("name", ["xlsr", "whisper", "bert", "electra", "gpt2"])
def test_one_extra_tensor_is_an_error(name, tmp_path):
    folder = copy(name, tmp_path / "x")
    rewrite(folder, lambda tensors: {**tensors, "encoder.layers.9.extra": torch.ones(3)})
    with pytest.raises(InputError, match=r"left over: .*extra"):
        open_backend(str(folder)).load()


def test_another_shape_is_an_error(tmp_path):
    folder = copy("bert", tmp_path / "x")
    key = "bert.encoder.layer.0.attention.self.query.weight"
    rewrite(folder, lambda tensors: {**tensors, key: torch.ones(3, 3)})
    with pytest.raises(InputError, match="query"):
        open_backend(str(folder)).load()


def test_heads_are_left_behind_by_name_and_listed():
    opened = backend("xlsr")
    opened.load()
    parts = {name.split(".")[0] for name in opened.provenance()["dropped_tensors"]}
    assert parts == {"quantizer", "project_q", "project_hid"}
    opened = backend("bert")
    opened.load()
    assert any(name.startswith("cls.") for name in opened.dropped)


def test_the_embedding_of_masked_frames_may_be_missing(tmp_path):
    folder = copy("xlsr", tmp_path / "x")
    rewrite(folder, lambda t: {k: v for k, v in t.items() if "masked_spec_embed" not in k})
    [answer] = open_backend(str(folder)).embed([CLIP])
    assert distance(answer.values, backend("xlsr").embed([CLIP])[0].values) <= 1e-6


def test_code_of_a_repository_is_never_run(tmp_path):
    proof = tmp_path / "ran"

    def with_code(folder, file, **changes):
        (folder / "mine.py").write_text(f"open({str(proof)!r}, 'w')\nclass Mine: pass\n")
        content = json.loads((folder / file).read_text())
        content["auto_map"] = {"AutoConfig": "mine.Mine", "AutoModel": "mine.Mine"}
        (folder / file).write_text(json.dumps(content | changes))
        return folder

    for number, (file, changes) in enumerate(
        [
            ("config.json", {"model_type": "brand-new"}),
            ("tokenizer_config.json", {"tokenizer_class": "MyTokenizer"}),
        ]
    ):
        folder = with_code(copy("bert", tmp_path / str(number)), file, **changes)
        with pytest.raises(InputError, match="code"):
            open_backend(str(folder)).load()
    # transformers knows this type itself: its own class is used
    native = open_backend(str(with_code(copy("bert", tmp_path / "native"), "config.json")))
    [answer] = native.embed([TEXTS[1]])
    assert distance(answer.values, backend("bert").embed([TEXTS[1]])[0].values) <= 1e-6
    assert "auto_map" in native.notes[0]
    assert "layers are those of 'bert' in transformers" in native.notes[0]
    folder = copy("bert", tmp_path / "unknown")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "brand-new"}))
    with pytest.raises(InputError, match="brand-new"):
        open_backend(str(folder), modality="text").load()
    assert not proof.exists()


def test_an_old_bin_is_read_as_tensors_and_converted_once(tmp_path):
    folder = copy("xlsr", tmp_path / "x")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    opened = open_backend(str(folder))
    assert opened.describe()["encoder"]["container"] == "pickle"
    [answer] = opened.embed([CLIP])
    assert distance(answer.values, backend("xlsr").embed([CLIP])[0].values) <= 1e-6
    made = list((tmp_path / "cache").rglob("model.safetensors"))
    assert len(made) == 1
    before = made[0].stat().st_mtime_ns
    open_backend(str(folder)).load()
    assert made[0].stat().st_mtime_ns == before
    assert opened.describe()["encoder"] != backend("xlsr").describe()["encoder"]


def test_a_pickle_with_more_than_tensors_is_refused_and_not_run(tmp_path):
    folder = copy("bert", tmp_path / "x")
    (folder / "model.safetensors").unlink()
    proof = tmp_path / "ran"

    class Bomb:
        def __reduce__(self):
            return open, (str(proof), "w")

    torch.save({"weight": Bomb()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="tensors"):
        open_backend(str(folder)).load()
    torch.save({"weight": torch.ones(2), "epoch": 3}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="named tensors"):
        open_backend(str(folder)).load()
    (folder / "pytorch_model.bin").write_bytes(b"no zip and no pickle")
    with pytest.raises(InputError, match="tensors"):
        open_backend(str(folder)).load()
    assert not proof.exists()


def test_shards_are_read_and_must_lie_beside_their_index(tmp_path):
    model = tf.AutoModel.from_pretrained(model_folder("bert"))
    model.save_pretrained(tmp_path / "x", max_shard_size="20KB")
    copy_tokenizer(tmp_path / "x")
    opened = open_backend(str(tmp_path / "x"))
    assert len(opened.describe()["encoder"]["weights"]) > 1
    [ours], [whole] = opened.embed([TEXTS[1]]), backend("bert").embed([TEXTS[1]])
    assert distance(ours.values, whole.values) <= 1e-6
    index = tmp_path / "x" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    content["weight_map"] = dict.fromkeys(content["weight_map"], "../bert.safetensors")
    index.write_text(json.dumps(content))
    with pytest.raises(InputError, match="not a file next to it"):
        open_backend(str(tmp_path / "x"))


def test_a_truncated_or_foreign_weights_file_is_an_error(tmp_path):
    folder = copy("bert", tmp_path / "x")
    whole = (folder / "model.safetensors").read_bytes()
    for broken in (whole[:-100], whole[:20], b"", b"\xff" * 400):
        (folder / "model.safetensors").write_bytes(broken)
        with pytest.raises(InputError):
            open_backend(str(folder)).load()


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json"),
        ("config.json", "{", "JSON"),
        ("config.json", "[]", "JSON object"),
        ("config.json", "[" * 100_000, "JSON"),
        ("model.safetensors", None, "model.safetensors"),
        ("adapter_config.json", "{}", "adapter"),
        ("tokenizer.json", None, "tokenizer"),
    ],
)
def test_an_incomplete_folder_is_refused_before_any_work(tmp_path, file, content, message):
    folder = copy("bert", tmp_path / "x")
    if content is None:
        (folder / file).unlink()
        if file == "tokenizer.json":
            (folder / "tokenizer_config.json").unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(InputError, match=message):
        open_backend(str(folder))


def test_one_changed_bit_of_the_weights_is_another_spec(tmp_path):
    folder = copy("bert", tmp_path / "bert")
    same = Encoder(str(folder)).spec
    assert same.key == Encoder(str(model_folder("bert"))).spec.key
    raw = bytearray((folder / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (folder / "model.safetensors").write_bytes(raw)
    other = Encoder(str(folder)).spec
    assert [path for path, *_ in same.diff(other)] == ["encoder.weights.model.safetensors"]


def test_what_does_not_change_numbers_is_not_in_the_spec(tmp_path):
    folder = copy("bert", tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "transformers_version": "9", "_name_or_path": "/home/somebody"})
    )
    one = Encoder(str(folder), batching="single", device="cpu").spec
    assert one.key == Encoder(str(model_folder("bert"))).spec.key
    for change in ({"pooling": "max"}, {"dtype": "bfloat16"}, {"special_tokens": False}):
        assert Encoder(str(folder), **change).spec.key != one.key
    (folder / "config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    assert Encoder(str(folder)).spec.key != one.key


def test_files_that_change_between_opening_and_loading_are_noticed(tmp_path):
    folder = copy("bert", tmp_path / "x")
    opened = open_backend(str(folder))
    opened.describe()
    rewrite(folder, lambda tensors: {key: value * 1.5 for key, value in tensors.items()})
    with pytest.raises(InputError, match="changed"):
        opened.load()


def test_the_memo_of_digests_is_by_stat_and_may_be_damaged(tmp_path):
    import os

    file = tmp_path / "weights"
    file.write_bytes(b"one")
    first = fingerprint(file)
    assert not list((tmp_path / "cache").rglob("*"))  # too fresh to trust its time
    os.utime(file, (1_000_000, 1_000_000))
    assert fingerprint(file) == first
    [memo] = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    memo.write_text("not a digest")
    assert fingerprint(file) == first
    memo.write_text("0" * 64)
    assert fingerprint(file) == "0" * 64  # it is a memo: nothing was read
    file.write_bytes(b"two")
    os.utime(file, (1_000_000, 1_000_000))  # as before
    assert fingerprint(file) not in (first, "0" * 64)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bert", {"pooling": "average"}, "pooling"),
        ("bert", {"dtype": "float64"}, "dtype"),
        ("bert", {"device": "gpu"}, "device"),
        ("bert", {"batching": "big"}, "batching"),
        ("bert", {"modality": "video"}, "modality"),
        ("bert", {"modality": "audio"}, "modality"),
        ("bert", {"max_length": 65}, "64"),
        ("xlsr", {"modality": "text"}, "modality"),
        ("xlsr", {"pooling": "cls"}, "CLS"),
        ("xlsr", {"prefix": "query: "}, "text"),
        ("gpt2", {"pooling": "cls"}, "CLS"),
        ("bert", {"classifier": True}, "classifier|id2label"),
    ],
)
def test_wrong_options_are_refused_before_loading(name, options, message):
    with pytest.raises(InputError, match=message):
        open_backend(str(model_folder(name)), **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_an_error_and_auto_is_not():
    with pytest.raises(InputError, match="CUDA"):
        open_backend(str(model_folder("bert")), device="cuda")
    assert backend("bert", device="auto").device == "cpu"


def test_families_that_cannot_be_exact_are_refused(tmp_path):
    t5 = tf.T5Config(vocab_size=99, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    tf.T5Model(t5).save_pretrained(tmp_path / "t5")
    copy_tokenizer(tmp_path / "t5")
    with pytest.raises(InputError, match="decoder"):
        open_backend(str(tmp_path / "t5"))


def test_an_encoder_that_was_saved_alone_opens(tmp_path):
    t5 = tf.T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=2, num_heads=2)
    model = tf.T5EncoderModel(t5).eval()
    model.save_pretrained(tmp_path / "t5")
    copy_tokenizer(tmp_path / "t5")
    [answer] = open_backend(str(tmp_path / "t5")).embed([TEXTS[1]])
    inputs = tf.AutoTokenizer.from_pretrained(model_folder("bert"))(TEXTS[1], return_tensors="pt")
    with torch.inference_mode():
        made = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            output_hidden_states=True,
        )
    expected = torch.cat([*made.hidden_states[:-1], made.last_hidden_state]).mean(dim=1)
    assert distance(answer.values, expected) <= 1e-5


def test_layers_that_do_not_fit_are_an_input_error(tmp_path):
    funnel = tf.FunnelConfig(vocab_size=400, block_sizes=[1, 1], num_decoder_layers=1, d_model=32,
                             n_head=4, d_head=8, d_inner=32)  # fmt: skip
    tf.FunnelModel(funnel).save_pretrained(tmp_path / "funnel")
    copy_tokenizer(tmp_path / "funnel")
    with pytest.raises(InputError, match="hidden states"):
        open_backend(str(tmp_path / "funnel")).load()


def test_an_unknown_family_needs_its_modality_where_files_leave_it_open(tmp_path):
    folder = copy("electra", tmp_path / "x")
    shutil.copy(model_folder("xlsr") / "preprocessor_config.json", folder)
    with pytest.raises(InputError, match="modality"):
        open_backend(str(folder))
    assert open_backend(str(folder), modality="text").modality == "text"


def test_a_model_that_gives_nan_is_noticed_at_once(tmp_path):
    from affekt.cache.errors import AffektError

    folder = copy("bert", tmp_path / "x")
    rewrite(folder, lambda t: {**t, "bert.embeddings.LayerNorm.bias": torch.full((32,), torch.nan)})
    with pytest.raises(AffektError, match="NaN"):
        open_backend(str(folder)).load()


def test_a_sentence_transformers_folder_is_followed_to_its_transformer(tmp_path):
    root = tmp_path / "st"
    saved("bert", root / "0_Transformer")
    kinds = {"0_Transformer": "Transformer", "1_Pooling": "Pooling"}
    modules = [
        {"path": path, "type": f"sentence_transformers.models.{kind}"}
        for path, kind in kinds.items()
    ]
    (root / "modules.json").write_text(json.dumps(modules))
    (root / "0_Transformer" / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": 20, "do_lower_case": False})
    )
    opened = open_backend(str(root))
    assert opened.front.max_length == 20
    [answer] = opened.embed([TEXTS[0]])
    assert distance(answer.values, backend("bert").embed([TEXTS[0]])[0].values) <= 1e-6
    modules[0]["path"] = "../elsewhere"
    (root / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(InputError, match="leaves"):
        find_checkpoint(str(root))
