"""`anmok.load`, `anmok.load_model`, `anmok.save`: the door between checkpoints and what runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from anmok.encoder import Encoder

if TYPE_CHECKING:
    from anmok.checkpoints import Checkpoint

__all__ = ["load", "load_model", "save"]


def load(name: str | Path = "anmok-mini", *, engine: str = "auto", precision: str = "auto") -> Encoder:
    """Load a checkpoint, ready to encode.

    Args:
        name: the built-in "anmok-mini", a local folder or file, a hub id ("google/siglip2-base-patch16-224"),
            or open_clip's naming ("ViT-B-32/laion2b_s34b_b79k").
        engine: "auto", "onnxruntime", "openvino" (extra `openvino`) or "torch" (extra `train`).
        precision: "fp32" is exact; "bf16" and "int8" are used where they stay near enough to it; "auto" (or what
            `ANMOK_PRECISION` says) is the fastest of them on this machine, found after a while of work.

    Raises:
        CheckpointError: it cannot be loaded; says what was looked for and the way out.
        SettingsError: an unknown engine or precision, or one that the engine does not have.
        MissingExtra: the engine is not installed.

    Warns:
        PrecisionRefused: the precision asked for is not near enough to fp32 for this checkpoint.
    """
    from anmok.checkpoints import load_checkpoint

    return Encoder(load_checkpoint(name), engine=engine, precision=precision)


def load_model(name: str | Path) -> Any:
    """Load a checkpoint as a PyTorch module (`anmok.models.modules.DualEncoder`), for reading or training.

    Raises:
        MissingExtra: torch is not installed.
        CheckpointError: it cannot be loaded.
    """
    from anmok.checkpoints import load_checkpoint
    from anmok.errors import MissingExtra

    try:
        from anmok.models.modules import from_weights
    except ImportError as error:
        raise MissingExtra("torch", "train", "load_model") from error
    checkpoint = load_checkpoint(name)
    model = from_weights(checkpoint.spec, checkpoint.weights)
    model.checkpoint = checkpoint  # type: ignore[assignment]  # transform and tokenizer travel with the module, so that `save` has them
    return model


def save(model: Any, folder: str | Path) -> None:
    """Save an Encoder, a Checkpoint or a module from `load_model` in the Hugging Face layout.

    transformers loads the folder. CLIP's ResNet, which it does not know, is saved in open_clip's layout, and what
    neither knows in anmok's own.

    Raises:
        CheckpointError: the folder cannot be written, or the model came without transform and tokenizer.
    """
    from anmok.checkpoints import save_checkpoint

    save_checkpoint(_as_checkpoint(model), Path(folder))


def _as_checkpoint(model: Any) -> Checkpoint:
    from dataclasses import replace

    from anmok.checkpoints import Checkpoint
    from anmok.errors import CheckpointError

    if isinstance(model, Checkpoint):
        return model
    checkpoint = getattr(model, "checkpoint", None)
    if not isinstance(checkpoint, Checkpoint):
        raise CheckpointError(
            f"cannot save a {type(model).__name__}: "
            "expected an Encoder, a Checkpoint, or a module from anmok.load_model"
        )
    if hasattr(model, "state_dict"):
        arrays = {name: tensor.detach().cpu().numpy() for name, tensor in model.state_dict().items()}
        return replace(checkpoint, weights=arrays)
    return checkpoint
