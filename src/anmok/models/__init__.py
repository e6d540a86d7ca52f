"""Models as specs and named arrays, and the two executors that run them: PyTorch modules and ONNX graphs."""
