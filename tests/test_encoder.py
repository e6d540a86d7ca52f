"""Pictures and texts to unit vectors: order, duplicates, failures, both engines."""

import numpy as np
import pytest
from PIL import Image

from anmok import progress
from anmok.embeddings import Embeddings
from anmok.encoder import Encoder
from anmok.errors import PictureError, SettingsError, TextError


def noise(seed: int, height: int = 40, width: int = 56) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def pictures(tmp_path):
    paths = []
    for seed in range(5):
        path = tmp_path / f"{seed}.png"
        Image.fromarray(noise(seed)).save(path)
        paths.append(path)
    return paths


def test_every_kind_of_picture_gives_the_same_vector(tiny_encoder, pictures):
    path = pictures[0]
    kinds = [path, str(path), path.read_bytes(), Image.open(path), noise(0)]
    vectors = tiny_encoder.encode_image(kinds).vectors
    assert vectors.shape == (5, 24)
    assert vectors.dtype == np.float32
    assert np.abs(vectors - vectors[0]).max() == 0


def test_one_picture_without_a_list_is_one_row(tiny_encoder, pictures):
    assert len(tiny_encoder.encode_image(pictures[0])) == 1
    assert len(tiny_encoder.encode_image(noise(0))) == 1


def test_order_is_kept_over_batches(tiny_encoder, pictures):
    alone = [tiny_encoder.encode_image(path).vectors[0] for path in pictures]
    together = tiny_encoder.encode_image(pictures[::-1], batch_size=2).vectors
    assert np.abs(together - np.stack(alone[::-1])).max() < 1e-5


def test_rows_are_unit_vectors_with_the_fingerprint(tiny_encoder, pictures):
    embeddings = tiny_encoder.encode_image(pictures)
    assert np.allclose(np.linalg.norm(embeddings.vectors, axis=1), 1, atol=1e-5)
    assert embeddings.fingerprint == tiny_encoder.fingerprint


def test_equal_pictures_and_texts_are_encoded_once(tiny_checkpoint, monkeypatch):
    encoder = Encoder(tiny_checkpoint)
    counted = {"image": 0, "text": 0}
    for tower in counted:
        run = getattr(encoder._towers, tower)

        def count(array, run=run, tower=tower, **options):
            counted[tower] += len(array)
            return run(array, **options)

        monkeypatch.setattr(encoder._towers, tower, count)
    pictures = encoder.encode_image([noise(1), noise(2), noise(1), noise(1)], batch_size=2)
    texts = encoder.encode_text(["a cat", "a dog", "a cat"])
    assert counted == {"image": 2, "text": 2}
    assert np.array_equal(pictures.vectors[0], pictures.vectors[3])
    assert np.array_equal(texts.vectors[0], texts.vectors[2])


def test_bad_picture_raises_naming_it(tiny_encoder, pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    with pytest.raises(PictureError, match=r"bad\.jpg"):
        tiny_encoder.encode_image([*pictures, bad])


def test_bad_picture_is_skipped_and_the_rest_keep_their_places(tiny_encoder, pictures, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    embeddings = tiny_encoder.encode_image([pictures[0], bad, pictures[1]], on_error="skip", batch_size=2)
    assert embeddings.indices.tolist() == [0, 2]
    assert [failure.index for failure in embeddings.failed] == [1]
    assert "bad.jpg" in embeddings.failed[0].picture
    assert np.abs(embeddings.vectors[1] - tiny_encoder.encode_image(pictures[1]).vectors[0]).max() < 1e-5


def test_all_bad_gives_no_rows(tiny_encoder):
    embeddings = tiny_encoder.encode_image([b"", b"x"], on_error="skip")
    assert embeddings.vectors.shape == (0, 24)
    assert len(embeddings.failed) == 2


def test_nothing_gives_nothing(tiny_encoder):
    assert tiny_encoder.encode_image([]).vectors.shape == (0, 24)
    assert tiny_encoder.encode_text([]).vectors.shape == (0, 24)


def test_a_text_does_not_depend_on_its_neighbours(tiny_encoder):
    alone = tiny_encoder.encode_text("a cat").vectors[0]
    among = tiny_encoder.encode_text(["a cat", "a very long text " * 30, ""]).vectors[0]
    assert np.abs(alone - among).max() < 1e-5


def test_text_that_is_no_string_is_named(tiny_encoder):
    with pytest.raises(TextError, match="text 1 is a int"):
        tiny_encoder.encode_text(["a", 3])


def test_both_engines_agree(tiny_checkpoint, tiny_encoder, pictures):
    reading = Encoder(tiny_checkpoint, engine="torch")
    texts = ["a cat", "word " * 100, ""]
    assert np.abs(reading.encode_image(pictures).vectors - tiny_encoder.encode_image(pictures).vectors).max() < 1e-5
    assert np.abs(reading.encode_text(texts).vectors - tiny_encoder.encode_text(texts).vectors).max() < 1e-5


def test_unknown_engine_offers_the_near_one(tiny_checkpoint):
    with pytest.raises(SettingsError, match=r"engine 'onxruntime' is unknown.*Did you mean 'onnxruntime'"):
        Encoder(tiny_checkpoint, engine="onxruntime")


def test_unknown_precision_is_an_error(tiny_checkpoint):
    with pytest.raises(SettingsError, match="precision 'fp8' is unknown"):
        Encoder(tiny_checkpoint, precision="fp8")


def test_scale_is_the_factor_itself(tiny_encoder):
    assert tiny_encoder.logit_scale == pytest.approx(np.exp(3.0))
    assert tiny_encoder.logit_bias == 0.0
    assert tiny_encoder.score == "softmax"


def test_progress_counts_every_picture(tiny_encoder, pictures):
    reports = []
    with progress.listen(reports.append):
        tiny_encoder.encode_image([*pictures, b""], on_error="skip", batch_size=4)
    assert reports[-1].done == reports[-1].total == 6


def test_embeddings_of_another_model_are_refused(tiny_encoder):
    other = Embeddings(np.eye(24, dtype=np.float32), "another")
    with pytest.raises(Exception, match="another"):
        tiny_encoder.encode_text("a cat") @ other


def test_korean_for_an_english_tokenizer_is_told(tiny_checkpoint):
    from dataclasses import replace

    from anmok.texts import Tokenizer, UnsupportedScriptWarning

    encoder = Encoder(replace(tiny_checkpoint, tokenizer=Tokenizer.clip()))
    with pytest.warns(UnsupportedScriptWarning, match="Hangul"):
        encoder.encode_text("빨간 가방")
