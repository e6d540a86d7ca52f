"""Cleaning from end to end, on planted pairs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from anmok.clean import CleanSettings, HeldOut, clean
from anmok.errors import SettingsError
from anmok.pairs import Pair, PairError, Problem, open_pairs
from anmok.train.synthetic import draw_scene

from .making import MemoryShard, cropped, mirrored, noise, recompressed, scaled, source_of, stored


def pair(name, picture, *texts, **more):
    data = stored(picture) if isinstance(picture, Image.Image) else picture
    return Pair(name, data, texts or (f"a text that is only {name}'s",), **more)


def removed(folder):
    return [json.loads(line) for line in (folder / "removed.jsonl").read_text(encoding="utf-8").splitlines()]


def reasons(folder):
    return {record["name"]: record["reason"] for record in removed(folder) if record["dropped"] == "pair"}


def kept(folder):
    """Where the pairs that are left came from → the pairs."""
    return {pair.facts["origin"]: pair for pair in open_pairs(folder)}


@pytest.fixture(scope="module")
def planted(photos):
    """Pairs of which each is good, or has one defect; name → reason it has to be dropped for, or None."""
    scenes = {f"scene{k}": draw_scene(np.random.default_rng(k)).picture for k in range(6)}
    pictures = {**photos, **scenes}
    good = [pair(name, picture) for name, picture in pictures.items()]
    photo = photos["photo-cat"]
    bad = {
        "cut": (stored(photo)[:9000], "unreadable", ()),
        "html": (b"<html><body>404</body></html>", "unreadable", ()),
        "icon": (photo.resize((32, 32)), "low resolution", ()),
        "strip": (photo.resize((900, 90)), "extreme shape", ()),
        "gray": (Image.new("RGB", (200, 200), "gray"), "blank", ()),
        "night": (photo.point(lambda level: level // 12), "too dark", ()),
        "fog": (photo.point(lambda level: min(236 + level // 12, 255)), "too bright", ()),
        "soft": (photo.filter(ImageFilter.GaussianBlur(5)), "blurred", ()),
        "camera": (noise(1), "boilerplate text", ("IMG_1234.JPG",)),
        "대표": (noise(2), "boilerplate text", ("대표 이미지", "click to enlarge")),
        "letter": (noise(3), "short text", ("a",)),
        "mojibake": (noise(4), "damaged text", ("ì´ë¯¸ì§€ ì°¸ê³ ",)),
        "half letter": (noise(5), "damaged text", ("a cat \ud83d",)),
        "same file": (stored(photos["photo-clock"]), "same file", ()),
        "other file": (stored(photos["photo-clock"], "BMP"), "same pixels", ()),
        "jpeg": (recompressed(photos["photo-coffee"], 35), "near duplicate", ()),
        "small": (scaled(photos["photo-horse"], 0.5), "near duplicate", ()),
        "mirror": (mirrored(photos["photo-rocket"]), "near duplicate", ()),
        "crop": (cropped(photos["photo-astronaut"], 0.07, 0.02, 0.0, 0.05), "near duplicate", ()),
        "brighter": (photos["photo-retina"].point(lambda level: min(255, int(1.2 * level))), "near duplicate", ()),
    }
    pairs = good + [pair(name, picture, *texts) for name, (picture, _, texts) in bad.items()]
    pairs.append(PairError("no caption", "no text", "neither its .txt nor its .json holds a text"))
    expected = {one.name: None for one in good} | {name: reason for name, (_, reason, _) in bad.items()}
    return source_of(*pairs), expected | {"no caption": "no text"}


def test_every_planted_defect_is_found_and_nothing_else(planted, mini, tmp_path):
    source, expected = planted
    report = clean(source, tmp_path / "out", encoder=mini)
    assert reasons(tmp_path / "out") == {name: reason for name, reason in expected.items() if reason}
    assert kept(tmp_path / "out").keys() == {name for name, reason in expected.items() if reason is None}
    assert report.dropped == Counter(reason for reason in expected.values() if reason)
    assert report.kept == 18
    assert report.pairs == len(expected)


def test_duplicates_name_what_stays(planted, mini, tmp_path):
    clean(planted[0], tmp_path / "out", encoder=mini)
    twins = {record["name"]: record["kept"] for record in removed(tmp_path / "out") if "kept" in record}
    assert twins == {
        "same file": "photo-clock", "other file": "photo-clock", "jpeg": "photo-coffee", "small": "photo-horse",
        "mirror": "photo-rocket", "crop": "photo-astronaut", "brighter": "photo-retina",
    }  # fmt: skip


def test_without_an_encoder_only_the_cropped_copy_is_missed(planted, tmp_path):
    source, expected = planted
    clean(source, tmp_path / "out")
    missed = {name for name, reason in expected.items() if reason} - reasons(tmp_path / "out").keys()
    assert missed <= {"crop"}


def test_a_pair_loses_its_bad_texts_and_keeps_the_others(tmp_path):
    captions = {"en": ("image", "a red bag"), "ko": ("사진",), "ja": ("鞄",)}
    one = pair(
        "bag", noise(0), "image", "a red bag", "사진", labels=("bag",), captions=captions, facts={"license": "CC0"}
    )
    report = clean(source_of(one), tmp_path / "out")
    left = kept(tmp_path / "out")["bag"]
    assert left.texts == ("a red bag",)
    assert left.captions == {"en": ("a red bag",), "ja": ("鞄",)}
    assert (left.labels, left.facts["license"]) == (("bag",), "CC0")
    assert report.texts_dropped == {"boilerplate text": 2}
    assert [record["text"] for record in removed(tmp_path / "out") if record["dropped"] == "text"] == ["image", "사진"]


def test_of_a_group_the_largest_stays_and_of_equals_the_one_with_the_longest_texts(photos, tmp_path):
    photo = photos["photo-cat"]
    pairs = [pair("a", scaled(photo, 0.5), "a text"), pair("b", photo, "a text"), pair("c", photo, "a longer text")]
    clean(source_of(*pairs), tmp_path / "out")
    assert list(kept(tmp_path / "out")) == ["c"]


def test_texts_of_exact_duplicates_can_be_united(tmp_path):
    pairs = [
        pair("a", noise(0), "a red bag", "image", captions={"en": ("a red bag", "image")}),
        pair("b", noise(0), "a bag", "a red bag", captions={"en": ("a bag",), "ko": ("가방",)}),
    ]
    clean(source_of(*pairs), tmp_path / "one", settings=CleanSettings(unite_texts=True))
    left = kept(tmp_path / "one")["b"]
    assert left.texts == ("a bag", "a red bag")
    assert left.captions == {"en": ("a bag", "a red bag"), "ko": ("가방",)}
    clean(source_of(*pairs), tmp_path / "two")
    assert kept(tmp_path / "two")["b"].texts == ("a bag", "a red bag")[:2]
    assert "en" in kept(tmp_path / "two")["b"].captions


def test_pictures_of_the_held_out_set_are_dropped_and_those_that_cannot_be_read_are_told(photos, mini, tmp_path):
    files = []
    for name, data in (
        ("eval-cat.jpg", stored(recompressed(photos["photo-cat"]))),
        ("eval-clock.png", stored(mirrored(photos["photo-clock"]))),
        ("broken.jpg", b"no picture"),
    ):
        files.append(tmp_path / name)
        files[-1].write_bytes(data)
    source = source_of(*(pair(name, photo) for name, photo in photos.items()))
    everything = frozenset({"near duplicate", "same file", "same pixels"})
    settings = CleanSettings(keep=everything)  # copies within the data are no concern of this
    report = clean(source, tmp_path / "out", settings=settings, encoder=mini, against=HeldOut(tuple(files)))
    assert reasons(tmp_path / "out") == {"photo-cat": "held out", "photo-clock": "held out"}
    assert removed(tmp_path / "out")[0]["held_out"].endswith("eval-cat.jpg")
    assert [name for name, _ in report.not_compared] == [str(tmp_path / "broken.jpg")]
    assert report.held_out == 3
    only_looked = clean(
        source, None, settings=replace(settings, keep=everything | {"held out"}), against=HeldOut(tuple(files))
    )
    assert only_looked.kept == len(photos)


def test_texts_that_stand_beside_too_many_pictures(tmp_path):
    slogan = "Quality since 1987"
    pairs = [pair(f"p{k}", noise(k), slogan, *([f"bag {k} of its own"] if k < 3 else [])) for k in range(12)]
    pairs += [pair(f"copy{k}", noise(0), "one picture many times") for k in range(30)]
    pairs += [pair(f"q{k}", noise(100 + k)) for k in range(9)]
    source = source_of(*pairs)
    report = clean(source, None)
    assert dict(report.repeated) == {slogan: 12}  # the copies are one picture
    assert "repeated text" not in report.dropped
    report = clean(source, tmp_path / "out", settings=CleanSettings(max_repeats=0.2))
    assert report.dropped["repeated text"] == 9
    assert report.texts_dropped["repeated text"] == 3
    assert kept(tmp_path / "out")["p1"].texts == ("bag 1 of its own",)


def test_few_pictures_never_share_a_text_too_often():
    pairs = [pair(f"p{k}", noise(k), "a class name") for k in range(10)]
    assert clean(source_of(*pairs), None, settings=CleanSettings(max_repeats=0.01)).kept == 10


def test_shuffled_texts_match_worst(photos, mini, tmp_path):
    right = {
        "photo-galaxies": "stars and galaxies", "photo-coffee": "a cup of coffee", "photo-cat": "a cat",
        "photo-grass": "grass", "photo-clock": "a clock", "photo-rocket": "a rocket",
    }  # fmt: skip
    scenes = [draw_scene(np.random.default_rng(k)) for k in range(20)]
    pairs = [pair(f"scene{k}", scene.picture, scene.english[0]) for k, scene in enumerate(scenes)]
    wrong = [pair(f"wrong-{name}", photos[name], scenes[k].english[0]) for k, name in enumerate(right)]
    source = source_of(*pairs, *wrong)
    report = clean(source, tmp_path / "out", settings=CleanSettings(drop_lowest=6 / 26), encoder=mini)
    found = {name for name, reason in reasons(tmp_path / "out").items() if reason == "mismatch"}
    assert len(found) == 6
    assert len([name for name in found if name.startswith("wrong")]) >= 5
    assert report.examples["mismatch"][0].detail.startswith("cosine ")


def test_a_text_below_min_match_is_dropped_and_the_pair_with_its_last(mini, tmp_path):
    scene = draw_scene(np.random.default_rng(0))
    pairs = [
        pair("both", scene.picture, scene.english[0], "a parliament in session"),
        pair("none", noise(0), "a fishing boat"),
    ]
    clean(source_of(*pairs), tmp_path / "out", settings=CleanSettings(min_match=0.5), encoder=mini)
    assert reasons(tmp_path / "out") == {"none": "mismatch"}
    assert kept(tmp_path / "out")["both"].texts == (scene.english[0],)
    with pytest.raises(SettingsError, match="needs an encoder"):
        clean(source_of(*pairs), None, settings=CleanSettings(min_match=0.5))


def test_without_an_output_nothing_is_written(planted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = clean(planted[0], None, settings=CleanSettings(examples=1))
    assert report.shards == ()
    assert list(tmp_path.iterdir()) == []
    assert {reason: len(ones) for reason, ones in report.examples.items()} == dict.fromkeys(report.dropped, 1)


def test_examples_come_from_everywhere():
    pairs = [pair(f"p{k:02}", noise(k), "image") for k in range(40)]
    report = clean(source_of(*pairs), None, settings=CleanSettings(examples=4))
    assert [one.name for one in report.examples["boilerplate text"]] == ["p00", "p10", "p20", "p30"]


def test_the_same_again_gives_the_same_bytes_and_replaces_an_earlier_result(planted, mini, tmp_path):
    source, output = planted[0], tmp_path / "out"

    def content():
        return {path.name: path.read_bytes() for path in output.iterdir()}

    clean(source, output, settings=CleanSettings(shard_bytes=200_000), encoder=mini)
    first = content()
    assert len(first) > 3
    clean(source, output, settings=CleanSettings(shard_bytes=200_000), encoder=mini)
    assert content() == first
    clean(source, output)
    assert content() != first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_cleaned_data_is_clean(planted, mini, tmp_path):
    clean(planted[0], tmp_path / "once", encoder=mini)
    report = clean(open_pairs(tmp_path / "once"), tmp_path / "twice", encoder=mini)
    assert (report.dropped, report.texts_dropped) == ({}, {})
    assert kept(tmp_path / "twice").keys() == kept(tmp_path / "once").keys()  # still from where they came at first


def test_summary_says_how_it_was_made(planted, mini, tmp_path):
    source = replace(planted[0], problems=(Problem("main-000.tar", "cut", "it ends in the middle"),))
    report = clean(source, tmp_path / "out", encoder=mini)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    assert summary["source"] == "f" * 32
    assert summary["model"] == {"name": "anmok-mini", "fingerprint": mini.fingerprint}
    assert summary["settings"]["min_side"] == 64
    assert summary["dropped"] == report.dropped
    assert summary["problems"][0]["kind"] == "cut"
    assert summary["shards"] == [shard.name for shard in report.shards] == ["clean-00000.tar"]


# What must not be lost


def test_another_folder_is_not_replaced(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(SettingsError, match="not made by cleaning"):
        clean(source_of(pair("a", noise(0))), tmp_path)
    file = tmp_path / "thesis.txt"
    with pytest.raises(SettingsError, match="not made by cleaning"):
        clean(source_of(pair("a", noise(0))), file)
    assert file.read_text() == "precious"


def test_an_empty_folder_may_be_there(tmp_path):
    (tmp_path / "out").mkdir()
    assert clean(source_of(pair("a", noise(0))), tmp_path / "out").kept == 1


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SettingsError, match="cannot be written"):
        clean(source_of(pair("a", noise(0))), tmp_path / "out")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anmok.clean.measure.os.posix_fallocate", full, raising=False)
    with pytest.raises(SettingsError, match="cannot be written: No space left on device"):
        clean(source_of(pair("a", noise(0))), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_earlier_result_comes_back_where_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    output = tmp_path / "out"
    clean(source_of(pair("old", noise(9))), output)
    rename = Path.rename

    def refuse(path, target):
        if path.name == "new":
            raise OSError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(SettingsError, match="cannot be written: Permission denied"):
        clean(source_of(pair("new", noise(1))), output)
    assert kept(output).keys() == {"old"}


def test_a_file_system_that_cannot_take_room_ahead_is_used_without(tmp_path, monkeypatch):
    def cannot(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("anmok.clean.measure.os.posix_fallocate", cannot, raising=False)
    assert clean(source_of(pair("a", noise(0))), tmp_path / "out").kept == 1


def test_a_picture_that_goes_away_meanwhile_is_dropped(tmp_path):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        path.write_bytes(stored(noise(k)))

    class Leaving(MemoryShard):
        reads = 0

        def read(self, index):
            self.reads += 1
            if self.reads == 4:  # the first that is read again, to be written
                paths[1].unlink()
            return super().read(index)

    source = replace(source_of(), shards=[Leaving([pair(path.stem, path) for path in paths])])
    report = clean(source, tmp_path / "out")
    assert reasons(tmp_path / "out") == {"1": "missing file"}
    assert kept(tmp_path / "out").keys() == {"0", "2"}
    assert (report.kept, report.dropped) == (2, {"missing file": 1})


def test_nothing_left_is_a_result_too(tmp_path):
    report = clean(source_of(pair("a", b""), pair("b", noise(0), "image")), tmp_path / "out")
    assert (report.kept, report.shards) == (0, ())
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"removed.jsonl", "summary.json"}


def test_no_pairs_at_all(tmp_path):
    assert clean(source_of(), tmp_path / "out").pairs == 0


def test_names_that_are_no_text_are_written(tmp_path):
    odd = os.fsdecode(b"b\xff.png")
    clean(source_of(pair(odd, noise(0), "image"), pair("b\nc", noise(0), "half \ud83d")), tmp_path / "out")
    assert reasons(tmp_path / "out") == {odd: "boilerplate text", "b\nc": "damaged text"}


KILLED = """
import os, sys
from pathlib import Path
from anmok.clean import clean, write
from anmok.pairs import PairSource, open_pairs

source, output, at = open_pairs(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

class Deadly:
    def __init__(self, shard, reads):
        self.shard, self.left, self.name = shard, reads, shard.name
    def __len__(self):
        return len(self.shard)
    def read(self, index):
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), 9)
        return self.shard.read(index)

def die(*_):
    os.kill(os.getpid(), 9)

if at == "rename":
    write.Path.rename = die
else:
    source = PairSource([Deadly(source.shards[0], int(at))], fingerprint="x")
clean(source, output)
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="kills as POSIX does")
@pytest.mark.parametrize("earlier", [False, True])
def test_a_process_killed_in_the_middle_leaves_no_half_output(tmp_path, earlier):
    data, output = tmp_path / "data", tmp_path / "out"
    clean(source_of(*(pair(f"p{k}", noise(k)) for k in range(6))), data)
    if earlier:
        clean(source_of(pair("old", noise(9))), output)
    for at in ("3", "9", "rename"):  # while looking, while writing, before the new name
        run = subprocess.run(
            [sys.executable, "-c", KILLED, data, output, at], capture_output=True, text=True, check=False
        )
        assert run.returncode == -9, run.stderr
        if earlier:
            assert kept(output).keys() == {"old"}
        else:
            assert not output.exists()
        assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} <= {"data", "out"}
    assert clean(open_pairs(data), output).kept == 6
    assert len(kept(output)) == 6


def test_what_a_dead_process_left_is_removed_after_a_day(tmp_path):
    old, young = tmp_path / ".out.cleaning-old", tmp_path / ".out.cleaning-young"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (0, 0))
    clean(source_of(pair("a", noise(0))), tmp_path / "out")
    assert {path.name for path in Path(tmp_path).iterdir()} == {"out", young.name}
