"""`affekt manifest`: tables and corpora by command, as a process of its own where it counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from affekt.cache import InputError, Manifest
from affekt.cache.commands.cli_manifest import manifest
from affekt.cache.manifest import read_folders, read_form, read_named, read_unified
from click.testing import CliRunner


def sound(path: Path, hertz: float = 220) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(1600) * hertz / 2500), 16000)
    return path


def call(*words: object):
    done = CliRunner().invoke(manifest, [str(word) for word in words])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


NAMES = {
    "ravdess": ("Actor_12/03-01-06-01-02-01-12.wav", "fearful", "12"),
    "emodb": ("wav/16b10Wb.wav", "anger", "16"),
    "crema-d": ("AudioWAV/1002_IEO_SAD_HI.wav", "sadness", "1002"),
    "tess": ("YAF_pleasant_surprised/YAF_dog_ps.wav", "pleasant surprise", "YAF"),
    "savee": ("JE/sa03.wav", "sadness", "JE"),
    "emovo": ("m2/gio-m2-n4.wav", "happiness", "m2"),
    "esd": ("0011/Angry/0011_000351.wav", "angry", "0011"),
    "cafe": ("Colère/Faible/01-C-1-1.wav", "anger", "01"),
    "aesdd": ("happiness/h05 (3).wav", "happiness", "3"),
    "shemo": ("female/F21W05.wav", "surprise", "F21"),
}


@pytest.mark.parametrize("corpus", NAMES)
def test_folders_whose_names_carry_the_label(tmp_path, corpus):
    path, label, speaker = NAMES[corpus]
    sound(tmp_path / "corpus" / path)
    (tmp_path / "corpus" / "read me.txt").write_text("x")
    (tmp_path / "corpus" / f"._{Path(path).name}").write_bytes(b"x")
    done = call(tmp_path / "corpus", "-o", tmp_path / "clips.csv")
    assert f"1 clip, read as {corpus}" in done.stdout
    assert "left out 1 files: read me.txt" in done.stderr
    clips = Manifest.read(tmp_path / "clips.csv")
    clip = clips.clip(0)
    assert (clip.label, clip.speaker, clip.dataset) == (label, f"{corpus}-{speaker}", corpus)
    assert clip.text == ""  # the code of a sentence is not what is said
    assert clips.file(0) == (tmp_path / "corpus" / path).resolve()


def test_a_layout_with_parts_in_it(tmp_path):
    sound(tmp_path / "0011/Sad/evaluation/0011_001051.wav")  # ESD as it was first published
    clip = read_named(tmp_path, "esd").clip(0)
    assert (clip.id, clip.label, clip.speaker) == ("0011_001051", "sad", "esd-0011")


def test_savee_and_others_with_one_name_in_two_folders(tmp_path):
    for speaker in ("DC", "JE"):
        sound(tmp_path / speaker / "a01.wav")
    sound(tmp_path / "other.wav")
    clips = read_named(tmp_path, "savee")
    assert clips.ids == ["DC/a01.wav", "JE/a01.wav"]
    assert clips.notes == ("left out 1 files: other.wav",)
    with pytest.raises(InputError, match="Did you mean 'savee'"):
        read_named(tmp_path, "save")


@pytest.mark.parametrize("ending", [".wav", ".flac", ".mp3", ".m4a", ".ogg"])
def test_unified_reads_every_format_and_back(tmp_path, ending):
    name = "00000+aesdd+aesdd.1+f+ang+-1+ell+el-gr"
    for path in (f"{name}{ending}", f"odd{ending}", "notes.txt"):
        (tmp_path / path).write_bytes(b"x")
    clips = read_unified(tmp_path, label="valence")
    assert (clips.ids, clips["label"][0]) == (["00000"], "negative")
    assert clips.notes == (f"left out 2 files: notes.txt, odd{ending}",)
    assert list(Manifest.read(clips.write(tmp_path / "clips.csv"))) == list(clips)
    assert "read as unified" in call(tmp_path, "--as", "unified").stdout


def test_kaldi(tmp_path):
    data = tmp_path / "data" / "train"
    sound(tmp_path / "wavs" / "r1.wav")
    data.mkdir(parents=True)
    for name, text in {
        "wav.scp": "r1 wavs/r1.wav\n", "segments": "u1 r1 0.0 0.05\nu2 r1 0.05 -1\n",
        "text": "u1 hello you\nu2 bye\n", "utt2spk": "u1 s1\nu2 s2\n",
        "utt2emo": "u1 joy\nu2 sad\n",
    }.items():  # fmt: skip
        (data / name).write_text(text)
    assert "read as kaldi" in call(data, "-o", tmp_path / "clips.csv").stdout
    clips = Manifest.read(tmp_path / "clips.csv")
    assert [(c.id, c.start, c.end, c.text, c.speaker, c.label) for c in clips] == [
        ("u1", 0.0, 0.05, "hello you", "s1", "joy"), ("u2", 0.05, None, "bye", "s2", "sad"),
    ]  # fmt: skip
    assert clips.file(0).is_file()
    (data / "wav.scp").write_text("r1 sox x.wav -t wav - |\n")
    with pytest.raises(InputError, match="made by a command"):
        call(data)


def test_audformat_and_audio_folders(tmp_path):
    database = tmp_path / "db"
    sound(database / "audio" / "a.wav")
    (database / "db.yaml").write_text("name: x\n")
    (database / "db.files.csv").write_text("file,emotion\naudio/a.wav,joy\n")
    (database / "db.parts.csv").write_text("file,start,end,emotion\naudio/a.wav,0 days,NaT,joy\n")
    with pytest.raises(InputError, match="--table takes one of files; parts"):
        call(database)
    call(database, "--table", "parts", "-o", tmp_path / "a.csv")
    assert Manifest.read(tmp_path / "a.csv").clip(0).start is None  # the whole file
    hub = tmp_path / "hub"
    for part, label in (("train", "joy"), ("validation", "sad")):
        sound(hub / part / "x.wav")
        (hub / part / "metadata.csv").write_text(f"file_name,label\n./x.wav,{label}\n")
    sound(hub / "train" / "y.wav")
    assert "left out 1 files: train/y.wav" in call(hub, "-o", tmp_path / "b.csv").stderr
    clips = Manifest.read(tmp_path / "b.csv")
    assert sorted((c.split, c.label) for c in clips) == [("dev", "sad"), ("train", "joy")]
    assert all(clips.file(i).is_file() for i in range(2))


def test_data_sets_with_audio_inside(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = sound(tmp_path / "a.wav").read_bytes()
    names = {"info": {"features": {"label": {"names": ["sad", "joy"], "_type": "ClassLabel"}}}}
    rows = {"audio": [{"bytes": data, "path": "a.wav"}, {"bytes": data[:-4], "path": "b.wav"}]}
    table = arrow.table({**rows, "label": [1, 0]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(names)})
    parquet.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    saved = tmp_path / "saved" / "train"
    saved.mkdir(parents=True)
    (saved.parent / "dataset_dict.json").write_text("{}")
    file = arrow.OSFile(str(saved / "data-00000-of-00001.arrow"), "wb")
    with file, arrow.ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    for n, source in enumerate([tmp_path / "train-00000-of-00001.parquet", saved.parent]):
        with pytest.raises(InputError, match="--audio-dir"):
            call(source)
        call(source, "--audio-dir", tmp_path / f"out{n}", "-o", tmp_path / f"{n}.csv")
        clips = Manifest.read(tmp_path / f"{n}.csv")
        assert [(c.label, c.split) for c in clips] == [("joy", "train"), ("sad", "train")]
        assert clips.file(0).read_bytes() == data


def test_nothing_that_is_there_is_replaced(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,emo\na.wav,joy\n")
    for output in (table, tmp_path / "link.csv"):
        if output != table:
            output.symlink_to(table)
        with pytest.raises(InputError, match="is the input"):
            call(table, "-o", output)
    assert table.read_text() == "file,emo\na.wav,joy\n"
    for words in (
        ["-o", tmp_path / "x.xlsx"],
        ["-o", tmp_path / "no" / "x.csv"],
        ["--as", "emodbb"],
    ):
        with pytest.raises(InputError):
            call(table, *words)


def test_paths_are_written_relative_to_the_table(tmp_path):
    sound(tmp_path / "data" / "a.wav")
    (tmp_path / "data" / "t.csv").write_text("file\na.wav\n")
    (tmp_path / "else").mkdir()
    for folder, written in (
        (tmp_path, "data/a.wav"),
        (tmp_path / "else", f"{tmp_path}/data/a.wav"),
    ):
        call(tmp_path / "data" / "t.csv", "-o", folder / "clips.csv")
        clips = Manifest.read(folder / "clips.csv")
        assert (clips["path"][0], clips.file(0).is_file()) == (written, True)


def test_parts_of_other_names(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("file,Split_Set\na.wav,Train\nb.wav,Development\nc.wav,Test3\n")
    done = call(table, "-o", tmp_path / "clips.csv")
    assert "Development is dev, Train is train" in done.stderr
    assert list(Manifest.read(tmp_path / "clips.csv")["split"]) == ["train", "dev", "Test3"]
    (tmp_path / "folders" / "joy").mkdir(parents=True)
    (tmp_path / "folders" / "joy" / "1.wav").write_bytes(b"x")
    with pytest.raises(InputError, match="--as folders"):
        call(tmp_path / "folders")
    assert "joy 1" in call(tmp_path / "folders", "--as", "folders").stdout


def test_folders_of_parts_above_those_of_labels(tmp_path):
    top = tmp_path / "rec"
    for name in ("Train/happy/1.wav", "validation/sad/2.wav", "test/sad/3.wav"):
        (top / name).parent.mkdir(parents=True)
        (top / name).write_bytes(b"x")
    call(top, "--as", "folders", "-o", tmp_path / "clips.csv")
    clips = Manifest.read(tmp_path / "clips.csv")
    found = [clips[name].tolist() for name in ("label", "split")]
    assert found == [["happy", "sad", "sad"], ["train", "test", "dev"]]
    assert read_form(top, "{split}/{}")["split"].tolist() == ["happy", "sad", "sad"]
    assert "split" not in read_form(top, "{part}/{label}/{}")
    alone = read_folders(top / "Train")
    assert ("split" in alone, alone.notes) == (False, ())
    (top / "sad").mkdir()
    (top / "sad" / "4.wav").write_bytes(b"x")
    done = call(top, "--as", "folders")
    expected = "folders test, train, validation were not read as the split: 1 of 4 files are in no"
    assert expected in done.stderr


def test_names_in_a_form_of_ones_own(tmp_path):
    for name in ("deep/anna/joy_01.wav", "bela/sad_a_7.mp3", "bela/notes.wav", "top.wav"):
        (tmp_path / "rec" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "rec" / name).write_bytes(b"x")
    done = call(tmp_path / "rec", "--as", "{speaker}/{label}_{take}.wav", "-o", tmp_path / "c.csv")
    assert "left out 2 files: bela/notes.wav, top.wav" in done.stderr
    clips = Manifest.read(tmp_path / "c.csv")
    found = list(zip(*(clips[name] for name in ("speaker", "label", "take")), strict=True))
    assert found == [("bela", "sad", "a_7"), ("anna", "joy", "01")]
    assert all(clips.file(i).is_file() for i in range(2))
    assert list(read_form(tmp_path / "rec", "{}_{take}")["take"]) == ["a_7", "01"]
    for form, words in (
        ("{a}_{a}", "'{a}_{a}' has {a};"),
        ("{path}", "has {path};"),
        ("{}/{label}-{}", "expected names of the form {}/{label}-{}"),
    ):
        with pytest.raises(InputError) as refused:
            call(tmp_path / "rec", "--as", form)
        assert words in str(refused.value)


HEADER = """
name: db
languages: [deu]
schemes:
  emotion: {dtype: str, labels: [anger, joy]}
  speaker: {dtype: int, labels: {1: {gender: male}, 2: {gender: female}}}
  site: {dtype: str, labels: sites}
splits: {train: {type: train}, test: {type: test}}
misc_tables:
  sites: {levels: {site: str}, columns: {town: {}}}
tables:
  emotion.train: {type: filewise, split_id: train, columns: {emotion: {scheme_id: emotion}}}
  emotion.test: {type: filewise, split_id: test, columns: {emotion: {scheme_id: emotion}}}
  files: {columns: {speaker: {scheme_id: speaker}, site: {scheme_id: site}}}
"""


def test_tables_of_audformat_are_joined_with_what_their_schemes_say(tmp_path):
    for name, text in {
        "db.yaml": HEADER,
        "db.emotion.train.csv": "file,emotion\na.wav,anger\n",
        "db.emotion.test.csv": "file,emotion\nb.wav,joy\n",
        "db.files.csv": "file,speaker,site\na.wav,1,x\nb.wav,2,y\n",
        "db.sites.csv": "site,town\nx,Ulm\ny,Bonn\n",
    }.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"emotion\.test \(emotion\).*files \(speaker, site\)"):
        call(tmp_path)
    tables = [w for t in ("emotion.train", "emotion.test", "files") for w in ("--table", t)]
    call(tmp_path, *tables, "-o", tmp_path / "clips.csv")
    clips = Manifest.read(tmp_path / "clips.csv")
    wanted = {
        "path": ["a.wav", "b.wav"],
        "label": ["anger", "joy"],
        "speaker": ["1", "2"],
        "gender": ["male", "female"],
        "town": ["Ulm", "Bonn"],
        "split": ["train", "test"],
        "language": ["deu", "deu"],
    }
    assert {name: clips[name].tolist() for name in wanted} == wanted
    (tmp_path / "db.more.csv").write_text("file,speaker\na.wav,\n")
    call(tmp_path, *tables, "--table", "more", "-o", tmp_path / "again.csv")
    assert Manifest.read(tmp_path / "again.csv")["speaker"].tolist() == ["1", "2"]
    (tmp_path / "db.more.csv").write_text("file,speaker\na.wav,2\n")
    with pytest.raises(InputError, match=r"speaker '2', and '1' in another table"):
        call(tmp_path, *tables, "--table", "more")
    (tmp_path / "db.yaml").write_text("tables: [1]")
    with pytest.raises(InputError, match=r"db\.yaml: .*the header of an audformat database"):
        call(tmp_path)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "db.yaml").write_text(HEADER)
    (pickled / "db.files.pkl").write_bytes(b"\x80")
    with pytest.raises(InputError, match=r"never opens pickles.*storage_format='csv'"):
        call(pickled)


def test_kaldi_says_what_does_not_fit_together(tmp_path):
    (tmp_path / "wav.scp").write_text("u1 a.wav\nu2 b.wav\n")
    (tmp_path / "utt2spk").write_text("u1 s1\nu3 s1\n")
    said = call(tmp_path).stderr
    assert "utt2spk has u3, which wav.scp or segments do not have" in said
    assert "utt2spk does not have u2: no speaker" in said
    assert "not read" not in said
    for name in ("spk2utt", "feats.scp", "utt2dur", "reco2file_and_channel", "label"):
        (tmp_path / name).write_text("u1 x\n")
    assert "files that were not read: label, reco2file_and_channel\n" in call(tmp_path).stderr
    (tmp_path / "recipe" / "data" / "train").mkdir(parents=True)
    (tmp_path / "recipe" / "data" / "train" / "wav.scp").write_text("u1 a.wav\n")
    with pytest.raises(InputError, match=r"folders of Kaldi; name one of them: .*data/train$"):
        call(tmp_path / "recipe")
    (tmp_path / "wav.scp").write_text("u1 data/raw.ark:17\n")
    with pytest.raises(InputError, match="inside an archive of Kaldi"):
        call(tmp_path)
