"""Training: the plain loop's data. Imports nothing of PyTorch itself."""
