import pytest
import torch

from anmok.models.modules import from_weights
from anmok.models.modules.vit import VisionTransformer, resize_positions


def test_positions_of_the_grids_own_shape_stay_as_they_are():
    grid = torch.randn(4, 4, 6)
    resized = resize_positions(grid, torch.tensor([[4, 4]]), length=20)
    torch.testing.assert_close(resized[0, :16], grid.flatten(0, 1))
    assert (resized[0, 16:] == 0).all()


def test_padding_patches_do_not_matter(specs, random_weights, random_pictures):
    for name in ("naflex", "naflex mean"):
        spec = specs[name]
        model = from_weights(spec, random_weights(spec))
        inputs = random_pictures(spec, 4).modules
        noisy = torch.where(inputs["mask"][:, :, None], inputs["pixels"], 7.0)
        with torch.inference_mode():
            expected = model.encode_image(**inputs)
            torch.testing.assert_close(model.encode_image(**(inputs | {"pixels": noisy})), expected)
            for i, (rows, columns) in enumerate(inputs["shapes"].tolist()):
                alone = {key: value[i : i + 1] for key, value in inputs.items()}
                alone["pixels"], alone["mask"] = (alone[key][:, : rows * columns] for key in ("pixels", "mask"))
                torch.testing.assert_close(model.encode_image(**alone)[0], expected[i], atol=1e-5, rtol=0)


def test_rows_and_columns_are_not_mixed_up(specs, random_weights, random_pictures):
    spec = specs["naflex"]
    model = from_weights(spec, random_weights(spec))
    inputs = random_pictures(spec, 3).modules
    with torch.inference_mode():
        flipped = model.encode_image(**(inputs | {"shapes": inputs["shapes"].flip(1)}))
        assert not torch.allclose(flipped[1:], model.encode_image(**inputs)[1:], atol=1e-2)


def test_naflex_asks_for_the_shapes(specs):
    with pytest.raises(ValueError, match="needs `mask` and `shapes`"):
        VisionTransformer(specs["naflex"].image, 32)(torch.zeros(1, 20, 192))


def test_pixels_that_fill_no_patch_are_left_out(specs, random_weights, random_pictures):
    spec = specs["clip vit"]  # 34 pixels, patches of 8
    model = from_weights(spec, random_weights(spec))
    pixels = random_pictures(spec, 1).modules["pixels"]
    with torch.inference_mode():
        expected = model.encode_image(pixels)
        pixels[:, :, 32:] = pixels[:, :, :, 32:] = 9
        assert torch.equal(model.encode_image(pixels), expected)
