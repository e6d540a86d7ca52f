"""Prompt templates: the published ones to the letter, Korean that reads well, files that say what is wrong."""

import pytest

from anmok.errors import LabelError
from anmok.texts import TEMPLATES, fill, load_templates, prompts


def test_clip80_equals_open_clip(open_clip):
    from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

    assert [fill(template, "cat") for template in TEMPLATES["clip80"]] == [
        one("cat") for one in OPENAI_IMAGENET_TEMPLATES
    ]


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_every_template_takes_a_label_and_none_is_twice(name):
    templates = load_templates(name)
    assert all(template.count("{}") == 1 for template in templates)
    assert len(set(templates)) == len(templates)


@pytest.mark.parametrize(
    ("template", "label", "filled"),
    [
        ("a photo of a {}.", "cat", "a photo of a cat."),
        ("{}", "{x} {} %s \\1", "{x} {} %s \\1"),
        ("{a} {0} {}", "cat", "{a} {0} cat"),
        ("{}을(를) 찍은 사진", "고양이", "고양이를 찍은 사진"),
        ("{}을(를) 찍은 사진", "책", "책을 찍은 사진"),
        ("{}은(는) 어디", "가방", "가방은 어디"),
        ("{}과(와) 사람", "나무", "나무와 사람"),
        ("{}(으)로 만든 상자", "종이", "종이로 만든 상자"),
        ("{}(으)로 만든 상자", "유리병", "유리병으로 만든 상자"),
        ("{}(으)로 만든 상자", "연필", "연필로 만든 상자"),
        ("{}이(가) 있는 사진", "365", "365가 있는 사진"),
        ("{}이(가) 있는 사진", "숫자 3", "숫자 3이 있는 사진"),
        ("{}(으)로", "8", "8로"),
        ("{}을(를) 찍은 사진", "cat", "cat을(를) 찍은 사진"),
        ("{}을(를) 찍은 사진", "", "을(를) 찍은 사진"),
    ],
)
def test_fill_puts_the_label_and_its_particle(template, label, filled):
    assert fill(template, label) == filled


def test_small_prompts_speak_the_language_of_the_label():
    small = load_templates("small")
    korean, english = prompts(small, "고양이"), prompts(small, "cat")
    assert korean == ["고양이", "고양이 사진", "고양이의 사진", "고양이 이미지", "고양이를 찍은 사진"]
    assert english[:2] == ["cat", "a photo of a cat."]
    assert len(english) == 5
    assert not set("".join(english)) & set("사진")


def test_prompts_use_every_template_where_none_is_in_the_language():
    assert prompts(TEMPLATES["clip80"], "고양이")[0] == "a bad photo of a 고양이."
    assert "cat 사진" in prompts(TEMPLATES["korean"], "cat")
    assert prompts(("{}",), "고양이") == ["고양이"]
    assert prompts(("{}", "a {}"), "고양이") == ["고양이", "a 고양이"]


def test_file_of_templates_is_read(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_bytes("\ufeff# mine\n\n  a drawing of {}  \r\n{} 그림\na drawing of {}\n".encode())
    assert load_templates(path) == ("a drawing of {}", "{} 그림")
    assert load_templates(str(path)) == load_templates(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a {}\nno label\n# fine\nnor here {0}\n", r"missing in line 2 \('no label'\), line 4 \('nor here \{0\}'\)"),
        (b"# nothing\n\n", "has no template"),
        (b"", "has no template"),
        ("{} 사진".encode("cp949"), "is not UTF-8 text"),
    ],
)
def test_bad_file_of_templates_is_explained(tmp_path, content, message):
    path = tmp_path / "mine.txt"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=message) as caught:
        load_templates(path)
    assert "mine.txt" in str(caught.value)


def test_unknown_set_of_templates_names_the_known_ones():
    with pytest.raises(
        LabelError, match=r"'smal' is neither a set of templates \(none, small, .*Did you mean 'small'\?"
    ):
        load_templates("smal")
