"""The numbers during training: the model as it will be used (its graph, without torch) on pairs it does not learn from.

An evaluator yields (name, value). Names are those of `anmok evaluate`: "validation text to picture recall@5 en".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from anmok.encoder import Encoder
from anmok.evaluate import Example, evaluate
from anmok.evaluate.encoded import encode_data
from anmok.evaluate.tasks import classification, levels, retrieval
from anmok.train.losses import sigmoid_loss, softmax_loss

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anmok.checkpoints import Checkpoint
    from anmok.evaluate import Result
    from anmok.evaluate.encoded import DataSet
    from anmok.pairs import Pair

__all__ = ["measure", "preferred"]

NAME = "validation"
PREFERRED = (f"{NAME} text to picture recall@5", f"{NAME} accuracy@1", f"{NAME} fine accuracy@1")


def measure(
    checkpoint: Checkpoint, pairs: Sequence[Pair], sets: Sequence[str], *, batch_size: int
) -> Iterator[tuple[str, float]]:
    """Measure a model.

    Args:
        checkpoint: with the weights of the moment.
        pairs: held out.
        sets: more data, as `anmok evaluate --data` takes it.
        batch_size: of the validation loss, which depends on it.

    Yields:
        Name and value; recalls and accuracies are 0..1.
    """
    encoder = Encoder(checkpoint)
    if pairs:
        data = _encoded(encoder, pairs)
        yield f"{NAME} loss", _loss(encoder, data, batch_size)
        results = [*retrieval(encoder, data)]
        if levels(data.examples):
            results += classification(encoder, data)
        yield from ((_name(result), result.value) for result in results)
    for path in sets:
        yield from ((_name(result), result.value) for result in evaluate(encoder, path))


def preferred(numbers: dict[str, float], best: str) -> tuple[list[float], str] | None:
    """By what models are compared: the number that is named, or the first of `PREFERRED` that was measured.

    Returns:
        The number, the larger the better (a loss counts the other way round), then the validation loss, by which
        equal numbers are told apart; and the name of the number. None where it was not measured.
    """
    tie = -numbers.get(f"{NAME} loss", 0.0)
    for wanted in (best,) if best else PREFERRED:
        for name, value in numbers.items():
            if name == wanted or (not best and name.startswith(wanted)):
                return [-value if name.endswith("loss") else value, tie], name
    return None


def _encoded(encoder: Encoder, pairs: Sequence[Pair]) -> DataSet:
    examples = [Example(pair.name, NAME, pair.picture, pair.labels, _captions(pair)) for pair in pairs]
    (data,), _ = encode_data(encoder, examples)
    return data


def _captions(pair: Pair) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """By language where they are told apart; else all of them stand as English, which is only a name here."""
    return tuple(pair.captions.items()) if any(pair.captions.values()) else (("en", pair.texts),)


def _loss(encoder: Encoder, data: DataSet, batch_size: int) -> float:
    """The mean loss of whole batches of held-out pairs, each with its first text."""
    texts = [next(text for _, many in example.captions for text in many) for example in data.examples]
    words = torch.from_numpy(encoder.encode_text(texts).vectors)
    pictures = torch.from_numpy(data.embeddings.vectors)
    number = {text: i for i, text in enumerate(texts)}
    groups = torch.tensor([number[text] for text in texts])
    scale, bias = torch.tensor(encoder.logit_scale), torch.tensor(encoder.logit_bias)
    losses = []
    for start in range(0, max(1, len(texts) - batch_size + 1), batch_size):
        part = slice(start, start + batch_size)
        batch = pictures[part], words[part], scale
        softmax = encoder.score == "softmax"
        losses.append(
            softmax_loss(*batch, groups=groups[part]) if softmax else sigmoid_loss(*batch, bias, groups=groups[part])
        )
    return float(torch.stack(losses).mean())


def _name(result: Result) -> str:
    return f"{result.name} {result.metric} {result.language}".strip()
