"""Our models of many scenarios, given the same weights, score as deepctr-torch's PLE and FuxiCTR's APG do.

FuxiCTR keeps APG in its repository alone (model_zoo): the test of it runs where a checkout is on PYTHONPATH.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pkb.backbones.scenario.apg import GeneratedLayer
from pkb.backbones.scenario.base import OwnLinear
from pkb.backbones.scenario.ple import PLE
from tests.comparison.conftest import REASON
from tests.comparison.deepctr import columns
from tests.pkb.backbones.check_backbone import SCHEMA, stir
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met

WIDTH, TASKS = 6, 3


@pytest.mark.parametrize("hidden", [(7,), (7, 7)])
def test_ple_with_a_scenario_for_a_task(deepctr: Any, hidden: tuple[int, ...]) -> None:
    rows = in_scenarios(TASKS, 60)
    ours = met(PLE, rows, width=WIDTH, hidden=hidden, experts=2, shared_experts=2, tower=5)
    theirs = deepctr.PLE(
        columns(WIDTH),
        shared_expert_num=2,
        specific_expert_num=2,
        num_levels=len(hidden),
        expert_dnn_hidden_units=(7,),
        gate_dnn_hidden_units=(),
        tower_dnn_hidden_units=(5,),
        task_types=["binary"] * TASKS,
        task_names=[f"scenario {number}" for number in range(TASKS)],
    )
    with torch.no_grad():
        for name in SCHEMA.names:
            theirs.embedding_dict[name].weight.copy_(ours.table.weight)
        for level, ours_level in enumerate(ours.levels):
            ours_level.own_gate.own.weight[:, -4:] = 0  # theirs has no bias
            for expert in range(2):
                at = slice(7 * expert, 7 * expert + 7)
                copy(
                    theirs.shared_experts[level][0][expert].linears[0],
                    ours_level.shared.weight[at],
                    ours_level.shared.bias[at],
                )
                for task in range(TASKS):
                    weight, bias = own(ours_level.own, task)
                    copy(theirs.specific_experts[level][task][expert].linears[0], weight[at], bias[at])
            for task in range(TASKS):
                theirs.specific_gate_dnn_final_layer[level][task].weight.copy_(own(ours_level.own_gate, task)[0])
        for task in range(TASKS):
            copy(theirs.tower_dnn[task].linears[0], *own(ours.tower, task))
            weight, bias = own(ours.last, task)
            theirs.tower_dnn_final_layer[task].weight.copy_(weight)
            theirs.out[task].bias.copy_(bias)
        for task in range(TASKS):
            for level, ours_level in enumerate(ours.levels[:-1]):
                theirs.shared_gate_dnn_final_layer[level] = of_one_task(ours_level.shared_gate, task)
            mine = rows.ids_BF[:, COLUMN] == FIRST + task
            scores = theirs.double().eval()(rows.ids_BF.double())[:, task]
            torch.testing.assert_close(torch.sigmoid(ours(rows))[mine], scores[mine])


def own(layer: OwnLinear, task: int) -> tuple[torch.Tensor, torch.Tensor]:
    row, out = layer.own.weight[task], layer.width_out
    return row[:-out].view(out, -1), row[-out:]


def copy(layer: Any, weight: torch.Tensor, bias: torch.Tensor) -> None:
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)


def of_one_task(gate: Any, task: int) -> nn.Linear:
    """Their shared gate, which leaves the experts of other tasks out: a row of ours is of one scenario."""
    whole = nn.Linear(gate.in_features, 2 * TASKS + 2).double()
    whole.weight.zero_()
    whole.bias.fill_(-1e4)
    at = [2 * task, 2 * task + 1, 2 * TASKS, 2 * TASKS + 1]
    whole.weight[at], whole.bias[at] = gate.weight, gate.bias
    return whole


@pytest.mark.parametrize("inner", [0, 9])
def test_a_layer_of_apg_is_fuxictrs(inner: int) -> None:
    theirs_of = pytest.importorskip(
        "model_zoo.APG.src.APG", reason=f"{REASON}, and FuxiCTR's repository has it"
    ).APG_Linear
    ours = stir(GeneratedLayer(8, 6, 5, rank=3, inner=inner, hidden=4)).double()
    theirs = theirs_of(
        8,
        6,
        5,
        rank_k=3,
        overparam_p=inner or None,
        generate_bias=True,
        hypernet_config={"hidden_units": [4]},
    ).double()
    with torch.no_grad():
        if inner:
            theirs.U_r.copy_(ours.v.factors[0].T)
            theirs.U_l.copy_(ours.v.factors[1].T)
            theirs.V_r.copy_(ours.u.factors[0].T)
            theirs.V_l.copy_(ours.u.factors[1].T)
        else:
            theirs.U.copy_(ours.v.factors[0].T)
            theirs.V.copy_(ours.u.factors[0].T)
        first, last = (m for m in ours.generator.modules() if isinstance(m, nn.Linear))
        theirs.hypernet.mlp[0].load_state_dict(first.state_dict())
        turned = torch.arange(9).view(3, 3).T.flatten()  # theirs multiplies rows, and generates the bias first
        order = torch.cat([torch.arange(9, 15), turned])
        copy(theirs.hypernet.mlp[-1], last.weight[order], last.bias[order])
    h, z = torch.randn(20, 8).double(), torch.randn(20, 5).double()
    torch.testing.assert_close(ours(h, z), torch.relu(theirs(h, z)))
