"""Rebuild the shards that anmok-mini was trained and measured with, from the public repositories they come from.

What      `train/*.tar`, `eval/*.tar` and `extra/*.tar`: WebDataset shards, KEY.webp (extra: .wav or .jpg) + KEY.json.
          Resized copies of pictures in public git repositories, each read at one pinned commit.
Command   python recipes/shards.py --checkouts CHECKOUTS --output DATA --fetch
          Without --fetch nothing is downloaded: what lies in CHECKOUTS is used (clones as git makes them, NAME, or
          OWNER+NAME, or OWNER/NAME; bare or with a work tree), and what is missing there is named.
Needs     git and Pillow; for the 250 flags also cairosvg and the cairo library (the rest comes out without them).
          6.6 GB of downloads, 0.1 GB for the shards, 3 minutes of one core of an AMD EPYC.
Beside it shards.json: repositories with commit, license and credit, those of the texts too; shards with their number
          of pairs and SHA-256.
          shards.jsonl.gz: one line per pair, sorted by repository and path: shard and key, repository and path (of
          Fashion-MNIST also the picture's index in the file), the texts and facts of KEY.json, the first digits of
          the SHA-256 of the picture in the shard, and its gray levels (3 x 3 cells, 16 levels).
Result    With the libraries of requirements.lock and cairosvg 2.9.1 all 21,521 pairs and all 20 shards come out byte by
          byte. With other WebP and JPEG libraries pictures can come out a little different (with Pillow 10.1: 49 of
          Fashion-MNIST, in the file and not in the pixels); they are used where their gray levels agree, and counted
          as near.
          Exit status 1: something is missing; it was named with the reason, and the rest is there.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter, defaultdict
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Pair = dict[str, Any]  # one line of shards.jsonl.gz

HERE = Path(__file__).resolve().parent
GITHUB = "https://github.com"
LANCZOS = Image.Resampling.LANCZOS
DRAWINGS = {"emoji_noto", "emoji_twemoji", "emoji_fluent", "flags"}
LONGEST = 1.6  # a photograph longer than this many times its short side loses both ends
FLAG_WIDTH = 192  # pixels a flag is drawn with before it is made smaller
STATES = ("identical", "near", "missing", "changed")  # what can become of a pair


class Unusable(Exception):
    """Something that is needed is not there; the message says what, why and the way out."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkouts", type=Path, required=True, help="folder with the repositories, one folder each")
    parser.add_argument("--output", type=Path, required=True, help="folder for train/, eval/ and extra/")
    parser.add_argument("--fetch", action="store_true", help="download what is missing from GitHub into --checkouts")
    parser.add_argument("--manifest", type=Path, default=HERE / "shards.json", help="the .jsonl.gz lies beside it")
    options = parser.parse_args()
    try:
        return rebuild(options.checkouts, options.output, options.manifest, fetches=options.fetch)
    except Unusable as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def rebuild(checkouts: Path, output: Path, manifest: Path, *, fetches: bool = False) -> int:
    """Write all shards; 0 where every pair was rebuilt, else 1."""
    head = json.loads(manifest.read_text("utf-8"))
    present = [name for name in head["shards"] if (output / name).exists()]
    if present:
        raise Unusable(f"{output / present[0]} is there already and would be written over: choose another --output")
    with gzip.open(manifest.with_suffix(".jsonl.gz"), "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    folders = find_all(checkouts, head["repositories"], fetches=fetches)
    if not any(folders.values()):
        raise Unusable(f"none of the repositories is in {checkouts}: --fetch downloads them")

    shards: dict[str, dict[str, tuple[str, bytes, bytes]]] = defaultdict(dict)  # shard → key → suffix, picture, facts
    counts: Counter[tuple[str, str]] = Counter()  # source, state → pairs
    advance = progress("pictures", len(pairs))
    for repository, group in groupby(pairs, key=lambda pair: pair["repository"]):
        folder, commit, wanted = folders[repository], head["repositories"][repository]["commit"], list(group)
        # a repository that is not there was named once, its pairs are only counted
        for pair, blob in read(folder, commit, wanted) if folder else ((pair, "") for pair in wanted):
            state, reason, data = picture(pair, blob) if isinstance(blob, bytes) else ("missing", blob, None)
            counts[pair["facts"]["source"], state] += 1
            if data is not None:
                suffix = Path(pair["path"]).suffix if "levels" not in pair else ".webp"
                facts = json.dumps(pair["facts"], ensure_ascii=False, separators=(",", ":")).encode()
                shards[pair["shard"]][pair["key"]] = suffix, data, facts
            elif reason:
                print(f"{state}: {pair['shard']} {pair['key']}, {repository} {pair['path']}: {reason}", flush=True)
            advance()
    for name, rows in shards.items():
        write_shard(output / name, rows)
    if not shards:
        raise Unusable("not one pair could be rebuilt; the reasons are above")
    credit(output / "ATTRIBUTION.md", {**head["repositories"], **head["texts"]})
    report(output, head["shards"], shards, counts)
    return int(any(counts[source, state] for source, state in counts if state in ("missing", "changed")))


# --- repositories ----------------------------------------------------------------------------


def find_all(checkouts: Path, repositories: Mapping[str, Any], *, fetches: bool) -> dict[str, Path | None]:
    """Each repository's git directory that has the pinned commit; None where there is none, and the reason is told."""
    folders = {name: find(checkouts, name, about["commit"]) for name, about in repositories.items()}
    lacking = [name for name, folder in folders.items() if folder is None]
    if lacking and fetches:
        size = sum(repositories[name]["megabytes"] for name in lacking) / 1000
        print(f"{len(lacking)} repositories to download, one commit of each: about {size:.1f} GB", flush=True)
    for number, name in enumerate(lacking, 1):
        commit, size = repositories[name]["commit"], repositories[name]["megabytes"]
        if fetches:
            print(f"{number} of {len(lacking)}: {name}, commit {commit[:10]}, about {size} MB", flush=True)
            folders[name] = download(f"{GITHUB}/{name}", commit, checkouts / own_name(name))
        else:
            there = next((place for place in places(checkouts, name) if git_directory(place)), None)
            why = f"{there} does not have commit {commit}" if there else f"no clone of it in {checkouts}"
            print(f"missing: {name}: {why}; --fetch downloads that commit", flush=True)
    return folders


def find(checkouts: Path, repository: str, commit: str) -> Path | None:
    for place in places(checkouts, repository):
        folder = git_directory(place)
        if folder and has_commit(folder, commit):
            return folder
    return None


def places(checkouts: Path, repository: str) -> list[Path]:
    owner, name = repository.split("/")
    names = (f"{owner}+{name}", f"{owner}/{name}", name, f"{name}.git", own_name(repository))
    return [checkouts / place for place in names]


def own_name(repository: str) -> str:
    """The folder for what this script downloads; clones of yours are only read."""
    return repository.replace("/", "+") + ".git"


def git_directory(folder: Path) -> Path | None:
    """Where git keeps its objects: `.git` of a work tree, or the folder itself."""
    if (folder / ".git").exists():
        return folder / ".git"
    return folder if (folder / "HEAD").is_file() and (folder / "objects").is_dir() else None


def has_commit(folder: Path, commit: str) -> bool:
    return not git("--git-dir", folder, "cat-file", "-e", f"{commit}^{{commit}}", quiet=True)


def download(url: str, commit: str, folder: Path) -> Path | None:
    """Fetch one commit with all its files and no history: the least that has every picture, in one transfer."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = git("init", "--quiet", "--bare", folder) or git(
        "--git-dir", folder, "fetch", "--progress", "--no-tags", "--depth", "1", url, f"+{commit}:refs/heads/pinned"
    )
    if failed or not has_commit(folder, commit):
        print(f"missing: {url}: git could not fetch commit {commit}, for the reason above; run this again to retry")
        return None
    return folder


def git(*arguments: str | Path, quiet: bool = False) -> int:
    # a repository that has vanished makes GitHub ask for a name and a password
    environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    errors = subprocess.DEVNULL if quiet else None
    try:
        return subprocess.run(["git", *map(str, arguments)], check=False, env=environment, stderr=errors).returncode
    except FileNotFoundError:
        raise Unusable("git is not installed, and it reads the repositories: https://git-scm.com") from None


def read(folder: Path, commit: str, pairs: list[Pair]) -> Iterator[tuple[Pair, bytes | str]]:
    """Each pair with its file at the commit, or why there is none. No work tree is needed or looked at."""
    command = ["git", "--git-dir", str(folder), "cat-file", "--batch"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for path, group in groupby(pairs, key=lambda pair: pair["path"]):
            try:
                process.stdin.write(f"{commit}:{path}\n".encode())
                process.stdin.flush()
            except BrokenPipeError:
                pass  # git ended: there is no answer to read either
            answer = process.stdout.readline().split()  # "ID blob SIZE" or "COMMIT:PATH missing"
            found: bytes | str = f"{folder} has no such file at commit {commit}"
            if not answer:
                found = f"git could not read {folder}, for the reason above: it is damaged, clone it anew"
            elif answer[-1] != b"missing":
                found = process.stdout.read(int(answer[2]))
                process.stdout.read(1)  # the line feed after it
            yield from ((pair, found) for pair in group)
        with suppress(BrokenPipeError):
            process.stdin.close()


# --- pictures --------------------------------------------------------------------------------


def picture(pair: Pair, blob: bytes) -> tuple[str, str, bytes | None]:
    """What became of a pair, why if it was lost, and its picture as it lies in the shard."""
    try:
        data = encode(pair, blob)
    except Unusable as error:
        return "missing", str(error), None
    except (OSError, ValueError, SyntaxError, zlib.error) as error:  # Pillow raises the first three for broken files
        return "missing", f"it cannot be read: {error}", None
    if hashlib.sha256(data).hexdigest().startswith(pair["sha256"]):
        return "identical", "", data
    if "levels" not in pair:
        return "changed", "the file is not the one that was used", None
    levels = gray_levels(data)
    if any(abs(int(a, 16) - int(b, 16)) > 1 for a, b in zip(levels, pair["levels"], strict=True)):
        return "changed", f"it shows something else (gray levels {levels}, expected {pair['levels']})", None
    return "near", "", data


def encode(pair: Pair, blob: bytes) -> bytes:
    source, held_out = pair["facts"]["source"], pair["shard"].startswith("eval/")
    if "levels" not in pair:  # sounds and infrared pictures are used as they are
        return blob
    if source == "fashion_mnist":
        return webp(digit(blob, pair["index"]), lossless=True, method=6)
    if source in DRAWINGS:
        small, large = 72, 128
        image = flatten(Image.open(io.BytesIO(draw(blob) if source == "flags" else blob)))
    else:
        small, large = 96, 128
        image = photograph(blob)
    return webp(shorten(image, large if held_out else small), quality=75 if held_out else 72, method=5)


def photograph(blob: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(blob))
    image.draft("RGB", (400, 400))  # a large JPEG is read at a half, quarter or eighth of its size
    image = shorten(crop(flatten(ImageOps.exif_transpose(image))), 160)
    kept = io.BytesIO()  # pictures were kept as JPEGs once: without this step no two bytes agree
    image.save(kept, "JPEG", quality=93)
    return Image.open(kept).convert("RGB")


def flatten(image: Image.Image) -> Image.Image:
    """RGB, on white where it is transparent."""
    if image.mode in ("RGBA", "LA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def crop(image: Image.Image) -> Image.Image:
    width, height = image.size
    if width > LONGEST * height:
        kept = int(height * LONGEST)
        left = (width - kept) // 2
        return image.crop((left, 0, left + kept, height))
    if height > LONGEST * width:
        kept = int(width * LONGEST)
        top = (height - kept) // 2
        return image.crop((0, top, width, top + kept))
    return image


def shorten(image: Image.Image, side: int) -> Image.Image:
    """The short side gets this length."""
    scale = side / min(image.size)
    size = round(image.width * scale), round(image.height * scale)
    return image if size == image.size else image.resize(size, LANCZOS)


def draw(svg: bytes) -> bytes:
    try:
        import cairosvg
    except (ImportError, OSError) as error:  # OSError: the Python package is there, the library it calls is not
        raise Unusable(f"flags are drawn by cairosvg ({error}): pip install cairosvg, and install cairo") from None
    return cairosvg.svg2png(bytestring=svg, output_width=FLAG_WIDTH)


def digit(blob: bytes, index: int) -> Image.Image:
    pixels = unpack(blob)[16 + 784 * index : 16 + 784 * (index + 1)]  # 16: the header of the idx format
    if len(pixels) < 784:
        raise Unusable(f"the file ends before picture {index}")
    return Image.frombytes("L", (28, 28), pixels)


@lru_cache(maxsize=1)
def unpack(blob: bytes) -> bytes:
    """What a gzip file holds, as far as it goes: the one used here is the beginning of the published file."""
    return zlib.decompressobj(wbits=31).decompress(blob)


def webp(image: Image.Image, **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, "WEBP", **options)
    return data.getvalue()


def gray_levels(data: bytes) -> str:
    """Mean brightness of 3 x 3 cells in 16 levels: alike for two encodings of one picture, seldom for two pictures."""
    cells = Image.open(io.BytesIO(data)).convert("L").resize((3, 3), Image.Resampling.BOX)
    return "".join(f"{value // 16:x}" for value in cells.tobytes())


# --- what comes out --------------------------------------------------------------------------


def write_shard(path: Path, rows: Mapping[str, tuple[str, bytes, bytes]]) -> None:
    """Plain USTAR in the order of the keys, nothing in it that depends on when and where it was made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, (suffix, data, facts) in sorted(rows.items(), key=lambda row: in_order(row[0])):
            for name, content in ((key + suffix, data), (f"{key}.json", facts)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    unfinished.replace(path)


def in_order(key: str) -> list[int | str]:
    """For sorting: numbers in it count as numbers, so that `george_5` comes before `george_10`."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", key)]


def credit(path: Path, repositories: Mapping[str, Mapping[str, Any]]) -> None:
    """The licenses ask for the credits to travel with the pictures."""
    lines = ["# Attribution", "", "Pictures were made smaller, cropped where very long, and encoded again; texts were"]
    lines += ["shortened. `license` and `credit` in each KEY.json say more.", ""]
    lines += ["| repository | commit | license | attribution |", "|---|---|---|---|"]
    for name, about in repositories.items():
        lines.append(f"| {name} | {about['commit']} | {about['license']} | {about['attribution']} |")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def report(output: Path, expected: Mapping[str, Any], shards: Mapping[str, Any], counts: Counter) -> None:
    print(f"{'source':24}{'expected':>10}" + "".join(f"{state:>10}" for state in STATES))
    sources = sorted({source for source, _ in counts})
    for source in [*sources, "all"]:
        row = [sum(counts[s, state] for s in (sources if source == "all" else [source])) for state in STATES]
        print(f"{source:24}{sum(row):10,}" + "".join(f"{number:10,}" for number in row))
    for name, about in expected.items():
        if name not in shards:
            print(f"{name}: not written, it would be empty")
        elif hashlib.sha256((output / name).read_bytes()).hexdigest() == about["sha256"]:
            print(f"{name}: identical, {about['pairs']:,} pairs")
        else:
            print(f"{name}: differs, {len(shards[name]):,} of {about['pairs']:,} pairs")


def progress(name: str, total: int) -> Callable[[], None]:
    """A function to call once per item; a line every few seconds."""
    started = told = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, told
        done += 1
        if (now := time.monotonic()) - told > 2:
            told = now
            left = (now - started) / done * (total - done)
            print(f"{name}: {done:,} of {total:,}, about {left / 60:.0f} minutes left", file=sys.stderr, flush=True)

    return advance


if __name__ == "__main__":
    sys.exit(main())
