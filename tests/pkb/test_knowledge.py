from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pkb.knowledge import Scale

VALUES = torch.randn(500, 3, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1.0, 2.0, 3.0])


def scaled(values: Tensor) -> Tensor:
    scale = Scale(3, 4)
    scale.measure(values)
    return scale(values)  # type: ignore[no-any-return]


def test_a_new_scale_leaves_knowledge_as_it_is() -> None:
    assert torch.equal(Scale(3, 4)(VALUES), VALUES)


@pytest.mark.parametrize(("length", "offset"), [(1.0, 0.0), (1e-4, 0.5), (1e3, -1e4)])
def test_knowledge_is_the_same_in_any_unit(length: float, offset: float) -> None:
    values = (length * VALUES.double() + offset).float()
    torch.testing.assert_close(scaled(values), scaled(VALUES), atol=5e-3, rtol=0)


def test_scaled_knowledge_is_centred_and_keeps_its_proportions() -> None:
    values = scaled(VALUES)
    torch.testing.assert_close(values.mean(dim=0), torch.zeros(3, 4), atol=1e-5, rtol=0)
    assert values.var(dim=0, correction=0).mean().item() == pytest.approx(1)
    ratio = values.std(dim=0) / VALUES.std(dim=0)
    torch.testing.assert_close(ratio, torch.full((3, 4), ratio.mean().item()))


def test_knowledge_that_is_alike_in_all_rows_says_nothing() -> None:
    assert torch.equal(scaled(torch.full((5, 3, 4), 7.0)), torch.zeros(5, 3, 4))


def test_a_stored_scale_is_the_same() -> None:
    one, other = Scale(3, 4), Scale(3, 4)
    one.measure(VALUES)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(VALUES), other(VALUES))
