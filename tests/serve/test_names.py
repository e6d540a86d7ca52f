"""Whatever a client calls its pictures, their files lie below one folder, each in a place of its own."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.serve.names import checked_name, resolved, sendable, sent, upload_file
from anmok.serve.problems import ApiError

FOLDER = Path("/home/uploads/shop")


def place(number):
    try:
        return upload_file(FOLDER, number)
    except ApiError:
        return None


@given(st.text(max_size=600) | st.text(alphabet="a./\\%\x00:가 ", max_size=12))
def test_no_id_leads_out(number):
    file = place(number)
    if file is not None:
        parts = file.relative_to(FOLDER).parts
        assert parts and all(part not in ("", ".", "..") and len(part.encode()) <= 255 for part in parts)
        assert not any(letter in part for part in parts for letter in '\x00\\:*?"<>|')


@given(st.text(alphabet="a./%2E가", max_size=8), st.text(alphabet="a./%2E가", max_size=8))
def test_different_ids_have_different_files(first, second):
    if first != second and (file := place(first)) is not None:
        assert file != place(second)


@pytest.mark.parametrize("number", ["", " ", "a\n", "a//b", "/a", "a/", "x" * 513])
def test_what_cannot_be_an_id(number):
    with pytest.raises(ApiError):
        upload_file(FOLDER, number)


def test_ids_that_people_use_are_file_names_that_people_read():
    assert upload_file(FOLDER, "bags/빨강 1.jpg") == FOLDER / "bags" / "빨강 1.jpg"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "-a", ".a", "a.", "a b", "x" * 65, "a\x00", "a\n"])
def test_what_cannot_be_a_name(name):
    with pytest.raises(ApiError):
        checked_name(name)


def test_a_name_has_one_spelling():
    assert checked_name("가게") == checked_name("\u1100\u1161\u1100\u1166")


def test_a_link_is_where_it_leads(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "link").symlink_to(tmp_path / "out")
    assert resolved(tmp_path / "in", tmp_path / "in") and not resolved(tmp_path / "in" / "link", tmp_path / "in")
    out = tmp_path / "in" / ".." / "out"
    assert not resolved(out, tmp_path / "in") and not resolved(tmp_path / "none", tmp_path)


@given(st.binary(max_size=40))
def test_file_names_that_are_no_text_can_be_sent_and_come_back(name):
    known = os.fsdecode(name)
    sendable(known).encode()
    if "\\" not in known:
        assert sent(sendable(known)) == known


def test_values_are_sendable_to_the_bottom():
    value = {"a\udcff": ["\ud800", {"b": "\udfff"}, 1, None]}
    assert json.loads(json.dumps(sendable(value), ensure_ascii=False).encode()) == sendable(value)
    assert sendable({"가": ["나"]}) == {"가": ["나"]}


@given(st.text(max_size=70))
def test_a_name_that_is_taken_fits_into_a_folder(name):
    try:
        checked = checked_name(name)
    except ApiError:
        return
    assert len(f".{checked}.anmok.re-encode".encode()) <= 255 and checked_name(checked) == checked
