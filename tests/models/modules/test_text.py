import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anmok.models.modules import from_weights


def test_the_first_end_of_text_counts(specs, random_weights):
    spec = specs["clip vit"]
    model = from_weights(spec, random_weights(spec))
    end = spec.text.eos_token
    with torch.inference_mode():
        ended = model.encode_text(torch.tensor([[5, 6, end, end, end]]))
        other_padding = model.encode_text(torch.tensor([[5, 6, end, 0, 7]]))
        shorter = model.encode_text(torch.tensor([[5, end, end, end, end]]))
    torch.testing.assert_close(ended, other_padding)
    assert not torch.allclose(ended, shorter, atol=1e-2)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(ends=st.lists(st.integers(0, 11), min_size=1, max_size=4), seed=st.integers(0, 1000))
def test_a_trimmed_text_equals_the_padded_one(specs, random_weights, ends, seed):
    for spec in (specs["clip vit"], specs["clip, end of text in the middle of the vocabulary"]):
        model = from_weights(spec, random_weights(spec))
        ids = np.random.default_rng(seed).integers(31, 59, (len(ends), 12))
        for i, end in enumerate(ends):
            ids[i, end:] = 0
            ids[i, end] = spec.text.eos_token
        with torch.inference_mode():
            padded = model.encode_text(torch.tensor(ids))
            trimmed = model.encode_text(torch.tensor(ids[:, : max(ends) + 1]))
        torch.testing.assert_close(trimmed, padded, atol=1e-5, rtol=0)


def test_siglip_sees_its_padding(specs, random_weights):
    spec = specs["siglip"]
    model = from_weights(spec, random_weights(spec))
    ids = torch.randint(2, 60, (1, 12))
    changed = ids.clone()
    changed[0, -2] = 3 if ids[0, -2] != 3 else 4
    with torch.inference_mode():
        assert not torch.allclose(model.encode_text(ids), model.encode_text(changed), atol=1e-3)
