"""Batches: the same for any number of workers and processes, bad pairs replaced and counted."""

import io
import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from PIL import Image

from anmok.pairs import Pair, PairError, PairSource
from anmok.pictures import Transform
from anmok.texts import Tokenizer
from anmok.train.batches import PairBatches, load_batches
from anmok.train.order import Order, Place
from anmok.train.recipe import AugmentConfig

TRANSFORM = Transform(size=(16, 16), resize="squash")
TOKENIZER = Tokenizer.clip()


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Listed:
    """A shard in memory; pairs at `missing` cannot be read, at `broken` hold no picture."""

    name: str
    count: int
    missing: set[int] = field(default_factory=set)
    broken: set[int] = field(default_factory=set)

    def __len__(self):
        return self.count

    def read(self, index):
        name = f"{self.name}:{index}"
        if index in self.missing:
            raise PairError(name, "missing file", "there is no such file")
        picture = b"no picture" if index in self.broken else png(index)
        texts = (f"thing {index % 5}", f"number {index}")
        return Pair(name, picture, texts, labels=(f"class {index % 3}",), source="test")


def batches(shard, **options):
    return PairBatches(PairSource([shard]), transforms=[TRANSFORM], tokenizers=[TOKENIZER], **options)


def place(*indices, epoch=0, first=0):
    return Place(epoch, first, np.array(indices))


def test_without_variation_pictures_and_ids_are_those_of_the_model():
    batch = batches(Listed("s", 10), captions="first")[place(3, 4)]
    assert np.array_equal(batch.pixels[0][0], TRANSFORM(Image.open(io.BytesIO(png(3)))))
    assert batch.texts == ["thing 3", "thing 4"]
    assert torch.equal(batch.ids[0], torch.from_numpy(TOKENIZER(["thing 3", "thing 4"])))
    assert batch.names == ["s:3", "s:4"]
    assert batch.rows.tolist() == [0, 1]
    assert batch.skipped == []


def test_equal_texts_are_tokenized_once():
    batch = batches(Listed("s", 10), captions="first")[place(3, 8, 4, 3)]
    assert batch.texts == ["thing 3", "thing 3", "thing 4", "thing 3"]
    assert batch.rows.tolist() == [0, 0, 1, 0]
    assert torch.equal(batch.ids[0], torch.from_numpy(TOKENIZER(["thing 3", "thing 4"])))


def test_what_is_random_depends_on_seed_epoch_and_place_alone():
    varied = AugmentConfig(scale=(0.3, 0.9), mirror=0.5)
    data = batches(Listed("s", 10), augmentation=varied, seed=1)
    whole = data[place(1, 2, 3, 4, first=8)]
    part = data[place(3, 4, first=10)]  # as another process, or a run that goes on, makes it
    assert torch.equal(whole.pixels[0][2:], part.pixels[0])
    assert whole.texts[2:] == part.texts
    for other in (
        data[place(3, 4, first=10, epoch=1)],
        batches(Listed("s", 10), augmentation=varied, seed=2)[place(3, 4, first=10)],
    ):
        assert not torch.equal(other.pixels[0], part.pixels[0])
    assert {data[place(3, epoch=epoch)].texts[0] for epoch in range(20)} == {"thing 3", "number 3"}


def test_only_the_named_sources_are_varied():
    shard = Listed("s", 10)  # of the source "test"
    plain = batches(shard)[place(3, 4)].pixels[0]
    for only, same in ((("other",), True), (("other", "test"), False), ((), False)):
        config = AugmentConfig(scale=(0.3, 0.5), only=only)
        assert torch.equal(batches(shard, augmentation=config)[place(3, 4)].pixels[0], plain) == same


def test_positives_are_those_of_equal_text_or_label_or_none():
    for positives, equal in (("text", [(0, 1)]), ("label", [(0, 2)]), ("own", [])):
        groups = batches(Listed("s", 10), captions="first", positives=positives)[place(1, 6, 4, 8)].groups.tolist()
        same = [(i, j) for i in range(4) for j in range(i + 1, 4) if groups[i] == groups[j]]
        assert same == equal, positives


def test_a_bad_pair_is_replaced_and_told():
    shard = Listed("s", 10, missing={2}, broken={5})
    batch = batches(shard, captions="first")[place(2, 5, 7)]
    assert len(batch) == 3
    assert batch.names[2] == "s:7"
    assert not {"s:2", "s:5"} & set(batch.names)
    assert ("s:2", "missing file", "there is no such file") in batch.skipped
    assert ("s:5", "bad picture") in {(name, kind) for name, kind, _ in batch.skipped}
    again = batches(shard, captions="first")[place(2, 5, 7)]
    assert again.names == batch.names


def test_a_bad_pair_is_not_replaced_by_a_held_out_one():
    data = batches(Listed("s", 10, missing={2}), allowed=np.array([2, 3]))
    assert data[place(2, 2, 2, 2)].names == ["s:3"] * 4


@pytest.mark.parametrize("workers", [0, 1])
def test_when_nothing_can_be_read_it_says_why(workers):
    nothing = batches(Listed("s", 4, missing={0, 1, 2, 3}))
    with pytest.raises(PairError, match=r"20 pairs in a row cannot be used; the last: there is no such file"):
        next(load_batches(nothing, Order([[4]], seed=0).batches(0, 2), workers=workers))


def test_workers_give_the_same_batches_in_the_same_order():
    data = batches(Listed("s", 30, missing={4}), augmentation=AugmentConfig(), seed=5)
    assert pickle.loads(pickle.dumps(data))[place(1)].names == ["s:1"]

    def run(workers):
        places = Order([[30]], seed=0).batches(0, 8)
        return list(load_batches(data, places, workers=workers))

    here, there = run(0), run(2)
    assert len(here) == len(there) == 3
    for one, other in zip(here, there, strict=True):
        assert torch.equal(one.pixels[0], other.pixels[0])
        assert torch.equal(one.ids[0], other.ids[0])
        assert (one.names, one.texts, one.skipped) == (other.names, other.texts, other.skipped)


def test_starting_a_loader_moves_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    next(load_batches(batches(Listed("s", 30)), Order([[30]], seed=0).batches(0, 8), workers=0))
    assert torch.equal(torch.rand(3), expected)


def test_a_teacher_gets_its_own_pixels_and_ids():
    data = PairBatches(
        PairSource([Listed("s", 10)]),
        transforms=[TRANSFORM, Transform(size=(8, 8), resize="squash")],
        tokenizers=[TOKENIZER, Tokenizer.clip(5)],
    )
    batch = data[place(1, 2)].to(torch.device("cpu"))
    assert [tuple(x.shape) for x in batch.pixels] == [(2, 16, 16, 3), (2, 8, 8, 3)]
    assert batch.ids[1].shape[1] <= 5
