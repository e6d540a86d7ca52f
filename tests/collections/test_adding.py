"""Pictures whose embeddings are known already are taken in as they are, and decoded by nobody."""

import numpy as np
import pytest

from anmok.collections import Collection
from anmok.collections.adding import Encoded
from anmok.embeddings import Embeddings
from anmok.errors import FingerprintMismatch, StoreError


@pytest.fixture
def collection(tmp_path, encoder):
    with Collection(tmp_path / "c.anmok", encoder=encoder) as collection:
        yield collection


def known(encoder, files):
    return Encoded(encoder.encode_image(files), [(12, 8)] * len(files))


def test_nothing_is_encoded_again_and_rows_are_the_same(collection, encoder, photos, encodings, tmp_path):
    files = [photos / "bags" / "a.png", photos / "tree.jpg"]
    given = known(encoder, files)
    before = encodings()
    report = collection.add(files, keys=["a", "t"], metadata=[{"price": 1}, {}], encoded=given)
    assert (report.added, encodings()) == (2, before)
    with Collection(tmp_path / "plain.anmok", encoder=encoder) as plain:
        plain.add(files, keys=["a", "t"], metadata=[{"price": 1}, {}])
        for mine, theirs in zip(collection.get(["a", "t"]), plain.get(["a", "t"]), strict=True):
            assert np.array_equal(mine.vector, theirs.vector) and mine.metadata == theirs.metadata


def test_an_upsert_takes_the_new_embedding(collection, encoder, photos, paint):
    file = photos / "sun.png"
    collection.add([file], keys=["s"], encoded=known(encoder, [file]))
    paint(file, "blue")
    report = collection.upsert([file], keys=["s"], encoded=known(encoder, [file]))
    assert report.changed == 1
    assert np.allclose(collection.get(["s"])[0].vector, encoder.encode_image([file]).vectors[0], atol=1e-3)


def test_a_file_that_is_gone_is_listed_and_the_others_keep_their_own(collection, encoder, photos):
    files = [photos / "bags" / "a.png", photos / "tree.jpg", photos / "sun.png"]
    given = known(encoder, files)
    files[1].unlink()
    report = collection.add(files, keys=["a", "t", "s"], encoded=given)
    assert report.added == 2 and [failure.picture for failure in report.failed] == ["t"]
    for key, row in (("a", 0), ("s", 2)):
        assert np.allclose(collection.get([key])[0].vector, given.embeddings.vectors[row], atol=1e-3)


def test_embeddings_of_another_encoder_or_of_other_pictures_are_refused(collection, encoder, photos):
    files = [photos / "sun.png", photos / "tree.jpg"]
    given = known(encoder, files)
    foreign = Encoded(Embeddings(given.embeddings.vectors, "another"), given.sizes)
    with pytest.raises(FingerprintMismatch):
        collection.add(files, encoded=foreign)
    with pytest.raises(StoreError, match="1 pictures were given with 2 embeddings"):
        collection.add(files[:1], encoded=given)
    assert len(collection) == 0


def test_a_score_depends_on_what_the_embedding_was_made_of(collection, encoder, photos):
    collection.add_folder(photos)
    query = encoder.encode_image([photos / "tree.jpg"])
    as_picture = collection.search(query, top=1, terms=((1.0, "picture"),))[0]
    assert as_picture.score == collection.search(photos / "tree.jpg", top=1)[0].score
