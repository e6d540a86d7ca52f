"""Tiny models of every kind, random weights for them, and a way to run a graph."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from anmok.models.graphs import Graph, naflex_inputs
from anmok.models.spec import BagSpec, CnnSpec, DualSpec, HybridSpec, ResNetSpec, TextSpec, VitSpec, weight_shapes

Weights = dict[str, np.ndarray]

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def vit(**changes: Any) -> VitSpec:
    clip = {
        "image_size": 34,  # the last 2 pixels fill no patch
        "patch_size": 8,
        "width": 32,
        "layers": 2,
        "heads": 4,
        "mlp_width": 48,
        "activation": "quick_gelu",
        "pool": "cls",
        "class_token": True,
        "pre_norm": True,
        "patch_bias": False,
        "norm_eps": 1e-5,
        "projection": True,
    }
    return VitSpec(**(clip | changes))


def siglip_vit(**changes: Any) -> VitSpec:
    siglip = {
        "activation": "gelu_tanh",
        "pool": "map",
        "class_token": False,
        "pre_norm": False,
        "patch_bias": True,
        "norm_eps": 1e-6,
        "projection": False,
    }
    return vit(**(siglip | changes))


def clip_text(**changes: Any) -> TextSpec:
    clip = {
        "vocabulary": 60,
        "context_length": 12,
        "width": 48,
        "layers": 2,
        "heads": 3,
        "mlp_width": 80,
        "activation": "quick_gelu",
        "causal": True,
        "pool": "eos",
        "norm_eps": 1e-5,
        "projection_bias": False,
        "eos_token": 59,
        "pad_token": 0,
    }
    return TextSpec(**(clip | changes))


def siglip_text() -> TextSpec:
    return clip_text(
        activation="gelu_tanh", causal=False, pool="last", norm_eps=1e-6, projection_bias=True, eos_token=1, pad_token=1
    )


def cnn(*args: Any, **changes: Any) -> DualSpec:
    return DualSpec(CnnSpec(*args, **{"width": 0.125, **changes}), clip_text(layers=1), 24, "softmax")


def hybrid(pool: str, **changes: Any) -> DualSpec:
    spec = {"image_size": 32, "stem": (8, 16, 24), "width": 32, "layers": 2, "heads": 4, "mlp_width": 48}
    image = HybridSpec(**(spec | changes), activation="gelu", pool=pool, norm_eps=1e-5)
    return DualSpec(image, clip_text(layers=1), 24, "softmax")


def bag(**changes: Any) -> BagSpec:
    words = {"vocabulary": 60, "context_length": 12, "width": 48, "norm_eps": 1e-5, "start_of_text": True}
    return BagSpec(**(words | changes), eos_token=59, pad_token=0)


SPECS = {
    "clip vit": DualSpec(vit(), clip_text(), 24, "softmax"),
    "clip vit, gelu": DualSpec(vit(activation="gelu"), clip_text(activation="gelu"), 24, "softmax"),
    "clip vit, one layer": DualSpec(vit(layers=1), clip_text(layers=1), 24, "softmax"),
    "clip, end of text in the middle of the vocabulary": DualSpec(vit(), clip_text(eos_token=30), 24, "softmax"),
    "clip resnet": DualSpec(ResNetSpec(64, 8, (2, 1, 1, 2), 4), clip_text(), 24, "softmax"),
    "siglip": DualSpec(siglip_vit(), siglip_text(), 32, "sigmoid"),
    "siglip with a projection": DualSpec(siglip_vit(projection=True), siglip_text(), 24, "sigmoid"),
    "naflex": DualSpec(siglip_vit(naflex=True), siglip_text(), 32, "sigmoid"),
    "mean": DualSpec(siglip_vit(pool="mean"), clip_text(), 32, "sigmoid"),
    "mean beside a class token": DualSpec(vit(pool="mean"), clip_text(), 24, "softmax"),
    "naflex mean": DualSpec(siglip_vit(pool="mean", naflex=True), clip_text(), 32, "sigmoid"),
    "causal text pooled at the last token": DualSpec(vit(), clip_text(pool="last"), 24, "softmax"),
    "bidirectional text pooled at end of text": DualSpec(vit(), clip_text(causal=False), 24, "softmax"),
    "resnet": cnn("resnet", 45, (1, 1, 2, 1)),
    "resnet, bottlenecks": cnn("resnet", 32, (2, 1, 1, 1), bottleneck=True),
    "resnet, small stem": cnn("resnet", 20, (1, 1, 1, 1), stem="small"),
    "efficientnet": cnn("efficientnet", 45, (1, 2, 1, 1, 1, 1, 1)),
    "efficientnet, small stem": cnn("efficientnet", 20, (1, 1, 1, 1, 2, 1, 1), stem="small"),
    "vgg": cnn("vgg", 34, (1, 1, 2, 1, 1)),
    "vgg, small stem": cnn("vgg", 20, (1, 1, 1, 1, 1), stem="small"),
    "alexnet": cnn("alexnet", 65, (1, 1, 3)),
    "alexnet, small stem": cnn("alexnet", 16, (1, 1, 3), stem="small"),
    "hybrid": hybrid("mean"),
    "hybrid with a class token": hybrid("cls", stem=(8, 16), image_size=20),
    "hybrid with a probe": hybrid("map"),
    "bag of words": DualSpec(vit(layers=1), bag(), 24, "softmax"),
    "bag of words without a start": DualSpec(vit(layers=1), bag(start_of_text=False), 24, "sigmoid"),
}


@pytest.fixture(autouse=True)
def same_random_numbers_every_time() -> Iterator[None]:
    """And one thread, which is faster for models as tiny as these."""
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=list(SPECS))
def spec(request: pytest.FixtureRequest) -> DualSpec:
    """Every kind of model, tiny."""
    return SPECS[request.param]


@pytest.fixture(scope="session")
def specs() -> Mapping[str, DualSpec]:
    return SPECS


def make_weights(spec: DualSpec, seed: int = 0) -> Weights:
    """Random arrays of a size at which activations stay near 1 through the layers, and nothing is 0."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(spec).items():
        array = random.standard_normal(shape)
        if len(shape) > 1:
            gain = 1.5 if len(shape) == 4 else 1.0  # activations and batch norms would fade the picture out
            array *= gain * np.prod(shape[1:]) ** -0.5
        elif name.endswith("running_var"):
            array = np.abs(array) + 0.5
        elif "norm" in name and name.endswith("weight"):
            array = 1 + 0.2 * array
        weights[name] = np.asarray(array, np.float32)
    return weights


@pytest.fixture(scope="session")
def random_weights() -> Callable[..., Weights]:
    return make_weights


class Pictures:
    """The same random pictures for both executors."""

    def __init__(self, spec: DualSpec, count: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        image = spec.image
        naflex = isinstance(image, VitSpec) and image.naflex
        if not naflex:
            noise = random.integers(0, 128, (count, image.image_size, image.image_size, 3), dtype=np.uint8)
            pixels = noise + random.integers(0, 128, (count, 1, 1, 3), dtype=np.uint8)  # each of its own color
            self.feed = {"pixels": pixels}
            self.modules = {"pixels": normalize(pixels).permute(0, 3, 1, 2)}
            return
        side, most = image.patch_size, 20
        shapes = np.array([[4, 4], [1, 20], [9, 2], [2, 3]])[:count]  # the grid itself, wide, high, small
        mask = np.arange(most) < shapes.prod(axis=1, keepdims=True)
        patches = random.integers(0, 256, (count, most, side * side * 3), dtype=np.uint8)
        self.feed = naflex_inputs(spec, patches, mask, shapes)
        normalized = normalize(patches.reshape(count, most, side, side, 3)).reshape(patches.shape)
        self.modules = {"pixels": normalized, "mask": torch.tensor(mask), "shapes": torch.tensor(shapes)}


def normalize(pixels: np.ndarray) -> torch.Tensor:
    return torch.tensor((pixels / 255 - np.array(MEAN)) / np.array(STD), dtype=torch.float32)


@pytest.fixture(scope="session")
def random_pictures() -> type[Pictures]:
    return Pictures


@pytest.fixture(scope="session")
def random_texts() -> Callable[..., np.ndarray]:
    def texts(spec: DualSpec, count: int, *, length: int | None = None, seed: int = 0) -> np.ndarray:
        """Token ids; text i ends 3i tokens before the end and is padded from there."""
        random = np.random.default_rng(seed)
        text = spec.text
        length = length or text.context_length
        ids = random.integers(2, text.vocabulary, (count, length))
        ids[ids == text.eos_token] = 2
        for i in range(count):
            end = max(length - 1 - 3 * i, 0)
            ids[i, end] = text.eos_token
            ids[i, end + 1 :] = text.pad_token
        return ids

    return texts


@pytest.fixture(scope="session")
def normalization() -> dict[str, tuple[float, ...]]:
    return {"mean": MEAN, "std": STD}


@pytest.fixture(scope="session")
def run_graph() -> Callable[..., np.ndarray]:
    def run(graph: Graph, feed: dict[str, np.ndarray], output: str | list[str] = "embedding") -> Any:
        """Open a graph with its arrays shared, not copied, and run it once: an array, or a list for a list of names."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.initializers.values()]
        options.add_external_initializers(list(graph.initializers), values)
        session = onnxruntime.InferenceSession(
            graph.model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = session.run(output if isinstance(output, list) else [output], feed)
        return results if isinstance(output, list) else results[0]

    return run
