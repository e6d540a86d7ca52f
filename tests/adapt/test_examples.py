import numpy as np
import pytest

from anmok.adapt.examples import ExampleError, read_examples, read_pictures
from anmok.classify import Label, LabelSet


def test_a_folder_of_folders(folder):
    examples = read_examples(folder({"red_cup": 2, "컵": 3, "none": 1}))
    assert examples.labels.names == ("red cup", "컵")
    assert examples.counts.tolist() == [2, 3]
    assert (examples.targets < 0).sum() == 1
    assert not examples.problems


def test_korean_labels_of_a_mac_are_composed(folder):
    import unicodedata

    examples = read_examples(folder({unicodedata.normalize("NFD", "컵"): 1, "접시": 1}))
    assert examples.labels.names == ("접시", "컵")


def test_a_table_with_columns(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_text(name)
    (tmp_path / "t.csv").write_text(
        "\ufefffilepath, label ,heat,maker\na.png,cup,21.5,kim\nb.png,컵,,lee\nc.png,cup,19,\n", encoding="utf-8"
    )
    examples = read_examples(tmp_path / "t.csv")
    assert examples.labels.names == ("cup", "컵")
    assert examples.columns == {"heat": ("21.5", "", "19"), "maker": ("kim", "lee", "")}
    assert examples.pictures[1] == tmp_path / "b.png"
    paths, columns = read_pictures(tmp_path / "t.csv")
    assert len(paths) == 3 and columns["heat"][2] == "19"


def test_the_same_picture_twice_is_used_once_and_under_two_labels_not_at_all(folder):
    root = folder({"cup": 3, "bowl": 3})
    (root / "cup" / "copy.png").write_bytes((root / "cup" / "1.png").read_bytes())
    (root / "bowl" / "stolen.png").write_bytes((root / "cup" / "2.png").read_bytes())
    examples = read_examples(root)
    assert len(examples) == 5
    reasons = sorted(problem.reason for problem in examples.problems)
    assert sum("labelled 'bowl' and 'cup': decide which" in reason for reason in reasons) == 2
    assert sum("the same picture as" in reason for reason in reasons) == 1


def test_shots_are_drawn_per_label_and_none_stays(folder):
    examples = read_examples(folder({"a": 9, "b": 2, "none": 4}))
    few = examples.shots(3, seed=1)
    assert few.counts.tolist() == [3, 2] and (few.targets < 0).sum() == 4
    assert few.names == examples.shots(3, seed=1).names != examples.shots(3, seed=2).names


def test_labels_given_bring_words_and_labels_without_pictures(folder):
    given = LabelSet([Label("cup", ("mug",), "컵"), Label("bowl"), Label("plate")])
    examples = read_examples(folder({"cup": 2, "bowl": 2}), labels=given)
    assert examples.labels is given and examples.counts.tolist() == [2, 2, 0]
    with pytest.raises(ExampleError, match=r"'cop' is not among the labels given\. Did you mean 'cup'"):
        read_examples(folder({"cop": 1, "bowl": 2}, name="other"), labels=given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "missing", "there is no such file or folder"),
        (lambda p: _file(p / "x.jpg", b""), "expected a folder"),
        (lambda p: _folder(p, "one/1.png"), "one label only, 'one'"),
        (lambda p: _folder(p, "none/1.png"), "all pictures are labelled 'none'"),
        (lambda p: _folder(p, "1.png"), "a folder of pictures for each label"),
        (lambda p: _folder(p, "a/readme.txt", "b/readme.txt"), "there are no pictures"),
        (lambda p: _file(p / "t.csv", b"file,label\n"), "no column 'filepath'"),
        (lambda p: _file(p / "t.csv", b"filepath,lable\n"), r"no column 'label'\. Did you mean 'lable'"),
        (lambda p: _file(p / "t.csv", b"filepath,label,label\n"), "a column is there twice"),
        (lambda p: _file(p / "t.csv", b"filepath,label\na.png,b,c\n"), "line 2 has not 2 fields"),
        (lambda p: _file(p / "t.csv", b"filepath,label\na.png,\n"), "line 2"),
        (lambda p: _file(p / "t.csv", "filepath,label\na.png,컵\n".encode("cp949")), "cp949"),
        (lambda p: _file(p / "t.csv", b""), "no column"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_says_why(tmp_path, make, message):
    with pytest.raises(ExampleError, match=message):
        read_examples(make(tmp_path))


def test_rows_follow_what_is_taken(folder):
    examples = read_examples(folder({"a": 3, "b": 3}))
    part = examples.take([4, 0])
    assert part.names == (examples.names[4], examples.names[0])
    np.testing.assert_array_equal(part.targets, examples.targets[[4, 0]])


def _file(path, data):
    path.write_bytes(data)
    return path


def _folder(root, *names):
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(name)
    return root
