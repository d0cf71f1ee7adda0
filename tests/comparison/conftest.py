"""Well-known implementations, which only `make test-comparison` installs."""

from __future__ import annotations

from typing import Any

import pytest

REASON = "compares with another implementation: make test-comparison installs it"


@pytest.fixture(scope="session")
def deepctr() -> Any:
    return pytest.importorskip("deepctr_torch.models", reason=REASON)


@pytest.fixture(scope="session")
def fuxictr() -> Any:
    return pytest.importorskip("fuxictr.pytorch.layers", reason=REASON)
