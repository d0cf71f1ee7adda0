from __future__ import annotations

import torch

from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.plug import Plugged, Sockets

SCHEMA = Schema(fields=tuple(Field(name=n, role="user") for n in "abc"), user="a", item="b")


def model(extra: int = 0) -> DeepFM:
    torch.manual_seed(0)
    made = DeepFM(SCHEMA, DeepFM.Settings(width=5, hidden=(7,)), Sockets(fields=extra))
    made.grow(20, torch.Generator().manual_seed(0))
    return made.eval()


def rows(n: int = 6) -> Batch:
    ids = torch.randint(4, 20, (n, 3), generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    return Batch(row_id=torch.arange(n), ids_BF=ids, label=torch.zeros(n))


def test_the_logit_is_the_sum_of_linear_pairwise_and_deep_terms() -> None:
    m, batch = model(), rows()
    vectors = m.table.weight[batch.ids_BF.long()]
    linear, v = vectors[..., 0].sum(1), vectors[..., 1:]
    pairs = sum((v[:, f] * v[:, g]).sum(1) for f in range(3) for g in range(f))
    expected = m.bias + linear + pairs + m.tower(v.reshape(len(batch), -1))
    torch.testing.assert_close(m(batch), expected)


def test_a_zero_extra_field_stands_for_no_knowledge() -> None:
    m = model(extra=2)
    assert torch.equal(m(rows()), m(rows(), Plugged(fields_BKD=torch.zeros(6, 2, 5))))


def test_extra_fields_change_the_score_and_receive_gradients() -> None:
    m = model(extra=2)
    extra = torch.randn(6, 2, 5, requires_grad=True)
    scores = m(rows(), Plugged(fields_BKD=extra))
    assert not torch.allclose(scores, m(rows()))
    scores.sum().backward()
    assert extra.grad is not None
    assert extra.grad.abs().sum() > 0
