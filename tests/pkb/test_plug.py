from __future__ import annotations

import torch

from pkb.backbones.deepfm import DeepFM
from pkb.plug import ClickModel, ExtraFields
from tests.pkb.backbones.test_deepfm import SCHEMA, rows


def plugged() -> ClickModel:
    torch.manual_seed(0)
    backbone = DeepFM(SCHEMA, DeepFM.Settings(width=5, hidden=(7,)), extra_fields=2)
    backbone.grow(20, torch.Generator().manual_seed(0))
    return ClickModel(backbone, ExtraFields(3, backbone.embedding_width)).eval()


def test_a_new_plug_leaves_scores_as_they_were() -> None:
    model = plugged()
    assert torch.equal(model(rows(), torch.randn(6, 2, 3)), model(rows()))


def test_a_plug_learns_to_use_knowledge_that_tells_the_label() -> None:
    model, label = plugged().train(), torch.tensor([0.0, 1.0] * 3)
    knowledge = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0)) + 3 * label[:, None, None]
    plug = model.plug
    assert plug is not None
    adam = torch.optim.Adam([*plug.parameters(), *model.backbone.parameters()], lr=0.01)
    for _ in range(100):
        adam.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(rows(), knowledge), label).backward()
        for table in model.modules():  # the plug and the dense part alone must do it
            if hasattr(table, "second_moment"):
                table.weight.grad = None
        adam.step()
    scores = model.eval()(rows(), knowledge)
    assert scores[label == 1].min() > scores[label == 0].max()
