import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from anmok.train.pairs import SIDE, Pairs, drawn_pairs, pack, read_pairs


def row(key, source, labels, english, korean=(), color=(200, 10, 10), size=(96, 128)):
    facts = {"source": source, "labels": labels, "captions_en": list(english), "captions_ko": list(korean)}
    return key, facts, Image.new("RGB", size, color)


ROWS = [
    row("m0", "clothing", ["t-shirt"], ["a t-shirt", "a photo of a t-shirt"], ["티셔츠", "티셔츠 사진"]),
    row("m1", "clothing", ["t-shirt"], ["a t-shirt", "a t-shirt, a kind of top"], ["티셔츠"]),
    row("m2", "grocery", ["Oat-Milk", "Milk"], ["oat milk", "milk carton"], ["귀리 우유"]),
    row("m3", "grocery", ["Soy-Milk", "Milk"], ["soy milk", "milk carton"], ["두유"]),
    row("m4", "emoji_noto", ["bear"], ["bear", "an emoji of bear", "animal, face, grizzly"], ["곰"]),
    row("m5", "emoji_fluent", ["dog face"], ["dog face", "animal, dog, pet"], ["강아지"]),
    row("m6", "openstax", [], ["A photo shows a bridge.", "Bridges carry load."]),
]


@pytest.fixture
def folder(tmp_path):
    shards = tmp_path / "train"
    shards.mkdir()
    with tarfile.open(shards / "main-000.tar", "w") as shard:
        for key, facts, picture in ROWS:
            data = io.BytesIO()
            picture.save(data, "WEBP", lossless=True)
            for name, content in ((f"{key}.webp", data.getvalue()), (f"{key}.json", json.dumps(facts).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                shard.addfile(member, io.BytesIO(content))
    return shards


@pytest.fixture
def pairs(folder, tmp_path):
    found = ((replace_held_out(pair), picture) for pair, picture in read_pairs(folder))
    pack(found, tmp_path / "packed")
    return Pairs(tmp_path / "packed", {"clothing": 2, "grocery": 1, "emoji": 1, "openstax": 1})


def replace_held_out(pair):
    return type(pair)(pair.source, pair.group, pair.english, pair.korean, pair.named, held_out=pair.group == "m6")


def test_shards_are_read_with_groups_and_plain_names(folder):
    found = [pair for pair, _ in read_pairs(folder)]
    assert [pair.source for pair in found] == ["clothing"] * 2 + ["grocery"] * 2 + ["emoji"] * 2 + ["openstax"]
    assert found[0].group == found[1].group
    assert found[2].group != found[3].group
    assert found[6].group == "m6"
    assert {"t-shirt", "t shirt"} <= set(found[0].english)
    assert {"oat milk", "milk"} <= set(found[2].english)


def test_what_is_held_out_depends_on_the_key_alone(folder):
    assert [pair.held_out for pair, _ in read_pairs(folder)] == [pair.held_out for pair, _ in read_pairs(folder)]


def test_pictures_are_squashed_whole(pairs):
    assert pairs.pictures.shape == (len(ROWS), SIDE, SIDE, 3)
    assert np.abs(pairs.pictures[0].astype(int) - (200, 10, 10)).max() <= 2


def test_captions_of_a_class_are_true_of_all_its_pictures_and_of_no_other(pairs):
    every = range(len(ROWS))
    texts = [
        {"a photo of a t-shirt"},
        {"milk carton"},
        {"animal"},
        {"grizzly"},
        {"Bridges carry load."},
        {"oat milk", "soy milk"},
    ]
    table = pairs.truth(every, texts)
    assert table.T.astype(int).tolist() == [
        [1, 1, 0, 0, 0, 0, 0],
        [0, 0, 1, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1],
        [0, 0, 1, 1, 0, 0, 0],
    ]


def test_a_text_is_always_true_of_its_own_picture(pairs):
    rng = np.random.default_rng(0)
    for index in range(len(ROWS)):
        for _ in range(30):
            text, base = pairs.caption(rng, index)
            assert text
            assert pairs.truth([index], [{base}]).all()


def test_batches_never_hold_what_is_held_out_and_follow_the_weights(pairs):
    pairs.weights = {"clothing": 0.7, "grocery": 0.1, "emoji": 0.2}
    drawn = pairs.draw(np.random.default_rng(0), 600)
    assert 6 not in drawn
    assert 0.6 < np.isin(drawn, [0, 1]).mean() < 0.8
    assert pairs.held_out("openstax") == [6]


def test_drawn_pairs_are_the_same_for_the_same_seed():
    def draw():
        return list(drawn_pairs(3, digits=12, scenes=3, words=[("milk", "우유")], copies=2, font=None))

    first, again = draw(), draw()
    assert [pair for pair, _ in first] == [pair for pair, _ in again]
    assert all((np.asarray(a) == np.asarray(b)).all() for (_, a), (_, b) in zip(first, again, strict=True))
    assert len(first) == 12 + 3 + 2
    assert {pair.source for pair, _ in first} == {"digits", "scenes", "words"}
