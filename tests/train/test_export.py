import json

import numpy as np
import pytest
import torch

from anmok.checkpoints import load_checkpoint
from anmok.models.modules import DualEncoder, from_weights
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec
from anmok.train.export import open_clip_config, save_open_clip, train_tokenizer

TEXTS = ["a photo of a dress", "빨간 원 세 개", "the digit three", "milk carton", "북극곰 사진"] * 3


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "tokens").mkdir()
    return train_tokenizer(TEXTS, tmp_path / "tokens", vocabulary=400, context_length=16)


def spec_for(tokenizer, **changes) -> DualSpec:
    size = tokenizer.get_vocab_size()
    text = TextSpec(size, 16, 32, 2, 2, 128, "gelu", True, "eos", 1e-5, False, size - 1, 0)
    return DualSpec(ResNetSpec(64, **{"width": 8, "layers": (1, 2, 1, 1), "heads": 4, **changes}), text, 24, "softmax")


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


def test_what_is_saved_loads_and_embeds_the_same(tokenizer, tmp_path):
    torch.manual_seed(0)
    model = DualEncoder(spec_for(tokenizer)).eval()
    save_open_clip(model, tokenizer, tmp_path / "mini")
    checkpoint = load_checkpoint(tmp_path / "mini")
    assert checkpoint.spec == model.spec
    assert checkpoint.transform.resize == "squash"
    loaded = from_weights(checkpoint.spec, checkpoint.weights)
    ids = torch.from_numpy(np.array(checkpoint.tokenizer(["a photo of a dress", "북극곰 사진 세 개"])))
    assert (
        ids[0].tolist()[: len(tokenizer.encode("a photo of a dress").ids)] == tokenizer.encode("a photo of a dress").ids
    )
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        for mine, theirs in (
            (model.encode_image(pixels), loaded.encode_image(pixels)),
            (model.encode_text(ids), loaded.encode_text(ids)),
        ):
            cosine = torch.nn.functional.cosine_similarity(mine, theirs)
            assert cosine.min() > 0.9999  # the file is in half precision


def test_what_open_clip_cannot_express_is_refused(tokenizer):
    with pytest.raises(ValueError, match="one head per 64 channels"):
        open_clip_config(spec_for(tokenizer, heads=2), "mini")


def test_the_config_is_plain_json(tokenizer):
    config = open_clip_config(spec_for(tokenizer), "mini")
    assert json.loads(json.dumps(config)) == config
    assert config["model_cfg"]["vision_cfg"]["layers"] == [1, 2, 1, 1]
