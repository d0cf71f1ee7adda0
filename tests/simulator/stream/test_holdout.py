from __future__ import annotations

from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from pkb.batch import Batch
from simulator.stream.holdout import holdout_mask


def batch(request: torch.Tensor | None, n: int) -> Batch:
    return Batch(row_id=torch.arange(n), ids_BF=torch.zeros(n, 1), label=torch.zeros(n), request=request)


def test_rows_shown_together_share_their_fate() -> None:
    request = torch.arange(20_000).repeat_interleave(5)
    held = holdout_mask(batch(request, 100_000), 0.1).view(-1, 5)
    assert torch.equal(held.all(dim=1), held.any(dim=1))


@given(st.floats(0.01, 0.5))
def test_the_share_is_kept(share: float) -> None:
    held = holdout_mask(batch(None, 100_000), share).double().mean().item()
    assert abs(held - share) < 4 * (share * (1 - share) / 100_000) ** 0.5


def test_a_rows_fate_does_not_depend_on_the_rows_around_it(tmp_path: Path) -> None:
    rows = batch(None, 1_000)
    whole = holdout_mask(rows, 0.3)
    assert torch.equal(holdout_mask(rows.select(slice(300, 700)), 0.3), whole[300:700])
