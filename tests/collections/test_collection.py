from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from anmok import progress, scores
from anmok.collections import Collection, Failure, Hit, IndexReport
from anmok.errors import FingerprintMismatch, QueryError, StoreError
from anmok.store import Store


@pytest.fixture
def collection(tmp_path, encoder):
    with Collection(tmp_path / "c.anmok", encoder=encoder) as collection:
        yield collection


@pytest.fixture
def indexed(collection, photos):
    collection.add_folder(photos)
    return collection


def names(hits):
    return [hit.metadata["path"] for hit in hits]


# Searching


def test_search_finds_by_words_in_both_languages(indexed):
    assert names(indexed.search("a red bag", top=1)) == ["bags/a.png"]
    assert names(indexed.search("파란 가방", top=1)) == ["bags/b.png"]


def test_search_finds_by_picture_and_by_arithmetic(indexed, photos):
    assert names(indexed.search(photos / "tree.jpg", top=2))[0] == "tree.jpg"
    assert names(indexed.search(f"3:blue + {photos / 'tree.jpg'} - green", top=1)) == ["bags/b.png"]


def test_search_returns_hits_best_first_with_metadata(indexed, photos):
    hits = indexed.search("red", top=4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    best = hits[0]
    assert isinstance(best, Hit)
    assert best.path == (photos / "bags" / "a.png").resolve().as_posix()
    assert best.file == (photos / "bags" / "a.png").resolve()
    assert best.cosine > 0.99
    expected = {"path": "bags/a.png", "folder": "bags", "name": "a.png", "width": 12, "height": 8}
    assert {name: best.metadata[name] for name in expected} == expected
    status = (photos / "bags" / "a.png").stat()
    assert (best.metadata["bytes"], best.metadata["mtime_ns"]) == (status.st_size, status.st_mtime_ns)


def test_search_filters(indexed):
    assert set(names(indexed.search("green", where={"folder": "bags"}))) == {"bags/a.png", "bags/b.png"}
    assert names(indexed.search("green", where={"height": {"gt": 10}})) == ["bags/b.png"]
    with pytest.raises(QueryError, match="operator"):
        indexed.search("green", where={"height": {"more": 10}})


def test_hits_carry_the_honest_score_of_their_cosine(indexed, collection):
    hits = indexed.search("red", top=4)
    expected = scores.background(indexed.encoder).match_cosines(np.array([hit.cosine for hit in hits]))
    assert [hit.score for hit in hits] == pytest.approx(expected.tolist(), abs=1e-6)
    assert [hit.found for hit in hits] == [score >= scores.THRESHOLD for score in expected]


def test_a_picture_is_placed_among_pairs_of_pictures(indexed, photos):
    picture = photos / "bags" / "a.png"
    for query, terms in (
        (picture, ((1.0, "picture"),)),
        (str(picture), ((1.0, "picture"),)),
        (f"2:red - {picture}", ((2.0, "text"), (-1.0, "picture"))),
    ):
        hit = indexed.search(query, top=1)[0]
        expected = scores.background(indexed.encoder).match_cosines(np.array([hit.cosine]), terms)
        assert hit.score == pytest.approx(float(expected[0]), abs=1e-6)


def test_search_of_an_empty_collection(collection):
    assert collection.search("red") == []


def test_near_duplicates_groups_chains_and_copies(collection, tmp_path, paint):
    for index, red in enumerate((200, 205, 210, 200)):
        paint(tmp_path / "d" / f"{index}.png", (red, 20, 20))
    paint(tmp_path / "d" / "blue.png", "blue")
    paint(tmp_path / "d" / "sub" / "blue2.png", "blue")
    collection.add_folder(tmp_path / "d")
    reds, blues = collection.near_duplicates(0.99)
    assert [path.rsplit("/", 1)[1] for path in reds.pictures] == ["0.png", "1.png", "2.png", "3.png"]
    assert [path.rsplit("/", 1)[1] for path in blues.pictures] == ["blue.png", "blue2.png"]
    assert blues.cosine == pytest.approx(1, abs=1e-3)
    assert 0.99 <= reds.cosine < 1
    assert collection.near_duplicates(0.99, where={"folder": "sub"}) == []
    assert len(collection.near_duplicates(-1.0, most=15)[0].pictures) == 6
    with pytest.raises(QueryError, match="more than 14 pairs are at least -1 alike"):
        collection.near_duplicates(-1.0, most=14)


def test_recall_is_one_while_the_search_is_exact(indexed):
    assert indexed.recall(3, top=2) == 1.0
    assert len(indexed.sample(3)) == 3
    assert len(indexed.sample(99)) == 4
    assert indexed.recall(["red", "- blue"], top=2) == 1.0
    assert indexed.recall(indexed.encoder.encode_text(["red"])) == 1.0


def test_stats_check_compact_backup(indexed, tmp_path, encoder, photos):
    (photos / "broken.png").write_bytes(b"")
    indexed.add_folder(photos)
    stats = indexed.stats()
    assert (stats.pictures, stats.failed, stats.encoder) == (4, 1, "colors-1")
    assert stats.folders == (photos.resolve().as_posix(),)
    assert indexed.check().ok
    indexed.compact()
    indexed.backup(tmp_path / "copy.anmok")
    with Collection(tmp_path / "copy.anmok", encoder=encoder) as copy:
        assert names(copy.search("red", top=1)) == ["bags/a.png"]
        assert copy.failed == indexed.failed != ()


# Single pictures


def test_add_takes_files_and_pictures_from_memory(collection, photos, encodings):
    report = collection.add([photos / "sun.png", str(photos / "tree.jpg")], metadata={"shop": 1})
    assert report == IndexReport(added=2)
    black = Image.new("RGB", (5, 9), (5, 5, 5))
    pictures = [black, np.full((4, 6, 3), 250, np.uint8), (photos / "bags" / "a.png").read_bytes()]
    collection.add(pictures, keys=["pil", "array", "bytes"], metadata=[{"n": 0}, {"n": 1}, {"n": 2}])
    hit = collection.search("black", top=1)[0]
    assert (hit.path, hit.file, hit.metadata["n"]) == ("pil", None, 0)
    assert (hit.metadata["width"], hit.metadata["height"]) == (5, 9)
    assert collection.search("white", top=1)[0].metadata["width"] == 6
    assert collection.search("red", top=1)[0].path == "bytes"
    assert {hit.metadata["name"] for hit in collection.search("red", where={"shop": 1})} == {"sun.png", "tree.jpg"}
    assert encodings() == 5


def test_add_refuses_a_key_that_is_there_and_upsert_replaces_it(collection, photos, encodings):
    red, blue = photos / "bags" / "a.png", photos / "bags" / "b.png"
    collection.add([red], keys=["it"], metadata={"price": 3})
    with pytest.raises(StoreError, match="'it' is in the collection already: use upsert"):
        collection.add([blue], keys=["it"])
    assert collection.upsert([red], keys=["it"]) == IndexReport(unchanged=1)
    assert encodings() == 1
    assert collection.upsert([blue], keys=["it"]) == IndexReport(changed=1)
    hit = collection.search("blue", top=1)[0]
    assert (hit.path, hit.metadata["price"], hit.file) == ("it", 3, blue.resolve())
    assert len(collection) == 1
    assert collection.delete(["it", "never there"]) == 1
    assert len(collection) == 0


def test_add_lists_bad_pictures_and_takes_the_rest(collection, photos, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    report = collection.add([tmp_path / "bad.png", tmp_path / "none.png", photos / "sun.png"])
    assert report.added == 1
    errors = {failure.picture.rsplit("/", 1)[1]: failure.error for failure in report.failed}
    assert errors["none.png"] == "there is no such file"
    assert "is not a picture" in errors["bad.png"]
    assert {failure.picture for failure in collection.failed} == {failure.picture for failure in report.failed}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pictures": ["a.png", "b.png"], "keys": ["x"]}, "2 pictures were given with 1 keys"),
        ({"pictures": ["a.png", "b.png"], "keys": ["x", "x"]}, "'x' is given twice"),
        ({"pictures": [b"bytes"]}, "picture 0 is not a file and needs a key"),
        ({"pictures": "a.png"}, "a list of one"),
        ({"pictures": ["a.png"], "metadata": [{}, {}]}, "1 pictures were given with 2 metadata"),
        ({"pictures": ["a.png"], "metadata": {"hash": 1}}, "'hash' is kept by the collection itself"),
        ({"pictures": ["a.png"], "metadata": ["red"]}, "metadata is a mapping"),
    ],
)
def test_add_refuses_what_does_not_fit(collection, arguments, message):
    with pytest.raises(StoreError, match=message):
        collection.add(**arguments)


def test_user_metadata_stays_with_a_file_that_changes_or_moves(collection, photos, paint):
    collection.add([photos / "sun.png", photos / "tree.jpg"], metadata=[{"tag": "warm"}, {"tag": "calm"}])
    (photos / "sun.png").rename(photos / "bags" / "moon.png")
    paint(photos / "tree.jpg", "white")
    report = collection.add_folder(photos)
    assert (report.moved, report.changed, report.added) == (1, 1, 2)
    rows = collection.get(
        [(photos / "bags" / "moon.png").resolve().as_posix(), (photos / "tree.jpg").resolve().as_posix()]
    )
    assert [row.metadata["tag"] for row in rows] == ["warm", "calm"]


# The contract


def test_another_encoder_is_refused_naming_both_and_the_way_out(indexed, encoder_type):
    with pytest.raises(FingerprintMismatch) as caught:
        Collection(indexed.path, encoder=encoder_type(version="2"))
    for part in ("'colors-1'", "fake1", "'colors-2'", "fake2", "--re-encode"):
        assert part in str(caught.value)


def test_another_precision_of_the_same_encoder_is_welcome(indexed, encoder_type):
    """It was admitted because it stays near to float32."""
    other = encoder_type()
    other.precision = "int8"
    with Collection(indexed.path, encoder=other) as again:
        assert len(again) == len(indexed)


def test_the_same_fingerprint_under_another_name_is_welcome(indexed, encoder_type):
    other = encoder_type()
    other.name = "a copy of it"
    with Collection(indexed.path, encoder=other) as again:
        assert len(again) == 4


def test_the_encoder_of_the_contract_is_loaded_when_it_is_needed(indexed, encoder_type, monkeypatch):
    asked = []

    def load(name, *, precision):
        asked.append((name, precision))
        return encoder_type()

    monkeypatch.setattr("anmok.loading.load", load)
    with Collection(indexed.path, readonly=True) as again:
        assert len(again) == 4
        assert asked == []
        assert names(again.search("red", top=1)) == ["bags/a.png"]
    assert asked == [("colors-1", "fp32")]


def test_an_encoder_from_a_folder_is_named_by_its_absolute_path(tmp_path, encoder_type, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-model").mkdir()
    encoder = encoder_type()
    encoder.name = "my-model"
    with Collection("c.anmok", encoder=encoder) as collection:
        assert collection.contract["encoder"] == (tmp_path / "my-model").resolve().as_posix()


def test_the_contract_of_a_real_encoder_names_its_transform_and_tokenizer(tmp_path, tiny_encoder, photos):
    with Collection(tmp_path / "c.anmok", encoder=tiny_encoder) as collection:
        assert collection.add_folder(photos).added == 4
        hits = collection.search(f"a bag + {photos / 'sun.png'}", top=4)
        contract = collection.contract
    assert len(hits) == 4
    assert contract["transform"] == tiny_encoder.checkpoint.transform.to_dict()
    assert contract["tokenizer"] == tiny_encoder.checkpoint.tokenizer.digest()
    assert (contract["fingerprint"], contract["dimension"]) == (tiny_encoder.fingerprint, 24)
    with Collection(tmp_path / "c.anmok", encoder=tiny_encoder) as again:
        assert len(again) == 4


def test_an_encoder_that_changed_under_its_name_is_refused(indexed, encoder_type, monkeypatch):
    monkeypatch.setattr("anmok.loading.load", lambda name, precision: encoder_type(version="2"))
    with Collection(indexed.path) as again, pytest.raises(FingerprintMismatch, match="colors-2"):
        again.search("red")


def test_a_missing_collection_and_another_kind_of_store_are_refused(tmp_path, encoder):
    with pytest.raises(StoreError, match=r"there is no collection at .*anmok index"):
        Collection(tmp_path / "none.anmok")
    with pytest.raises(StoreError, match="there is no collection"):
        Collection(tmp_path / "none.anmok", encoder=encoder, readonly=True)
    assert not (tmp_path / "none.anmok").exists()
    Store.open(tmp_path / "labels.anmok", dimension=28, create=True, contract={"kind": "label set"}).close()
    with pytest.raises(StoreError, match="no picture collection but label set"):
        Collection(tmp_path / "labels.anmok", encoder=encoder)


def test_progress_is_one_task_over_all_files(collection, photos):
    reports = []
    with progress.listen(reports.append):
        collection.add_folder(photos)
    assert {report.name for report in reports} == {"indexing pictures"}
    assert reports[-1] == progress.Progress("indexing pictures", 4, 4, finished=True)


def test_failures_are_plain(collection, photos):
    (photos / "broken.png").write_bytes(b"not a picture")
    report = collection.add_folder(photos)
    path = (photos / "broken.png").resolve().as_posix()
    assert report.failed == collection.failed == (Failure(path, report.failed[0].error),)
    assert "not a picture" in report.failed[0].error
