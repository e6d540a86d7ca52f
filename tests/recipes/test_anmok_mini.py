"""The recipe of anmok-mini: what goes into its pairs, and what must not."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from anmok.models.modules import DualEncoder
from anmok.pairs import Pair, open_pairs, write_shards
from anmok.train.recipe import AugmentConfig

RECIPE = Path(__file__).parents[2] / "recipes" / "anmok_mini"


@pytest.fixture(scope="module", autouse=True)
def recipe():
    sys.path.insert(0, str(RECIPE))
    yield
    sys.path.remove(str(RECIPE))


def picture(seed=0, side=96):
    drawing = Image.new("RGB", (side, side), "white")
    pen = ImageDraw.Draw(drawing)
    random = np.random.default_rng(seed)
    for _ in range(6):
        x, y = random.integers(0, side, 2)
        pen.ellipse((x, y, x + 30, y + 20), fill=tuple(int(c) for c in random.integers(0, 256, 3)))
    return drawing


def png(seed=0):
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def pair(name, source, labels, english, korean=(), **facts):
    captions = {"en": tuple(english), "ko": tuple(korean)}
    return Pair(name, png(len(name)), (*english, *korean), tuple(labels), source, captions, facts)


# --- icons ---


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("food-apple-outline", "food apple"), ("cake-24px", "cake"), ("house-2", "house"), ("ice-skate", "ice skate"),
        ("a-very-long-name-of-six-words", ""), ("outline", ""),
    ],
)  # fmt: skip
def test_names_of_icons_are_words_of_things(key, name):
    from icons import plain_name

    assert plain_name(key) == name


def test_signs_of_interfaces_and_twins_of_emoji_are_left_out():
    from icons import is_thing

    assert is_thing("ice-skate", emoji=False)
    assert not is_thing("arrow-left", emoji=False)
    assert is_thing("rooster", emoji=True)
    assert not is_thing("thumbs-up-dark-skin-tone", emoji=True)
    assert not is_thing("woman-astronaut", emoji=True)


@pytest.fixture
def iconify(tmp_path):
    from icons import COLORED, EMOJI, ONE_COLOR

    folder = tmp_path / "iconify"
    (folder / "json").mkdir(parents=True)
    names = {"noto-v1": ["rooster", "carrot"], "mdi": ["ice-skate", "ice-skates-outline", "cat", "cat-outline"]}
    for chosen in (*EMOJI, *COLORED, *ONE_COLOR):
        icons = {name: {"body": f"<path d='{name}'/>"} for name in names.get(chosen, ())}
        (folder / "json" / f"{chosen}.json").write_text(json.dumps({"icons": icons, "width": 24, "height": 24}))
    return folder


@pytest.fixture
def without_renderer(monkeypatch):
    import icons

    drawn = iter(range(100, 200))
    monkeypatch.setattr(icons, "_drawn", lambda *_, **__: picture(next(drawn)))


@pytest.mark.usefixtures("without_renderer")
def test_nothing_named_like_a_held_out_emoji_is_drawn(iconify):
    from icons import draw_icons

    every = [icon.name for icon in draw_icons(iconify, without=[])]
    assert every == ["rooster", "carrot", "ice skate", "ice skates", "cat"]  # "cat outline" is the same thing
    assert [icon.name for icon in draw_icons(iconify, without=["ice skate", "rooster"])] == ["carrot", "cat"]


# --- pairs ---


@pytest.fixture
def cldr(tmp_path):
    known = {
        "en": {"🐓": (["animal", "bird"], "rooster"), "🥕": (["food", "vegetable", "root"], "carrot")},
        "ko": {"🐓": (["동물", "새"], "수탉"), "🥕": (["음식", "채소", "뿌리"], "당근")},
    }
    for language, signs in known.items():
        folder = tmp_path / "cldr" / "annotations" / language
        folder.mkdir(parents=True)
        facts = {sign: {"default": words, "tts": [name]} for sign, (words, name) in signs.items()}
        (folder / "annotations.json").write_text(json.dumps({"annotations": {"annotations": facts}}))
    return tmp_path / "cldr"


def test_every_caption_of_a_class_means_its_name(cldr):
    from gather import Emoji, described

    shirt = pair(
        "m1", "clothing", ["t-shirt"], ["a t-shirt", "a photo of a t-shirt", "a tee shirt"], ["티셔츠", "상의"]
    )
    known, texts = described(shirt, Emoji(cldr), 0)
    assert known.source == "clothing"
    assert known.labels == ("t-shirt",)
    assert known.texts == (*texts.english, *texts.korean)
    assert texts.meanings["a photo of a t-shirt"] == texts.meanings["티셔츠 사진"] == "a t-shirt"
    assert texts.meanings["a tee shirt"] == "a tee shirt"
    assert "상의" in texts.korean
    assert "상의" not in texts.meanings  # nobody says what it means: it is not taught


def test_groceries_are_pairs_twice_by_name_and_by_kind(cldr):
    from gather import Emoji, as_its_kind, described

    english = ["Conference pears", "a photo of Conference pears in a grocery store", "pear", "A medium sized pear."]
    pears = pair("m6", "grocery", ["Conference", "Pear"], english, ["콘퍼런스 배", "식료품점의 콘퍼런스 배 사진", "배"])
    by_name, _ = described(pears, Emoji(cldr), 0)
    by_kind, texts = as_its_kind(pears, 0)
    assert by_name.labels == ("Conference", "Pear")
    assert not {"pear", "배"} & set(by_name.texts)
    assert (by_kind.source, by_kind.labels) == ("kinds", ("Pear",))
    assert {"pear", "배"} < set(by_kind.texts)
    assert not any("onference" in text or "콘퍼런스" in text for text in by_kind.texts)
    assert set(texts.meanings.values()) == {"pear"}


def test_groceries_without_a_kind_of_their_own_keep_every_name(cldr):
    from gather import Emoji, as_its_kind, described

    english, korean = ["red beets", "a photo of red beets in a grocery store", "red beet"], ["비트", "비트 사진"]
    beets = pair("m7", "grocery", ["Red-Beet"], english, korean)
    assert {"red beet", "비트"} < set(described(beets, Emoji(cldr), 0)[0].texts)
    by_kind, _ = as_its_kind(beets, 0)
    assert by_kind.labels == ("Red-Beet",)
    assert {"red beet", "비트"} < set(by_kind.texts)


def test_emoji_of_all_styles_are_one_label_and_get_keywords(cldr):
    from gather import Emoji, described

    carrot = pair("m2", "emoji_twemoji", ["carrot"], ["carrot", "an emoji of carrot", "food, vegetable"], ["당근"])
    known, texts = described(carrot, Emoji(cldr), 0)
    assert (known.source, known.labels) == ("emoji", ("carrot",))
    assert texts.meanings["당근"] == "carrot"
    lists = [text for text in texts.english if ", " in text]
    assert lists
    assert set(", ".join(lists).split(", ")) <= {"food", "vegetable", "root"}


def test_gathering_keeps_held_out_things_apart(tmp_path, iconify, cldr, without_renderer, monkeypatch):
    import gather

    monkeypatch.setattr(gather, "drawn", lambda *_: iter(()))
    story = pair("m3", "openstax", [], ["A photo of a lighthouse at dusk."], book="psychology")
    other = pair("m4", "openstax", [], ["A photo of a bridge over a river."], book="physics")
    carrot = pair("m5", "emoji_noto", ["carrot"], ["carrot"], ["당근"])
    write_shards([story, other, carrot], tmp_path / "data" / "train", prefix="main")
    rooster = pair("e1", "emoji_noto", ["rooster"], ["rooster"], ["수탉"])
    write_shards([rooster], tmp_path / "data" / "eval", prefix="emoji_noto")
    work = tmp_path / "work"
    gather.gather(tmp_path / "data", iconify, cldr, work, font=None, seed=0)

    def names(folder):
        return {known.labels[0] for known in open_pairs(work / folder) if known.source in ("emoji", "icons")}

    assert "rooster" not in names("pairs/emoji") | names("pairs/icons")
    assert names("pairs/icons") == {"ice skate", "ice skates", "cat"}
    (held,) = open_pairs(work / "held" / "openstax")
    assert held.texts[0].endswith("lighthouse at dusk.")
    meanings = json.loads((work / "meanings.json").read_text(encoding="utf-8"))
    assert meanings["당근"] == "carrot"
    assert "수탉" not in meanings


def test_a_picture_like_a_held_out_one_does_not_come_in(tmp_path, iconify, cldr, without_renderer):
    import gather

    held = np.array([gather.difference_hash(picture(100))], np.uint64)  # the first icon that is drawn
    found = list(gather.icon_pairs(iconify, gather.Emoji(cldr), without=(), unlike=held))
    assert [one.labels[0] for one, _ in found] == ["carrot", "ice skate", "ice skates", "cat"]


# --- words ---


def test_korean_words_are_said_once_with_one_meaning():
    from words import korean_words

    known = dict(korean_words())
    assert len(known) > 3000
    assert known["고양이"] == known["고양이 사진"] == "cat"
    assert all(text.strip() == text and meaning.isascii() and meaning for text, meaning in known.items())


def test_wordnet_gives_things_and_what_they_are(tmp_path):
    from words import wordnet

    (tmp_path / "dict").mkdir()
    (tmp_path / "dict" / "data.noun").write_text(
        "  1 This software and database is being provided to you\n"
        "00015388 05 n 02 animal 0 beast 0 002 @ 0 n 0000 | a living organism that can move; not a plant\n"
        "00023280 04 n 01 act 0 000 | something that people do\n"
    )
    assert list(wordnet(tmp_path)) == [("animal", "animal"), ("a living organism that can move",) * 2]


def test_narrowed_vectors_keep_cosines_of_what_lies_in_few_directions():
    from words import narrowed

    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 4)) @ random.normal(size=(4, 12))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    narrow, kept = narrowed(vectors, 4)
    assert narrow.shape == (50, 4)
    assert kept == pytest.approx(1)
    np.testing.assert_allclose(narrow @ narrow.T, vectors @ vectors.T, atol=1e-9)


def test_a_text_tower_learns_given_vectors(tmp_path):
    from words import teach

    from anmok.texts import Tokenizer
    from anmok.train.tokenizer import train_tokenizer
    from train import untaught

    torch.manual_seed(0)
    texts = ["rabbit", "토끼", "a photo of a car", "자동차 사진"]
    train_tokenizer(texts, tmp_path, vocabulary=300, context_length=32)
    tokenizer = Tokenizer.from_folder(tmp_path, context_length=32, trims=True)
    spec = untaught(tokenizer).spec
    model = DualEncoder(spec)
    vectors = torch.nn.functional.normalize(torch.randn(2, spec.dimension), dim=-1).numpy()[[0, 0, 1, 1]]
    before = [parameter.clone() for parameter in model.image.parameters()]
    assert teach(model, tokenizer, texts, vectors, steps=40, batch=16) > 0.5
    assert all(map(torch.equal, before, model.image.parameters()))


# --- views ---


class Seeing:
    """A picture teacher whose features are the mean color and its neighbours."""

    def __init__(self, file):
        self.file = file

    def __call__(self, seen):
        colors = np.asarray(seen, np.float32).mean(axis=(0, 1)) / 255
        return np.concatenate([colors, np.zeros(1277)]).astype(np.float16)


@pytest.fixture
def views_of_colors(tmp_path, monkeypatch):
    import views

    monkeypatch.setattr(views, "Teacher", Seeing)
    monkeypatch.setattr(views, "VIEWS", {"clothing": 3})
    monkeypatch.setattr(views, "VARIATION", AugmentConfig(scale=(0.5, 1.0), mirror=0.5))
    shirts = []
    for number in range(40):
        buffer = io.BytesIO()
        Image.new("RGB", (120, 90), ("red", "blue")[number % 2]).save(buffer, "PNG")
        text = ("a red shirt", "a blue shirt")[number % 2]
        shirts.append(Pair(f"m{number}", buffer.getvalue(), (text,), (text,), "clothing"))
    write_shards(shirts, tmp_path / "pairs" / "clothing", prefix="clothing")
    views._make_views("clothing", tmp_path / "pairs", tmp_path / "views", tmp_path / "teacher", 0)
    return tmp_path / "views"


def test_every_picture_has_its_views_with_features_in_order(views_of_colors):
    known = list(open_pairs(views_of_colors / "clothing"))
    features = np.load(views_of_colors / "clothing.npz")["features"]
    assert len(known) == len(features) == 120
    assert [one.facts["of"] for one in known[:7]] == [0, 0, 0, 1, 1, 1, 2]
    for one, seen in zip(known, features, strict=True):
        view = Image.open(io.BytesIO(one.picture))
        assert view.size == (96, 96)
        assert (seen[0] > seen[2]) == (one.texts[0] == "a red shirt")


def test_a_picture_is_placed_near_its_text_by_a_map_that_never_saw_it(views_of_colors):
    from views import place_in_texts

    known = {"a red shirt": np.eye(4, dtype=np.float32)[0], "a blue shirt": np.eye(4, dtype=np.float32)[1]}
    names, placed = place_in_texts(views_of_colors, known, {"clothing": 1.0})
    pairs = list(open_pairs(views_of_colors / "clothing"))
    assert names == [one.name for one in pairs]
    texts = np.array([known[one.texts[0]] for one in pairs])
    assert (np.argmax(placed, axis=1) == np.argmax(texts, axis=1)).all()
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), 1, rtol=1e-5)
