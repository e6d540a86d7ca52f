import numpy as np
import pytest

from anmok.train.synthetic import COLORS, DIGITS, SHAPES, SIDE, draw_digit, draw_scene, draw_word, strokes


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def pixels(drawn) -> np.ndarray:
    return np.asarray(drawn.picture)


@pytest.mark.parametrize(
    "draw", [lambda rng: draw_digit(rng, 4), draw_scene, lambda rng: draw_word(rng, "milk", korean=False)]
)
def test_the_same_seed_draws_the_same_picture(draw):
    first, again, other = draw(generator(7)), draw(generator(7)), draw(generator(8))
    assert (pixels(first) == pixels(again)).all()
    assert (first.english, first.korean, first.subject) == (again.english, again.korean, again.subject)
    assert (pixels(first) != pixels(other)).any()
    assert first.picture.mode == "RGB"
    assert first.picture.size == (SIDE, SIDE)


@pytest.mark.parametrize("digit", range(10))
def test_every_digit_is_drawn_in_all_its_ways_and_named(digit):
    for seed in range(20):
        drawn = draw_digit(generator(seed), digit)
        name, korean = DIGITS[digit]
        assert pixels(drawn).std() > 10, "there is ink"
        assert f"the digit {name}" in drawn.english
        assert f"the number {digit}" in drawn.english
        assert f"숫자 {korean}" in drawn.korean
        others = {word for i, pair in enumerate(DIGITS) for word in pair if i != digit}
        assert not others & {word for caption in drawn.english + drawn.korean for word in caption.split()}


@pytest.mark.parametrize("digit", range(10))
def test_strokes_stay_in_the_box_and_fill_its_height_or_width(digit):
    for seed in range(30):
        points = np.concatenate(strokes(generator(seed), digit))
        assert points.min() > -1e-9
        assert points.max() < 1 + 1e-9
        assert np.ptp(points, axis=0).max() == pytest.approx(1)


def test_digits_can_be_told_apart_by_their_mean_ink():
    means = np.stack([np.mean([ink_map(seed, digit) for seed in range(40)], axis=0).ravel() for digit in range(10)])
    means = means / np.linalg.norm(means, axis=1, keepdims=True)
    near = means @ means.T - np.eye(10)
    assert near.max() < 0.97


def ink_map(seed: int, digit: int) -> np.ndarray:
    table = np.zeros((8, 8))
    for line in strokes(generator(seed), digit):
        x, y = np.clip((line * 8).astype(int), 0, 7).T
        table[y, x] = 1
    return table


def test_a_scene_of_several_shapes_has_as_many_as_its_caption_says():
    words = {"two": 2, "three": 3, "four": 4, "five": 5}
    seen = set()
    for seed in range(150):
        drawn = draw_scene(generator(seed))
        count = words.get(drawn.english[0].split()[0])
        if count is None or "ring" in drawn.english[0]:
            continue
        assert islands(pixels(drawn)) == count, drawn.english[0]
        seen.add(count)
    assert seen == {2, 3, 4, 5}


def test_left_of_is_left_of_and_above_is_above():
    seen = set()
    for seed in range(300):
        drawn = draw_scene(generator(seed))
        relation = next(
            (r for r in ("to the left of", "to the right of", "above", "below") if f" {r} " in drawn.english[0]), None
        )
        if relation is None:
            continue
        first, second = (text.split()[1] for text in drawn.english[0].split(f" {relation} "))
        (x1, y1), (x2, y2) = center(pixels(drawn), first), center(pixels(drawn), second)
        difference = {"to the left of": x2 - x1, "to the right of": x1 - x2, "above": y2 - y1, "below": y1 - y2}
        assert difference[relation] > SIDE / 5, drawn.english[0]
        seen.add(relation)
    assert len(seen) == 4


def test_captions_name_the_color_that_is_there():
    for seed in range(60):
        drawn = draw_scene(generator(seed))
        color = next(name for name in drawn.english[0].split() if name in COLORS)
        near = np.abs(pixels(drawn).astype(int) - COLORS[color][1]).max(axis=-1) < 35
        assert near.sum() > 20, drawn.english[0]
        assert any(shape in drawn.english[0] for shape in SHAPES)


def test_longer_words_are_drawn_too_and_korean_captions_quote_the_word():
    drawn = draw_word(generator(1), "watermelon", korean=False)
    assert drawn.english[0] == 'the word "watermelon"'
    assert drawn.korean[0] == '"watermelon"라고 쓴 글자'
    assert pixels(drawn).std() > 10


def center(picture: np.ndarray, color: str) -> tuple[float, float]:
    near = np.abs(picture.astype(int) - COLORS[color][1]).max(axis=-1) < 30
    y, x = np.nonzero(near)
    return float(np.median(x)), float(np.median(y))


def islands(picture: np.ndarray) -> int:
    """How many connected regions differ from the corner's color."""
    ink = np.abs(picture.astype(int) - picture[0, 0]).max(axis=-1) > 60
    count, todo = 0, ink.copy()
    while todo.any():
        region = np.zeros_like(ink)
        region[tuple(np.argwhere(todo)[0])] = True
        while True:
            grown = region.copy()
            grown[1:] |= region[:-1]
            grown[:-1] |= region[1:]
            grown[:, 1:] |= region[:, :-1]
            grown[:, :-1] |= region[:, 1:]
            grown &= ink
            if (grown == region).all():
                break
            region = grown
        count += int(region.sum() > 15)
        todo &= ~region
    return count
