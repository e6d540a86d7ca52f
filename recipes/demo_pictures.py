"""The pictures of `anmok demo`: photographs under CC0 or no right at all, groceries, clothes, digits, drawn scenes.

    python recipes/demo_pictures.py --checkouts CHECKOUTS --output src/anmok/data/demo

Needs scikit-image 0.26 and scikit-learn (their packages carry the photographs and digits), and clones of the two
repositories below, as `recipes/shards.py` finds and downloads them. Takes seconds. Groceries and clothes are pictures
that the embedded model has not seen: the first, by name, of each folder of the test sides that is in no shard. Sources
and licenses are in the folder's NOTICE.md.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from shards import find_all

from anmok.train.synthetic import draw_digit, draw_scene

SIDE = 320  # longest side of a photograph, pixels

PHOTOGRAPHS = {  # name here: file in skimage/data
    "astronaut": "astronaut.png",
    "cat": "chelsea.png",
    "coffee": "coffee.png",
    "galaxies": "hubble_deep_field.jpg",
    "photographer": "camera.png",
    "rocket": "rocket.jpg",
}
GROCERIES, CLOTHES = "marcusklasson/GroceryStoreDataset", "alexeygrigorev/clothing-dataset-small"
UNSEEN = {  # name here: repository and folder
    "avocado": (GROCERIES, "dataset/test/Fruit/Avocado"),
    "banana": (GROCERIES, "dataset/test/Fruit/Banana"),
    "carrots": (GROCERIES, "dataset/test/Vegetables/Carrots"),
    "ginger": (GROCERIES, "dataset/test/Vegetables/Ginger"),
    "lemon": (GROCERIES, "dataset/test/Fruit/Lemon"),
    "pineapple": (GROCERIES, "dataset/test/Fruit/Pineapple"),
    "dress": (CLOTHES, "test/dress"),
    "pants": (CLOTHES, "test/pants"),
    "shoes": (CLOTHES, "test/shoes"),
    "t-shirt": (CLOTHES, "test/t-shirt"),
}
HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True, help="folder with the repositories")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    photographs(options.output)
    unseen(options.output, options.checkouts)
    digits(options.output)
    drawings(options.output)


def photographs(folder: Path) -> None:
    import skimage

    for name, file in PHOTOGRAPHS.items():
        save(Image.open(Path(skimage.__file__).parent / "data" / file), folder / f"photo-{name}.jpg")


def unseen(folder: Path, checkouts: Path) -> None:
    """The first picture of each folder that is in no shard."""
    about = json.loads((HERE / "shards.json").read_text(encoding="utf-8"))["repositories"]
    with gzip.open(HERE / "shards.jsonl.gz", "rt", encoding="utf-8") as lines:
        used = {(pair["repository"], pair["path"]) for pair in map(json.loads, lines)}
    clones = find_all(checkouts, {name: about[name] for name in (GROCERIES, CLOTHES)}, fetches=False)
    for name, (repository, place) in UNSEEN.items():
        clone, commit = clones[repository], about[repository]["commit"]
        listed = ["git", "--git-dir", str(clone), "ls-tree", "-r", "--name-only", commit, place + "/"]
        paths = subprocess.run(listed, capture_output=True, text=True, check=True).stdout.splitlines()
        first = next(path for path in sorted(paths) if (repository, path) not in used)
        shown = ["git", "--git-dir", str(clone), "show", f"{commit}:{first}"]
        content = subprocess.run(shown, capture_output=True, check=True).stdout
        save(Image.open(io.BytesIO(content)), folder / f"{'shop' if repository == GROCERIES else 'wear'}-{name}.jpg")


def save(picture: Image.Image, file: Path) -> None:
    picture = ImageOps.exif_transpose(picture).convert("RGB")
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(file, quality=85)


def digits(folder: Path) -> None:
    """One handwritten digit of each odd value, 8 x 8 pixels as they are."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for value in (1, 3, 5, 7, 9):
        image = data.images[int(np.flatnonzero(data.target == value)[7])]
        Image.fromarray((image * 255 / 16).astype(np.uint8), "L").save(folder / f"handwritten-{value}.png")


def drawings(folder: Path) -> None:
    for seed in (4, 16, 35, 59):
        drawn = draw_scene(np.random.default_rng(seed))
        drawn.picture.save(folder / f"drawn-{drawn.english[0].replace(' ', '-')}.png")
    drawn = draw_digit(np.random.default_rng(8), 8)
    drawn.picture.save(folder / "drawn-digit-8.png")


if __name__ == "__main__":
    main()
