"""Encoders of click sequences that are pre-trained on these alone, then fine-tuned: KEEP's rivals."""
