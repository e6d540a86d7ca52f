"""Shards are rebuilt from git repositories at pinned commits, and what cannot be is named."""

import gzip
import hashlib
import importlib.util
import io
import json
import os
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def recipe():
    spec = importlib.util.spec_from_file_location("recipes_shards", RECIPES / "shards.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def _own_git(monkeypatch):
    """No test depends on the user's settings of git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{role}_NAME", "Test")
        monkeypatch.setenv(f"GIT_{role}_EMAIL", "test@example.org")


def git(*arguments):
    return subprocess.run(["git", *map(str, arguments)], check=True, capture_output=True, text=True).stdout.strip()


def commit(folder, files):
    """The files as a commit of the repository in the folder; its id."""
    if not (folder / ".git").exists():
        git("init", "--quiet", folder)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git("-C", folder, "add", "--all")
    git("-C", folder, "commit", "--quiet", "--message", "files")
    return git("-C", folder, "rev-parse", "HEAD")


def encoded(image, format, **options):
    data = io.BytesIO()
    image.save(data, format, **options)
    return data.getvalue()


def photograph(seed=0, width=60, height=40, **options):
    noise = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), dtype=np.uint8)
    return encoded(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC), "JPEG", **options)


def digits(count):
    """An idx file in gzip that ends too early, as the one that was used does."""
    pixels = np.random.default_rng(0).integers(0, 256, 784 * count, dtype=np.uint8).tobytes()
    return gzip.compress(bytes(16) + pixels)[:-9]


FILES = {
    "pictures/a cat.jpg": photograph(),
    "star.png": encoded(Image.new("RGBA", (72, 72), (255, 0, 0, 40)), "PNG"),
    "train.gz": digits(3),
    "one.wav": b"RIFF",
}
PAIRS = {  # key: source, path, shard
    "m000002": ("grocery", "pictures/a cat.jpg", "train/main-000.tar"),
    "m000010": ("emoji_noto", "star.png", "train/main-000.tar"),
    "m000009": ("fashion_mnist", "train.gz", "train/main-000.tar"),
    "c000001": ("grocery", "pictures/a cat.jpg", "eval/grocery-000.tar"),
    "one": ("fsdd", "one.wav", "extra/sounds.tar"),
}


def manifest(recipe, folder, commit, files=FILES, **changes):
    """A manifest of PAIRS as they come out of the files; changes by key."""
    pairs = []
    for key, (source, path, shard) in PAIRS.items():
        pair = {"shard": shard, "key": key, "repository": "owner/things", "path": path, "sha256": ""}
        pair |= {"index": 1} if source == "fashion_mnist" else {}
        pair |= {"levels": ""} if source != "fsdd" else {}
        pair["facts"] = {"source": source, "captions_en": ["a thing"], "captions_ko": ["물건"]}
        data = recipe.encode(pair, files[path])
        pair["sha256"] = hashlib.sha256(data).hexdigest()[:8]
        if "levels" in pair:
            pair["levels"] = recipe.gray_levels(data)
        pairs.append(pair | changes.get(key, {}))
    pairs.sort(key=lambda pair: (pair["repository"], pair["path"]))
    about = {"commit": commit, "license": "MIT", "attribution": "Somebody", "megabytes": 1}
    shards = Counter(pair["shard"] for pair in pairs)
    head = {
        "repositories": dict.fromkeys({pair["repository"] for pair in pairs}, about),
        "texts": {},
        "shards": {name: {"pairs": shards[name], "sha256": ""} for name in sorted(shards)},
    }
    (folder / "tiny.json").write_text(json.dumps(head), "utf-8")
    with gzip.open(folder / "tiny.jsonl.gz", "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(pair) + "\n" for pair in pairs)
    return folder / "tiny.json"


def contents(shard):
    with tarfile.open(shard) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def size(data):
    return Image.open(io.BytesIO(data)).size


@pytest.fixture
def checkouts(tmp_path):
    (tmp_path / "checkouts").mkdir()
    return tmp_path / "checkouts"


@pytest.mark.parametrize("kind", ["work tree", "bare", "work tree emptied"])
def test_everything_comes_out_of_a_clone(recipe, tmp_path, checkouts, capsys, kind):
    clone = checkouts / "owner+things"
    at = commit(clone, FILES)
    if kind == "bare":
        git("clone", "--quiet", "--bare", clone, checkouts / "things.git")
        clone.rename(tmp_path / "elsewhere")
    elif kind == "work tree emptied":
        for name in FILES:
            (clone / name).unlink()
    tiny = manifest(recipe, tmp_path, at)
    assert recipe.rebuild(checkouts, tmp_path / "data", tiny) == 0
    main = contents(tmp_path / "data" / "train" / "main-000.tar")
    assert [name for name in main if name.endswith(".webp")] == ["m000002.webp", "m000009.webp", "m000010.webp"]
    assert [size(main[f"m0000{key}.webp"]) for key in ("02", "09", "10")] == [(144, 96), (28, 28), (72, 72)]
    assert json.loads(main["m000002.json"])["captions_ko"] == ["물건"]
    assert size(contents(tmp_path / "data" / "eval" / "grocery-000.tar")["c000001.webp"]) == (192, 128)
    assert contents(tmp_path / "data" / "extra" / "sounds.tar")["one.wav"] == b"RIFF"
    assert "Somebody" in (tmp_path / "data" / "ATTRIBUTION.md").read_text("utf-8")
    assert "main-000.tar: differs, 3 of 3 pairs" in capsys.readouterr().out  # the manifest has no checksum yet


def test_shards_are_the_same_bytes_every_time(recipe, tmp_path, checkouts, capsys):
    tiny = manifest(recipe, tmp_path, commit(checkouts / "things", FILES))
    recipe.rebuild(checkouts, tmp_path / "once", tiny)
    head = json.loads(tiny.read_text("utf-8"))
    for name, about in head["shards"].items():
        about["sha256"] = hashlib.sha256((tmp_path / "once" / name).read_bytes()).hexdigest()
    tiny.write_text(json.dumps(head), "utf-8")
    recipe.rebuild(checkouts, tmp_path / "twice", tiny)
    assert capsys.readouterr().out.count(": identical, ") == 3


def test_the_pinned_commit_counts_not_the_newest(recipe, tmp_path, checkouts):
    at = commit(checkouts / "things", FILES)
    commit(checkouts / "things", {"pictures/a cat.jpg": photograph(seed=1)})
    assert recipe.rebuild(checkouts, tmp_path / "data", manifest(recipe, tmp_path, at)) == 0


def test_a_missing_file_is_named_and_the_rest_is_there(recipe, tmp_path, checkouts, capsys):
    at = commit(checkouts / "things", FILES)
    tiny = manifest(recipe, tmp_path, at, m000002={"path": "pictures/gone away.jpg"}, m000009={"index": 3})
    assert recipe.rebuild(checkouts, tmp_path / "data", tiny) == 1
    assert set(contents(tmp_path / "data" / "train" / "main-000.tar")) == {"m000010.webp", "m000010.json"}
    out = capsys.readouterr().out
    assert f"pictures/gone away.jpg: {checkouts / 'things' / '.git'} has no such file at commit {at}" in out
    assert "the file ends before picture 3" in out


def test_a_broken_picture_is_named(recipe, tmp_path, checkouts, capsys):
    at = commit(checkouts / "things", {**FILES, "star.png": b"no picture"})
    assert recipe.rebuild(checkouts, tmp_path / "data", manifest(recipe, tmp_path, at)) == 1
    assert "star.png: it cannot be read" in capsys.readouterr().out


def test_a_changed_picture_is_left_out_and_a_near_one_used(recipe, tmp_path, checkouts, capsys):
    at = commit(checkouts / "things", FILES)
    other = recipe.gray_levels(photograph(seed=1))
    tiny = manifest(
        recipe, tmp_path, at, m000002={"sha256": "00", "levels": other}, m000009={"sha256": "00"}, one={"sha256": "00"}
    )
    assert recipe.rebuild(checkouts, tmp_path / "data", tiny) == 1
    main = contents(tmp_path / "data" / "train" / "main-000.tar")
    assert "m000002.webp" not in main and "m000009.webp" in main
    out = capsys.readouterr().out
    assert "owner/things pictures/a cat.jpg: it shows something else" in out
    assert "one.wav: the file is not the one that was used" in out
    assert "all                              5         2         1         0         2" in out
    assert "extra/sounds.tar: not written" in out


def test_a_clone_without_the_commit_is_named_and_others_go_on(recipe, tmp_path, checkouts, capsys):
    at = commit(checkouts / "things", FILES)
    commit(checkouts / "others", {"star.png": FILES["star.png"], "README": b""})
    tiny = manifest(recipe, tmp_path, at, m000010={"repository": "owner/others"}, one={"repository": "owner/gone"})
    assert recipe.rebuild(checkouts, tmp_path / "data", tiny) == 1
    out = capsys.readouterr().out
    assert f"owner/others: {checkouts / 'others'} does not have commit {at}; --fetch downloads" in out
    assert f"owner/gone: no clone of it in {checkouts}" in out
    assert "m000002.webp" in contents(tmp_path / "data" / "train" / "main-000.tar")


def test_nothing_at_all(recipe, tmp_path, checkouts, monkeypatch, capsys):
    tiny = manifest(recipe, tmp_path, "0" * 40)
    command = ["shards.py", "--checkouts", checkouts, "--output", tmp_path / "data", "--manifest", tiny]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    assert recipe.main() == 2
    assert "--fetch downloads them" in capsys.readouterr().err


def test_fetch_downloads_one_commit(recipe, tmp_path, checkouts, monkeypatch, capfd):
    at = commit(tmp_path / "hub" / "owner" / "things", FILES)
    commit(tmp_path / "hub" / "owner" / "things", {"star.png": b"newer"})
    git("-C", tmp_path / "hub" / "owner" / "things", "config", "uploadpack.allowAnySHA1InWant", "true")
    monkeypatch.setattr(recipe, "GITHUB", (tmp_path / "hub").as_uri())
    tiny = manifest(recipe, tmp_path, at, one={"repository": "owner/gone"})
    assert recipe.rebuild(checkouts, tmp_path / "data", tiny, fetches=True) == 1
    out = capfd.readouterr().out
    assert "1 of 2: " in out
    assert "owner/gone: git could not fetch commit" in out
    assert git("--git-dir", checkouts / "owner+things.git", "rev-list", "--all", "--count") == "1"
    assert recipe.rebuild(checkouts, tmp_path / "again", tiny) == 1  # now without the network
    assert set(contents(tmp_path / "again" / "train" / "main-000.tar")) >= {"m000002.webp", "m000010.webp"}


def test_shards_that_are_there_are_not_written_over(recipe, tmp_path, checkouts):
    tiny = manifest(recipe, tmp_path, commit(checkouts / "things", FILES))
    recipe.rebuild(checkouts, tmp_path / "data", tiny)
    with pytest.raises(recipe.Unusable, match="is there already"):
        recipe.rebuild(checkouts, tmp_path / "data", tiny)


def test_flags_need_a_library_that_the_rest_does_not(recipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "cairosvg", None)
    with pytest.raises(recipe.Unusable, match="pip install cairosvg"):
        recipe.draw(b"<svg/>")


def test_long_photographs_lose_both_ends_and_turned_ones_are_set_upright(recipe):
    wide = Image.new("RGB", (400, 100))
    wide.paste("white", (120, 0, 280, 100))
    assert np.asarray(recipe.crop(wide)).min() == 255
    assert recipe.crop(wide).size == (160, 100)
    assert recipe.crop(wide.transpose(Image.Transpose.ROTATE_90)).size == (100, 160)
    turned = Image.Exif()
    turned[274] = 6
    assert recipe.photograph(photograph(exif=turned)).size == (160, 240)


def test_the_manifest_is_whole(recipe):
    head = json.loads((RECIPES / "shards.json").read_text("utf-8"))
    with gzip.open(RECIPES / "shards.jsonl.gz", "rt", encoding="utf-8") as lines:
        pairs = [json.loads(line) for line in lines]
    assert Counter(pair["shard"] for pair in pairs) == {n: about["pairs"] for n, about in head["shards"].items()}
    assert {pair["repository"] for pair in pairs} == set(head["repositories"])
    assert len({(pair["shard"], pair["key"]) for pair in pairs}) == len(pairs) == 21521
    order = [(pair["repository"], pair["path"]) for pair in pairs]
    assert order == sorted(order)  # repositories and files are read in one go
    assert all(about["license"] and about["attribution"] for about in head["repositories"].values())
    assert all(pair["facts"]["license"] and len(pair["sha256"]) == 8 for pair in pairs)
