"""Token ids equal to open_clip's and transformers', for every family and every way through a folder."""

import json
import pickle
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anmok.errors import CheckpointError, MissingFile, TextError
from anmok.texts import Tokenizer


def ids_of(reference, texts, length):
    """What a transformers tokenizer gives, padded to `length`."""
    encoded = reference(texts, padding="max_length", truncation=True, max_length=length, return_tensors="np")
    return encoded["input_ids"].astype(np.int64)


def assert_same(ours, theirs, texts):
    assert ours.dtype == np.int64
    assert ours.shape == theirs.shape
    different = [text for text, a, b in zip(texts, ours, theirs, strict=True) if not np.array_equal(a, b)]
    assert different == []


# --- CLIP ---------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [77, 32])
def test_clip_equals_open_clip(open_clip, strings, length):
    theirs = open_clip.SimpleTokenizer(context_length=length)(strings).numpy()
    assert_same(Tokenizer.clip(length)(strings, trim=False), theirs, strings)


def test_clip_files_equal_transformers(transformers, clip_files, strings):
    reference = transformers.CLIPTokenizer.from_pretrained(clip_files)
    tokenizer = Tokenizer.from_folder(clip_files, context_length=77)
    assert tokenizer.kind == "clip"
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.vocabulary) == (49407, 49407, 49408)
    assert_same(tokenizer(strings, trim=False), ids_of(reference, strings, 77), strings)


def test_clip_tokenizer_json_equals_transformers(transformers, clip_files, strings, tmp_path):
    transformers.CLIPTokenizer.from_pretrained(clip_files).save_pretrained(tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path, context_length=77)
    assert_same(tokenizer(strings, trim=False), ids_of(reference, strings, 77), strings)
    assert tokenizer.digest() == Tokenizer.from_folder(clip_files).digest()


def test_clip_padding_token_is_the_one_that_the_folder_names(transformers, clip_files, tmp_path):
    shutil.copytree(clip_files, tmp_path, dirs_exist_ok=True)
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": {"content": "!"}}')
    reference = transformers.CLIPTokenizer.from_pretrained(tmp_path, pad_token="!")
    texts = ["a cat", "hello!", "hello!! you", "wow !"]
    assert_same(Tokenizer.from_folder(tmp_path)(texts, trim=False), ids_of(reference, texts, 77), texts)


def test_clip_trims_to_the_longest_of_the_batch():
    tokenizer = Tokenizer.clip()
    short = tokenizer(["a cat", "a photo of a cat"])
    assert short.shape == (2, 7)
    np.testing.assert_array_equal(short, tokenizer(["a cat", "a photo of a cat"], trim=False)[:, :7])
    assert tokenizer([]).shape == (0, 0)
    assert tokenizer([], trim=False).shape == (0, 77)


def test_clip_keeps_end_of_text_on_a_long_text():
    ids = Tokenizer.clip()(["cat " * 200])
    assert ids.shape == (1, 77)
    assert (ids[0, 0], ids[0, -1]) == (49406, 49407)


# --- SigLIP -------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [64, 16])
def test_siglip_equals_transformers(transformers, siglip_files, strings, length):
    reference = transformers.SiglipTokenizer.from_pretrained(siglip_files)
    tokenizer = Tokenizer.from_folder(siglip_files, context_length=length)
    assert (tokenizer.kind, tokenizer.canonicalize, tokenizer.pad_token, tokenizer.eos_token) == ("siglip", True, 1, 1)
    with pytest.warns(UserWarning, match="already has </s>"):  # texts that end in the token themselves
        theirs = ids_of(reference, strings, length)
    assert_same(tokenizer(strings), theirs, strings)


def test_siglip_always_has_every_column(siglip_files):
    assert Tokenizer.from_folder(siglip_files, context_length=64)(["a cat"]).shape == (1, 64)


def test_siglip2_equals_transformers(transformers, gemma_files, strings, tmp_path):
    write_siglip2(gemma_files, tmp_path, "Siglip2Tokenizer")
    reference = transformers.Siglip2Tokenizer.from_pretrained(tmp_path)
    tokenizer = Tokenizer.from_folder(tmp_path, context_length=64)
    assert (tokenizer.kind, tokenizer.pad_token, tokenizer.eos_token) == ("siglip2", 0, 1)
    assert_same(tokenizer(strings), ids_of(reference, strings, 64), strings)


def test_siglip2_model_file_equals_sentencepiece(gemma_files, strings):
    import sentencepiece

    reference = sentencepiece.SentencePieceProcessor(model_proto=(gemma_files / "tokenizer.model").read_bytes())
    tokenizer = Tokenizer.from_folder(gemma_files, context_length=64, kind="siglip2")
    # Names of special tokens in a text are the tokens to transformers and letters to SentencePiece. Rust
    # lower-cases sigma letter by letter, Python by its place in the word.
    plain = [text for text in strings if not any(name in text for name in ("<pad>", "<unk>", "<0x", "Σ", "▁"))]
    assert len(plain) > 1000
    expected = np.zeros((len(plain), 64), dtype=np.int64)
    for row, text in zip(expected, plain, strict=True):
        ids = [*reference.encode(text.lower())[:63], 1]
        row[: len(ids)] = ids
    assert_same(tokenizer(plain), expected, plain)


@pytest.mark.parametrize(
    ("model_type", "kind"), [("siglip", "auto"), ("siglip2", "auto"), (None, "siglip"), (None, "siglip2")]
)
def test_siglip2_is_lower_cased_however_it_is_named(gemma_files, tmp_path, model_type, kind):
    """Fixed-resolution SigLIP 2 folders say model_type siglip and GemmaTokenizer; upper case is noise to them all."""
    write_siglip2(gemma_files, tmp_path, "GemmaTokenizerFast")
    if model_type:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    tokenizer = Tokenizer.from_folder(tmp_path, context_length=64, kind=kind)
    assert tokenizer.kind == "siglip2"
    np.testing.assert_array_equal(tokenizer(["A Red BAG"]), tokenizer(["a red bag"]))


def write_siglip2(gemma_files, folder, tokenizer_class):
    """A folder as SigLIP 2's on the hub: tokenizer.json of a GemmaTokenizer, with end of text and without a start."""
    made = Tokenizer.from_folder(gemma_files, context_length=64, kind="siglip2")
    made.save(folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    content["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    (folder / "tokenizer.json").write_text(json.dumps(content))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config |= {"tokenizer_class": tokenizer_class, "add_bos_token": False, "add_eos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


# --- open_clip's HFTokenizer, our own format ----------------------------------------------


@pytest.fixture(scope="module")
def own_files(tmp_path_factory, strings):
    """A small byte-level tokenizer as anmok trains them: tokenizer.json, and its special tokens named."""
    import tokenizers
    from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=1500, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(strings[90:], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    folder = tmp_path_factory.mktemp("own")
    backend.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 40, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("clean", ["whitespace", "lower", "canonicalize"])
def test_own_files_equal_open_clip(open_clip, own_files, strings, clean):
    theirs = open_clip.tokenizer.HFTokenizer(str(own_files), context_length=40, clean=clean)(strings).numpy()
    tokenizer = Tokenizer.from_folder(own_files, clean=clean)
    assert (tokenizer.kind, tokenizer.context_length, tokenizer.pad_token) == ("plain", 40, 0)
    assert_same(tokenizer(strings), theirs, strings)


def test_own_files_equal_transformers(transformers, own_files, strings):
    reference = transformers.AutoTokenizer.from_pretrained(own_files)
    tokenizer = Tokenizer.from_folder(own_files, context_length=24)
    assert_same(tokenizer(strings), ids_of(reference, strings, 24), strings)


def test_own_files_trim_where_the_caller_says_so(own_files):
    assert Tokenizer.from_folder(own_files, trims=True)(["cat"]).shape[1] < 10
    assert Tokenizer.from_folder(own_files)(["cat"]).shape[1] == 40


def test_t5_tokenizer_json_equals_open_clip(open_clip, transformers, siglip_files, strings, tmp_path):
    """SigLIP as open_clip publishes it: T5's tokenizer.json, padded with 1, canonicalized by open_clip."""
    made = transformers.T5Tokenizer.from_pretrained(siglip_files, extra_ids=0, pad_token="</s>")
    made.save_pretrained(tmp_path)
    theirs = open_clip.tokenizer.HFTokenizer(str(tmp_path), context_length=64, clean="canonicalize")(strings).numpy()
    tokenizer = Tokenizer.from_folder(tmp_path, context_length=64, clean="canonicalize")
    assert_same(tokenizer(strings), theirs, strings)


@pytest.mark.parametrize("clean", ["whitespace", "canonicalize"])
def test_siglip_model_file_equals_open_clip(open_clip, siglip_files, strings, clean):
    """open_clip's cleaning comes before the tokenizer's own and does not replace it."""
    texts = [text for text in strings if not text.rstrip().endswith("</s>")]
    theirs = open_clip.tokenizer.HFTokenizer(str(siglip_files), context_length=64, clean=clean)(texts).numpy()
    assert_same(Tokenizer.from_folder(siglip_files, clean=clean)(texts), theirs, texts)


# --- saving -------------------------------------------------------------------------------


@pytest.fixture(params=["clip", "open_clip", "siglip", "siglip2", "own"])
def tokenizer(request):
    if request.param == "open_clip":
        return Tokenizer.clip()
    name = {"siglip2": "gemma_files"}.get(request.param, f"{request.param}_files")
    kind = "siglip2" if request.param == "siglip2" else "auto"
    return Tokenizer.from_folder(request.getfixturevalue(name), kind=kind)


def test_saved_tokenizer_reads_back_equal(tokenizer, strings, tmp_path):
    tokenizer.save(tmp_path)
    again = Tokenizer.from_folder(tmp_path)
    assert_same(again(strings, trim=False), tokenizer(strings, trim=False), strings)
    assert again.digest() == tokenizer.digest()
    assert (again.clean, again.eos_token, again.pad_token) == (
        tokenizer.clean,
        tokenizer.eos_token,
        tokenizer.pad_token,
    )


def test_saved_tokenizer_gives_the_same_ids_in_transformers(transformers, tokenizer, strings, tmp_path):
    tokenizer.save(tmp_path)
    reference = transformers.AutoTokenizer.from_pretrained(tmp_path)
    texts = [text for text in strings if not text.endswith("</s>")]
    if tokenizer.kind == "open_clip":  # transformers does not repair texts, and pads with another token
        texts = ["a photo of a cat.", "고양이 사진!", "it's 365 days", "x " * 100]
        reference.pad_token_id = 0
    length = tokenizer.context_length
    assert_same(tokenizer(texts, trim=False), ids_of(reference, texts, length), texts)


def test_tokenizer_survives_pickling(tokenizer):
    again = pickle.loads(pickle.dumps(tokenizer))
    np.testing.assert_array_equal(again(["고양이 a cat"]), tokenizer(["고양이 a cat"]))


def test_digest_tells_tokenizers_apart(clip_files, siglip_files):
    digests = [
        Tokenizer.clip().digest(),
        Tokenizer.clip(64).digest(),
        Tokenizer.from_folder(clip_files).digest(),
        Tokenizer.from_folder(clip_files, clean="lower").digest(),
        Tokenizer.from_folder(siglip_files).digest(),
        Tokenizer.from_folder(siglip_files, context_length=32).digest(),
    ]
    assert len(set(digests)) == len(digests)
    assert Tokenizer.clip().digest() == digests[0]


# --- hostile input ------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet=st.characters(codec=None), max_size=120))
def test_any_text_encodes(tokenizer, text):
    ids = tokenizer([text], trim=False)[0]
    assert len(ids) == tokenizer.context_length
    assert ids.min() >= 0
    assert ids.max() < tokenizer.vocabulary
    assert tokenizer.eos_token in ids


def test_lone_surrogate_is_read_as_replacement(tokenizer):
    np.testing.assert_array_equal(tokenizer(["a \ud800 cat"]), tokenizer(["a \ufffd cat"]))


def test_texts_that_are_not_texts_are_refused():
    tokenizer = Tokenizer.clip()
    with pytest.raises(TextError, match="put it in a list"):
        tokenizer("a cat")
    with pytest.raises(TextError, match="text 1 is NoneType, expected str"):
        tokenizer(["a cat", None])


def test_folder_without_tokenizer_names_what_was_looked_for(tmp_path):
    with pytest.raises(
        MissingFile, match=r"tokenizer.json, vocab.json with merges.txt, spiece.model or tokenizer.model"
    ):
        Tokenizer.from_folder(tmp_path, context_length=77)
    with pytest.raises(MissingFile, match=r"spiece.model or tokenizer.json"):
        Tokenizer.from_folder(tmp_path, context_length=64, kind="siglip")


def test_half_a_clip_vocabulary_is_refused(clip_files, tmp_path):
    shutil.copy(clip_files / "vocab.json", tmp_path)
    with pytest.raises(MissingFile, match=r"vocab.json with merges.txt"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", "{", "is not a tokenizer"),
        ("tokenizer.json", "{}", "is not a tokenizer"),
        ("tokenizer_config.json", "[1]", "is not a JSON object"),
        ("tokenizer_config.json", "{", "is not JSON"),
        ("spiece.model", "\x0a\x7f short", "is not a whole SentencePiece model"),
        ("spiece.model", "", "is not a SentencePiece model"),
        ("tokenizer.model", "version https://git-lfs.github.com/spec/v1", "is not a whole SentencePiece model"),
    ],
)
def test_damaged_file_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        Tokenizer.from_folder(tmp_path, context_length=64)
    assert name in str(caught.value)


def test_wrong_options_are_refused(clip_files, own_files, tmp_path):
    with pytest.raises(CheckpointError, match="the kind of tokenizer is 'clap', expected one of auto, clip"):
        Tokenizer.from_folder(clip_files, kind="clap")
    with pytest.raises(CheckpointError, match=r"clean is 'lowr', expected .* Did you mean 'lower'\?"):
        Tokenizer.from_folder(clip_files, clean="lowr")
    with pytest.raises(CheckpointError, match="the context length is 2"):
        Tokenizer.from_folder(own_files, context_length=2)
    with pytest.raises(CheckpointError, match="the context length is 2"):
        Tokenizer.clip(2)
    shutil.copy(own_files / "tokenizer.json", tmp_path)
    with pytest.raises(CheckpointError, match="the context length is None"):
        Tokenizer.from_folder(tmp_path)


def test_tokenizer_that_does_not_end_texts_is_refused(own_files, tmp_path):
    content = json.loads((own_files / "tokenizer.json").read_text())
    content["post_processor"] = None
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="does not put its end-of-text token"):
        Tokenizer.from_folder(tmp_path, context_length=40)
