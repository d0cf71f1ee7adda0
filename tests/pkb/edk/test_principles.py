from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pkb.edk.principles import Compression, Disentanglement, Essential, draw_partners, gaussian_nll, vclub


def vclub_over_all_pairs(y: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """E_i log q(y_i | x_i) - E_i E_j log q(y_j | x_i), pair by pair (eq. 3)."""
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    matched: Tensor = q.log_prob(y).sum(dim=1)
    pairs = torch.stack([q.log_prob(y_j).sum(dim=1) for y_j in y])
    return matched.mean() - pairs.mean()


@given(rows=st.integers(1, 12), width=st.integers(1, 5), seed=st.integers(0, 1000))
def test_vclub_by_moments_equals_its_form_over_all_pairs(rows: int, width: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    y, mean, log_variance = torch.randn(3, rows, width, generator=draw, dtype=torch.float64)
    torch.testing.assert_close(vclub(y, mean, log_variance), vclub_over_all_pairs(y, mean, log_variance))


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.9])
def test_vclub_with_the_true_conditional_is_no_less_than_the_information_of_gaussians(correlation: float) -> None:
    draw = torch.Generator().manual_seed(0)
    x, noise = torch.randn(2, 50_000, 1, generator=draw, dtype=torch.float64)
    variance = 1 - correlation**2
    y = correlation * x + math.sqrt(variance) * noise
    bound = vclub(y, correlation * x, torch.full_like(x, math.log(variance)))
    information = -0.5 * math.log(variance)
    assert bound >= information - 0.01
    # the bound itself has a closed form here: rho^2 / (1 - rho^2)
    torch.testing.assert_close(bound.item(), correlation**2 / variance, atol=0.02, rtol=0.03)


def test_a_fitted_estimator_bounds_the_information_of_correlated_gaussians() -> None:
    torch.manual_seed(0)
    compression = Compression(input_width=2, width=2, hidden=16)
    optimiser = torch.optim.Adam(compression.parameters(), lr=1e-2)
    x = torch.randn(2000, 2)
    y = 0.6 * x + 0.8 * torch.randn(2000, 2)
    for _ in range(150):
        optimiser.zero_grad()
        compression(x, y)[1].backward()
        optimiser.step()
    bound, _ = compression(x, y)
    assert -2 * 0.5 * math.log(0.64) - 0.02 < bound < 2 * 0.36 / 0.64 + 0.2


def test_the_estimator_loss_is_the_gaussian_likelihood_up_to_its_constant() -> None:
    y, mean, log_variance = torch.randn(3, 6, 4, generator=torch.Generator().manual_seed(0))
    q = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    expected = -q.log_prob(y).sum(dim=1).mean() - 4 * 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(gaussian_nll(y, mean, log_variance), expected)


def test_the_bound_moves_the_summary_alone_and_the_estimator_loss_its_parameters_alone() -> None:
    torch.manual_seed(0)
    compression = Compression(input_width=6, width=3, hidden=5)
    inputs, summary = torch.randn(8, 6, requires_grad=True), torch.randn(8, 3, requires_grad=True)
    bound, estimator = compression(inputs, summary)
    bound.backward()
    assert summary.grad is not None
    assert summary.grad.abs().sum() > 0
    assert inputs.grad is None
    assert all(parameter.grad is None for parameter in compression.parameters())
    before = summary.grad.clone()
    estimator.backward()
    assert torch.equal(summary.grad, before)
    assert inputs.grad is None
    assert all(parameter.grad is not None for parameter in compression.parameters())


@given(st.lists(st.booleans(), min_size=2, max_size=30), st.integers(0, 1000))
def test_partners_have_the_same_or_the_opposite_label(labels: list[bool], seed: int) -> None:
    label = torch.tensor(labels).float()
    torch.manual_seed(seed)
    same, opposite = (draw_partners(label, 3, opposite=flag) for flag in (False, True))
    assert same.shape == opposite.shape == (3, len(labels))
    assert torch.equal(label[same], label.expand(3, -1))
    if 0 < sum(labels) < len(labels):
        assert torch.equal(label[opposite], 1 - label.expand(3, -1))


def test_partners_are_drawn_uniformly_from_all_rows_of_their_label() -> None:
    torch.manual_seed(0)
    label = torch.tensor([0.0, 1, 0, 1, 1])
    counts = torch.bincount(draw_partners(label, 6000, opposite=True)[:, 0], minlength=5)
    assert counts[[0, 2]].sum() == 0
    assert (counts[[1, 3, 4]] - 2000).abs().max() < 150


def test_the_essential_loss_falls_when_knowledge_and_input_carry_the_label() -> None:
    torch.manual_seed(0)
    label = (torch.rand(512) < 0.3).float()
    sign = (2 * label - 1).unsqueeze(1)
    inputs = sign + torch.randn(512, 6)
    blind, telling = torch.randn(512, 2, 3), sign.unsqueeze(2) + 0.1 * torch.randn(512, 2, 3)

    def fitted(knowledge: Tensor) -> float:
        torch.manual_seed(1)
        essential = Essential(width=3, input_width=6, draws=2)
        optimiser = torch.optim.Adam(essential.parameters(), lr=0.05)
        loss = torch.zeros(())
        for _ in range(60):
            optimiser.zero_grad()
            loss = essential(knowledge, inputs, label)
            loss.backward()
            optimiser.step()
        return loss.item()

    # an uninformed discriminator says one half to every pair: 2 log 2
    assert fitted(telling) < 0.6 < 2 * math.log(2) - 0.05 < fitted(blind)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_a_batch_of_one_label_has_no_essential_loss_and_a_finite_gradient(label: float) -> None:
    essential = Essential(width=3, input_width=6, draws=1)
    knowledge = torch.randn(4, 2, 3, requires_grad=True)
    loss = essential(knowledge, torch.randn(4, 6), torch.full((4,), label))
    loss.backward()
    assert loss == 0
    assert knowledge.grad is not None
    assert torch.equal(knowledge.grad, torch.zeros_like(knowledge))


def disentanglement(width: int = 8, dropout: float = 0.0) -> Disentanglement:
    torch.manual_seed(0)
    return Disentanglement(width, 32, dropout=dropout, temperature=0.5)


def test_orthogonal_patterns_are_less_entangled_than_equal_ones() -> None:
    contrast = disentanglement()
    orthogonal = torch.eye(8)[:4].expand(5, -1, -1)
    equal = torch.eye(8)[:1].expand(5, 4, -1)
    assert contrast(orthogonal) < contrast(equal) - 0.5
    torch.testing.assert_close(contrast(equal), torch.tensor(math.log(3)))  # K - 1 others, as like as itself


def test_the_two_views_are_independent_draws_of_the_dropout() -> None:
    contrast, knowledge = disentanglement(dropout=0.5), torch.randn(5, 4, 8)
    in_training = contrast(knowledge)
    contrast.eval()
    assert contrast(knowledge) < in_training  # without noise a pattern is most like itself
    assert contrast(knowledge) == contrast(knowledge)


def test_one_pattern_has_nothing_to_disentangle() -> None:
    contrast, knowledge = disentanglement(), torch.randn(5, 1, 8, requires_grad=True)
    loss = contrast(knowledge)
    loss.backward()
    assert loss == 0
    assert knowledge.grad is not None
    assert torch.equal(knowledge.grad, torch.zeros_like(knowledge))
