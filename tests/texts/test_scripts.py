"""Scripts that a tokenizer cannot carry are found, and said once."""

import json
import warnings

import pytest

import anmok
from anmok.texts import Tokenizer, UnsupportedScriptWarning, unsupported_scripts, warn_unsupported_scripts

SENTENCES = {
    "Hangul": "빨간 가방을 든 사람의 사진",
    "Han": "一只猫的照片",
    "Hiragana": "ねこのしゃしん",
    "Katakana": "カタカナ テレビ",
    "Cyrillic": "Фотография кошки на столе",
    "Arabic": "صورة قطة على الطاولة",
    "Greek": "φωτογραφία μιας γάτας",
    "Hebrew": "תמונה של חתול",
    "Devanagari": "बिल्ली की तस्वीर",
    "Thai": "ภาพถ่ายของแมว",
}


@pytest.fixture(scope="module")
def clip():
    return Tokenizer.clip()


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory):
    """A tokenizer that learned every one of the sentences."""
    import tokenizers
    from tokenizers import models, pre_tokenizers, processors, trainers

    backend = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>"], show_progress=False)
    backend.train_from_iterator([*SENTENCES.values(), "a photo of a cat"] * 3, trainer)
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    folder = tmp_path_factory.mktemp("multilingual")
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>", "pad_token": "<pad>"}))
    return Tokenizer.from_folder(folder, context_length=32)


@pytest.mark.parametrize("script", SENTENCES)
def test_clip_does_not_carry(clip, script):
    (found,) = unsupported_scripts(clip, ["a cat", SENTENCES[script]])
    assert found.script == script
    assert found.example in SENTENCES[script]
    assert found.tokens_per_letter > 0.85
    assert found.unknown == 0


def test_learned_scripts_are_carried(multilingual):
    assert unsupported_scripts(multilingual, SENTENCES.values()) == []


def test_unknown_characters_are_not_carried(multilingual):
    (found,) = unsupported_scripts(multilingual, ["Բարեւ աշխարհ"])
    assert (found.script, found.unknown) == ("Armenian", 1.0)


@pytest.mark.parametrize("text", ["", "a photo", "café naïve Ångström", "3 × 5 — “so” 🐱 ☕️ ½ №5", "\x00\ud800"])
def test_latin_and_signs_are_carried(clip, text):
    assert unsupported_scripts(clip, [text]) == []


def test_separate_jamo_are_hangul(clip):
    (found,) = unsupported_scripts(clip, ["\u1112\u1161\u11ab\u1100\u1173\u11af"])
    assert (found.script, found.example) == ("Hangul", "한글")


def test_scripts_come_with_the_most_letters_first(clip):
    found = unsupported_scripts(clip, ["кот", SENTENCES["Hangul"], "bag 猫"])
    assert [one.script for one in found] == ["Hangul", "Cyrillic", "Han"]


@pytest.mark.parametrize("words", [["레몬", "가죽"], ["컵"], ["뷁"], ["멜론 껍질"]])
def test_a_costly_word_is_no_unknown_script(clip, words):
    korean = anmok.load("anmok-mini").checkpoint.tokenizer
    assert unsupported_scripts(korean, words) == []
    assert [one.script for one in unsupported_scripts(clip, words)] == ["Hangul"]


def test_which_texts_have_letters_of_it(clip):
    (hangul, cyrillic) = unsupported_scripts(clip, ["a cat", "고양이 사진", "кот", "", "cat 고양이 고양이"])
    assert (hangul.script, hangul.places) == ("Hangul", (1, 4))
    assert (cyrillic.script, cyrillic.places) == ("Cyrillic", (2,))


def test_the_way_out_is_a_model_that_carries_the_script(clip):
    (hangul, cyrillic) = unsupported_scripts(clip, ["고양이 사진", "кот"])
    assert "anmok-mini" in hangul.way_out
    assert "anmok-mini" not in cyrillic.way_out
    assert "SigLIP 2" in cyrillic.way_out


def test_warning_names_script_example_and_way_out_once():
    tokenizer = Tokenizer.clip()
    with pytest.warns(
        UnsupportedScriptWarning, match=r"cannot carry Hangul text such as '고양이'.* anmok-mini .* SigLIP 2"
    ):
        warn_unsupported_scripts(tokenizer, ["고양이"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_unsupported_scripts(tokenizer, ["고양이", "강아지", "cat"])
    with pytest.warns(UnsupportedScriptWarning, match=r"Cyrillic.*such as a multilingual SigLIP 2"):
        warn_unsupported_scripts(tokenizer, ["고양이 кошка"])


def test_warning_says_when_characters_are_unknown(multilingual):
    with pytest.warns(
        UnsupportedScriptWarning, match="Armenian text such as 'աշխարհ': it does not know these characters"
    ):
        warn_unsupported_scripts(multilingual, ["Բարեւ աշխարհ"])
