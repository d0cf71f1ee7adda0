"""Property-based tests draw the same examples on every machine, and a slow machine fails none of them."""

import os

import pytest
import torch
from hypothesis import settings

settings.register_profile("same everywhere", derandomize=True, deadline=None)
settings.load_profile("same everywhere")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # each process has one core


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test plays whole runs, beside another one on two cores."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("known"):
            item.add_marker(pytest.mark.timeout(600))
