"""Paths of a manifest stay in its root; absolute ones may, if they lie in it."""

from __future__ import annotations

import pytest
from affekt.cache import InputError, Manifest
from affekt.cache.manifest.paths import Folder, check_written


def test_a_table_with_absolute_paths_inside_its_root_is_read(tmp_path):
    sound = tmp_path / "sounds" / "a.wav"
    sound.parent.mkdir()
    sound.write_bytes(b"")
    table = tmp_path / "clips.csv"
    table.write_text(f"id,path\na,{sound}\n", encoding="utf-8")
    assert Manifest.read(table, root=tmp_path).file(0) == sound
    with pytest.raises(InputError, match="is outside of the manifest's root"):
        Manifest.read(table, root=tmp_path / "other")


def test_absolute_paths_inside_the_root(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "a.wav").write_bytes(b"x")
    root = tmp_path / "root"
    root.symlink_to(real)

    def check(written, **options):
        check_written(str(written), lambda: "clips.csv line 2", allow_outside=False, **options)

    for written in (root / "a.wav", real / "a.wav"):
        check(written, root=root)
        folder = Folder(root, allow_outside=False)
        assert folder.file(str(written), lambda: "line 2") == real / "a.wav"
        with pytest.raises(InputError, match="is outside of the manifest's root"):
            check(written)
    for written in (tmp_path / "a.wav", f"{root}-2/a.wav", f"{root}/../a.wav", "C:\\a.wav", root):
        with pytest.raises(InputError, match="is outside of the manifest's root") as error:
            check(written, root=root)
        assert "allow_outside" not in str(error.value)  # most commands have no such option


def test_a_file_is_found_in_another_unicode_form(tmp_path):
    mark, whole = "Mu\u0308ller", "M\u00fcller"
    (tmp_path / mark / mark).mkdir(parents=True)
    sound = tmp_path / mark / mark / f"{mark}.wav"
    sound.write_bytes(b"")
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"")
    (tmp_path / mark / f"{mark}.wav").symlink_to(outside)

    def found(*parts, **options):
        options = {"allow_outside": True, "root": tmp_path} | options
        return Folder(**options).file("/".join(parts), lambda: "line 2")

    assert found(whole, whole, f"{whole}.wav") == sound
    assert found(str(tmp_path), whole, mark, f"{whole}.wav") == sound
    assert found(f"{whole}\\{whole}\\{whole}.wav") == sound
    assert found(whole, f"{whole}.wav") == outside
    with pytest.raises(InputError, match="through a link"):
        found(f"{whole}.wav", root=tmp_path / mark, allow_outside=False)
    other = tmp_path / mark / mark / f"{whole}.wav"
    other.write_bytes(b"")
    assert found(whole, whole, f"{whole}.wav") == other  # as it is written


def test_two_files_in_different_unicode_forms_are_not_confused(tmp_path):
    for name in ("e\u0323\u0301.wav", "e\u0301\u0323.wav"):
        (tmp_path / name).write_bytes(b"")
    folder = Folder(tmp_path, allow_outside=True)
    assert not folder.file("\u1eb9\u0301.wav", lambda: "line 2").exists()
