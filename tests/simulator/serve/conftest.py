"""One quiet Ray of this machine's own for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.cluster.session import ray_session


@pytest.fixture(scope="package")
def local_ray() -> Iterator[None]:
    with ray_session(None):
        yield
