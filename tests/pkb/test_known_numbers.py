"""Clicks that depend on a number alone, and smoothly: how near a model comes to the best that anybody could say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from pkb.backbones import BACKBONES
from pkb.backbones.base import make_click_model
from pkb.batch import Batch, Field, Schema
from pkb.numbers import ENCODINGS, Number
from pkb.step import Optimiser, click_loss
from simulator.stream.knots import of_values

ROWS = 12_000
CATEGORICAL = Schema(
    fields=(Field(name="user", role="user"), Field(name="item", role="item"), Field(name="price", role="context")),
    user="user",
    item="item",
)


def rows_of(seed: int) -> tuple[Batch, np.ndarray]:
    """Rows of few users and items, and the probability of a click, a wave of the price."""
    draw = np.random.default_rng(seed)
    price = np.exp(draw.normal(size=ROWS)).astype(np.float32)
    p = 1 / (1 + np.exp(-2.5 * np.sin(2 * np.log(price)) + 0.5))
    others = torch.from_numpy(draw.integers(0, 5, (ROWS, 2)).astype(np.int32))
    rows = Batch(
        row_id=torch.arange(ROWS),
        ids_BF=others,
        label=torch.from_numpy((draw.random(ROWS) < p).astype(np.float32)),
        numbers_BN=torch.from_numpy(price).unsqueeze(1),
    )
    return rows, p


def auc_of(schema: Schema, encoding: str | None) -> float:
    """Of a model that has learned one set of rows, on another one; without an encoding, prices are ids, by 0.001."""
    (learned, _), (judged, _) = rows_of(0), rows_of(1)

    def seen(rows: Batch) -> Batch:
        assert rows.numbers_BN is not None
        others = rows.ids_BF + schema.first_value_id + torch.tensor([0, 5], dtype=torch.int32)
        if encoding is not None:
            return replace(rows, ids_BF=torch.cat([others, schema.number_ids(rows.numbers_BN)], dim=1))
        mills = (rows.numbers_BN * 1000).round().to(torch.int32) + schema.first_value_id + 10
        return replace(rows, ids_BF=torch.cat([others, mills], dim=1), numbers_BN=None)

    torch.manual_seed(0)
    model = make_click_model(BACKBONES["deepfm"], schema)
    learned, judged = seen(learned), seen(judged)
    model.backbone.grow(learned.end_of_ids, torch.Generator().manual_seed(0))
    optimiser = Optimiser(model)
    for epoch in range(3):
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
        for batch in learned.minibatches(256, order):
            optimiser.step(click_loss(model, batch), len(batch))
    with torch.no_grad():
        return float(roc_auc_score(judged.label, model.eval()(judged)))


def test_interpolated_numbers_come_near_the_best_and_beat_ids() -> None:
    rows, _ = rows_of(0)
    judged, p = rows_of(1)
    assert rows.numbers_BN is not None
    best = roc_auc_score(judged.label, p)
    auc = {"ids": auc_of(CATEGORICAL, None)}
    for encoding in ENCODINGS:
        number = of_values(rows.numbers_BN[:, 0].sort().values.numpy(), 32, Number(encoding=encoding))
        fields = (*CATEGORICAL.fields[:2], Field(name="price", role="context", number=number))
        auc[encoding] = auc_of(replace(CATEGORICAL, fields=fields), encoding)
    assert best > 0.8
    assert auc["linear"] > best - 0.01, auc
    assert auc["linear"] > auc["buckets"] - 0.002, auc
    assert auc["linear"] > auc["ids"] + 0.05, auc
    assert auc["standardise"] > 0.5, auc
