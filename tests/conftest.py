"""Property-based tests draw the same examples on every machine, and a slow machine fails none of them."""

import os
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("same everywhere", derandomize=True, deadline=None)
settings.load_profile("same everywhere")

if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)  # each process has one core


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """For models that are tiny, so that threads would mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A slow test plays whole runs, beside another one on two cores."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("known"):
            item.add_marker(pytest.mark.timeout(600))
