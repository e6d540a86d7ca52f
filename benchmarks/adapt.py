"""Few-shot: what 1 to 16 labelled pictures of each label bring, method by method, on sets that are held out.

    python benchmarks/adapt.py DATA [--shots 1 2 4 8 16] [--seeds 5] [--sets …]
                               [--random | --active | --honest | --tune]

DATA are shards with labels (`anmok evaluate` reads them too); scikit-learn's digits are added. For every number of
shots and every seed, so many pictures of each label are drawn (no more than half of what a label has), every method is
fitted to them with the setting that cross-validation among them chooses, and all other pictures are asked. "shipped" is
what `anmok adapt` would keep; scikit-learn's logistic regression and nearest neighbours see the same features. Mean and
95% interval over seeds. Scores there are only reported: nothing in anmok was chosen by them.

`--random` does the same with random weights: what the drawing of the pictures alone gives. `--tune` trains on the same
pictures, with the settings of `anmok adapt --tune`: the words before the labels (CoOp), and both towers (LoRA). It
needs the extra `train`, and minutes for each drawing.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from timing import keep, machine

import anmok
from anmok.adapt import adapt, adapting
from anmok.adapt.calibration import calibration_error
from anmok.adapt.examples import Examples
from anmok.adapt.head import softmax
from anmok.adapt.methods import Known
from anmok.adapt.prediction_sets import in_sets
from anmok.adapt.probe import Probe
from anmok.adapt.proposals import propose
from anmok.adapt.validation import learn
from anmok.classify import Label, LabelSet
from anmok.embeddings import Embeddings
from anmok.evaluate.data import read_data
from anmok.evaluate.digits import DIGITS, digit_pictures
from anmok.evaluate.encoded import encode_data
from anmok.evaluate.metrics import auroc
from anmok.evaluate.tasks import class_names, levels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

ROUNDS = 5  # of labelling, each with as many pictures as there are labels
STUDENT = {3: 4.303, 5: 2.776, 10: 2.262}  # 95%, by seeds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--shots", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--seeds", type=int, default=5, choices=sorted(STUDENT))
    parser.add_argument("--random", action="store_true")
    parser.add_argument("--active", action="store_true", help="what `anmok adapt next` is worth, instead")
    parser.add_argument(
        "--honest", action="store_true", help="probabilities, sets and strangers, at 16 of each, instead"
    )
    parser.add_argument("--tune", action="store_true", help="learned prompts and LoRA, instead")
    parser.add_argument("--sets", nargs="+")
    options = parser.parse_args()
    print(machine(), flush=True)
    adapting.label_texts = cache(adapting.label_texts)  # the same labels are asked for again and again
    rows = []
    encoder = anmok.load("anmok-mini", precision="fp32")
    if options.random:
        encoder = shuffled(encoder)
    for name, labels, embeddings, targets, pictures in tasks(encoder, options.data):
        if options.sets and name not in options.sets:
            continue
        if options.active:
            found = active(encoder, labels, embeddings, targets, options.seeds)
            rows += [{"set": name, **row} for row in found]
            print(name, *(f"{row['who']} {row['labelled']}: {row['accuracy']:.3f}" for row in found), flush=True)
            continue
        if options.honest:
            rows.append({"set": name, **honest(encoder, labels, embeddings, targets, options.seeds)})
            print(rows[-1], flush=True)
            continue
        for shots in options.shots:
            if options.tune:
                found = tuned(encoder, labels, embeddings, targets, pictures, shots, options.seeds)
            else:
                found = measure(encoder, labels, embeddings, targets, shots, options.seeds)
            rows += [{"set": name, "shots": shots, **row} for row in found]
            told = ", ".join(f"{row['who']} {row['accuracy']:.3f} ± {row['half']:.3f}" for row in found)
            print(f"{name}, {shots}: {told}", flush=True)
    kinds = {"adapt_active": options.active, "adapt_random": options.random, "adapt_honest": options.honest}
    kinds |= {"adapt_tune": options.tune}
    keep(next((name for name, asked in kinds.items() if asked), "adapt"), {"rows": rows})


def shuffled(encoder: anmok.Encoder) -> anmok.Encoder:
    """The same tower with random weights: every array's numbers in another order, so that their sizes stay."""
    random = np.random.default_rng(0)
    weights = {
        name: random.permutation(np.asarray(array).ravel()).reshape(np.shape(array)) if np.ndim(array) else array
        for name, array in encoder.checkpoint.weights.items()
    }
    return anmok.Encoder(replace(encoder.checkpoint, weights=weights), precision="fp32")


def tasks(encoder: anmok.Encoder, data: Path):
    """Name, labels, embeddings, targets and pictures of every set with classes."""
    examples = list(read_data(data))
    files = {(one.source, one.name): one.picture for one in examples}
    sets, _ = encode_data(encoder, examples)
    for one in sets:
        for level, classes in enumerate(columns := levels(one.examples)):
            names = class_names(one.examples, classes, "en", widest=level > 0)
            order = {name: number for number, name in enumerate(names)}
            name = one.name if len(columns) == 1 else f"{one.name} {('fine', 'coarse')[level]}"
            labels = LabelSet([Label(text) for text in names.values()])
            pictures = [files[example.source, example.name] for example in one.examples]
            yield name, labels, one.embeddings, np.array([order[item] for item in classes]), pictures
    pictures, digits = digit_pictures()
    yield "digits", LabelSet(DIGITS["en"]), encoder.encode_image(list(pictures)), digits, list(pictures)


def measure(encoder, labels: LabelSet, embeddings: Embeddings, targets, shots: int, seeds: int) -> list[dict]:
    """Accuracy on what was not drawn, by method."""
    shares: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    for seed in range(seeds):
        random = np.random.default_rng([seed, shots])
        drawn, asked = draw(targets, shots, random, range(len(labels)))
        x, truth = embeddings.vectors[asked].astype(np.float64), targets[asked]
        names = tuple(map(str, drawn))
        examples = Examples(tuple(name.encode() for name in names), names, targets[drawn], labels)
        start = time.perf_counter()
        shown = Embeddings(embeddings.vectors[drawn], embeddings.fingerprint)
        result = adapt(encoder, examples, embed=lambda *_, shown=shown, **__: shown, seed=seed)
        seconds.setdefault("shipped", []).append(time.perf_counter() - start)
        heads = {one.name: learn(one, _known(result, encoder)) for one in result.checked}
        answers = {name: head.logits(x).argmax(axis=1) for name, head in heads.items()}
        for one in result.checked:
            seconds.setdefault(one.name, []).append(one.seconds)
        answers["shipped"] = result.classifier.head.logits(x).argmax(axis=1)
        answers |= references(embeddings.vectors[drawn], targets[drawn], x)
        for name, answer in answers.items():
            shares.setdefault(name, []).append(float((answer == truth).mean()))
    return summary(shares, seconds)


def draw(targets, shots: int, random: np.random.Generator, shown: Iterable[int]) -> tuple[NDArray, NDArray]:
    """Rows of so many pictures of each label that is shown, at most half of what it has; and all other rows."""
    drawn = np.concatenate([
        random.permutation(members)[: min(shots, max(len(members) // 2, 1))]
        for members in (np.flatnonzero(targets == label) for label in shown)
    ])  # fmt: skip
    return drawn, np.setdiff1d(np.arange(len(targets)), drawn)


def summary(shares: dict[str, list[float]], seconds: dict[str, list[float]]) -> list[dict]:
    """Mean and interval of each method over the drawings."""
    drawings = len(shares["zero-shot"])
    return [
        {
            "who": name,
            "accuracy": statistics.mean(values),
            "half": STUDENT[drawings] * statistics.stdev(values) / drawings**0.5,
            "against zero-shot": statistics.mean(
                a - b for a, b in zip(values, shares["zero-shot"], strict=True)
            ),
            "seconds": statistics.median(seconds.get(name, [0.0])),
        }
        for name, values in shares.items()
    ]  # fmt: skip


def tuned(
    encoder, labels: LabelSet, embeddings: Embeddings, targets, pictures: list, shots: int, seeds: int
) -> list[dict]:
    """As `measure`, of what `anmok adapt --tune` tries beside the others."""
    from anmok.adapt.tuning import LearnedPrompts, TowerTuning

    shares: dict[str, list[float]] = {}
    seconds: dict[str, list[float]] = {}
    texts = adapting.label_texts(encoder, labels)
    for seed in range(seeds):
        drawn, asked = draw(targets, shots, np.random.default_rng([seed, shots]), range(len(labels)))
        vectors, truth = embeddings.vectors.astype(np.float64), targets[asked]
        empty = np.empty((len(drawn), 0))
        known = Known(vectors[drawn], empty, targets[drawn], texts, encoder.logit_scale, labels.names)
        examples = Examples(tuple(pictures[row] for row in drawn), tuple(map(str, drawn)), targets[drawn], labels)
        answers = {"zero-shot": vectors[asked] @ known.words.T}
        start = time.perf_counter()
        (head,) = LearnedPrompts(encoder.checkpoint, seed=seed).fit(known)
        answers["learned prompts"] = head.logits(vectors[asked])
        seconds.setdefault("learned prompts", []).append(time.perf_counter() - start)
        start = time.perf_counter()
        towers = TowerTuning(encoder, examples, folder=None, seed=seed)
        other = towers.tuned()
        seconds.setdefault("LoRA", []).append(time.perf_counter() - start)
        answers["LoRA"] = other.encode_image([pictures[row] for row in asked]).vectors @ towers.words(other).T
        for name, answer in answers.items():
            shares.setdefault(name, []).append(float((answer.argmax(axis=1) == truth).mean()))
    return summary(shares, seconds)


def active(encoder, labels: LabelSet, embeddings: Embeddings, targets, seeds: int) -> list[dict]:
    """Accuracy on a half that is never labelled, as the other half is: one of each at random, then round by round."""
    shares: dict[tuple[str, int], list[float]] = {}
    texts = adapting.label_texts(encoder, labels)
    vectors = embeddings.vectors.astype(np.float64)
    for seed in range(seeds):
        random = np.random.default_rng(seed)
        half = random.permutation(len(targets))
        pool, asked = half[: len(half) // 2], half[len(half) // 2 :]
        first = np.array([pool[targets[pool] == label][0] for label in np.unique(targets[pool])])
        for who in ("at random", "as proposed"):
            drawn, dice = first, np.random.default_rng(seed)
            for turn in range(ROUNDS + 1):
                empty = np.empty((len(drawn), 0))
                known = Known(vectors[drawn], empty, targets[drawn], texts, encoder.logit_scale)
                (head,) = Probe().fit(known, only=4)
                right = head.logits(vectors[asked]).argmax(axis=1) == targets[asked]
                shares.setdefault((who, turn), []).append(float(right.mean()))
                left = np.setdiff1d(pool, drawn)
                if who == "at random":
                    chosen = dice.permutation(left)[: len(labels)]
                else:
                    chosen = left[propose(vectors[left], softmax(head.logits(vectors[left])), len(labels), seed=seed)]
                drawn = np.concatenate([drawn, chosen])
    return [
        {"who": who, "labelled": (turn + 1) * len(labels), "accuracy": statistics.mean(values)}
        for (who, turn), values in shares.items()
    ]


def honest(encoder, labels: LabelSet, embeddings: Embeddings, targets, seeds: int) -> dict[str, float]:
    """What is said of sixteen of each, and what is so of all others; a fifth of the labels is never shown."""
    told: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        told.setdefault(name, []).append(value)

    for seed in range(seeds):
        random = np.random.default_rng([seed, 16])
        order = random.permutation(len(labels))
        strange, shown = order[: max(len(labels) // 5, 1)], np.sort(order[max(len(labels) // 5, 1) :])
        drawn, rest = draw(targets, 16, random, shown)
        names = tuple(map(str, drawn))
        kept = LabelSet([labels[int(label)] for label in shown])
        files = tuple(name.encode() for name in names)
        examples = Examples(files, names, np.searchsorted(shown, targets[drawn]), kept)
        given = Embeddings(embeddings.vectors[drawn], embeddings.fingerprint)
        result = adapt(encoder, examples, embed=lambda *_, given=given, **__: given, seed=seed)
        asked, strangers = (rest[np.isin(targets[rest], part)] for part in (shown, strange))
        known = Embeddings(embeddings.vectors[asked], embeddings.fingerprint)
        truth = np.searchsorted(shown, targets[asked])
        chances = result.classifier.probabilities(known)
        note("accuracy said", result.chosen.accuracy)
        note("accuracy", float((chances.argmax(axis=1) == truth).mean()))
        plain = softmax(result.classifier.head.logits(known.vectors) / result.chosen.factor)
        note("calibration error before", calibration_error(plain, truth))
        note("calibration error", calibration_error(chances, truth))
        for rate in (0.05, 0.1, 0.2):
            inside = in_sets(chances, result.classifier.conformity, rate)
            note(f"coverage at {rate}", float(inside[np.arange(len(truth)), truth].mean()))
            note(f"labels at {rate}", float(inside.sum(axis=1).mean()))
        other = Embeddings(embeddings.vectors[strangers], embeddings.fingerprint)
        matches = [
            np.array([one[0].match for one in result.classifier.classify_embeddings(part, top=1)])
            for part in (known, other)
        ]
        note("strangers, AUROC", auroc(*matches))
        note("strangers accepted", float((matches[1] >= 0.5).mean()))
        note("own refused", float((matches[0] < 0.5).mean()))
    return {name: statistics.mean(values) for name, values in told.items()}


def _known(result, encoder) -> Known:
    empty = np.empty((len(result.examples), 0))
    texts = adapting.label_texts(encoder, result.examples.labels)
    return Known(result.vectors, empty, result.examples.targets, texts, encoder.logit_scale)


def references(x, targets, asked) -> dict[str, NDArray[np.int64]]:
    """scikit-learn on the same features; both see no words. C by cross-validation where there are examples for it."""
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.neighbors import KNeighborsClassifier

    fewest = int(np.bincount(targets)[np.unique(targets)].min())
    regression = LogisticRegression(C=100.0, max_iter=500)
    if fewest >= 4:
        regression = LogisticRegressionCV(
            Cs=np.logspace(-1, 4, 6),
            cv=min(fewest, 5),
            max_iter=500,
            l1_ratios=(0.0,),
            scoring="accuracy",
            use_legacy_attributes=False,
        )
    near = KNeighborsClassifier(n_neighbors=min(3, len(x)), metric="cosine", weights="distance")
    return {
        "scikit-learn, logistic regression": regression.fit(x, targets).predict(asked),
        "scikit-learn, 3 nearest": near.fit(x, targets).predict(asked),
    }


if __name__ == "__main__":
    main()
