"""Strings that tokenizers disagree on, and small tokenizers of every public family.

The vocabularies of SigLIP and Gemma are not here, so models of the same make are trained on a
few hundred made sentences: what is tested is the way from a text to its ids, which does not
depend on the vocabulary. CLIP's own vocabulary ships with the package.
"""

import io
import json
import random
import warnings
from pathlib import Path

import pytest

POOLS = {
    "english": """
        a photo of the cat dog red bag shoe street market mountain river blue small large old man woman
        child sitting running table chair bottle glass paper cardboard plastic metal box don't we'll it's 12
        365 running's jacket sleeve cotton shirt apple banana juice milk oatmeal yoghurt textbook figure
        diagram cell energy force
    """,
    "korean": """
        고양이 강아지 빨간 가방 신발 거리 시장 산과 강에서 파란 작은 커다란 할머니가 아이는 앉아 있는
        뛰어가는 사진 책상 의자 유리병 종이 상자 플라스틱 금속 재킷 셔츠를 사과 바나나 우유 교과서 그림 세포
        에너지 힘의 안녕하세요 뷁 값없이
    """,
    "other": """
        café naïve Ångström İstanbul ΟΔΟΣ Straße Кошка ἄλφα 漢字 ひらがな カタカナ 猫的照片 قطة חתול แมว
        बिल्ली ﬁnance ＦＵＬＬ ½ ² № ™ ſt \u212aelvin e\u0301 n\u0303 \u1112\u1161\u11ab\u1100\u1173\u11af
        ㅋㅋㅋ ㅠㅠ 한국語 ① Ⅷ ㎏ ﷺ
    """,
    "marks": """
        🐱 👨\u200d👩\u200d👧 🇰🇷 ☕️ 👍🏽 … — – “quoted” ‘so’ « » ! ?! ... :) ;-( #tag @user $9.99 50% a/b
        x_y [z] {k} <b> ~ ^ | \\ ` ·
    """,
}
ENGLISH, KOREAN, OTHER, MARKS = (words.split() for words in POOLS.values())
SPACES = [*" " * 4, *"\t\n\x0b\x1c\x85\u00a0\u2003\u2028\u200b\u3000", "  ", "\r\n", ""]
NASTY = [
    "",
    " ",
    "   \t\n ",
    " a cat",
    "a cat ",
    "  two  spaces  ",
    ".",
    "...",
    "!!!???",
    "_",
    "a_b__c",
    "{}",
    "'s",
    "'S 'T 'RE 'VE 'M 'LL 'D",
    "'ſ it'ſ",
    "they're we've I'm you'll he'd",
    "1234567890",
    "3.14159",
    "０１２３",
    "\x00",
    "a\x00b",
    "\x07bell\x1b[31mred\x1b[0m",
    "\ufeffbom",
    "soft\u00adhyphen",
    "zero\u200bwidth\u200djoiner",
    "\u202eright to left",
    "\ufffd replacement",
    "\ufffe\uffff nonchar",
    "&amp; &lt;b&gt; &quot;x&quot; &#39; &eacute; &EACUTE;",
    "&amp;amp;lt;",
    "&#x301;e&#x301;",
    "a < b &amp; c",
    "sÃ³ voilÃ  le travail â€œquotesâ€\u009d",
    "ê³ ì–‘ì´",
    "ï»¿broken",
    "Ã©tÃ© cafÃ© â€“ dash",
    "ﬂubberiﬁc",
    "ＬＯＵＤ　ＮＯＩＳＥＳ",
    "ｶﾀｶﾅ ﾊﾝｸﾞﾙ",
    "\u1100\u1161\u11a8",
    "가\u0301",
    "각\u11a8",
    "Z̤͔ͧ̑̓ä͖̭̈̇lͮ̒ͫǧ̗͚̚o̙̔ͮ̇͐̇",
    "ΑΣ ΑΣΑ Σ",
    "İI ıi",
    "ß ẞ ŉ ǰ",
    "ﷺ ㍿ ㌔",
    "𝕳𝖊𝖑𝖑𝖔 𝟙𝟚",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿🏳️‍🌈",
    "▁ ▁▁a ▁b▁",
    "▁",
    "<|startoftext|>a cat<|endoftext|>",
    "<|ENDOFTEXT|> b",
    "<start_of_text>a cat<end_of_text> b",
    "!!<end_of_text>",
    "x<END_OF_TEXT>y",
    "<ſtart_of_text>",
    "</s>",
    "a </s> b",
    "a cat</s>",
    "</s></s> a",
    "<unk>",
    "a <unk> cat<unk>",
    "<pad> <bos> <eos> <mask> <s>",
    "<0x41> <0xEA>",
    "<table>\n\n\ta",
    "line\nbreak\r\nand\ttab",
    "a" * 300,
    "가" * 300,
    "🐱" * 120,
    "a photo of a cat " * 40,
    "고양이 사진 " * 60,
    "word," * 100,
    "é" * 200,
    "!" * 200,
    "x " * 62,
    "x " * 63,
    "x " * 64,
    "x " * 74,
    "x " * 75,
    "x " * 76,
    "x " * 77,
]


def made_strings(count: int) -> list[str]:
    chance = random.Random(20210301)
    mixed = [ENGLISH, KOREAN, OTHER, MARKS]
    kinds = [[ENGLISH], [KOREAN], [OTHER], [ENGLISH, KOREAN], [ENGLISH, MARKS], [KOREAN, MARKS], mixed]
    strings = []
    for _ in range(count):
        pools = chance.choice(kinds)
        words = [chance.choice(chance.choice(pools)) for _ in range(chance.choice([1, 2, 3, 5, 8, 13, 40]))]
        words = [chance.choice([str, str, str, str.upper, str.title])(word) for word in words]
        strings.append("".join(word + chance.choice(SPACES) for word in words))
    return strings


@pytest.fixture(scope="session")
def strings() -> list[str]:
    """More than a thousand strings, the same in every run."""
    return NASTY + made_strings(1000)


@pytest.fixture(scope="session")
def open_clip(torchvision):
    """The reference of open_clip's own tokenizers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import open_clip

    return open_clip


@pytest.fixture(scope="session")
def transformers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import transformers
    return transformers


@pytest.fixture(scope="session")
def clip_files(tmp_path_factory, open_clip) -> Path:
    """CLIP's `vocab.json` and `merges.txt`, from open_clip's copy of the vocabulary."""
    reference = open_clip.SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    folder = tmp_path_factory.mktemp("clip")
    vocabulary = {names.get(piece, piece): i for piece, i in reference.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in reference.bpe_ranks)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_config(folder, tokenizer_class="CLIPTokenizer", model_max_length=77)
    return folder


def train(**options) -> bytes:
    import sentencepiece

    chance = random.Random(7)
    words = ENGLISH + KOREAN + OTHER[:8]
    words += [a[:2] + b[-3:] for a in ENGLISH for b in ENGLISH[::3]] + [a[:1] + b for a in KOREAN for b in KOREAN]
    lines = [" ".join(chance.choice(words) for _ in range(8)).lower() for _ in range(600)]
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=written,
        vocab_size=700,
        hard_vocab_limit=False,
        minloglevel=3,
        num_threads=1,
        **options,
    )
    return written.getvalue()


@pytest.fixture(scope="session")
def siglip_files(tmp_path_factory) -> Path:
    """A `spiece.model` made as T5's c4_en is: unigram, nmt_nfkc, pad 0, eos 1, unk 2."""
    folder = tmp_path_factory.mktemp("siglip")
    (folder / "spiece.model").write_bytes(train(model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1))
    write_config(folder, tokenizer_class="SiglipTokenizer", model_max_length=64)
    return folder


@pytest.fixture(scope="session")
def gemma_files(tmp_path_factory) -> Path:
    """A `tokenizer.model` made as Gemma's is: BPE with byte fallback, text left as it is."""
    folder = tmp_path_factory.mktemp("gemma")
    blob = train(
        model_type="bpe",
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        allow_whitespace_only_pieces=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        control_symbols=["<mask>"],
        user_defined_symbols=["\n\n", "▁▁", "<table>"],
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
    )
    (folder / "tokenizer.model").write_bytes(blob)
    return folder


def write_config(folder: Path, **config) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
