import pytest

from anmok.clean import open_held_out
from anmok.pairs import Pair, SourceError, write_shards

from .making import noise, stored


def test_pictures_folders_and_shards(tmp_path):
    folder = tmp_path / "eval" / "deep"
    folder.mkdir(parents=True)
    for number in range(2):
        (folder / f"{number}.png").write_bytes(stored(noise(number)))
    single = tmp_path / "one.png"
    single.write_bytes(stored(noise(2)))
    pairs = [Pair(f"p{number}", stored(noise(number)), ("a text",)) for number in (3, 4)]
    write_shards(pairs, tmp_path / "shards")
    held_out = open_held_out([tmp_path / "eval", single, tmp_path / "shards"])
    assert len(held_out) == 5
    names = [held_out.read(number).name for number in range(5)]
    assert names[:3] == [str(folder / "0.png"), str(folder / "1.png"), str(single)]
    assert all(name.startswith("pairs-00000.tar:") for name in names[3:])
    with pytest.raises(IndexError):
        held_out.read(5)


def test_one_path_is_enough(tmp_path):
    (tmp_path / "a.png").write_bytes(stored(noise(0)))
    assert len(open_held_out(tmp_path)) == len(open_held_out(str(tmp_path / "a.png"))) == 1


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(SourceError, match="no held-out pictures"):
        open_held_out([])
    with pytest.raises(SourceError, match="no such file"):
        open_held_out(tmp_path / "none")
