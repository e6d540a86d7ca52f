"""Label sets: lists, text files, CSV, and everything that goes wrong with files of labels."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.classify import Label, LabelSet
from anmok.errors import LabelError


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def test_list_keeps_order_and_takes_strings_and_labels():
    labels = LabelSet(["b", Label("a", synonyms=("x",), ko="가", parent="b")])
    assert labels.names == ("b", "a")
    assert labels[1].texts == ("a", "x", "가")
    assert labels.path("a") == ("a", "b")


def test_texts_of_a_label_name_each_once():
    assert Label("cat", synonyms=("cat", "kitty", "kitty"), ko="cat").texts == ("cat", "kitty")


def test_names_are_composed_and_trimmed():
    assert Label("  a   b ").name == "a b"
    assert Label(unicodedata.normalize("NFD", "고양이")).name == "고양이"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_text_file_skips_comments_and_blank_lines(tmp_path, newline, encoding):
    lines = ["# animals", "cat", "", "  고양이  ", "   ", "#dog", "C# code"]
    path = write(tmp_path / "labels.txt", newline.join(lines), encoding)
    assert LabelSet.read(path).names == ("cat", "고양이", "C# code")


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_csv_reads_every_column(tmp_path, newline, encoding):
    text = newline.join(
        ["Label, synonyms ,ko,parent", 'tabby,"striped cat|kitty; puss",얼룩 고양이,cat', "", '"a, b",,,', "cat"]
    )
    labels = LabelSet.read(write(tmp_path / "labels.csv", text, encoding))
    assert labels[0] == Label("tabby", ("striped cat", "kitty", "puss"), "얼룩 고양이", "cat")
    assert labels.names == ("tabby", "a, b", "cat")


def test_csv_may_be_separated_by_tabs_or_semicolons(tmp_path):
    assert LabelSet.read(write(tmp_path / "a.tsv", "label\tko\ncat\t고양이\n"))[0].ko == "고양이"
    assert LabelSet.read(write(tmp_path / "b.csv", "label;ko\ncat;고양이\n"))[0].ko == "고양이"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "cat\n\ncat\n", r"a.txt: line 3: 'cat' is already in line 1"),
        ("a.txt", "# nothing\n\n", "there are no labels"),
        ("a.txt", "", "there are no labels"),
        ("a.csv", "label,synonym\ncat,x\n", r"'synonym' is not a column. Did you mean 'synonyms'"),
        ("a.csv", "cat\ndog\n", r"there is no column 'label'.*The first line names the columns: label, synonyms"),
        ("a.csv", "label,label\ncat,x\n", "a column is there twice"),
        ("a.csv", "label\ncat\ncat\ndog\ndog\n", r"line 3: 'cat' is already in line 2; line 5: 'dog'"),
        ("a.csv", "label,ko\ncat,고양이,x\n", r"line 2: 3 fields, the header has 2 \(quote commas\)"),
        ("a.csv", "label,ko\n,고양이\n", "line 2: a label is empty"),
        ("a.csv", 'label,ko\ncat,"고\n', r"line 2: unexpected end of data"),
        ("a.csv", "label,parent\ncat,cat\n", "line 2: label 'cat' is its own parent"),
        ("a.csv", "label,parent\na,b\nb,c\nc,a\n", "parents go in a circle: a → b → c → a"),
        ("a.csv", 'label\n"a\nb"\nx\nx\n', "line 5: 'x' is already in line 4"),
    ],
)
def test_bad_file_is_refused_with_the_line(tmp_path, name, content, message):
    with pytest.raises(LabelError, match=message):
        LabelSet.read(write(tmp_path / name, content))


def test_korean_excel_encoding_is_named_with_the_way_out(tmp_path):
    path = write(tmp_path / "a.csv", "label\ncat\n고양이\n", "cp949")
    with pytest.raises(LabelError, match=r"line 3 is not UTF-8. It looks like CP949 .*'CSV UTF-8'.*encoding='cp949'"):
        LabelSet.read(path)
    assert LabelSet.read(path, encoding="cp949").names == ("cat", "고양이")


def test_utf16_is_named_with_the_way_out(tmp_path):
    path = write(tmp_path / "a.txt", "cat\n고양이\n", "utf-16")
    with pytest.raises(LabelError, match="It looks like UTF-16"):
        LabelSet.read(path)
    assert LabelSet.read(path, encoding="utf-16").names == ("cat", "고양이")


def test_other_bytes_are_refused(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(LabelError, match=r"line 1 is not UTF-8. Save it as UTF-8 text"):
        LabelSet.read(path)
    path.write_bytes(b"cat\0dog")
    with pytest.raises(LabelError, match="not a text file"):
        LabelSet.read(path)
    with pytest.raises(LabelError, match="'klingon' is not an encoding"):
        LabelSet.read(path, encoding="klingon")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(LabelError, match=r"nothing.txt: labels cannot be read: No such file"):
        LabelSet.read(tmp_path / "nothing.txt")
    with pytest.raises(LabelError, match="labels cannot be read"):
        LabelSet.read(tmp_path)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "there are no labels"),
        (["cat", "dog", "cat"], "labels given twice: 'cat'"),
        ("cat", "expected a list of labels"),
        (["cat", 3], "must be a string or a Label, not int 3"),
        (["cat", " "], "a label is empty"),
        ([Label("a", parent="b"), Label("b", parent="a")], "parents go in a circle"),
        ([Label("x", parent="a"), Label("a", parent="b"), Label("b", parent="a")], "parents go in a circle: a → b → a"),
    ],
)
def test_bad_list_is_refused(labels, message):
    with pytest.raises(LabelError, match=message):
        LabelSet(labels)


def test_parse_takes_a_list_or_a_file(tmp_path):
    assert LabelSet.parse("cat, dog,,고양이").names == ("cat", "dog", "고양이")
    assert LabelSet.parse("cat").names == ("cat",)
    assert LabelSet.parse(str(write(tmp_path / "a.txt", "x\ny"))).names == ("x", "y")
    assert len(LabelSet.parse(",".join(f"label {number}" for number in range(3000)))) == 3000
    with pytest.raises(LabelError, match=r"labels.csv: labels cannot be read"):
        LabelSet.parse("labels.csv")


names = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp", "Cf"), exclude_characters="|;"), min_size=1
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.builds(Label, names, st.lists(names, max_size=2).map(tuple), names), min_size=1))
def test_written_labels_are_read_back(tmp_path_factory, labels):
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    distinct = {label.name: label for label in labels if not label.name.startswith("#")}
    if distinct:
        LabelSet(distinct.values()).write(path)
        assert LabelSet.read(path) == LabelSet(distinct.values())


def test_write_refuses_what_read_would_split(tmp_path):
    with pytest.raises(LabelError, match=r"synonym 'a\|b' of 'cat'"):
        LabelSet([Label("cat", synonyms=("a|b",))]).write(tmp_path / "a.csv")
