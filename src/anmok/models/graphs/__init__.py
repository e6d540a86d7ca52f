"""The models as plain ONNX graphs, built from a spec and named NumPy arrays, without PyTorch or an export tool.

Mirrors `modules/` file by file and is tested equal to it. Read `modules/` first: here the same
lines stand with what can be saved exactly when nothing is trained any more: normalization inside
the first layer, batch normalization inside the convolutions, and only the pooled row in the last block.
"""

from anmok.models.graphs.builder import Graph
from anmok.models.graphs.dual import image_graph, naflex_inputs, text_graph

__all__ = ["Graph", "image_graph", "naflex_inputs", "text_graph"]
