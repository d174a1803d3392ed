"""Times of segments: notations, names of columns, units, and what was not used."""

from __future__ import annotations

import numpy as np
import pytest
from affekt.cache import InputError
from affekt.cache.manifest.tables.cells import text_of
from affekt.cache.manifest.times import seconds
from hypothesis import given, strategies as st

from .test_tables import read


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.5", 1.5), ("0 days 00:00:01.500000", 1.5), ("00:00:01.5", 1.5), ("1:02", 62.0),
        ("1 days 00:00:00", 86400.0), ("P0DT0H0M1.5S", 1.5), ("0 days 00:00:00.034000", 0.034),
        ("250 ms", 0.25), ("1 day, 0:00:02", 86402.0), ("9" * 5000, -np.inf),
    ],
)  # fmt: skip
def test_notations_of_a_time(text, expected):
    assert seconds(text) == expected


@given(st.integers(0, 10**7))
def test_every_span_of_pandas_and_datetime_is_read_exactly(milliseconds):
    pandas = pytest.importorskip("pandas")
    span = pandas.Timedelta(milliseconds, "ms")
    exact = milliseconds / 1000
    assert seconds(str(span)) == exact
    assert seconds(str(span.to_pytimedelta())) == exact
    assert seconds(span.isoformat()) == exact
    assert seconds(text_of(span)) == seconds(text_of(span.to_pytimedelta())) == exact


@pytest.mark.parametrize(
    ("header", "row", "expected"),
    [
        ("offset,duration", "3,2", (3, 5)), ("start,duration", "3,2", (3, 5)),
        ("onset,offset", "3,5", (3, 5)), ("begin_ms,end_ms", "3000,5250", (3, 5.25)),
        ("offset,end", "3,5", (3, 5)),
        ("start_sample,end_sample,sample_rate", "8000,16000,8000", (1, 2)),
        ("start_s,end_s,start_ms,end_ms", "3,5,3000,5000", (3, 5)),
        ("StartTime,EndTime", "3,5", (3, 5)),
        ("start,end,duration", "3,5,99", (3, 5)), ("duration", "3", (None, None)),
        ("xmin,xmax", "3,5", (3, 5)),
        ("frame_offset,num_frames,sr", "8000,4000,8000", (1, 1.5)),
        ("Begin Time - ss.msec,End Time - ss.msec,End Time - msec", "3.25,5,5000", (3.25, 5)),
        ("startTimeMs,durationMs", "3000,2000", (3, 5)), ("start_in_s,end_in_s", "3,5", (3, 5)),
        ("start_timestamp,end_timestamp", "3,5", (3, 5)),
        ("end,duration", "5,2", (3, 5)), ("duration_ms,stop", "2000,5", (3, 5)),
        ("end,duration", "5,9", (None, 5)), ("chnl,tbeg,tdur", "1,3,2", (3, 5)),
        ("onset,duration", "3,n/a", (3, None)),
    ],
)  # fmt: skip
def test_names_of_times(tmp_path, header, row, expected):
    clip = read(tmp_path, f"path,{header}\na.wav,{row}\n").clip(0)
    assert (clip.start, clip.end) == expected


def test_a_time_that_is_not_used_is_named(tmp_path):
    clips = read(tmp_path, 'file,StartTime\na.wav,"00:16:16,059"\n')
    assert "column StartTime looks like a time and was not used" in clips.notes[0]
    clips = read(tmp_path, "file,start_sample\na.wav,800\n")
    assert "add a column sample_rate" in clips.notes[0]
    clips = read(tmp_path, "file,turn_start,weekend\na.wav,8,3\n")
    assert [note.split(":")[0] for note in clips.notes] == [
        "column turn_start looks like a time and was not used"
    ]
    # ELAN's clock, which counts in each file that has several rows
    header = "file,Begin Time - hh:mm:ss.ms,End Time - hh:mm:ss.ms\n"
    clips = read(tmp_path, header + "a.wav,00:00:01.500,00:00:02.000\na.wav,00:00:03,00:00:04\n")
    assert (clips.clip(0).start, clips.clip(1).end) == (1.5, 4)
    # cut files that keep the times of the film they are from
    clips = read(tmp_path, "file,Start_Time,End_Time\na.wav,00:03:01.5,00:03:03.0\n")
    assert clips.clip(0).start is None and "End_Time" in clips.notes[1]  # noqa: PT018
    for unit in ("min", "minutes", "us", "ns", "hours"):  # named start, it would be in seconds
        clips = read(tmp_path, f"file,start_{unit},end ({unit})\na.wav,1.5,2.5\n")
        assert all("in seconds, or in milliseconds" in note for note in clips.notes[:2])
        assert clips.clip(0).start is None
    for length in ("duration_frames", "duration_min"):
        clips = read(tmp_path, f"file,start,{length}\na.wav,1.5,25\n")
        assert f"column {length} looks like a time and was not used" in clips.notes[0]
    with pytest.raises(InputError, match="is offset where a segment ends"):
        read(tmp_path, "path,start,offset\na.wav,1,2\n")
    with pytest.raises(InputError, match=r"milliseconds or samples.*start_ms and end_ms"):
        read(tmp_path, "path,start,end\na.wav,0,2400\n")
    assert read(tmp_path, "path,start_s,end_s\na.wav,0,2400\n").clip(0).end == 2400


def test_decimal_commas_in_times(tmp_path):
    clips = read(tmp_path, "path;start;end\na.wav;1,250;3,500\na.wav;4,125;6\n")
    assert (clips["start"].tolist(), clips["end"].tolist()) == ([1.25, 4.125], [3.5, 6])
    clips = read(tmp_path, 'path,onset,duration\na.wav,"1,5","2,25"\n')
    assert (clips.clip(0).start, clips.clip(0).end) == (1.5, 3.75)
    with pytest.raises(InputError, match=r"'1,250'.*write 1\.250, with a point for the comma"):
        read(tmp_path, 'path,start,end\na.wav,"1,250","3,500"\n')  # 1250, as English writes it?


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:01,500", 1.5), ("90:01", 5401.0), ("PT1.5S", 1.5), ("PT1M", 60.0), ("P1D", 86400.0)],
)
def test_further_notations_of_a_time(tmp_path, text, seconds):
    [clip] = read(tmp_path, f'file,start,finish\na.wav,"{text}",90000\n')
    assert (clip.start, clip.end) == (seconds, 90000.0)


def test_rows_of_one_file_that_differ_in_samples_of_no_rate_are_refused(tmp_path):
    head, rows = "id,path,start_sample,end_sample", "1,a.wav,0,8000\n2,a.wav,8000,16000\n"
    with pytest.raises(InputError, match=r"add a column sample_rate.*would be the whole file"):
        read(tmp_path, f"{head}\n{rows}")
    in_seconds = rows.replace("8000\n", "8000,0,1\n").replace("16000\n", "16000,1,2\n")
    assert read(tmp_path, f"{head},start,end\n{in_seconds}").clip(1).end == 2.0
    clips = read(tmp_path, f"{head}\n{rows[: rows.index('2')]}")
    assert "samples of what rate" in "\n".join(clips.notes)
    with pytest.raises(InputError, match="start is '1_0', expected seconds"):
        read(tmp_path, "path,start,end\na.wav,1_0,20\n")


@pytest.mark.parametrize("rate", ["0", "nan", "-16000", "1e400", "16"])
def test_samples_of_no_rate_are_not_read(tmp_path, rate):
    rows = f"path,start_sample,end_sample,sample_rate\na.wav,1,9,16000\nb.wav,1,9,{rate}\n"
    clips = read(tmp_path, rows)
    assert "sample_rate is not a rate in Hz, such as 16000, in every row" in clips.notes[0]
    with pytest.raises(InputError, match="each row would be the whole file"):
        read(tmp_path, rows.replace("b.wav", "a.wav"))


def test_huge_and_endless_times_are_read_as_times(tmp_path):
    rows = [
        "id,path,start,duration",
        "1,a.wav,inf,-inf",
        "2,a.wav,0,1e308",
        f"3,a.wav,0,{'9' * 5000}",
    ]
    clips = read(tmp_path, "\n".join(rows))
    assert clips["end"].tolist() == [-np.inf, 1e308, -np.inf]  # what is none is refused by extract
    assert read(tmp_path, "path,start_ms,end_ms\na.wav,0,1e308\n")["end"].tolist() == [1e305]
    clips = read(tmp_path, f"id,path,start,end\n1,a.wav,{'9' * 5000},{'9' * 5000}\n")
    assert clips["end"].tolist() == [-np.inf]
