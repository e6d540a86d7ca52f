"""Folders of classes, beside torchvision's reading of them."""

import pickle

import pytest

from anmok.errors import LabelError
from anmok.pairs import PairError, SourceError, open_pairs

from .making import kinds, write_files

NAMES = ["cup/1.jpg", "cup/deep/2.png", "red_bag/3.webp", "고양이/4.jpg"]


def test_the_first_level_is_the_class_and_texts_are_templates(tmp_path):
    write_files(tmp_path / "things", [*NAMES, "cup/.hidden.jpg", ".git/5.jpg", "empty/notes.txt"])
    source = open_pairs(tmp_path / "things")
    found = [(pair.name, pair.labels, pair.source) for pair in source]
    assert found == [
        ("things:cup/1.jpg", ("cup",), "things"),
        ("things:cup/deep/2.png", ("cup",), "things"),
        ("things:red_bag/3.webp", ("red bag",), "things"),
        ("things:고양이/4.jpg", ("고양이",), "things"),
    ]
    assert source.read(2).texts[:2] == ("red bag", "a photo of a red bag.")
    assert source.read(3).texts == ("고양이", "고양이 사진", "고양이의 사진", "고양이 이미지", "고양이를 찍은 사진")
    assert source.read(1).picture == tmp_path / "things/cup/deep/2.png"
    assert source.problems == ()
    assert pickle.loads(pickle.dumps(source)).read(0) == source.read(0)


def test_classes_and_pictures_are_those_of_torchvision(tmp_path, torchvision):
    from torchvision.datasets import ImageFolder

    write_files(tmp_path, ["b/2.jpg", "b/1.jpg", "a/x/9.png", "a/1.png", "c/1.bmp"])
    reference = ImageFolder(str(tmp_path))
    source = open_pairs(tmp_path, kind="folder")
    assert sorted((str(pair.picture), pair.labels[0]) for pair in source) == sorted(
        (path, reference.classes[number]) for path, number in reference.samples
    )


def test_templates_are_chosen_and_checked(tmp_path):
    write_files(tmp_path / "d", NAMES)
    (tmp_path / "mine.txt").write_text("look, {}!\n", encoding="utf-8")
    assert open_pairs(tmp_path / "d", templates=str(tmp_path / "mine.txt")).read(0).texts == ("look, cup!",)
    with pytest.raises(LabelError, match=r"'smal' is neither a set of templates.*Did you mean 'small'"):
        open_pairs(tmp_path / "d", templates="smal")


def test_one_class_is_opened_with_a_problem(tmp_path):
    source = open_pairs(write_files(tmp_path, ["cup/1.jpg", "cup/2.jpg"]))
    assert len(source) == 2
    assert [(problem.kind, problem.where) for problem in source.problems] == [("one class", tmp_path.name)]


def test_pictures_without_a_class_are_counted(tmp_path):
    source = open_pairs(write_files(tmp_path, [*NAMES, "a.jpg", "b.jpg"]))
    assert len(source) == 4
    assert kinds(source) == {"no class": 2}


@pytest.mark.parametrize(
    ("names", "kind", "message"),
    [
        (["train/a/1.jpg", "val/a/1.jpg"], "auto", r"train, val are splits, not classes: open one of them"),
        (["1.jpg", "2.jpg"], "auto", "there are 2 pictures in it, but no texts. Looked for"),
        (["1.jpg", "2.jpg"], "folder", "no folder in it that holds pictures.*it holds 2 pictures without a class"),
        (["notes.txt"], "folder", "no folder in it that holds pictures"),
    ],
)
def test_folders_without_classes_are_refused(tmp_path, names, kind, message):
    with pytest.raises(SourceError, match=message):
        open_pairs(write_files(tmp_path, names), kind=kind)


def test_a_file_is_no_folder(tmp_path):
    write_files(tmp_path, ["a.jpg"])
    with pytest.raises(SourceError, match="is not a folder; kind='folder' expects"):
        open_pairs(tmp_path / "a.jpg", kind="folder")


def test_a_picture_that_goes_is_an_error(tmp_path):
    source = open_pairs(write_files(tmp_path, NAMES))
    (tmp_path / "cup/1.jpg").unlink()
    with pytest.raises(PairError, match="there is no such file any more"):
        source.read(0)
    assert len([pair for pair in source if not isinstance(pair, PairError)]) == 3


def test_broken_links_are_errors_and_links_to_folders_are_not_followed(tmp_path):
    write_files(tmp_path, NAMES)
    (tmp_path / "cup/loop").symlink_to(tmp_path)
    (tmp_path / "cup/broken.jpg").symlink_to(tmp_path / "nowhere.jpg")
    source = open_pairs(tmp_path)
    assert len(source) == 5
    assert [error.kind for error in source if isinstance(error, PairError)] == ["missing file"]


def test_size_of_a_picture_is_part_of_the_fingerprint(tmp_path):
    before = open_pairs(write_files(tmp_path, NAMES)).fingerprint
    assert open_pairs(tmp_path).fingerprint == before
    (tmp_path / "cup/1.jpg").write_bytes(b"other")
    assert open_pairs(tmp_path).fingerprint != before
