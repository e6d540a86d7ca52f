"""The tokenizer that is trained on captions: any text has tokens."""

import pytest

from anmok.train.tokenizer import train_tokenizer

TEXTS = ["a photo of a dress", "빨간 원 세 개", "the digit three", "milk carton", "북극곰 사진"] * 3


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "tokens").mkdir()
    return train_tokenizer(TEXTS, tmp_path / "tokens", vocabulary=400, context_length=16)


def test_any_text_has_tokens_and_ends_in_the_highest_id(tokenizer):
    last = tokenizer.get_vocab_size() - 1
    for text in ["", "a dress", "A DRESS", "뷁 漢字 😀 \x00", "x" * 300, "e\u0301"]:
        ids = tokenizer.encode(text).ids
        assert ids[-1] == last
        assert ids[0] == last - 1
        assert ids.count(last) == 1
    assert tokenizer.encode("A Dress").ids == tokenizer.encode("a dress").ids
    assert tokenizer.encode("e\u0301").ids == tokenizer.encode("é").ids


def test_a_tokenizer_is_trained_once(tokenizer, tmp_path):
    again = train_tokenizer(["other words"], tmp_path / "tokens", vocabulary=300, context_length=16)
    assert again.to_str() == tokenizer.to_str()
