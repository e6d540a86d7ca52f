"""The models as PyTorch modules: for reading, training and adapting (extra `anmok[train]`).

`graphs/` runs the same specs and arrays as ONNX, file by file, and is tested equal.
Read in this order: `blocks.py`, `vit.py`, `text.py`, `pool.py`, `dual.py`; then `convolution.py`, `resnet.py`,
`cnn.py`, `hybrid.py`; `bag.py`; `recompute.py`; `lora.py`.
"""

from anmok.models.modules.dual import DualEncoder, from_weights

__all__ = ["DualEncoder", "from_weights"]
