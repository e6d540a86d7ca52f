"""The pictures of `anmok demo`: photographs in the public domain or CC0, digits, drawn scenes and words.

    python recipes/demo_pictures.py --font NanumGothic.ttf --output src/anmok/data/demo

Needs scikit-image 0.26 and scikit-learn (their packages carry the photographs and digits) and, for the
Korean words, a Korean font under an open license (NanumGothic from the package koreanize-matplotlib,
SIL OFL). Takes seconds. The pictures' sources and licenses are in the folder's NOTICE.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from anmok.train.synthetic import draw_digit, draw_scene, draw_word

SIDE = 320  # longest side of a photograph, pixels

PHOTOGRAPHS = {  # name here: file in skimage/data
    "astronaut": "astronaut.png",
    "brick-wall": "brick.png",
    "cat": "chelsea.png",
    "clock": "clock_motion.png",
    "coffee": "coffee.png",
    "galaxies": "hubble_deep_field.jpg",
    "grass": "grass.png",
    "gravel": "gravel.png",
    "horse": "horse.png",
    "photographer": "camera.png",
    "retina": "retina.jpg",
    "rocket": "rocket.jpg",
}
WORDS = {
    "apple": ("apple", False),
    "bread": ("bread", False),
    "apple-in-korean": ("사과", True),
    "milk-in-korean": ("우유", True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--font", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    photographs(options.output)
    digits(options.output)
    drawings(options.output, options.font)


def photographs(folder: Path) -> None:
    import skimage

    for name, file in PHOTOGRAPHS.items():
        picture = Image.open(Path(skimage.__file__).parent / "data" / file).convert("RGB")
        picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        picture.save(folder / f"photo-{name}.jpg", quality=85)


def digits(folder: Path) -> None:
    """One handwritten digit of each odd value, 8 x 8 pixels as they are."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for value in (1, 3, 5, 7, 9):
        image = data.images[int(np.flatnonzero(data.target == value)[7])]
        Image.fromarray((image * 255 / 16).astype(np.uint8), "L").save(folder / f"handwritten-{value}.png")


def drawings(folder: Path, font: Path) -> None:
    for seed in (4, 16, 35, 59):
        drawn = draw_scene(np.random.default_rng(seed))
        drawn.picture.save(folder / f"drawn-{drawn.english[0].replace(' ', '-')}.png")
    drawn = draw_digit(np.random.default_rng(8), 8)
    drawn.picture.save(folder / "drawn-digit-8.png")
    for seed, (name, (word, korean)) in enumerate(WORDS.items()):
        drawn = draw_word(np.random.default_rng(seed), word, korean=korean, font=font if korean else None)
        drawn.picture.save(folder / f"word-{name}.png")


if __name__ == "__main__":
    main()
