"""The losses beside open_clip's, transformers', and numbers worked out by hand; blocks beside the whole."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from anmok.train.losses import (
    clamp_scale,
    cosine_distillation_loss,
    logit_distillation_loss,
    relation_distillation_loss,
    sigmoid_loss,
    softmax_loss,
)
from anmok.train.tiles import two_way_logsumexp

PRECISIONS = [(torch.float64, 1e-12), (torch.float32, 1e-6)]


def batch(n, d=8, *, dtype=torch.float64, seed=0, scale=14.3, bias=-5.0):
    """Unit vectors of pictures and of texts, a scale and a bias, all asking for gradients."""
    random = torch.Generator().manual_seed(seed)
    vectors = [F.normalize(torch.randn(n, d, generator=random, dtype=torch.float64), dim=1) for _ in range(2)]
    numbers = [torch.tensor(number, dtype=torch.float64) for number in (scale, bias)]
    return [tensor.to(dtype).requires_grad_() for tensor in (*vectors, *numbers)]


def softmax(inputs, **options):
    return softmax_loss(*inputs[:3], **options)


def sigmoid(inputs, **options):
    return sigmoid_loss(*inputs, **options)


def gradients_of(loss, inputs):
    return torch.autograd.grad(loss, inputs, materialize_grads=True)


def assert_same(loss, inputs, expected, expected_inputs, tolerance):
    """Value and gradients."""
    torch.testing.assert_close(loss, expected, atol=tolerance, rtol=tolerance)
    for own, other in zip(gradients_of(loss, inputs), gradients_of(expected, expected_inputs), strict=True):
        torch.testing.assert_close(own, other, atol=tolerance, rtol=tolerance)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tensors are so small here that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def references(torchvision):
    import open_clip.loss

    return open_clip.loss


# --- beside the references ---


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("tile", [None, 4])
def test_softmax_is_open_clips(references, dtype, tolerance, tile):
    inputs = batch(13, dtype=dtype)
    assert_same(softmax(inputs, tile=tile), inputs, references.ClipLoss()(*inputs[:3]), inputs, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("tile", [None, 4])
def test_softmax_is_transformers(torchvision, dtype, tolerance, tile):
    from transformers.models.clip.modeling_clip import image_text_contrastive_loss

    inputs = batch(13, dtype=dtype)
    pictures, texts, scale, _ = inputs
    expected = image_text_contrastive_loss(texts @ pictures.T * scale)
    assert_same(softmax(inputs, tile=tile), inputs, expected, inputs, tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("tile", [None, 4])
def test_sigmoid_is_open_clips(references, dtype, tolerance, tile):
    inputs = batch(13, dtype=dtype)
    assert_same(sigmoid(inputs, tile=tile), inputs, references.SigLipLoss()(*inputs), inputs, tolerance)


def test_distillation_of_logits_is_open_clips(references):
    student, teacher = batch(7), batch(7, 12, seed=1, scale=20.0)
    _, expected = references.DistillClipLoss()(*student[:3], *teacher[:3])
    loss = logit_distillation_loss(*student[:3], *teacher[:3])
    assert_same(loss, student, expected, student, 1e-12)
    assert not any(
        gradient.any() for gradient in gradients_of(logit_distillation_loss(*student[:3], *teacher[:3]), teacher)
    )


# --- by hand ---

LEFT, RIGHT = [1.0, 0.0], [0.6, 0.8]  # cosine 0.6


@pytest.mark.parametrize("tile", [None, 1])
def test_two_pairs_by_hand(tile):
    vectors = torch.tensor([LEFT, RIGHT], dtype=torch.float64)
    scale, bias = torch.tensor(10.0).double(), torch.tensor(-8.0).double()  # logits 10 and 6; with the bias 2 and -2
    softmax_value = softmax_loss(vectors, vectors, scale, tile=tile)
    assert softmax_value.item() == pytest.approx(math.log(1 + math.exp(-4)), abs=1e-12)
    sigmoid_value = sigmoid_loss(vectors, vectors, scale, bias, tile=tile)
    # four pairs of log(1 + e^-2) each, by n = 2; by n² it would be half of that
    assert sigmoid_value.item() == pytest.approx(2 * math.log(1 + math.exp(-2)), abs=1e-12)


@pytest.mark.parametrize("tile", [None, 1])
def test_all_pairs_true_by_hand(tile):
    vectors, groups = torch.tensor([LEFT, RIGHT], dtype=torch.float64), torch.tensor([5, 5])
    scale, bias = torch.tensor(10.0).double(), torch.tensor(-8.0).double()
    # half of the target on a logit 4 lower: the cross entropy is 2 more
    expected = math.log(1 + math.exp(-4)) + 2
    assert softmax_loss(vectors, vectors, scale, groups=groups, tile=tile).item() == pytest.approx(expected, abs=1e-12)
    expected = math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))
    value = sigmoid_loss(vectors, vectors, scale, bias, groups=groups, tile=tile)
    assert value.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_knowing_nothing_costs_log_n(n):
    same = torch.ones(n, 1)
    for tile in (None, 7):
        assert softmax_loss(same, same, torch.tensor(3.0), tile=tile).item() == pytest.approx(math.log(n), abs=1e-6)


def test_sigmoid_weighs_a_true_pair_alike_in_every_batch():
    """Twice as many pairs that are all wrong in the same way cost as much each; by 1/n² they would cost half."""
    scale, bias = torch.tensor(20.0), torch.tensor(-10.0)
    small, large = (sigmoid_loss(torch.eye(n), torch.eye(n).roll(1, 0), scale, bias) for n in (8, 16))
    assert large.item() == pytest.approx(small.item(), rel=0.01)


# --- blocks beside the whole ---

BATCHES = st.integers(1, 9).flatmap(
    lambda n: st.tuples(
        st.just(n),
        st.integers(1, 5),
        st.integers(1, 11),
        st.none() | st.lists(st.integers(-1, 2), min_size=n, max_size=n),
        st.floats(1, 100),
        st.floats(-20, 5),
        st.integers(0, 99),
    )
)


@given(BATCHES)
@settings(max_examples=40, deadline=None)
def test_blocks_give_the_same_loss_and_gradients(drawn):
    n, d, tile, names, scale, bias, seed = drawn
    groups = None if names is None else torch.tensor(names)
    for loss in (softmax, sigmoid):
        inputs = batch(n, d, seed=seed, scale=scale, bias=bias)
        whole, tiled = (loss(inputs, groups=groups, tile=size) for size in (None, tile))
        assert_same(tiled * 3, inputs, whole * 3, inputs, 1e-10)


@pytest.mark.parametrize("loss", [softmax, sigmoid])
@pytest.mark.parametrize("groups", [None, [0, 0, 1, 2, 1]])
def test_gradients_are_those_of_the_loss(loss, groups):
    groups = None if groups is None else torch.tensor(groups)
    for tile in (None, 2):
        inputs = batch(5, 3, scale=4.0, bias=-1.0)
        assert torch.autograd.gradcheck(lambda *given, tile=tile: loss(given, groups=groups, tile=tile), inputs)


def test_logsumexps_of_more_texts_than_pictures():
    queries, keys = batch(5)[0], batch(8)[1]
    logits = queries @ keys.T
    rows, columns = two_way_logsumexp(queries, keys, tile=3)
    weights = torch.linspace(1, 2, 5), torch.linspace(-1, 2, 8)
    expected = (logits.logsumexp(1) * weights[0]).sum() + (logits.logsumexp(0) * weights[1]).sum()
    found = (rows * weights[0]).sum() + (columns * weights[1]).sum()
    assert_same(found, [queries, keys], expected, [queries, keys], 1e-12)


@pytest.mark.parametrize("loss", [softmax, sigmoid])
def test_groups_of_one_change_nothing(loss):
    inputs = batch(6)
    groups = torch.tensor([9, -3, 0, 4, 2, 1])
    for tile in (None, 4):
        assert_same(loss(inputs, groups=groups, tile=tile), inputs, loss(inputs), inputs, 1e-12)


@pytest.mark.parametrize("loss", [softmax, sigmoid])
@pytest.mark.parametrize("tile", [None, 5])
def test_autocast_does_not_make_logits_coarse(loss, tile):
    """Vectors in bfloat16 are taken as they are, but multiplied in float32: forward, and backward inside autocast."""
    inputs = [tensor.detach().bfloat16().requires_grad_() for tensor in batch(12, 32, scale=64.0)]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss(inputs, tile=tile)
        assert found.dtype == torch.float32
        gradients = gradients_of(found, inputs)
    expected = loss(exact, tile=tile)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    if tile is None:  # PyTorch's own backward of a product follows the autocast around it
        gradients = gradients_of(loss(inputs), inputs)
    for own, other in zip(gradients, gradients_of(expected, exact), strict=True):
        assert own.dtype == torch.bfloat16
        torch.testing.assert_close(own, other.bfloat16(), atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize("loss", [softmax, sigmoid])
@pytest.mark.parametrize("tile", [None, 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_identical_vectors_at_the_highest_scale_stay_finite(loss, tile, sign):
    same = F.normalize(torch.ones(7, 4), dim=1)
    inputs = [same.clone().requires_grad_(), (sign * same).requires_grad_()]
    inputs += [torch.tensor(100.0, requires_grad=True), torch.tensor(-10.0, requires_grad=True)]
    found = loss(inputs, tile=tile)
    assert found.isfinite()
    assert all(gradient.isfinite().all() for gradient in gradients_of(found, inputs))


# --- teachers ---


def test_distillation_of_logits_is_least_for_the_teachers_own_vectors():
    teacher = batch(6)[:3]
    other = batch(6, seed=3)[:3]
    own = logit_distillation_loss(*teacher, *teacher)
    assert max(gradient.abs().max() for gradient in gradients_of(own, teacher[:2])) < 1e-12
    assert own < logit_distillation_loss(*other, *teacher)


def test_cosine_distillation_by_hand():
    student = torch.tensor([LEFT, LEFT, LEFT])
    teacher = torch.tensor([LEFT, RIGHT, [-1.0, 0.0]])
    assert cosine_distillation_loss(student, teacher).item() == pytest.approx((0 + 0.4 + 2) / 3)


def test_relation_distillation_by_hand():
    """Three things: the teacher sees cosines 1 and 0, the student 0 and 1 from the first, and equal ones otherwise."""
    student = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [1.0, 0, 0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    high, low = math.e / (1 + math.e), 1 / (1 + math.e)  # at temperature 1
    first = high * math.log(high / low) + low * math.log(low / high)
    second = high * math.log(high / 0.5) + low * math.log(low / 0.5)  # the student's second is as near to both
    third = 0.5 * math.log(0.5 / high) + 0.5 * math.log(0.5 / low)  # the teacher's third is
    loss = relation_distillation_loss(student, teacher, temperature=1.0)
    assert loss.item() == pytest.approx((first + second + third) / 3, abs=1e-6)


def test_relation_distillation_is_blind_to_turns_and_dimensions():
    teacher = batch(9, 4)[0].detach()
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    student = F.pad(teacher, (0, 2)) @ turn
    assert relation_distillation_loss(student, teacher).item() == pytest.approx(0, abs=1e-12)
    assert relation_distillation_loss(batch(9, 6, seed=2)[0], teacher).item() > 0.1


def test_relation_distillation_gradient():
    student, teacher = batch(4, 3)[0], batch(4, 5, seed=1)[1]
    assert torch.autograd.gradcheck(lambda given: relation_distillation_loss(given, teacher, temperature=0.5), student)
    assert not gradients_of(relation_distillation_loss(student, teacher), [teacher])[0].any()


def test_scale_is_kept_between_1_and_100():
    for given_scale, expected in ((-0.5, 0.0), (2.0, 2.0), (9.0, math.log(100))):
        parameter = torch.nn.Parameter(torch.tensor(given_scale))
        assert clamp_scale(parameter) is None
        assert parameter.item() == pytest.approx(expected)
        assert parameter.requires_grad
    clamp_scale(parameter, 30)
    assert parameter.exp().item() == pytest.approx(30, rel=1e-6)


# --- what is refused ---


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((3, 4), (2, 4)), {}, r"as many pictures as texts, .* given \[3, 4\] and \[2, 4\]"),
        (((3, 4), (3, 5)), {}, r"given \[3, 4\] and \[3, 5\]"),
        (((0, 4), (0, 4)), {}, "n at least 1"),
        (((4,), (4,)), {}, r"given \[4\]"),
        (((3, 4), (3, 4)), {"tile": 0}, "tile is 0, expected at least 1 row"),
        (((3, 4), (3, 4)), {"groups": torch.zeros(2, dtype=torch.int64)}, r"groups must be int64 \[3\].*\[2\]"),
        (((3, 4), (3, 4)), {"groups": torch.zeros(3)}, "given torch.float32"),
    ],
)
def test_what_does_not_fit_is_refused(shapes, options, message):
    pictures, texts = (torch.ones(shape) for shape in shapes)
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match=message):
        softmax_loss(pictures, texts, one, **options)
    with pytest.raises(ValueError, match=message):
        sigmoid_loss(pictures, texts, one, one, **options)


def test_teachers_of_other_things_are_refused():
    one = torch.tensor(1.0)
    with pytest.raises(ValueError, match=r"as many vectors of the student as of the teacher.*\[3, 4\] and \[3, 5\]"):
        cosine_distillation_loss(torch.ones(3, 4), torch.ones(3, 5))
    with pytest.raises(ValueError, match=r"of the same things: given \[3, 4\] and \[2, 4\]"):
        relation_distillation_loss(torch.ones(3, 4), torch.ones(2, 4))
    with pytest.raises(ValueError, match="one vector has no relations"):
        relation_distillation_loss(torch.ones(1, 4), torch.ones(1, 5))
    with pytest.raises(ValueError, match="temperature is 0"):
        relation_distillation_loss(torch.ones(2, 4), torch.ones(2, 5), temperature=0)
    with pytest.raises(ValueError, match="of the same things"):
        logit_distillation_loss(torch.ones(3, 4), torch.ones(3, 4), one, torch.ones(2, 4), torch.ones(2, 4), one)
