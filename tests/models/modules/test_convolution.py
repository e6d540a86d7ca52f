import pytest
import torch
from torch.nn import functional as F

from anmok.models.modules.convolution import Convolution
from anmok.models.plan import Convolution as Layer


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("size", [7, 8])
def test_a_stride_is_that_of_pytorch(side, stride, size):
    """1x1 convolutions take their stride before they start; the result is the same."""
    layer = Convolution(Layer(8, 16, side, stride=stride, activation="none")).eval()
    x = torch.randn(3, 8, size, size)
    expected = F.conv2d(x, layer.conv.weight, stride=stride, padding=side // 2)
    torch.testing.assert_close(layer(x), expected / (1 + 1e-5) ** 0.5)


def test_gradients_of_narrow_strided_convolutions_are_right_channels_last():
    """oneDNN 3.12 crashes or corrupts memory here when it is given the stride itself."""
    torch.set_num_threads(2)
    layer = Convolution(Layer(8, 16, 1, stride=2, norm=False, activation="none"))
    kept = []
    for i in range(60):
        x = torch.randn(3, 20, 20, 8).permute(0, 3, 1, 2).requires_grad_()
        y = layer(x)
        gradient = torch.randn(y.shape).to(memory_format=torch.channels_last)
        y.backward(gradient)
        expected = torch.zeros_like(x)
        expected[:, :, ::2, ::2] = torch.einsum("nohw,oi->nihw", gradient, layer.conv.weight[:, :, 0, 0])
        torch.testing.assert_close(x.grad, expected, atol=1e-5, rtol=0)
        kept.append(torch.randn(i + 1))


@pytest.mark.parametrize(("activation", "expected"), [("relu", 0.0), ("none", -1.0), ("silu", -0.26894143)])
def test_activations(activation, expected):
    layer = Convolution(Layer(1, 1, 1, norm=False, activation=activation))
    with torch.no_grad():
        layer.conv.weight.fill_(1)
        assert layer(-torch.ones(1, 1, 1, 1)).item() == pytest.approx(expected)
