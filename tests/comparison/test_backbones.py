"""Our backbones, given the same weights, score as deepctr-torch, FuxiCTR and scikit-learn do.

Not compared: PNN's outer products, which neither has in the paper's superposed form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from pkb.backbones.autoint import AutoInt, FieldAttention
from pkb.backbones.base import Backbone
from pkb.backbones.dcn import DCN, Cross
from pkb.backbones.dcnv2 import DCNv2, MatrixCross, MixtureCross
from pkb.backbones.deepfm import DeepFM
from pkb.backbones.fm import FM
from pkb.backbones.lr import LR
from pkb.backbones.pnn import PNN
from pkb.backbones.xdeepfm import CIN, XDeepFM
from pkb.batch import Batch
from pkb.layers import bi_interaction, inner_products
from tests.comparison.deepctr import columns, copy_embeddings, copy_tower, probabilities
from tests.pkb.backbones.check_backbone import IDS, make_rows, stir
from tests.pkb.backbones.lively import lively

ROWS = make_rows(200)
WIDTH, HIDDEN = 6, (8, 7)


def assert_same(ours: Backbone, theirs: Any) -> None:
    torch.testing.assert_close(torch.sigmoid(ours(ROWS)), probabilities(theirs, ROWS))


def one_hot(rows: Batch) -> np.ndarray:
    return torch.nn.functional.one_hot(rows.ids_BF.long(), IDS).sum(dim=1).numpy()


def test_lr_scores_as_scikit_learn_with_its_weights() -> None:
    theirs = LogisticRegression().fit(one_hot(ROWS), ROWS.label.numpy())
    ours = lively(LR)
    with torch.no_grad():
        ours.table.weight.copy_(torch.from_numpy(theirs.coef_.T))
        ours.bias.copy_(torch.from_numpy(theirs.intercept_)[0])
    expected = torch.from_numpy(theirs.predict_proba(one_hot(ROWS))[:, 1])
    torch.testing.assert_close(torch.sigmoid(ours(ROWS)), expected)


def test_fm(deepctr: Any) -> None:
    ours = lively(FM, width=WIDTH)
    theirs = deepctr.DeepFM(columns(WIDTH), columns(WIDTH), dnn_hidden_units=())
    copy_embeddings(theirs, ours.table, linear=True)
    theirs.out.bias.data.fill_(ours.bias.item())
    assert_same(ours, theirs)


def test_deepfm(deepctr: Any) -> None:
    ours = lively(DeepFM, width=WIDTH, hidden=HIDDEN)
    theirs = deepctr.DeepFM(columns(WIDTH), columns(WIDTH), dnn_hidden_units=HIDDEN)
    copy_embeddings(theirs, ours.table, linear=True)
    copy_tower(theirs, ours.tower)
    theirs.out.bias.data += ours.bias.item()
    assert_same(ours, theirs)


def test_dcn(deepctr: Any) -> None:
    ours = lively(DCN, width=WIDTH, layers=2, hidden=HIDDEN)
    theirs = deepctr.DCN(columns(WIDTH), columns(WIDTH), cross_num=2, dnn_hidden_units=HIDDEN)
    copy_embeddings(theirs, ours.table, linear=False)
    copy_tower(theirs, ours.tower, beside=ours.last)
    for number, layer in enumerate(ours.cross):
        assert isinstance(layer, Cross)
        theirs.crossnet.kernels.data[number] = layer.weight.weight.T
        theirs.crossnet.bias.data[number] = layer.bias[:, None]
    assert_same(ours, theirs)


def test_dcnv2(deepctr: Any) -> None:
    ours = lively(DCNv2, width=WIDTH, layers=2, hidden=HIDDEN)
    theirs = deepctr.DCN(
        columns(WIDTH), columns(WIDTH), cross_num=2, cross_parameterization="matrix", dnn_hidden_units=HIDDEN
    )
    copy_embeddings(theirs, ours.table, linear=False)
    copy_tower(theirs, ours.tower, beside=ours.last)
    for number, layer in enumerate(ours.cross):
        assert isinstance(layer, MatrixCross)
        theirs.crossnet.kernels.data[number] = layer.weight.weight
        theirs.crossnet.bias.data[number] = layer.weight.bias[:, None]
    assert_same(ours, theirs)


def test_dcnv2_with_a_mixture_of_experts(deepctr: Any) -> None:
    ours = lively(DCNv2, width=WIDTH, layers=1, rank=3, experts=2, hidden=HIDDEN)
    theirs = deepctr.DCNMix(
        columns(WIDTH), columns(WIDTH), cross_num=1, low_rank=3, num_experts=2, dnn_hidden_units=HIDDEN
    )
    copy_embeddings(theirs, ours.table, linear=False)
    copy_tower(theirs, ours.tower, beside=ours.last)
    [layer] = ours.cross
    assert isinstance(layer, MixtureCross)
    layer.gate.bias.data.zero_()  # theirs has none
    for expert in range(2):
        part = slice(3 * expert, 3 * expert + 3)
        theirs.crossnet.V_list.data[0, expert] = layer.down.weight[part].T
        theirs.crossnet.C_list.data[0, expert] = layer.core_ERR[expert]
        theirs.crossnet.U_list.data[0, expert] = layer.up.weight[:, part]
        theirs.crossnet.gating[expert].weight.data[0] = layer.gate.weight[expert]
    theirs.crossnet.bias.data[0] = layer.up.bias[:, None]
    assert_same(ours, theirs)


def test_pnn(deepctr: Any) -> None:
    ours = lively(PNN, width=WIDTH, product="inner", hidden=HIDDEN)
    theirs = deepctr.PNN(columns(WIDTH), dnn_hidden_units=HIDDEN, use_inner=True)
    copy_embeddings(theirs, ours.table, linear=False)
    copy_tower(theirs, ours.tower)
    assert_same(ours, theirs)


def test_xdeepfm(deepctr: Any) -> None:
    ours = lively(XDeepFM, width=WIDTH, maps=(5, 3), hidden=HIDDEN)
    theirs = deepctr.xDeepFM(
        columns(WIDTH),
        columns(WIDTH),
        dnn_hidden_units=HIDDEN,
        cin_layer_size=(5, 3),
        cin_split_half=False,
        cin_activation="linear",
    )
    copy_embeddings(theirs, ours.table, linear=True)
    copy_tower(theirs, ours.tower)
    for to, layer in zip(theirs.cin.conv1ds, ours.cin.layers, strict=True):
        to.weight.data = layer.get_parameter("weight").unsqueeze(2).detach()
        to.bias.data.zero_()  # ours and the paper's has none
    theirs.cin_linear.weight.data = ours.cin.last.weight.detach()
    assert_same(ours, theirs)


def test_autoint(deepctr: Any) -> None:
    ours = lively(AutoInt, width=WIDTH, layers=2, heads=2, head_width=WIDTH // 2, hidden=HIDDEN)
    theirs = deepctr.AutoInt(columns(WIDTH), columns(WIDTH), att_layer_num=2, att_head_num=2, dnn_hidden_units=HIDDEN)
    copy_embeddings(theirs, ours.table, linear=False)
    assert ours.tower is not None
    copy_tower(theirs, ours.tower, beside=ours.last)
    for to, layer in zip(theirs.int_layers, ours.attention, strict=True):
        assert isinstance(layer, FieldAttention)
        weights = [w.T.detach() for w in layer.project.weight.chunk(4)]
        for name, weight in zip(["W_Query", "W_key", "W_Value", "W_Res"], weights, strict=True):
            getattr(to, name).data = weight
    assert_same(ours, theirs)


VECTORS = torch.randn(9, 4, WIDTH, generator=torch.Generator().manual_seed(0))
INPUTS = VECTORS.flatten(1)


def test_the_products_of_fields_are_fuxictrs(fuxictr: Any) -> None:
    theirs = fuxictr.InnerProductInteraction
    torch.testing.assert_close(inner_products(VECTORS), theirs(4, output="inner_product")(VECTORS))
    torch.testing.assert_close(bi_interaction(VECTORS), theirs(4, output="bi_interaction")(VECTORS))


def test_a_cross_layer_is_fuxictrs(fuxictr: Any) -> None:
    ours, theirs = stir(Cross(INPUTS.shape[1])), fuxictr.CrossNet(INPUTS.shape[1], 1)
    theirs.cross_net[0].load_state_dict(ours.state_dict())
    torch.testing.assert_close(ours(INPUTS, INPUTS), theirs(INPUTS))


def test_a_matrix_cross_layer_is_fuxictrs(fuxictr: Any) -> None:
    ours, theirs = stir(MatrixCross(INPUTS.shape[1])), fuxictr.CrossNetV2(INPUTS.shape[1], 1)
    theirs.cross_layers[0].load_state_dict(ours.weight.state_dict())
    torch.testing.assert_close(ours(INPUTS, INPUTS), theirs(INPUTS))


@pytest.mark.parametrize("maps", [(3,), (5, 3)])
def test_the_compressed_interaction_network_is_fuxictrs(fuxictr: Any, maps: tuple[int, ...]) -> None:
    ours, theirs = stir(CIN(4, maps)), fuxictr.CompressedInteractionNet(4, list(maps))
    for (to, layer), after in zip(zip(theirs.cin_layer.values(), ours.layers, strict=True), maps, strict=True):
        weight = layer.get_parameter("weight").view(after, -1, 4)  # theirs has the fields first
        to.weight.data = weight.transpose(1, 2).reshape(after, -1, 1).detach()
        to.bias.data.zero_()
    theirs.fc.weight.data = ours.last.weight.detach()
    theirs.fc.bias.data.zero_()
    torch.testing.assert_close(ours(VECTORS), theirs(VECTORS).squeeze(1))
