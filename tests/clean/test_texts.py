import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anmok.clean import CleanSettings, judge_text
from anmok.clean.texts import count_letters, count_words, same_text

DEFAULT = CleanSettings()


def reason(text, **settings):
    verdict = judge_text(text, CleanSettings(**settings))
    return verdict[0] if verdict else None


@pytest.mark.parametrize(
    "text",
    [
        "image", "Photo", "a picture", "photos", "logo", "thumbnail", "Untitled", "untitled-3", "alt", "null",
        "click to enlarge", "Click here to view larger image", "no image available", "product image 3", "main-image",
        "Image 3 of 7", "full size image", "N/A", "read more", "IMG_1234.JPG", "img_1234", "DSC_0042", "DSCN0042",
        "PXL_20230102_030405", "Screenshot 2023-01-02 at 3.04.05 PM", "KakaoTalk_20230102_030405678",
        "WhatsApp Image 2023-01-02 at 03.04.05", "red-bag-2.jpg", "빨간 가방.png", "https://example.com/pictures/17",
        "www.example.com", "someone@example.com", "2023-01-02", "2023.1.2.", "January 2, 2023", "2 Jan 2023",
        "2023년 1월 2일", "2023년 1월 2일 오후 3:04", "1/2/2023", "d41d8cd98f00b204e9800998ecf8427e",
        "123e4567-e89b-12d3-a456-426614174000", "12,000원", "100 x 200 mm", "ＩＭＧ＿１２３４．ＪＰＧ", "이미지",
        "사진", "썸네일", "대표 이미지", "대표이미지", "상품 사진", "상품 이미지입니다", "사진 3", "이미지 없음",
        "사진 3장", "큰 이미지", "이 사진은", "이미지를 클릭하면 확대됩니다", "로고", "제목 없음",
        "스크린샷 2023-01-02", "본문 이미지 1", "더 보기",
    ],
)  # fmt: skip
def test_texts_that_say_nothing(text):
    assert reason(text) == "boilerplate text"


@pytest.mark.parametrize(
    "text",
    [
        "a photo of a cat", "red logo", "picture frame", "a view of the sea", "a blank page", "the click beetle",
        "iPhone 15 Pro", "R2-D2", "7-Eleven", "50% off", "a 3D model", "image of a dog in snow", "TV", "ox",
        "B-52 bomber", "사진기", "그림자", "그림책을 읽는 아이", "로고가 있는 가방", "배경 화면 속 고양이", "귤",
        "배", "개", "빨간 가방", "고양이 사진", "가을 이미지", "개 사진", "이번 전시 사진", "장가 가는 날 사진",
        "대표 음식", "100% 면 티셔츠", "경찰차", "이것은 컵", "東京", "кот", "naïve café", "犬",
    ],
)  # fmt: skip
def test_texts_that_say_something(text):
    assert reason(text) is None


@pytest.mark.parametrize("text", ["a", "!", "3", "ㅋㅋㅋ", "ㅎ", "...", "12 34", "😀", "  "])
def test_texts_that_are_too_short(text):
    assert reason(text) == "short text"


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("half \ud83d", "lone surrogate"),
        ("고양이 \ufffd", "could not be read"),
        ("占쏙옙 고양이", "could not be read"),
        ("a cafÃ©", "may mean 'a café'"),
        ("a\x00b c", "control characters"),
    ],
)
def test_damaged_texts_say_how(text, detail):
    verdict = judge_text(text, DEFAULT)
    assert verdict is not None
    assert verdict[0] == "damaged text"
    assert detail in verdict[1]


def test_dash_of_windows_is_no_damage():
    assert reason("the Michelson\x96Morley experiment") is None


def test_korean_is_counted_by_its_own_rule():
    assert [count_letters(text) for text in ("cat", "귤", "고양이", "ㅋㅋ", "犬", "a1!")] == [3, 2, 6, 0, 2, 1]
    assert [count_words(text) for text in ("a red bag", "빨간 가방", "빨간가방", "배", "달리는 개 3 !")] == [
        3,
        2,
        2,
        1,
        2,
    ]
    decomposed = "\u1100\u1172\u11af"  # 귤 as macOS writes it
    assert count_letters(decomposed) == 2


def test_thresholds_are_options():
    assert reason("cup", min_letters=4) == "short text"
    assert reason("컵", min_letters=3) == "short text"
    assert reason("a cup", min_words=3) == "short text"
    assert reason("빨간색 커피잔", min_words=2) is None
    assert reason("image", keep=frozenset({"boilerplate text"})) is None
    assert reason("a", keep=frozenset({"boilerplate text"})) == "short text"


def test_case_and_spaces_make_no_other_text():
    assert same_text(" A  Red\nbag") == same_text("a red bag") != same_text("a red bags")


@given(st.text(st.characters()))  # half letters included
def test_any_text_is_judged(text):
    verdict = judge_text(text, DEFAULT)
    assert verdict is None or (verdict[0] in {"damaged text", "boilerplate text", "short text"} and verdict[1])


@pytest.mark.parametrize(
    "part", ["대체텍스트", "이미지 ", "a" * 20 + ".", "image ", "1-", "www.", "사진 1 ", "2023-", "￿"]
)
def test_long_texts_take_no_time(part):
    start = time.process_time()
    judge_text(part * 20_000 + "!", DEFAULT)
    assert time.process_time() - start < 1
