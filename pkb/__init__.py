"""Parametric knowledge bases and the click models they plug into: pure PyTorch, for any training loop."""
