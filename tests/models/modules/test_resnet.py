import pytest
import torch
from torch import nn

from anmok.models.modules.resnet import BatchNorm, ModifiedResNet
from anmok.models.spec import ResNetSpec


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_equals_pytorchs_own(training):
    ours, theirs = BatchNorm(6).train(training), nn.BatchNorm2d(6).train(training)
    for _ in range(2):
        x = 3 + 2 * torch.randn(4, 6, 5, 5)
        torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_batch_norm_keeps_no_count_of_batches():
    assert set(BatchNorm(6).state_dict()) == {"weight", "bias", "running_mean", "running_var"}


def test_the_feature_map_is_a_thirty_second_of_the_picture():
    spec = ResNetSpec(96, 8, (1, 1, 1, 1), 4)
    resnet = ModifiedResNet(spec, 10).eval()
    assert resnet.pool.position_embedding.shape == (3 * 3 + 1, 256)
    assert resnet(torch.randn(2, 3, 96, 96)).shape == (2, 10)
