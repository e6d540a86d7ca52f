"""The hybrid tower equals torchvision's vision transformer with a convolutional stem."""

import pytest
import torch
from torch import nn

from anmok.models.modules.hybrid import HybridTransformer
from anmok.models.spec import HybridSpec

SPEC = HybridSpec(
    image_size=32, stem=(8, 16, 24), width=32, layers=2, heads=4, mlp_width=48, activation="gelu", pool="cls",
    norm_eps=1e-6,
)  # fmt: skip


@pytest.fixture
def reference(torchvision):
    from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

    stem = [ConvStemConfig(out_channels=channels, kernel_size=3, stride=2) for channels in SPEC.stem]
    model = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=4, hidden_dim=32, mlp_dim=48, num_classes=10,
        conv_stem_configs=stem,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif value.is_floating_point():
                value.normal_(std=1.7 * value[0].numel() ** -0.5 if value.ndim > 1 else 0.2)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                module.weight.add_(1)
    return model


def state_of(model):
    """Torchvision's arrays under our names."""
    theirs, renamed = model.state_dict(), {"class_embedding": model.class_token[0, 0]}
    for i, block in enumerate(model.conv_proj[:-1]):
        for part, module in (("conv", block[0]), ("norm", block[1])):
            for key, value in module.state_dict().items():
                if key != "num_batches_tracked":
                    renamed[f"patch_embedding.stem.{i}.{part}.{key}"] = value
    for key in ("weight", "bias"):
        renamed[f"patch_embedding.projection.{key}"] = getattr(model.conv_proj[-1], key)
        renamed[f"norm.{key}"] = theirs[f"encoder.ln.{key}"]
        for i in range(SPEC.layers):
            at, prefix = f"blocks.{i}", f"encoder.layers.encoder_layer_{i}"
            renamed[f"{at}.norm1.{key}"] = theirs[f"{prefix}.ln_1.{key}"]
            renamed[f"{at}.norm2.{key}"] = theirs[f"{prefix}.ln_2.{key}"]
            renamed[f"{at}.attention.qkv.{key}"] = theirs[f"{prefix}.self_attention.in_proj_{key}"]
            renamed[f"{at}.attention.out.{key}"] = theirs[f"{prefix}.self_attention.out_proj.{key}"]
            renamed[f"{at}.mlp.up.{key}"] = theirs[f"{prefix}.mlp.0.{key}"]
            renamed[f"{at}.mlp.down.{key}"] = theirs[f"{prefix}.mlp.3.{key}"]
    renamed["position_embedding"] = model.encoder.pos_embedding[0]
    return renamed


def test_features_equal_torchvision(reference):
    ours = HybridTransformer(SPEC, 32).eval()
    with torch.no_grad():
        ours.projection.weight.copy_(torch.eye(32))
    state = {**state_of(reference), "projection.weight": ours.projection.weight}
    assert set(ours.state_dict()) == set(state)
    ours.load_state_dict(state)
    reference.heads = nn.Identity()
    pixels = torch.randn(3, 3, 32, 32) + 2 * torch.randn(3, 3, 1, 1)
    with torch.inference_mode():
        expected = reference(pixels)
        assert (expected[0] - expected[1]).abs().max() > 0.1
        torch.testing.assert_close(ours(pixels), expected, atol=1e-5, rtol=0)


def test_the_stem_makes_the_grid_of_the_patches():
    tower = HybridTransformer(SPEC, 8)
    assert tower.patch_embedding(torch.randn(2, 3, 32, 32)).shape == (2, 32, 4, 4)
    assert tower.position_embedding.shape == (4 * 4 + 1, 32)
