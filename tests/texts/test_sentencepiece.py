"""SentencePiece files read and texts normalized as the library itself does."""

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.errors import CheckpointError
from anmok.texts.pipelines import SiglipPipeline
from anmok.texts.sentencepiece import SentencePieceModel


@pytest.fixture(scope="module")
def pair(siglip_files):
    path = siglip_files / "spiece.model"
    return SentencePieceModel.read(path), sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())


def test_pieces_are_those_of_the_file(pair):
    ours, theirs = pair
    assert len(ours.pieces) == theirs.get_piece_size() > 300
    assert [piece.text for piece in ours.pieces] == [theirs.id_to_piece(i) for i in range(len(ours.pieces))]
    assert [piece.score for piece in ours.pieces] == [theirs.get_score(i) for i in range(len(ours.pieces))]
    assert ours.unknown == theirs.unk_id() == 2


def test_normalizer_equals_sentencepiece(pair, strings):
    ours, theirs = pair
    assert [text for text in strings if ours.normalizer(text) != theirs.normalize(text)] == []


def test_separate_jamo_become_syllables(pair):
    assert pair[0].normalizer("\u1112\u1161\u11ab\u1100\u1173\u11af") == "▁한글"


def test_ids_equal_sentencepiece(pair, strings):
    ours, theirs = pair
    pipeline = SiglipPipeline(ours, 64, {"</s>": 1, "<unk>": 2}, eos=1)
    assert [text for text in strings if pipeline._sentence(text) != theirs.encode(text)] == []


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_is_normalized_as_sentencepiece_does(pair, text):
    assert pair[0].normalizer(text) == pair[1].normalize(text)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_file_is_an_error_or_a_model(siglip_files, tmp_path_factory, data):
    """Cut anywhere or changed anywhere, reading ends in a model or in CheckpointError."""
    blob = bytearray((siglip_files / "spiece.model").read_bytes())
    place = data.draw(st.integers(0, len(blob) - 1))
    if data.draw(st.booleans()):
        del blob[place:]
    else:
        blob[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("damaged") / "spiece.model"
    path.write_bytes(blob)
    try:
        assert SentencePieceModel.read(path).pieces
    except CheckpointError as error:
        assert "spiece.model" in str(error)
