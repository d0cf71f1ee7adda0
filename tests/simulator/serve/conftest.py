"""One quiet Ray of this machine's own for the tests of this folder, and one run whose model answers requests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from simulator.cluster.session import ray_session
from simulator.serve.asgi import make_app
from simulator.serve.versions import Versions
from tests.simulator.serve.asgi_client import Client
from tests.simulator.serve.asking import DAYS, Row
from tests.simulator.serve.played_run import PlayedRun, played_run


@pytest.fixture(scope="package")
def local_ray() -> Iterator[None]:
    with ray_session(None):
        yield


@pytest.fixture(scope="package")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> PlayedRun:
    """Periods 0 to 2, of which the model of version 1 has predicted the last one before it was learned."""
    run = played_run(tmp_path_factory.mktemp("played"), days=DAYS, rows=1_200)
    for index in range(DAYS):
        run.commit(index)
    return run


@pytest.fixture(scope="package")
def versions(three_days: PlayedRun) -> Versions:
    versions = three_days.versions()
    versions.swap_to(1)
    return versions


@pytest.fixture
def client(versions: Versions) -> Iterator[Client]:
    with Client(make_app(versions)) as client:
        yield client


@pytest.fixture(scope="package")
def raw(three_days: PlayedRun) -> list[Row]:
    """What requests hold of the last period's rows."""
    return three_days.raw(three_days.log.read(three_days.log.periods[-1], histories=True))
