"""Where the files of an archive lie, beside what `tarfile` says, and in archives that mean harm."""

import io
import tarfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.pairs.tar import Member, TarStopped, read_members

from .making import write_tar

file_names = st.text("abc/.가é", min_size=1, max_size=120).filter(lambda name: name.strip("./"))
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def members(path):
    with path.open("rb", buffering=0) as file:
        return list(read_members(file))


def read_until_stopped(path):
    found = []
    with path.open("rb", buffering=0) as file:
        reader = read_members(file)
        while True:
            try:
                found.append(next(reader))
            except StopIteration:
                return found, None
            except TarStopped as error:
                return found, error


def as_tarfile_says(path):
    with tarfile.open(path) as archive:
        return [Member(info.name, info.offset_data, info.size) for info in archive if info.isreg()]


@settings(max_examples=60, deadline=None)
@given(
    format=st.sampled_from(FORMATS),
    files=st.lists(st.tuples(file_names, st.binary(max_size=1100)), max_size=5),
)
def test_members_are_those_of_tarfile(tmp_path_factory, format, files):
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    usable = [(name.strip("/"), data) for name, data in files]
    try:
        write_tar(path, usable, format=format)
    except ValueError:  # a name that USTAR cannot hold
        return
    assert members(path) == as_tarfile_says(path)
    data = path.read_bytes()
    assert [data[at : at + size] for _, at, size in members(path)] == [content for _, content in usable]


@pytest.mark.parametrize("format", FORMATS[1:])
def test_long_and_korean_names_are_whole(tmp_path, format):
    names = [f"{'가' * 90}/{'b' * 200}.jpg", "short.jpg", "c" * 101]
    path = write_tar(tmp_path / "a.tar", [(name, b"x") for name in names], format=format)
    assert [member.name for member in members(path)] == names


def test_links_folders_and_pipes_are_left_out(tmp_path):
    odd = []
    for number, kind in enumerate((tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)):
        info = tarfile.TarInfo(f"{number}.jpg")
        info.type, info.linkname = kind, "/etc/passwd"
        odd.append((info, b""))
    path = write_tar(tmp_path / "a.tar", [*odd, ("k.jpg", b"picture")])
    assert [member.name for member in members(path)] == ["k.jpg"]


def test_a_sparse_file_is_jumped_over(tmp_path):
    header = bytearray(tarfile.TarInfo("s.jpg").tobuf(tarfile.GNU_FORMAT))
    header[156:157], header[124:136], header[482:483] = b"S", b"00000001000\0", b"\1"
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    more = bytes(504) + b"\0" * 8
    path = write_tar(tmp_path / "rest.tar", [("k.jpg", b"picture")])
    (tmp_path / "a.tar").write_bytes(bytes(header) + more + bytes(512) + path.read_bytes())
    assert [member.name for member in members(tmp_path / "a.tar")] == ["k.jpg"]


def test_sizes_beyond_octal_digits_and_in_pax_headers(tmp_path):
    info = tarfile.TarInfo("huge.jpg")
    info.size = 1 << 40
    for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        (tmp_path / "a.tar").write_bytes(info.tobuf(format) + b"x" * 100)
        found, error = read_until_stopped(tmp_path / "a.tar")
        assert (found, error.kind, error.name) == ([], "cut", "huge.jpg")


@pytest.mark.parametrize("size", ["-1", "1e9", "9" * 30, "x"])
def test_nonsense_sizes_stop_the_reading(tmp_path, size):
    record = f" size={size}\n"
    record = f"{len(record) + 2}{record}"
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, len(record)
    with (tmp_path / "a.tar").open("wb") as file:
        file.write(header.tobuf() + record.encode().ljust(512, b"\0"))
        file.write(write_tar(tmp_path / "b.tar", [("k.jpg", b"x")]).read_bytes())
    assert read_until_stopped(tmp_path / "a.tar")[1].kind == "damaged"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 5 * 1024 - 1))
def test_a_cut_archive_gives_what_came_before(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cut")
    whole = write_tar(folder / "a.tar", [(f"{number}.jpg", bytes([number]) * 700) for number in range(3)])
    expected = members(whole)
    (folder / "cut.tar").write_bytes(whole.read_bytes()[:cut])
    found, error = read_until_stopped(folder / "cut.tar")
    assert found == [member for member in expected if member.offset + member.size <= cut]
    assert (error is None) == (cut >= 3 * 1536 + 512)  # the first block of the mark of its end is there
    assert error is None or error.kind == "cut"


def test_bytes_behind_the_end_are_told(tmp_path):
    first = write_tar(tmp_path / "a.tar", [("a.jpg", b"x")])
    path = tmp_path / "joined.tar"
    path.write_bytes(first.read_bytes() + write_tar(tmp_path / "b.tar", [("b.jpg", b"x")]).read_bytes())
    found, error = read_until_stopped(path)
    assert [member.name for member in found] == ["a.jpg"]
    assert error.kind == "joined"
    assert "tar --concatenate" in str(error)


def test_damage_in_the_middle_is_told_with_its_place(tmp_path):
    path = write_tar(tmp_path / "a.tar", [("a.jpg", b"x"), ("b.jpg", b"x")])
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(data)
    found, error = read_until_stopped(path)
    assert [member.name for member in found] == ["a.jpg"]
    assert error.kind == "damaged"
    assert "byte 1,024" in str(error)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=1500), seed=st.integers(0, 1499), start=st.booleans())
def test_no_bytes_do_anything_else_than_stop(tmp_path_factory, data, seed, start):
    path = tmp_path_factory.getbasetemp() / "any.tar"
    if start:  # an archive with some bytes of it overwritten
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.addfile(tarfile.TarInfo("가" * 60))
        content = bytearray(whole.getvalue())
        content[seed : seed + len(data) % 20] = data[: len(data) % 20]
        data = bytes(content)
    path.write_bytes(data)
    for member in read_until_stopped(path)[0]:
        assert 0 <= member.offset <= member.offset + member.size <= len(data)
