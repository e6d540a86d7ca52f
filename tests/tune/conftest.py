"""Tiny models of every kind that can be tuned, and adapters of them."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from anmok.models.modules import from_weights
from anmok.models.spec import DualSpec, ResNetSpec, TextSpec, VitSpec, weight_shapes
from anmok.pictures import normalize
from anmok.texts import Tokenizer
from anmok.tune import Adapter

CLIP = DualSpec(
    VitSpec(32, 8, 32, 2, 2, 64, "quick_gelu", "cls", True, True, False, 1e-5, True),
    TextSpec(49408, 77, 32, 2, 2, 64, "quick_gelu", True, "eos", 1e-5, False, 49407, 49407),
    24,
    "softmax",
)
SIGLIP = DualSpec(
    VitSpec(32, 8, 24, 2, 2, 48, "gelu_tanh", "map", False, False, True, 1e-6, False),
    TextSpec(300, 16, 32, 2, 2, 64, "gelu_tanh", False, "last", 1e-6, True, 1, 1),
    24,
    "sigmoid",
)
RESNET = replace(CLIP, image=ResNetSpec(32, 8, (1, 1, 1, 1), 4))
SPECS = {"clip": CLIP, "siglip": SIGLIP, "naflex": replace(SIGLIP, image=replace(SIGLIP.image, naflex=True)),
         "resnet": RESNET}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    """Faster for models as tiny as these, and the same numbers on every machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def specs():
    return SPECS


def make_weights(spec, seed=0):
    """Random arrays of a size at which activations stay near 1; norms are 1 and 0, as after a good start."""
    random = np.random.default_rng(seed)
    weights = {}
    for name, shape in weight_shapes(spec).items():
        array = random.standard_normal(shape) * (np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.05)
        if "norm" in name and name.endswith(("weight", "running_var")):
            array = 1 + 0.1 * np.abs(array)
        weights[name] = np.asarray(array, np.float32)
    weights["logit_scale"] = np.array(3.0, np.float32)
    return weights


@pytest.fixture(scope="session")
def random_weights():
    return make_weights


@pytest.fixture(scope="session")
def checkpoints(tiny_checkpoint):
    """The tiny CLIP of tests/conftest.py with the towers of `SPECS`, where OpenAI's tokenizer fits."""
    return {
        kind: replace(tiny_checkpoint, name=kind, spec=SPECS[kind], weights=make_weights(SPECS[kind]))
        for kind in ("clip", "resnet")
    }


@pytest.fixture(scope="session")
def random_adapter():
    def make(spec, names, rank=3, seed=0, **options):
        from anmok.tune.adapter import rows_of

        random, changes = np.random.default_rng(seed), {}
        for name in names:
            weight, rows = rows_of(name, spec)
            inputs, outputs = weight_shapes(spec)[weight][1], rows.stop - rows.start
            down, up = random.standard_normal((rank, inputs)), random.standard_normal((outputs, rank))
            changes[name] = (0.2 * down.astype(np.float32), 0.2 * up.astype(np.float32))
        return Adapter(changes, rank, **{"alpha": 6.0, **options})

    return make


KINDS = ("circle", "square", "stripes")


def draw(kind, random):
    """A reddish circle, greenish square or bluish stripes on a light ground, 40 pixels square."""
    light, shade = (random.integers(*span, 3) for span in ((170, 256), (0, 90)))
    shade[KINDS.index(kind)] += 130
    light, dark = (tuple(int(value) for value in color) for color in (light, shade))
    picture = Image.new("RGB", (40, 40), light)
    pen = ImageDraw.Draw(picture)
    x, y, side = (int(value) for value in (*random.integers(2, 12, 2), random.integers(20, 27)))
    if kind == "circle":
        pen.ellipse((x, y, x + side, y + side), fill=dark)
    elif kind == "square":
        pen.rectangle((x, y, x + side, y + side), fill=dark)
    else:
        for row in range(y, y + side, 6):
            pen.rectangle((x, row, x + side, row + 2), fill=dark)
    return picture


@pytest.fixture(scope="session")
def drawn():
    """Pictures and their classes: `drawn(count, seed)`."""

    def make(count, seed=0):
        random = np.random.default_rng(seed)
        return [draw(KINDS[i % 3], random) for i in range(count)], np.arange(count) % 3

    return make


@pytest.fixture(scope="session")
def accuracy():
    """The share of pictures whose nearest class text, or vector, is that of their class, in torch."""

    def measure(checkpoint, pictures, targets, classes):
        model = from_weights(checkpoint.spec, checkpoint.weights)
        pixels = normalize(np.stack([checkpoint.transform(picture) for picture in pictures]), checkpoint.transform)
        with torch.no_grad():
            vectors = torch.nn.functional.normalize(model.encode_image(torch.from_numpy(pixels)), dim=-1).numpy()
            if not isinstance(classes, np.ndarray):
                texts = [model.encode_text(torch.from_numpy(checkpoint.tokenizer(texts))) for texts in classes]
                means = [torch.nn.functional.normalize(some, dim=-1).mean(dim=0) for some in texts]
                classes = torch.nn.functional.normalize(torch.stack(means), dim=-1).numpy()
        return float(((vectors @ classes.T).argmax(axis=1) == targets).mean())

    return measure


@pytest.fixture(scope="session")
def siglip_tokenizer(tmp_path_factory):
    """Of the make of SigLIP's: no start-of-text token, padded to full length."""
    import sentencepiece

    random, written = np.random.default_rng(7), io.BytesIO()
    words = ["a", "photo", "of", "the", "drawing", "wug", "blick", "florp", "north", "word", "cat", "dog", "red"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(random.choice(words, 8)) for _ in range(200)]), model_writer=written,
        hard_vocab_limit=False, minloglevel=3, num_threads=1, model_type="unigram", vocab_size=200, pad_id=0, eos_id=1,
        unk_id=2, bos_id=-1,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("siglip-tokenizer")
    (folder / "spiece.model").write_bytes(written.getvalue())
    settings = {"tokenizer_class": "SiglipTokenizer", "model_max_length": 16}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return Tokenizer.from_folder(folder, context_length=16)
