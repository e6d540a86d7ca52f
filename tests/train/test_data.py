"""From a recipe to its pairs, and what damaged data comes to."""

import shutil

import numpy as np
import pytest

from anmok.pairs import Pair, SourceError, open_pairs, write_shards
from anmok.train.data import open_data, texts_of
from anmok.train.recipe import Recipe, RecipeError, with_options


def opened(where, **options):
    keys = {"data.train": [str(one) for one in where], "data.held_out": 0.0, "data.separator": ","}
    return open_data(with_options(Recipe(), keys | {key.replace("__", "."): value for key, value in options.items()}))


@pytest.fixture
def shards(pairs_csv, tmp_path):
    """The drawn pairs in shards of some kilobytes."""
    return write_shards(open_pairs(pairs_csv, separator=","), tmp_path / "shards", shard_bytes=60_000)


def test_a_share_is_kept_apart_and_never_drawn(pairs_csv):
    data = opened([pairs_csv], data__held_out=0.25)
    assert len(data.validation) == 30
    assert len(data.allowed) == data.order.length == 90
    again = opened([pairs_csv], data__held_out=0.25)
    assert [pair.name for pair in again.validation] == [pair.name for pair in data.validation]
    drawn = np.concatenate([place.indices for place in data.order.batches(0, 10)])
    names = {data.source.read(int(number)).name for number in drawn}
    assert not names & {pair.name for pair in data.validation}


def test_validation_of_its_own_leaves_all_pairs_to_train_on(pairs_csv, shards):
    data = opened(shards[1:], data__validation=[str(shards[0])], data__held_out=0.25)
    assert data.order.length == len(data.source)
    assert len(data.validation) == len(open_pairs(shards[0]))


def test_entries_are_joined_and_drawn_by_their_shares(pairs_csv, shards):
    data = opened([pairs_csv, shards[0]], data__shares=[1.0, 1.0])
    (place,) = data.order.batches(0, len(data.source))
    assert (place.indices < 120).mean() == pytest.approx(0.5, abs=0.02)
    assert opened([shards[0], pairs_csv]).fingerprint != opened([pairs_csv, shards[0]]).fingerprint


def test_the_texts_a_tokenizer_learns_from_are_the_captions_and_the_templates(pairs_csv):
    data = opened([pairs_csv])
    texts = list(texts_of(data, "small"))
    assert {text for number in range(120) for text in data.source.read(number).texts} <= set(texts)
    assert "a photo of a {}." in texts
    assert len(list(texts_of(data, "none", most=50))) <= 41


def test_a_shard_cut_in_half_gives_what_is_before_the_cut(shards):
    whole = opened(shards)
    content = shards[0].read_bytes()
    shards[0].write_bytes(content[: len(content) // 2])
    cut = opened(shards)
    assert 0.5 * len(whole.source) < len(cut.source) < len(whole.source)
    assert all(isinstance(pair, Pair) for pair in cut.source)
    assert sum(cut.problems.values()) >= 1
    assert cut.fingerprint != whole.fingerprint


def test_captions_in_a_wrong_encoding_are_refused_with_the_way_out(pairs_csv, tmp_path):
    table = tmp_path / "korean.csv"
    rows = "".join(f"{pairs_csv.parent}/pictures/{i:04}.png,빨간 원 {i}\n" for i in range(20))
    table.write_bytes(("filepath,title\n" + rows).encode("cp949"))
    with pytest.raises(SourceError, match=r"korean.csv.*cp949"):
        opened([table])
    read = opened([table], data__encoding="cp949")
    assert read.source.read(3).texts == ("빨간 원 3",)


def test_a_table_without_a_single_file_says_where_it_looked(pairs_csv, tmp_path):
    shutil.copy(pairs_csv, tmp_path / "pairs.csv")
    with pytest.raises(RecipeError, match=r"not one of the pairs.*no such file"):
        opened([tmp_path / "pairs.csv"])


def test_a_table_that_misses_some_files_goes_on_without_them(pairs_csv, tmp_path):
    shutil.copytree(pairs_csv.parent, tmp_path / "some")
    for i in range(30):
        (tmp_path / "some" / "pictures" / f"{i:04}.png").unlink()
    assert opened([tmp_path / "some" / "pairs.csv"]).order.length == 120  # found missing, and told, as they are read
