from __future__ import annotations

from itertools import combinations

import pytest
import torch

from pkb.backbones.pnn import PNN, outer_products
from pkb.errors import SettingError
from pkb.layers import inner_products
from tests.pkb.backbones.check_backbone import make_rows
from tests.pkb.backbones.lively import lively

VECTORS = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_inner_products_are_those_of_every_pair_of_fields() -> None:
    pairs = [(VECTORS[:, f] * VECTORS[:, g]).sum(dim=1) for f, g in combinations(range(4), 2)]
    torch.testing.assert_close(inner_products(VECTORS), torch.stack(pairs, dim=1))


def test_outer_products_are_summed_over_all_pairs_of_fields() -> None:
    full = sum(VECTORS[:, f, :, None] * VECTORS[:, g, None, :] for f in range(4) for g in range(4))
    assert isinstance(full, torch.Tensor)
    triangle = torch.stack([full[:, i, j] for i in range(5) for j in range(i, 5)], dim=1)
    torch.testing.assert_close(outer_products(VECTORS), triangle)


@pytest.mark.parametrize("product", ["inner", "outer", "both"])
def test_the_first_layer_sees_the_embeddings_and_the_chosen_products(product: str) -> None:
    model, rows = lively(PNN, width=5, hidden=(7, 6), product=product), make_rows()
    v = model.table.weight[rows.ids_BF.long()]
    products = {"inner": [inner_products(v)], "outer": [outer_products(v)]}
    chosen = products.get(product, products["inner"] + products["outer"])
    torch.testing.assert_close(model(rows), model.tower(torch.cat([v.flatten(1), *chosen], dim=1)))


def test_an_unknown_product_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SettingError, match="inner, outer, both"):
        PNN.Settings(product="kernel")
