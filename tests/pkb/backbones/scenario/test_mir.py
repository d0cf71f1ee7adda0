from __future__ import annotations

import math

import torch

from pkb.backbones.scenario.mir import Discriminator, mutual_information_loss


def bound(correlation: float, steps: int) -> float:
    """Estimate the bound of two Gaussians of this correlation by a discriminator that took so many steps."""
    torch.manual_seed(0)
    discriminator = Discriminator(1, 1, 16)
    adam = torch.optim.Adam(discriminator.parameters(), lr=0.01)

    def pairs(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, noise = torch.randn(2, rows, 1)
        return x, correlation * x + math.sqrt(1 - correlation**2) * noise

    for _ in range(steps):
        adam.zero_grad()
        torch.stack(mutual_information_loss(discriminator, *pairs(256))).sum().backward()
        adam.step()
    with torch.no_grad():
        return -float(torch.stack(mutual_information_loss(discriminator, *pairs(50_000))).sum())


def true_bound(correlation: float) -> float:
    """2 JSD - log 4 of these Gaussians, by the best discriminator, the log of the densities' ratio."""
    draw, rows = torch.Generator().manual_seed(1), 200_000
    x, noise, apart = torch.randn(3, rows, generator=draw).double()

    def ratio(a: torch.Tensor) -> torch.Tensor:
        rest = 1 - correlation**2
        exponent = (2 * correlation * x * a - correlation**2 * (x**2 + a**2)) / (2 * rest)
        log_ratio: torch.Tensor = exponent - 0.5 * math.log(rest)
        return log_ratio

    own, shuffled = ratio(correlation * x + math.sqrt(1 - correlation**2) * noise), ratio(apart)
    softplus = torch.nn.functional.softplus
    return -float(softplus(-own).mean() + softplus(shuffled).mean())


def test_the_bound_orders_gaussians_by_their_mutual_information_and_tightens_with_training() -> None:
    correlations = (0.0, 0.6, 0.95)
    short, long, true = (
        [f(c) for c in correlations] for f in (lambda c: bound(c, 30), lambda c: bound(c, 250), true_bound)
    )
    assert long[0] < long[1] - 0.03 < long[2] - 0.3
    assert abs(true[0] + math.log(4)) < 1e-6
    for late, early, best in zip(long[1:], short[1:], true[1:], strict=True):
        assert early < late < best + 0.02, "more steps come nearer to the best, from below"
        assert best - late < 0.1
