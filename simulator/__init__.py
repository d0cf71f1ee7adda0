"""Replays a click log period by period and measures every remedy against forgetting side by side."""
