from __future__ import annotations

from itertools import combinations

import torch

from pkb.backbones.fm import FM
from pkb.plug import Plugged, Sockets
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.backbones.lively import lively


def test_the_logit_is_the_sum_of_linear_and_pairwise_terms() -> None:
    model, rows = lively(FM, width=5), make_rows()
    vectors = model.table.weight[rows.ids_BF.long()]
    pairs = sum((vectors[:, f, 1:] * vectors[:, g, 1:]).sum(dim=1) for f, g in combinations(range(4), 2))
    torch.testing.assert_close(model(rows), model.bias + vectors[..., 0].sum(dim=1) + pairs)


def test_extra_fields_meet_every_other_field() -> None:
    model, rows = lively(FM, Sockets(fields=2), width=5), make_rows()
    extra = torch.randn(32, 2, 5).double()
    own = model.table.weight[rows.ids_BF.long()][..., 1:].sum(dim=1)
    pairs = (own * extra.sum(dim=1)).sum(dim=1) + (extra[:, 0] * extra[:, 1]).sum(dim=1)
    torch.testing.assert_close(model(rows, Plugged(fields_BKD=extra)), model(rows) + pairs)
