"""Tensors that may stay behind, names of distributed training, configurations that are wrong."""

from __future__ import annotations

import json
import re
import shutil

import pytest
import torch
from affekt.cache import InputError
from affekt.classify.cli import affekt
from affekt.classify.experiments.recipes.recipe import Recipe
from affekt.classify.models.new_clips.own_encoders import open_encoder
from affekt.extract import Encoder
from affekt.extract.encoders.checkpoints import checkpoint
from affekt.extract.encoders.checkpoints.converting import converted
from affekt.extract.encoders.opening import open_backend
from affekt.extract.hub import Place
from click.testing import CliRunner
from safetensors.torch import load_file, save_file

from tests.support.encoder_models import altered, backend, distance, model_folder, tone

CLIP = tone(8000)


def changed(name, folder, change):
    """Copy a small model and change its dictionary of tensors."""
    shutil.copytree(model_folder(name), folder)
    state = change(load_file(folder / "model.safetensors"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def without_masks(state):
    return {key: value for key, value in state.items() if "masked_spec" not in key}


@pytest.mark.parametrize(
    ("change", "dropped"),
    [
        (
            lambda s: {**without_masks(s), "wav2vec2.mask_time_emb_vector": torch.zeros(32)},
            "wav2vec2.mask_time_emb_vector",
        ),
        (lambda s: {**s, "age.dense.weight": torch.zeros(2, 2)}, "age.dense.weight"),
        (lambda s: {**s, "gender.out_proj.bias": torch.zeros(2)}, "gender.out_proj.bias"),
        (lambda s: {f"module.{key}": value for key, value in s.items()}, ""),
    ],
)
def test_known_extras_stay_behind_and_change_nothing(tmp_path, change, dropped):
    folder = changed("xlsr", tmp_path / "m", change)
    encoder = Encoder(str(folder))
    [found] = encoder.embed([CLIP])
    [wanted] = backend("xlsr").embed([CLIP])
    assert distance(found.values, wanted.values) == 0
    assert not dropped or dropped in encoder.backend.dropped
    assert "allow_extra" not in encoder.spec.fields["encoder"]


def test_weights_of_whole_numbers_are_refused(tmp_path):
    """torch copies them into a model of floats as they are: 127 times the value."""

    def quantised(state):
        return {k: (v * 127).to(torch.int8) if v.ndim == 2 else v for k, v in state.items()}

    folder = changed("xlsr", tmp_path / "m", quantised)
    with pytest.raises(InputError, match=r"whole numbers \(I8\): a quantised checkpoint"):
        Encoder(folder).embed([CLIP])


@pytest.mark.parametrize(
    ("name", "prefix"), [("xlsr", "wav2vec2."), ("whisper", "model."), ("bert", "bert.")]
)
def test_tensors_that_are_stored_twice_have_to_be_the_same(tmp_path, name, prefix):
    """transformers takes one of the two without a word."""
    plain = "encoder." if name != "bert" else ""

    def doubled(state):
        bare = {key.removeprefix(prefix): value for key, value in state.items()}
        one = sorted(key for key in bare if key.startswith(plain))[0]
        return {**bare, prefix + one: bare[one].clone() + 1}

    folder = changed(name, tmp_path / "m", doubled)
    with pytest.raises(InputError, match=f"stored twice with different values, also as {prefix}"):
        Encoder(folder, modality="text" if name == "bert" else None).embed([CLIP])


def test_a_stored_mask_that_the_configuration_does_not_want(tmp_path):
    folder = altered("xlsr", tmp_path / "m", "config.json", mask_time_prob=0.0)
    [found] = Encoder(folder).embed([CLIP])
    assert distance(found.values, backend("xlsr").embed([CLIP])[0].values) == 0


def test_module_is_a_prefix_of_all_names_or_of_none(tmp_path):
    folder = changed("bert", tmp_path / "m", lambda s: {**s, "module.odd": torch.zeros(2)})
    with pytest.raises(InputError, match=r"left over: module\.odd"):
        Encoder(str(folder)).backend.load()


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "module._orig_mod.", "model."])
def test_prefixes_of_wrappers_are_no_part_of_a_name(tmp_path, wrapper):
    """torch.compile and Lightning give every tensor one, as distributed training does."""
    folder = changed("bert", tmp_path / "m", lambda s: {wrapper + k: v for k, v in s.items()})
    [found] = Encoder(str(folder)).embed(["hello"])
    assert distance(found.values, backend("bert").embed(["hello"])[0].values) == 0


def test_a_lightning_module_with_its_own_head_gets_a_remedy(tmp_path):
    def under(name):
        head = {"head.weight": torch.zeros(2), "head.bias": torch.zeros(2)}
        return lambda s: {**{name + k: v for k, v in s.items()}, **head}

    folder = changed("bert", tmp_path / "m", under("model."))
    with pytest.raises(InputError, match=r"2 left over: head.*--allow-extra 'head\*'"):
        Encoder(str(folder)).backend.load()
    [found] = Encoder(str(folder), allow_extra=["head*"]).embed(["hello"])
    assert distance(found.values, backend("bert").embed(["hello"])[0].values) == 0
    folder = changed("bert", tmp_path / "n", under("net."))
    with pytest.raises(InputError, match=r"module\.encoder\.save_pretrained\(FOLDER\)"):
        Encoder(str(folder)).backend.load()
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({"epoch": 3, "state_dict": state}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"more than named tensors.*save_pretrained\(FOLDER\)"):
        Encoder(str(folder)).backend.load()


def test_the_remedy_names_every_module_that_is_left_over(tmp_path):
    odd = ("mood.0.weight", "mood.0.bias", "bert.encoder.layer.0.adapter.weight", "loss")
    folder = changed("bert", tmp_path / "m", lambda s: {**s, **{k: torch.zeros(2) for k in odd}})
    with pytest.raises(InputError) as refused:
        Encoder(str(folder)).backend.load()
    named = re.findall(r"--allow-extra '(.*?)'", str(refused.value))
    assert named == ["bert.encoder.layer.0.adapter*", "loss*", "mood.0*"]
    Encoder(str(folder), allow_extra=named).backend.load()


def test_named_extras_stay_behind_and_the_encoder_opens_again(tmp_path):
    folder = changed("bert", tmp_path / "m", lambda s: {**s, "mood.weight": torch.zeros(2)})
    with pytest.raises(InputError, match=r"left over: mood\.weight.*--allow-extra 'mood\*'"):
        Encoder(str(folder)).backend.load()
    encoder = Encoder(str(folder), allow_extra=["mood.*"])
    [found] = encoder.embed(["hello"])
    assert "mood.weight" in encoder.backend.dropped
    assert distance(found.values, backend("bert").embed(["hello"])[0].values) == 0
    again = open_encoder(encoder.spec, folder)  # as a model that was trained on it does
    assert again.backend.allow_extra == ("mood.*",)
    for wrong in ("*", ["."], [3]):
        with pytest.raises(InputError, match="`allow_extra="):
            Encoder(str(folder), allow_extra=wrong)


def test_allow_extra_on_the_command_line_and_in_a_recipe(tmp_path):
    folder = changed("bert", tmp_path / "m", lambda s: {**s, "mood.weight": torch.zeros(2)})
    (tmp_path / "clips.csv").write_text("id,text,label,speaker\na,hello,joy,x\nb,no,anger,y\n")
    words = ["extract", str(tmp_path / "clips.csv"), "--cache", str(tmp_path / "c")]
    words += ["--encoder", str(folder), "--allow-extra", "mood.*"]
    done = CliRunner().invoke(affekt, words)
    assert done.exit_code == 0, done.output
    (tmp_path / "r.yaml").write_text(
        "manifest: clips.csv\ntask: valence\nsplit: {scheme: speaker, test_size: 0.5}\n"
        "encoders: {words: {name: m, allow_extra: ['mood.*']}}\n"
        "members: {a: {head: logistic, on: words}}\n"
    )
    assert Recipe.read(tmp_path / "r.yaml").encoders["words"].options["allow_extra"] == ["mood.*"]


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("config.json", {"layer_norm_eps": 0}, "config.json: layer_norm_eps is 0, expected float"),
        ("config.json", {"hidden_size": 32.0}, "config.json: hidden_size is 32.0, expected int"),
        ("config.json", {"id2label": ["a", "b"]}, "config.json: id2label is a list, expected"),
        ("config.json", {"hidden_size": "x"}, "config.json: hidden_size is"),
        ("config.json", {"hidden_act": "none"}, "none"),
        (
            "preprocessor_config.json",
            {"feature_extractor_type": "Wav2Vec2Processor"},
            "preprocessor_config.json",
        ),
    ],
)
def test_a_wrong_configuration_is_wrong_input(tmp_path, file, changes, said):
    folder = altered("xlsr", tmp_path / "m", file, **changes)
    with pytest.raises(InputError) as error:
        Encoder(folder).backend.load()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_tokenizer_that_cannot_be_read_is_wrong_input(tmp_path):
    folder = altered("bert", tmp_path / "m", "tokenizer_config.json", model_max_length="many")
    (tmp_path / "m" / "tokenizer.json").write_text(json.dumps({"model": []}))
    with pytest.raises(InputError, match="its tokenizer cannot be loaded"):
        Encoder(folder)


def test_converted_weights_that_were_changed_are_converted_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    weights = tmp_path / "pytorch_model.bin"
    torch.save({"w": torch.ones(3)}, weights)
    copy = converted([weights]) / "model.safetensors"
    good = copy.read_bytes()
    copy.write_bytes(good[:-1] + b"\x41")  # another number, of the same shape
    assert converted([weights]) == copy.parent
    assert copy.read_bytes() == good
    made = copy.stat().st_mtime_ns
    converted([weights])
    assert copy.stat().st_mtime_ns == made


@pytest.mark.parametrize(
    ("model", "file"),
    [("xlsr", "model.safetensors"), ("bert", "tokenizer.json"), ("bert", "config.json")],
)
def test_pointers_of_git_lfs_are_named(tmp_path, model, file):
    shutil.copytree(model_folder(model), tmp_path / "m")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n"
    (tmp_path / "m" / file).write_text(pointer)
    with pytest.raises(InputError, match=rf"{file}: a pointer of Git LFS.*git lfs pull"):
        open_backend(str(tmp_path / "m"))


def test_sparse_weights_are_refused_before_they_are_hashed(tmp_path):
    shutil.copytree(model_folder("xlsr"), tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(30 << 30)
    if weights.stat().st_blocks > 1 << 20:
        pytest.skip("the file system has no sparse files")
    with pytest.raises(InputError, match=r"safetensors: a sparse file: of 30720 MiB hardly"):
        _ = Encoder(str(tmp_path / "m")).spec


def test_where_the_hub_does_not_answer_a_missing_folder_is_named(tmp_path, monkeypatch):
    def silent(self, name, **options):
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", silent)
    with pytest.raises(InputError, match=r"'models/x'(?s:.*)no folder of that name here"):
        open_backend("models/x")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="neither a local folder nor in the local cache"):
        open_backend("models/x")


@pytest.mark.parametrize("offline", [True, False])
def test_a_query_of_the_hub_is_announced_only_if_it_is_made(tmp_path, monkeypatch, caplog, offline):
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: 1 / 0)
    with pytest.raises((InputError, ZeroDivisionError)):
        open_backend("my-modell")
    assert "Did you mean" in caplog.text
    assert ("The Hub is asked" in caplog.text) is not offline


def test_a_pickle_is_downloaded_only_where_there_is_nothing_else(tmp_path, monkeypatch):
    shutil.copytree(model_folder("bert"), tmp_path / "bert")
    asked = []

    def fetched(name, revision, allow, what):
        asked.append(allow)
        if "pytorch_model*.bin" in allow:
            (tmp_path / "bert" / "pytorch_model.bin").write_bytes(b"weights")
        return Place(tmp_path / "bert", name, "0" * 40)

    monkeypatch.setattr(checkpoint, "locate", fetched)
    assert checkpoint.find_checkpoint("some/bert").container == "safetensors"
    assert len(asked) == 1
    (tmp_path / "bert" / "model.safetensors").unlink()
    assert checkpoint.find_checkpoint("some/bert").container == "pickle"
    assert len(asked) == 3


@pytest.mark.parametrize("inside", ["models--lab--mini/snapshots/0123", "models/mini"])
def test_a_folder_around_a_checkpoint_names_it(tmp_path, inside):
    (tmp_path / inside).mkdir(parents=True)
    (tmp_path / inside / "config.json").write_text("{}")
    outer = tmp_path / inside.partition("/")[0]
    with pytest.raises(InputError, match=rf"no config\.json: .* Is it {tmp_path / inside}\?"):
        open_backend(str(outer))
