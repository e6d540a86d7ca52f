"""Texts that say nothing about a picture: file names, dates, addresses, "click to enlarge", "대표 이미지"."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["boilerplate"]

LONGEST = 400  # letters of a text that are looked at

SUFFIXES = "jpe?g|jfif|png|gif|webp|bmp|tiff?|heic|heif|avif|svg|psd|raw|cr2|nef|pdf|mp4|mov"
MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
TIME = r"(?:[ ,T]*(?:오전|오후)?\s*\d{1,2}[:시]\s*\d{2}분?(?:[:.]\d{2}초?)?\s*(?:am|pm|z|kst|utc)?)?"
PATTERNS = {
    what: re.compile(pattern, re.IGNORECASE)
    for what, pattern in {
        "is a file name": rf"\S.{{0,200}}\.(?:{SUFFIXES})",
        "is a name that a camera or a program gave": (
            r"(?:img|dsc[nf]?|pxl|mvimg|vid|gopr|dji|p\d|image|photo|picture|pic|screenshot|screen ?shot|capture|scan|"
            r"kakaotalk|kakaotalk_photo|fb_img|whatsapp image|received|snapshot|untitled|"
            r"스크린샷|화면 ?캡처|캡처|제목 ?없음|이미지|사진|그림)"
            r"[\s_(#.-]*\d[\d\s_().:~-]*(?:at [\d.\s:apm]+)?(?:copy|edit|kakao|번|장|오전[\d\s.:]*|오후[\d\s.:]*)?\)?"
        ),
        "is an address": r"(?:[a-z]+://|www\.|[\w-]+\.(?:com|net|org|co\.kr|kr|io|me)\b)\S*|\S+@\S+\.\S+",
        "is a date": (
            r"(?:(?:\d{4}|\d{2})\s*[-./년]\s*\d{1,2}\s*[-./월]\s*\d{1,2}\s*[일.]?|\d{1,2}[-./]\d{1,2}[-./]\d{2,4}|"
            rf"(?:{MONTHS})[a-z]*\.? \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}}|\d{{1,2}}\.? (?:{MONTHS})[a-z]*\.?,? \d{{4}}|"
            rf"\d{{4}}년(?:\s*\d{{1,2}}월)?|\d{{1,2}}월\s*\d{{1,2}}일){TIME}"
        ),
        "is an identifier": (
            r"(?=\S*\d)(?!\S*[a-z]{5})[0-9a-z_{}.-]{12,}|\{?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\}?"
        ),
    }.items()
}
"""Texts that are nothing but one of these. In an identifier (f3ab09c1d2e4) there is a digit, and no run of letters."""

EMPTY_ENGLISH = """
image images img imgs picture pictures pic pics photo photos photograph photographs foto thumbnail thumbnails icon logo
banner avatar placeholder spacer untitled screenshot enlarge zoom fullscreen null undefined nan jpg jpeg png gif webp
alt caption gallery unnamed
"""
FILLERS_ENGLISH = """
a an the this that these of for to in on at by with from no not is are be here and or your our my its it new click tap
press hover see view show open more full size larger large big bigger small medium high resolution main cover featured
header footer hero profile product item default blank empty sample preview background site website page post article
blog user stock available coming soon loading load download copyright description text title name number file
attachment attached com www http https
"""
EMPTY_KOREAN = """
이미지 사진 그림 썸네일 섬네일 로고 배너 아이콘 스크린샷 캡처 캡쳐 무제 미리보기 첨부파일 대체텍스트 포토 픽처 움짤
짤방
"""
FILLERS_KOREAN = """
대표 상품 제품 메인 본문 첨부 관련 기본 원본 상세 작은 프로필 배경 커버 표지 목록 게시글 게시물 블로그 뉴스 기사 파일
설명 보기 보러가기 확대 축소 크게 자세히 클릭 누르면 누르세요 하기 하면 하세요 됩니다 입니다 있습니다 제목 이름 없음
없는 없습니다 준비 준비중 중입니다 로딩 페이지 사이트 홈페이지 카테고리 참고 예시 샘플 추가 업로드 다운로드 저작권
출처 대체 텍스트 아래 왼쪽 오른쪽
"""
"""A text of nothing but these says nothing, where at least one of the empty words is among them. Korean words are
written together as often as apart, and take a particle; a single syllable counts only where it stands alone (가을 is
no row of particles), and 개 not at all: it is a dog."""
PARTICLES = "의|을|를|이|가|은|는|에|도|로|으로|와|과"
ALONE = "이|그|위|큰|더|첫|한|및|중|전"

PHRASES = (
    "제목 없음", "제목없음", "이름 없음", "설명 없음", "내용 없음", "더 보기", "자세히 보기", "바로가기", "no title",
    "no description", "read more", "learn more", "click here", "view full size", "n/a", "none", "unknown",
)  # fmt: skip

_ENGLISH = frozenset(EMPTY_ENGLISH.split()), frozenset((EMPTY_ENGLISH + FILLERS_ENGLISH).split())
_KOREAN_PARTS = sorted((EMPTY_KOREAN + FILLERS_KOREAN).split(), key=len, reverse=True)
_KOREAN = (
    re.compile("|".join(EMPTY_KOREAN.split())),
    re.compile(f"(?:{'|'.join(_KOREAN_PARTS)})++(?:{PARTICLES})?|{ALONE}"),  # possessive: no backtracking
)
_COUNTED = re.compile(r"\d+ ?(?:번째|번|장|개)")


def boilerplate(text: str) -> str:
    """What the text is instead of a description ("is a file name"), or nothing."""
    line = " ".join(unicodedata.normalize("NFKC", text[:LONGEST]).split()).strip(" \"'“”‘’*[]<>|-_.·:#")
    for what, pattern in PATTERNS.items():
        if pattern.fullmatch(line):
            return what
    line = line.casefold()
    return "says nothing" if line in PHRASES or _only_empty_words(line) else ""


def _only_empty_words(line: str) -> bool:
    line = _COUNTED.sub(" ", line)
    english, korean = re.findall(r"[^\W\d_가-힣]+", line), re.findall("[가-힣]+", line)
    if not _ENGLISH[1].issuperset(english) or not all(map(_KOREAN[1].fullmatch, korean)):
        return False
    return not _ENGLISH[0].isdisjoint(english) or any(map(_KOREAN[0].search, korean))
