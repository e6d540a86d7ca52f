"""Bytes → safe RGB pictures → the pixels a model takes.

read(source)                    path, bytes, PIL or NumPy → an upright RGB picture, or PictureError
find_pictures(folder)           the pictures below a folder, sorted
Transform(...)(picture)         an RGB picture → uint8 [h, w, 3], as the checkpoint was trained
normalize(pixels, transform)    uint8 [n, h, w, 3] → float32 [n, 3, h, w], for PyTorch
"""

from anmok.pictures.find import SUFFIXES, find_pictures
from anmok.pictures.read import FORMATS, PictureSource, picture_name, read
from anmok.pictures.transform import Transform, normalize, normalize_patches

__all__ = [
    "FORMATS",
    "SUFFIXES",
    "PictureSource",
    "Transform",
    "find_pictures",
    "normalize",
    "normalize_patches",
    "picture_name",
    "read",
]
