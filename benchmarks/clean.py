"""Cleaning, measured on planted defects and on a million random rows.

    python benchmarks/clean.py --data shards/ [--each 500] [--model anmok-mini] [--report page.html]
    python benchmarks/clean.py --million

The first plants so many of every defect among the pairs of `--data` (copies are added, other defects replace their
pair) and says for each how many are found, and how many are dropped that were not planted: those may still be true, so
look at the page. The second finds duplicates among a million random hashes and unit vectors of 256 numbers, with ten
thousand planted near pairs each, and says the time and the peak memory.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from timing import machine

import anmok
from anmok.clean import CleanSettings, HeldOut, clean
from anmok.clean.hashes import near_pairs
from anmok.clean.neighbours import neighbour_pairs
from anmok.pairs import Pair, PairError, PairSource, open_pairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from anmok.clean import CleanReport

Rng = np.random.Generator
LEAST_SIDE = 92  # pixels; of pictures that are shrunk to 70% enough is left
TEXTS = {
    "boilerplate text": ["image", "IMG_1234.JPG", "click to enlarge", "logo", "thumbnail", "untitled", "이미지", "사진",
                         "썸네일", "대표 이미지", "2021-03-04", "https://example.com/a", "12,000원", "product image 3",
                         "상품 사진입니다", "DSC_0042", "KakaoTalk_20230102_030405", "red-bag-2.jpg", "스크린샷 12"],
    "short text": ["a", "-", "ㅋㅋㅋ", "!", "3", "ㅎ", "x"],
    "damaged text": ["ì´ë¯¸ì§€ í•˜ëŠ˜", "a cafÃ© in the cityâ€™s center", "고양이 \ufffd\ufffd", "half \ud83d",
                     "뷁占쏙옙占쏙옙"],
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--each", type=int, default=500)
    parser.add_argument("--model", default="anmok-mini", help="or none")
    parser.add_argument("--report", type=Path)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    print(machine())
    if options.data:
        planted_run(options.data, options.each, options.model, options.report)
    if options.million:
        million(options.rows)


# --- planted defects ------------------------------------------------------------------------


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def resized(picture: Image.Image, factor: float) -> Image.Image:
    size = tuple(max(1, round(side * factor)) for side in picture.size)
    return picture.resize(size, Image.Resampling.BICUBIC)


def to_side(picture: Image.Image, side: int) -> Image.Image:
    return resized(picture, side / min(picture.size))


def cropped(picture: Image.Image, share: float, rng: Rng) -> Image.Image:
    across, down = (max(1, round(side * share)) for side in picture.size)
    left, top = rng.integers(across + 1), rng.integers(down + 1)
    return picture.crop((left, top, left + picture.width - across, top + picture.height - down))


def marked(picture: Image.Image) -> Image.Image:
    picture = picture.copy()
    ImageDraw.Draw(picture).text((4, picture.height - 14), "shop.com", fill="white")
    return picture


COPIES: dict[str, Callable[[Image.Image, Rng], Image.Image]] = {
    "recompressed (JPEG 30)": lambda picture, rng: jpeg(picture, 30),
    "shrunk to 70%": lambda picture, rng: resized(picture, 0.7),
    "enlarged to 150%": lambda picture, rng: jpeg(resized(picture, 1.5), 80),
    "cropped by 4%": lambda picture, rng: cropped(picture, 0.04, rng),
    "cropped by 8%": lambda picture, rng: cropped(picture, 0.08, rng),
    "cropped by 14%": lambda picture, rng: cropped(picture, 0.14, rng),
    "brighter by 30%": lambda picture, rng: ImageEnhance.Brightness(picture).enhance(1.3),
    "more contrast": lambda picture, rng: ImageEnhance.Contrast(picture).enhance(1.3),
    "mirrored": lambda picture, rng: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "with a small watermark": lambda picture, rng: marked(picture),
    "turned by 2 degrees": lambda picture, rng: picture.rotate(2, Image.Resampling.BICUBIC),
    "gray": lambda picture, rng: picture.convert("L").convert("RGB"),
}
SPOILT: dict[str, tuple[str, Callable[[Image.Image, Rng], Image.Image]]] = {
    "one color with noise": ("blank", lambda picture, rng: noise(picture, rng, 128)),
    "nearly black": ("too dark", lambda picture, rng: ImageEnhance.Brightness(picture).enhance(0.08)),
    "nearly white": ("too bright", lambda picture, rng: Image.blend(picture, white(picture), 0.93)),
    "blurred, sigma 1% of the side": ("blurred", lambda picture, rng: blurred(picture, 0.01)),
    "blurred, sigma 2% of the side": ("blurred", lambda picture, rng: blurred(picture, 0.02)),
    "blurred, sigma 4% of the side": ("blurred", lambda picture, rng: blurred(picture, 0.04)),
    "24 to 48 pixels": ("low resolution", lambda picture, rng: to_side(picture, rng.integers(24, 49))),
    "strips, 4 to 10 to 1": ("extreme shape", lambda picture, rng: picture.resize((int(64 * rng.integers(4, 11)), 64))),
}


def noise(picture: Image.Image, rng: Rng, level: int) -> Image.Image:
    pixels = level + rng.normal(0, 1.5, (picture.height, picture.width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def white(picture: Image.Image) -> Image.Image:
    return Image.new("RGB", picture.size, "white")


def blurred(picture: Image.Image, share: float) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(share * min(picture.size)))


@dataclass
class Planted:
    """Pairs in memory, as a shard; what was planted where, and which pairs are copies of which."""

    name: str = "planted"
    pairs: list[Pair] = field(default_factory=list)
    defects: dict[str, tuple[str, str]] = field(default_factory=dict)  # name → what was planted, reason expected
    copy_of: dict[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def read(self, index: int) -> Pair:
        return self.pairs[index]


def stored(picture: Image.Image, form: str = "WEBP") -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **({"quality": 80} if form == "WEBP" else {}))
    return buffer.getvalue()


def opened(pair: Pair) -> Image.Image:
    from anmok.pictures import read

    return read(pair.picture)


def plant(source: PairSource, each: int) -> tuple[Planted, HeldOut]:
    """The pairs with `each` of every defect, on pictures that have no other."""
    rng = np.random.default_rng(0)
    planted = Planted(pairs=[pair for pair in source if not isinstance(pair, PairError)])
    fit = [k for k, pair in enumerate(planted.pairs) if min(opened(pair).size) >= LEAST_SIDE]
    free = iter(rng.permutation(fit).tolist())

    def some() -> list[int]:
        return [k for k, _ in zip(free, range(each), strict=False)]

    for what, (reason, spoil) in SPOILT.items():
        for k in some():
            replace_pair(planted, k, what, reason, picture=stored(spoil(opened(planted.pairs[k]), rng), "PNG"))
    for k in some():
        data = planted.pairs[k].picture
        replace_pair(planted, k, "cut in the middle", "unreadable", picture=data[: len(data) // 2])
    for reason, texts in TEXTS.items():
        for number, k in enumerate(some()):
            replace_pair(planted, k, reason, reason, texts=(texts[number % len(texts)],))
    shuffled = some()
    texts_of = {k: planted.pairs[k].texts for k in shuffled}
    for k, other in zip(shuffled, np.roll(shuffled, 1).tolist(), strict=True):
        replace_pair(planted, k, "text of another picture", "mismatch", texts=texts_of[other])
    for k in some():
        replace_pair(planted, k, "one slogan on all of these", "repeated text", texts=("Quality since 1987",))
    add_copies(planted, some, rng)
    held_out = Planted("held out")
    for k in some():
        pair = planted.pairs[k]
        planted.defects[pair.name] = ("recompressed in the held-out set", "held out")
        held_out.pairs.append(replace(pair, name=f"held-{pair.name}", picture=stored(jpeg(opened(pair), 50), "PNG")))
    order = rng.permutation(len(planted.pairs))
    planted.pairs = [planted.pairs[k] for k in order]
    return planted, HeldOut(sources=(PairSource([held_out]),))


def replace_pair(planted: Planted, k: int, what: str, reason: str, **changes: object) -> None:
    name = f"{reason}-{what}-{k}"
    planted.pairs[k] = replace(planted.pairs[k], name=name, **changes)
    planted.defects[name] = (what, reason)


def add_copies(planted: Planted, some: Callable[[], list[int]], rng: Rng) -> None:
    def add(k: int, what: str, reason: str, picture: bytes) -> None:
        name = f"copy-{what}-{k}"
        planted.pairs.append(replace(planted.pairs[k], name=name, picture=picture))
        planted.copy_of[name] = planted.pairs[k].name
        planted.defects[name] = (what, reason)

    for k in some():
        add(k, "same bytes", "same file", planted.pairs[k].picture)
    for k in some():
        add(k, "same pixels as PNG", "same pixels", stored(opened(planted.pairs[k]), "PNG"))
    for what, change in COPIES.items():
        for k in some():
            add(k, what, "near duplicate", stored(change(opened(planted.pairs[k]), rng)))


def planted_run(data: Path, each: int, model: str, page: Path | None) -> None:
    planted, held_out = plant(open_pairs(data), each)
    encoder = None if model == "none" else anmok.load(model)
    lowest = each / len(planted.pairs) if encoder else 0
    slogans = 0.8 * each / len(planted.pairs)  # just too many
    settings = CleanSettings(max_repeats=slogans, drop_lowest=lowest)
    source = PairSource([planted], fingerprint="planted")
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        report = clean(source, Path(folder) / "out", settings=settings, encoder=encoder, against=held_out)
        seconds = time.perf_counter() - start
        lines = (Path(folder) / "out" / "removed.jsonl").read_text(encoding="utf-8").splitlines()
    pictures = len(planted) + len(held_out)
    print(f"{pictures} pictures, {model}: {seconds:.0f} s, {pictures / seconds:.0f} pictures/s, {report.kept} kept")
    tell(planted, lines, report)
    if page is not None:
        from anmok.cli.clean_page import write_page

        print(write_page(report, source, held_out, page))


def tell(planted: Planted, lines: list[str], report: CleanReport) -> None:
    """Recall of every planted defect, and of every reason what was dropped for it."""
    import json

    records = [record for record in map(json.loads, lines) if record["dropped"] == "pair"]
    found = {record["name"]: record for record in records}
    originals = {original: copy for copy, original in planted.copy_of.items()}
    hit: Counter[tuple[str, str]] = Counter()
    other: Counter[tuple[str, str]] = Counter()
    right: Counter[str] = Counter()
    for name, (what, reason) in planted.defects.items():
        names = (name, planted.copy_of[name]) if name in planted.copy_of else (name,)
        reasons = [found[one]["reason"] for one in names if one in found]
        hit[what, reason] += reason in reasons
        other[what, reason] += bool(reasons) and reason not in reasons
    for record in records:
        copy = originals.get(record["name"], record["name"])
        right[record["reason"]] += planted.defects.get(copy, ("", ""))[1] == record["reason"]
    totals = Counter(planted.defects.values())
    print(f"\n{'planted':<36} {'reason':<18} {'found':>20}  dropped for another reason")
    for (what, reason), total in totals.items():
        got = hit[what, reason]
        print(f"{what:<36} {reason:<18} {got:>5} of {total:<4} {got / total:>8.1%}  {other[what, reason]}")
    print(f"\n{'dropped for':<24} {'pairs':>6} {'planted':>8} {'others':>7}  precision if no other is right")
    for reason, count in report.dropped.items():
        print(f"{reason:<24} {count:>6} {right[reason]:>8} {count - right[reason]:>7}  {right[reason] / count:.1%}")


# --- a million ------------------------------------------------------------------------------


def million(rows: int) -> None:
    rng = np.random.default_rng(0)
    planted = rows // 100
    hashes = rng.integers(0, 1 << 63, rows, dtype=np.uint64) << np.uint64(1) | np.uint64(1)
    flips = np.zeros(planted, np.uint64)
    for _ in range(8):
        flips |= np.uint64(1) << rng.integers(1, 64, planted, dtype=np.uint64)
    hashes[-planted:] = hashes[:planted] ^ flips
    start = time.perf_counter()
    blocks = list(near_pairs(hashes, np.ones(rows, bool), distance=8))
    tell_pairs("hashes, 8 bits", *map(np.concatenate, zip(*blocks, strict=True)), rows, planted, start)
    with tempfile.TemporaryDirectory() as folder:
        vectors = np.memmap(Path(folder) / "vectors", np.float16, "w+", shape=(rows, 256))
        for place in range(0, rows, 50_000):
            part = rng.normal(size=(min(50_000, rows - place), 256)).astype(np.float32)
            vectors[place : place + len(part)] = part / np.linalg.norm(part, axis=1, keepdims=True)
        near = vectors[:planted].astype(np.float32) + rng.normal(0, 0.25 / 16, (planted, 256)).astype(np.float32)
        vectors[-planted:] = near / np.linalg.norm(near, axis=1, keepdims=True)
        start = time.perf_counter()
        i, j = neighbour_pairs(np.asarray(vectors), np.arange(rows), cosine=0.95)
        tell_pairs("embeddings of 256", i, j, rows, planted, start)


def tell_pairs(what: str, i: np.ndarray, j: np.ndarray, rows: int, planted: int, start: float) -> None:
    import resource

    seconds = time.perf_counter() - start
    wanted = np.arange(planted) * rows + rows - planted + np.arange(planted)
    found = np.isin(wanted, i * rows + j).mean()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # mapped files are part of it
    print(f"{rows:,} {what}: {seconds:.0f} s, {found:.2%} of the planted found, {len(i):,} pairs, peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
