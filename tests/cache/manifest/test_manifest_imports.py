"""Manifests from data sets, audformat tables, EmoBox, s3prl and the unified data set's names."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import affekt.cache.manifest
import numpy as np
import pandas as pd
import pytest
import soundfile
from affekt.cache import InputError, Manifest
from affekt.cache.files.wav_writer import wav_bytes
from affekt.cache.manifest import (
    from_audformat,
    from_datasets,
    read_emobox,
    read_parts,
    read_s3prl,
    read_unified,
)
from affekt.cache.manifest.corpora.finding import kind_of
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

SAMPLES = np.sin(np.arange(1600) / 9).astype("f4")


@given(
    hnp.arrays(
        np.float32,
        st.one_of(st.tuples(st.integers(0, 50)), st.tuples(st.integers(9, 50), st.integers(1, 4))),
        elements=st.floats(-2, 2, width=32),
    ),
    st.integers(8000, 48000),
)
@settings(max_examples=40, deadline=None)
def test_a_wav_holds_exactly_the_samples(samples, rate):
    found, found_rate = soundfile.read(io.BytesIO(wav_bytes(samples, rate)), dtype="float32")
    assert found_rate == rate
    assert np.array_equal(found, samples[:, 0] if samples.shape[1:] == (1,) else samples)


def test_wav_of_integers_and_channels_first():
    samples = np.arange(-500, 501, dtype=np.int16)
    found, _ = soundfile.read(io.BytesIO(wav_bytes(samples, 16000)), dtype="int16")
    assert np.array_equal(found, samples)
    stereo = np.stack([SAMPLES, -SAMPLES])
    found, _ = soundfile.read(io.BytesIO(wav_bytes(stereo, 16000)), dtype="float32")
    assert np.array_equal(found, stereo.T)


@pytest.mark.parametrize(
    ("samples", "rate"),
    [(np.zeros(4, complex), 16000), (np.zeros((2, 3, 4)), 16000), (SAMPLES, 0), (SAMPLES, "16k")],
)
def test_arrays_that_are_not_audio_are_refused(samples, rate):
    with pytest.raises(InputError, match="expected"):
        wav_bytes(samples, rate)


class Dataset:
    """Rows and features, as a `datasets.Dataset` has them."""

    def __init__(self, rows, **names):
        self.rows = rows
        self.features = {"audio": object()}
        for column, labels in names.items():
            self.features[column] = SimpleNamespace(names=labels, int2str=None)

    def __iter__(self):
        return iter([dict(row) for row in self.rows])


def decoded(samples=SAMPLES, rate=16000):
    return {"path": "/elsewhere/a.wav", "array": samples, "sampling_rate": rate}


def test_datasets_with_arrays(tmp_path):
    rows = [
        {"audio": decoded(), "label": 1, "text": "uno", "extra": 3},
        {"audio": decoded(-SAMPLES), "label": 0, "text": "dos", "extra": 4},
        {"audio": decoded(), "label": -1, "text": "tres", "extra": 5},
    ]
    clips = from_datasets(Dataset(rows, label=["anger", "joy"]), tmp_path / "audio")
    assert clips.ids == ["0", "1", "2"]
    assert list(clips["label"]) == ["joy", "anger", ""]
    assert list(clips["extra"]) == ["3", "4", "5"]
    assert clips["path"][0] == clips["path"][2] != clips["path"][1]  # one content, one file
    found, rate = soundfile.read(clips.file(1), dtype="float32")
    assert np.array_equal(found, -SAMPLES)
    assert rate == 16000
    before = clips.file(0).stat().st_mtime_ns
    again = Manifest.from_datasets(Dataset(rows, label=["anger", "joy"]), tmp_path / "audio")
    assert again.hash == clips.hash
    assert clips.file(0).stat().st_mtime_ns == before
    assert len(list((tmp_path / "audio").iterdir())) == 2


def test_datasets_with_bytes_need_no_decoder(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, 16000, format="FLAC")
    rows = [{"audio": {"bytes": file.getvalue(), "path": "x/a.flac"}, "emotion": "calm"}]
    clips = from_datasets(Dataset(rows), tmp_path)
    assert clips.file(0).read_bytes() == file.getvalue()
    assert clips.file(0).suffix == ".flac"


def test_dataset_dict_gives_the_splits(tmp_path):
    part = Dataset([{"speech": decoded(), "mood": 0, "who": "s1"}], mood=["calm"])
    clips = from_datasets(
        {"training": part, "validation": part, "test": part},
        tmp_path,
        audio="speech",
        columns={"label": "mood", "speaker": "who"},
    )
    assert list(clips["split"]) == ["train", "dev", "test"]
    assert clips.ids == ["training-0", "validation-0", "test-0"]
    assert list(clips["label"]) == ["calm"] * 3
    assert clips.clip(0).speaker == "s1"


def test_datasets_of_text_alone(tmp_path):
    clips = from_datasets([{"text": "a", "label": "joy"}], tmp_path / "none")
    assert clips.clip(0).text == "a"
    assert not (tmp_path / "none").exists()


def test_datasets_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"row 0.*Audio\(decode=False\)"):
        from_datasets([{"audio": object(), "label": "a"}], tmp_path)
    with pytest.raises(InputError, match="no column 'mood'; there are audio, label"):
        from_datasets([{"audio": decoded(), "label": "a"}], tmp_path, columns={"label": "mood"})


def test_audformat(tmp_path):
    index = pd.MultiIndex.from_arrays(
        [
            ["a/x.wav", "a/x.wav", "b.wav"],
            pd.to_timedelta(["0s", "1.25s", "0s"]),
            pd.to_timedelta(["1.25s", "2s", None]),
        ],
        names=["file", "start", "end"],
    )
    frame = pd.DataFrame({"emotion": ["joy", None, "fear"], "spk": [1, 2, 3]}, index=index)
    clips = from_audformat(SimpleNamespace(df=frame), tmp_path, columns={"speaker": "spk"})
    assert [(clip.path, clip.start, clip.end) for clip in clips] == [
        ("a/x.wav", 0.0, 1.25),
        ("a/x.wav", 1.25, 2.0),
        ("b.wav", None, None),  # from 0 to the end: the file itself
    ]
    assert list(clips["label"]) == ["joy", "", "fear"]
    assert list(clips["speaker"]) == ["1", "2", "3"]
    assert len(set(clips.ids)) == 3
    files = pd.Series(["joy"], pd.Index(["a.wav"], name="file"), name="emotion")
    assert Manifest.from_audformat(files, tmp_path).ids == ["a.wav"]
    with pytest.raises(InputError, match="expected file, or file, start, end"):
        from_audformat(frame.reset_index(), tmp_path)
    absolute = files.set_axis(pd.Index(["/data/a.wav"], name="file"))
    with pytest.raises(InputError, match="is outside of the manifest's root"):
        from_audformat(absolute, tmp_path)
    assert from_audformat(absolute, tmp_path, allow_outside=True).clip(0).path == "/data/a.wav"


def emobox(tmp_path, **changes):
    """One fold with its label map, as the repository keeps it."""
    folder = tmp_path / "data" / "toy"
    (folder / "fold_1").mkdir(parents=True)
    (folder / "label_map.json").write_text(json.dumps({"a": "Angry", "N": "Neutral"}))
    for part, keys in {"train": ("k1", "k2"), "valid": ("k3",), "test": ("k4",)}.items():
        rows = [
            {"key": key, "dataset": "toy", "wav": f"downloads/toy/{key} (1).wav", "type": "raw",
             "sample_rate": 44100, "num_frame": 44100.0, "task": "category", "length": 1.0,
             "emo": "a" if key != "k2" else "N", "channel": 1, **changes}
            for key in keys
        ]  # fmt: skip
        path = folder / "fold_1" / f"toy_{part}_fold_1.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_emobox(tmp_path):
    clips = read_emobox(emobox(tmp_path))
    assert dict(zip(clips.ids, clips["split"], strict=True)) == {
        "k1": "train", "k2": "train", "k3": "dev", "k4": "test",
    }  # fmt: skip
    assert clips.select(["k2"]).clip(0).label == "Neutral"
    assert clips.select(["k2"])["emo"][0] == "N"
    assert clips.root == tmp_path
    assert clips.file(0).name.endswith(" (1).wav")
    with pytest.raises(InputError, match="has no fold 2; it has fold_1"):
        read_emobox(tmp_path / "data" / "toy", fold=2)


READERS = [
    "read_emobox", "read_kaldi", "read_audformat_folder", "read_audio_folder", "read_parts",
    "read_folders", "read_unified",
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_a_corpus_that_is_not_there_is_named(tmp_path, reader):
    (tmp_path / "corpus").mkdir()
    read = getattr(affekt.cache.manifest, reader)
    with pytest.raises(InputError, match=r"there is no such folder\. Did you mean 'corpus'"):
        read(tmp_path / "corpsu")
    with pytest.raises(InputError, match=r"corpus (has|holds) no"):
        read(tmp_path / "corpus")


def test_emobox_labels_that_case_tells_apart(tmp_path):
    fold = tmp_path / "data" / "x" / "fold_1"
    fold.mkdir(parents=True)
    (fold.parent / "label_map.json").write_text('{"sur": "Surprise", "SUR": "Surrender"}')
    for part in ("train", "test"):
        rows = [{"key": f"{part}{raw}", "wav": f"{raw}.wav", "emo": raw} for raw in ("sur", "SUR")]
        (fold / f"x_{part}_fold_1.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert list(read_emobox(fold.parent)["label"]) == ["Surprise", "Surrender"] * 2


def test_emobox_segments_and_errors(tmp_path):
    clips = read_emobox(emobox(tmp_path / "a", start_time=0.5, end_time=1.0))
    assert (clips.clip(0).start, clips.clip(0).end) == (0.5, 1.0)
    clips = read_emobox(emobox(tmp_path / "b", emo="n"))  # EmoDB's folds and map differ in case
    assert clips.clip(0).label == "Neutral"
    with pytest.raises(InputError, match=r"line 1: label 'q' is not in "):
        read_emobox(emobox(tmp_path / "d", emo="q"))
    with pytest.raises(InputError, match="expected key, wav and emo"):
        read_emobox(emobox(tmp_path / "c", wav=""))


def test_s3prl(tmp_path):
    audio = tmp_path / "corpus"
    for name, rows in {
        "train": f"{audio}/s1/a.wav,hap,a\n{audio}/s1/b.wav,sad,b\n",
        "valid": f"{audio}/s2/c.wav,hap,c\n",
        "test": f"{audio}/s2/d.wav,neu,d\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text("wav_path,label,id\n" + rows)
    clips = read_s3prl(tmp_path)
    assert dict(zip(clips.ids, clips["split"], strict=True)) == {
        "a": "train", "b": "train", "c": "dev", "d": "test",
    }  # fmt: skip
    assert clips.root == audio
    assert sorted(clips["path"]) == ["s1/a.wav", "s1/b.wav", "s2/c.wav", "s2/d.wav"]
    with pytest.raises(InputError, match="is outside"):
        read_s3prl(tmp_path, root=audio / "s1")


def test_s3prl_times_and_errors(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("id,wav_path,label,start_sec,end_sec\na,x.wav,hap,0.5,1.5\nb,x.wav,sad,,\n")
    clips = read_s3prl(path)
    assert (clips.clip(0).start, clips.clip(0).end) == (0.5, 1.5)
    assert (clips.clip(1).start, clips.clip(1).end) == (None, None)
    path.write_text("id,file,label\n")
    with pytest.raises(InputError, match="expected id, wav_path, label"):
        read_s3prl(path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no rows"):
        read_s3prl(tmp_path / "empty")


def test_a_table_for_each_part(tmp_path):
    (tmp_path / "train_sent_emo.csv").write_text("Utterance,Emotion,Speaker\nHi,joy,A\nNo,fear,B\n")
    (tmp_path / "dev_sent_emo.csv").write_text("Utterance,Emotion,Speaker\nOh,joy,C\n")
    (tmp_path / "test.tsv").write_text("text\tlabel\nAh\tsadness\n")
    (tmp_path / "words.csv").write_text("word,count\nhi,1\n")
    clips = read_parts(tmp_path)
    assert {id_: (text, label, split, speaker) for id_, text, label, split, speaker in zip(
        clips.ids, clips["text"], clips["label"], clips["split"], clips["speaker"], strict=True
    )} == {
        "train_sent_emo-1": ("Hi", "joy", "train", "A"),
        "train_sent_emo-2": ("No", "fear", "train", "B"),
        "dev_sent_emo-1": ("Oh", "joy", "dev", "C"),
        "test-1": ("Ah", "sadness", "test", ""),
    }  # fmt: skip
    assert "tables that were not read: words.csv" in clips.notes


def test_a_folder_of_parts_for_each_language(tmp_path):
    for language in ("hau", "por"):
        (tmp_path / language).mkdir()
        for part in ("train", "test"):
            (tmp_path / language / f"{part}.tsv").write_text(f"tweet\tlabel\n{language}!\tjoy\n")
    assert kind_of(tmp_path) == "parts"
    clips = read_parts(tmp_path)
    assert clips.ids == ["hau/test-1", "hau/train-1", "por/test-1", "por/train-1"]
    assert clips["folder"].tolist() == ["hau", "hau", "por", "por"]
    assert clips["split"].tolist() == ["test", "train"] * 2
    assert clips["text"].tolist() == ["hau!", "hau!", "por!", "por!"]
    assert any("column folder says which of hau, por" in note for note in clips.notes)
    (tmp_path / "por" / "train.tsv").write_text("path\tlabel\nx.wav\tjoy\n")
    assert read_parts(tmp_path).file(3) == tmp_path / "por" / "x.wav"


def test_a_table_for_each_part_with_ids_and_splits_of_its_own(tmp_path):
    (tmp_path / "train.csv").write_text("id,path,label,split\na,x.wav,joy,dev\nb,y.wav,joy,\n")
    (tmp_path / "eval.jsonl").write_text('{"id": "c", "path": "x.wav", "label": "joy"}\n')
    clips = read_parts(tmp_path)
    assert dict(zip(clips.ids, clips["split"], strict=True)) == {
        "a": "dev", "b": "train", "c": "test",
    }  # fmt: skip
    assert clips.file(0) == tmp_path / "x.wav"
    (tmp_path / "train.tsv").write_text("path\tlabel\nx.wav\tjoy\n")
    with pytest.raises(InputError, match=r"train\.csv, train\.tsv stand for the same part"):
        read_parts(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no tables named after parts"):
        read_parts(tmp_path / "empty")


def test_unified_names(tmp_path):
    names = [
        "00000+aesdd+aesdd.1+f+ang+-1+ell+el-gr.wav",
        "00007+ravdess+ravdess.12+m+cal+0+eng+en-us.wav",
        "00009+mess+mess.3+f+cal+1+eng+en-gb.wav",
    ]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    clips = read_unified(tmp_path)
    assert clips.ids == ["00000", "00007", "00009"]
    assert list(clips["label"]) == ["ang", "cal", "cal"]
    assert list(clips["language"]) == ["ell", "eng", "eng"]
    assert list(clips["locale"]) == ["el-gr", "en-us", "en-gb"]
    assert list(clips["gender"]) == ["f", "m", "f"]
    assert clips.clip(1).speaker == "ravdess.12"
    # calm is neutral in one source and positive in another, as the data set maps it
    valence = read_unified(names, tmp_path, label="valence")
    assert list(valence["label"]) == ["negative", "neutral", "positive"]
    assert list(valence["emotion"]) == ["ang", "cal", "cal"]


@pytest.mark.parametrize(
    "name",
    ["a.wav", "1+a+b+f+ang+2+ell+el.wav", "1+a+b+f+ang+-1+ell.wav", "1+a+b+f+ang+-1+ell+el+x.wav"],
)
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match=r"expected <number>\+<dataset>"):
        read_unified([name], ".")


def test_datasets_of_local_files(tmp_path):
    """What `Audio(decode=False)` gives for files that were never loaded: a path and no bytes."""
    soundfile.write(tmp_path / "a.flac", SAMPLES, 16000)
    rows = [{"audio": {"bytes": None, "path": str(tmp_path / "a.flac")}, "label": "joy"}]
    clips = from_datasets(rows, tmp_path / "audio")
    assert clips.file(0).read_bytes() == (tmp_path / "a.flac").read_bytes()
    assert clips.file(0).suffix == ".flac"
    for path in ("none.wav", "zip://a.wav::b.zip", "/dev/zero"):
        rows = [{"audio": {"bytes": None, "path": path}}]
        with pytest.raises(InputError, match=f"row 0: .*{path}.* is not a file"):
            from_datasets(rows, tmp_path / "audio")


def test_datasets_into_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"file.* cannot be made.*expected a folder"):
            Manifest.from_datasets([{"audio": decoded(), "label": "a"}], folder)
    assert (tmp_path / "file").read_text() == "mine"
