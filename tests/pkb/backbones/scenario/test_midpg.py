from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from pkb.backbones.scenario.midpg import MIDPG, weighed, weighed_wholly
from pkb.errors import SettingError
from pkb.plug import Sockets
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met, moved_to

DPG: dict[str, Any] = {"mir": 0.0, "mir_shuffled": 0.0}
VARIANTS = ("non", "rc", "r", "c")


def whole(a: torch.Tensor, inputs: int, neurons: int) -> torch.Tensor:
    """A small matrix [n, m] with each entry as a block of [N, M]."""
    return a.repeat_interleave(inputs // a.shape[0], dim=0).repeat_interleave(neurons // a.shape[1], dim=1)


@pytest.mark.parametrize("blocks", [(1, 1), (1, 12), (8, 1), (2, 3), (4, 2), (8, 12)])
def test_the_product_of_blocks_is_that_with_the_whole_matrix_row_by_row(blocks: tuple[int, int]) -> None:
    torch.manual_seed(0)
    linear, h, a = nn.Linear(8, 12).double(), torch.randn(5, 8).double(), torch.rand(5, *blocks).double()
    matrices = [whole(each, 8, 12) for each in a]
    expected = torch.stack([(linear.weight.T * A).T @ row + linear.bias for A, row in zip(matrices, h, strict=True)])
    torch.testing.assert_close(weighed(linear, h, a), expected)
    torch.testing.assert_close(weighed_wholly(linear, h, torch.stack(matrices)), expected)


def integers(model: nn.Module) -> None:
    """Weights among -2, ..., 2: sums of their products are exact in any order."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randint(-2, 3, weight.shape, generator=torch.Generator().manual_seed(weight.numel())))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_matrix_of_ones_leaves_the_plain_network_to_the_bit(variant: str) -> None:
    rows = in_scenarios(3)
    model = met(MIDPG, rows, hidden=(8, 4), variant=variant, **DPG).float()
    integers(model)
    with torch.no_grad():
        for weighting in model.weightings:  # so large an argument that the sigmoid is 1
            for name, weight in weighting.named_parameters():
                last = name.endswith(("2.weight", "2.bias"))
                weight.fill_(0 if name.endswith("2.weight") else 10 if last or name.endswith("shared") else 0)
                if variant == "non" and last and name.endswith("bias"):
                    weight.fill_(100)
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    for layer in model.layers:
        x = torch.relu(layer(x))
    assert torch.equal(model(rows), model.last(x).squeeze(1))


@pytest.mark.parametrize("variant", ["r", "c", "rc"])
def test_the_factors_are_generated_from_scenario_and_input_or_shared_and_their_product_weighs_the_weights(
    variant: str,
) -> None:
    rows = in_scenarios(3)
    model = met(MIDPG, rows, hidden=(8, 4), variant=variant, rows=2, columns=4, rank=3, **DPG)
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    x_s = model.scenarios.weight[(rows.ids_BF[:, COLUMN] - FIRST).long()]
    for layer, weighting, n in zip(model.layers, model.weightings, (4, 2), strict=True):
        told = torch.cat([x_s, x], dim=1)
        factors = []
        for letter, factor, blocks in (("r", weighting.rows, n), ("c", weighting.columns, 4)):
            assert (factor.generator is not None) == (letter in variant)
            made = factor.shared.expand(len(x), -1, -1) if factor.generator is None else factor.generator(told)
            factors.append(made.reshape(len(x), blocks, 3))
        small = torch.sigmoid(torch.einsum("bnk,bmk->bnm", *factors))
        weights = [(layer.weight.T * whole(a, *layer.weight.T.shape)).T for a in small]
        x = torch.relu(torch.stack([functional.linear(h, w, layer.bias) for h, w in zip(x, weights, strict=True)]))
    torch.testing.assert_close(model(rows), model.last(x).squeeze(1))


def test_one_row_block_and_a_column_block_a_neuron_are_a_gate_on_each_neuron() -> None:
    torch.manual_seed(0)
    linear, h, gate = nn.Linear(8, 12).double(), torch.randn(5, 8).double(), torch.rand(5, 12).double()
    gated = weighed(linear, h, gate.unsqueeze(1))
    torch.testing.assert_close(gated, functional.linear(h, linear.weight) * gate + linear.bias)


def test_so_gates_the_whole_model_with_these_settings() -> None:
    rows = in_scenarios(3)
    model = met(MIDPG, rows, hidden=(8, 8), input_rows=1, rows=1, columns=8, **DPG)
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    gates = model.weighted(rows)[2].split(8, dim=1)
    for layer, gate in zip(model.layers, gates, strict=True):
        x = torch.relu(functional.linear(x, layer.weight) * gate + layer.bias)
    torch.testing.assert_close(model(rows), model.last(x).squeeze(1))


def test_blocks_that_do_not_divide_the_inputs_are_refused_where_these_are_known() -> None:
    with pytest.raises(SettingError, match="input_rows=3: must divide the 64 inputs of layer 1"):
        met(MIDPG, in_scenarios(2), input_rows=3)


def test_the_two_sections_of_the_paper_call_each_others_variant_r() -> None:
    assert [MIDPG.Settings(variant=v).generated for v in VARIANTS] == ["non", "rc", "r", "c"]
    assert [MIDPG.Settings(variant=v, reading="3.5.1").generated for v in VARIANTS] == ["non", "rc", "c", "r"]


def test_the_loss_of_mutual_information_has_two_weights_and_dpg_neither_loss_nor_discriminator() -> None:
    rows, losses = in_scenarios(3), []
    for weights in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.25)):
        model = met(MIDPG, rows, hidden=(8, 4), mir=weights[0], mir_shuffled=weights[1])
        torch.manual_seed(1)
        losses.append(model.with_auxiliary(rows)[1])
    torch.testing.assert_close(losses[2], 0.5 * losses[0] + 0.25 * losses[1])
    dpg = met(MIDPG, rows, hidden=(8, 4), **DPG)
    assert dpg.with_auxiliary(rows)[1] is None
    assert dpg.discriminator is None


def test_a_rows_matrices_depend_on_its_scenario() -> None:
    rows = in_scenarios(2)
    model = met(MIDPG, rows, hidden=(8, 4))
    matrices = [model.weighted(moved_to(rows, FIRST + scenario))[2] for scenario in range(2)]
    assert matrices[0].shape == (len(rows), 4 * 4 + 4 * 4)
    assert not torch.isclose(*matrices).all(dim=1).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": 3}, "columns=3: must divide the 256 neurons of layer 1"),
        ({"rows": 3}, "rows=3: must divide the 256 inputs of layer 2"),
        ({"variant": "cr"}, "variant=cr: is not one of non, rc, r, c"),
        ({"reading": "3"}, "reading=3: is not one of"),
        ({"rank": 0}, "rank=0: must be at least 1"),
        ({"mir": -1.0}, "mir=-1.0: must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        MIDPG.Settings(**settings)


def test_a_block_of_the_first_layer_is_an_embedding_so_that_any_knowledge_fits() -> None:
    model = met(MIDPG, in_scenarios(2), Sockets(fields=3, joined=5), hidden=(8, 4))
    assert model.weightings[0].rows.blocks == 4 + 3
