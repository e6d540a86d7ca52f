"""Bytes → safe RGB pictures → the pixels a model takes.

read(source)                    path, bytes, PIL or NumPy → an upright RGB picture, or PictureError
find_pictures(folder)           the pictures below a folder, sorted
Transform(...)(picture)         an RGB picture → uint8 [h, w, 3], as the checkpoint was trained
Preparer(transform)(source)     both in one: source → what a tower takes
normalize(pixels, transform)    uint8 [n, h, w, 3] → float32 [n, 3, h, w], for PyTorch
"""

from anmok.pictures.find import SUFFIXES, find_pictures
from anmok.pictures.prepare import Prepared, Preparer
from anmok.pictures.read import FORMATS, PictureSource, picture_name, read
from anmok.pictures.signature import kind_of
from anmok.pictures.size import picture_size
from anmok.pictures.transform import Transform, normalize, normalize_patches

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "PictureSource",
    "Prepared",
    "Preparer",
    "Transform",
    "find_pictures",
    "kind_of",
    "normalize",
    "normalize_patches",
    "picture_name",
    "picture_size",
    "read",
]
