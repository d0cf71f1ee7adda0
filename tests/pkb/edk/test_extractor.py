from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pkb.edk.extractor import Extractor, HardConcrete

MASK = HardConcrete(temperature=2 / 3, low=-0.1, high=1.1)
LOCATIONS = torch.tensor([-6.0, -2.0, -0.5, 0.0, 1.0, 3.0, 7.0], dtype=torch.float64)


def quantiles(count: int = 200_000) -> Tensor:
    """Midpoints of equal probability: averaging over them integrates over the noise."""
    return ((torch.arange(count, dtype=torch.float64) + 0.5) / count).unsqueeze(1)


def masks(mask: HardConcrete = MASK) -> Tensor:
    noise = quantiles().expand(-1, len(LOCATIONS))
    return mask.sample(LOCATIONS.expand_as(noise), noise)


def probability_one(mask: HardConcrete) -> Tensor:
    """P(z = 1): the stretched variable exceeds 1 where s > (1 - low) / (high - low)."""
    return torch.sigmoid(LOCATIONS - mask.temperature * math.log((1 - mask.low) / (mask.high - 1)))


def test_a_mask_is_exactly_zero_and_exactly_one_as_often_as_the_closed_forms_say() -> None:
    z = masks()
    torch.testing.assert_close((z > 0).double().mean(0), MASK.probability_nonzero(LOCATIONS), atol=1e-5, rtol=0)
    torch.testing.assert_close((z == 1).double().mean(0), probability_one(MASK), atol=1e-5, rtol=0)


def test_the_expected_mask_is_the_integral_of_its_tail_probability() -> None:
    # E[z] = integral over t in [0, 1] of P(z > t);  z > t where s > (t - low) / (high - low)
    stretched = (quantiles(20_000) - MASK.low) / (MASK.high - MASK.low)
    expected = torch.sigmoid(LOCATIONS - MASK.temperature * torch.logit(stretched)).mean(0)
    torch.testing.assert_close(masks().mean(0), expected, atol=1e-4, rtol=0)


def test_seeded_samples_are_nonzero_as_often_as_the_penalty_says() -> None:
    noise = torch.rand(40_000, len(LOCATIONS), generator=torch.Generator().manual_seed(0))
    share = (MASK.sample(LOCATIONS.float().expand_as(noise), noise) > 0).double().mean(0)
    torch.testing.assert_close(share, MASK.probability_nonzero(LOCATIONS), atol=0.01, rtol=0)


def test_far_locations_close_and_open_the_mask_for_certain() -> None:
    closed, opened = torch.full((1000,), -40.0), torch.full((1000,), 40.0)
    noise = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(MASK.sample(closed, noise), torch.zeros(1000))
    assert torch.equal(MASK.sample(opened, noise), torch.ones(1000))
    assert torch.equal(MASK.deterministic(closed), torch.zeros(1000))
    assert torch.equal(MASK.deterministic(opened), torch.ones(1000))
    assert MASK.probability_nonzero(closed).max() < 1e-6 < 1 - 1e-6 < MASK.probability_nonzero(opened).min()


def test_a_low_temperature_makes_a_mask_binary_with_the_probability_of_its_location() -> None:
    z = masks(HardConcrete(temperature=1e-4, low=-0.1, high=1.1))
    assert ((z == 0) | (z == 1)).double().mean() > 0.999
    torch.testing.assert_close(z.mean(0), torch.sigmoid(LOCATIONS), atol=1e-3, rtol=0)


def test_noise_at_the_ends_of_its_range_leaves_mask_and_gradient_finite() -> None:
    location = torch.zeros(2, requires_grad=True)
    z = MASK.sample(location, torch.tensor([0.0, 1.0]))
    z.sum().backward()
    assert z.tolist() == [0, 1]
    assert location.grad is not None
    assert location.grad.isfinite().all()


@given(st.floats(-50, 50), st.floats(0.01, 0.99))
def test_masks_lie_between_zero_and_one_and_rise_with_their_location(location: float, noise: float) -> None:
    lower, higher = torch.tensor(location), torch.tensor(location + 0.5)
    u = torch.tensor(noise)
    for draw in (lambda a: MASK.sample(a, u), MASK.deterministic, MASK.probability_nonzero):
        assert 0 <= draw(lower) <= draw(higher) <= 1


def test_permuting_the_fields_permutes_the_masks_alike() -> None:
    torch.manual_seed(0)
    extractor = Extractor(width=4, patterns=3, heads=2).double()
    features = torch.randn(5, 6, 4, dtype=torch.float64)
    order = torch.randperm(6)
    torch.testing.assert_close(extractor(features[:, order]), extractor(features)[:, :, order])


@pytest.mark.parametrize("patterns", [1, 4])
def test_locations_have_one_row_per_pattern(patterns: int) -> None:
    assert Extractor(width=4, patterns=patterns, heads=1)(torch.randn(2, 3, 4)).shape == (2, patterns, 3)
