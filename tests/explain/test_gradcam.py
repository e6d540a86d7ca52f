"""Grad-CAM against the sum it is: channels times the mean of their gradients."""

import numpy as np
import torch
from PIL import Image

from anmok.explain.gradcam import gradcam


def test_gradcam_is_the_weighted_sum_of_channels():
    """Of a linear head on the mean of the map, the channels' weights are known."""
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(1, 5, 4, 6, generator=generator, requires_grad=True)
    toward = torch.nn.functional.normalize(torch.rand(5, generator=generator) - 0.5, dim=0)
    embedding = features.mean(dim=(2, 3))[0]
    found = gradcam(embedding, features, toward).numpy()
    length = embedding.detach().norm()
    unit = embedding.detach() / length
    weights = (toward - unit * (unit @ toward)) / length / 24  # gradient of a cosine, spread over 24 places
    expected = np.maximum(np.einsum("c,chw->hw", weights.numpy(), features[0].detach().numpy()), 0)
    assert found.shape == (4, 6)
    assert np.abs(found - expected).max() < 1e-6


def test_the_deepest_stage_that_is_fine_enough_is_looked_at():
    """The last of the embedded model has 3 x 3 cells, the one before 6 x 6."""
    from anmok.checkpoints import load_checkpoint
    from anmok.explain.gradcam import feature_map

    checkpoint = load_checkpoint("anmok-mini")
    embedding, features = feature_map(checkpoint, Image.new("RGB", (96, 96), "red"))
    assert features.shape[2:] == (6, 6)
    assert embedding.shape == (256,)
