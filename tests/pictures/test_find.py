"""Which files count as pictures, and in which order."""

import os

import pytest

from anmok.errors import PictureError
from anmok.pictures import SUFFIXES, find_pictures, read


def make(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def found(folder, **options):
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder, **options)]


def test_pictures_are_found_by_suffix_in_any_case_and_sorted(tmp_path):
    make(tmp_path, "b.JPG", "a.jpeg", "c/z.png", "c/d/y.WebP", "가방.heic", "notes.txt", "jpg", "x.jpg.part", "c.png")
    assert found(tmp_path) == ["a.jpeg", "b.JPG", "c/d/y.WebP", "c/z.png", "c.png", "가방.heic"]


def test_hidden_files_and_folders_are_left_out(tmp_path):
    make(tmp_path, ".hidden.jpg", "._a.jpg", ".git/a.png", "a.jpg", "b/.thumbnails/a.jpg", "b/c.gif")
    assert found(tmp_path) == ["a.jpg", "b/c.gif"]


def test_folder_that_is_itself_hidden_is_walked_when_asked_for(tmp_path):
    make(tmp_path, ".mine/a.jpg")
    assert found(tmp_path / ".mine") == ["a.jpg"]


def test_folder_named_like_a_picture_is_walked(tmp_path):
    make(tmp_path, "album.jpg/a.png")
    assert found(tmp_path) == ["album.jpg/a.png"]


def test_links_to_files_are_followed_and_links_to_folders_are_not(tmp_path):
    make(tmp_path, "real/a.jpg")
    try:
        (tmp_path / "link.jpg").symlink_to(tmp_path / "real" / "a.jpg")
        (tmp_path / "real" / "loop").symlink_to(tmp_path, target_is_directory=True)
        (tmp_path / "folder.jpg").symlink_to(tmp_path / "real", target_is_directory=True)
        (tmp_path / "broken.jpg").symlink_to(tmp_path / "gone.jpg")
    except OSError:
        pytest.skip("no right to make links here")
    assert found(tmp_path) == ["broken.jpg", "link.jpg", "real/a.jpg"]
    with pytest.raises(PictureError, match=r"broken.jpg: there is no such file"):
        read(tmp_path / "broken.jpg")


def test_empty_folder_and_folder_as_text(tmp_path):
    assert found(tmp_path) == []
    make(tmp_path, "a.png")
    assert list(find_pictures(str(tmp_path))) == [tmp_path / "a.png"]


def test_missing_folder_and_file_instead_of_folder(tmp_path):
    make(tmp_path, "a.png")
    with pytest.raises(PictureError, match="nowhere: there is no such folder"):
        list(find_pictures(tmp_path / "nowhere"))
    with pytest.raises(PictureError, match=r"a.png: is a file, expected a folder"):
        list(find_pictures(tmp_path / "a.png"))


def test_subfolder_that_cannot_be_listed_is_an_error_or_is_told_and_passed(tmp_path, monkeypatch):
    make(tmp_path, "a.png", "locked/b.png", "z/c.png")
    listed = os.scandir

    def scandir(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PictureError, match="locked: cannot list this folder: no permission to read it"):
        list(find_pictures(tmp_path))
    problems = []
    assert found(tmp_path, on_error=problems.append) == ["a.png", "z/c.png"]
    assert [str(tmp_path / "locked")] == [problem.picture for problem in problems]


def test_suffixes_are_lower_case_with_a_dot():
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in SUFFIXES)
