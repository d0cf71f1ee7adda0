from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from pkb.backbones import gbdt
from pkb.backbones.base import ClickModel
from pkb.backbones.gbdt import FOLDS, GBDT, features_of, tally
from pkb.batch import Batch
from pkb.plug import EMPTY, make_plug, sockets_for
from simulator.measure.ranking import auc
from tests.pkb.backbones.check_backbone import PART, SCHEMA, make_knowledge, make_rows

ROWS = 2000


def fitted(rows: Batch | None = None) -> GBDT:
    model = GBDT(SCHEMA, GBDT.Settings(trees=10))
    model.fit(rows or make_rows(ROWS))
    return model


def test_it_learns_which_items_are_clicked() -> None:
    unseen = make_rows(ROWS, seed=1)
    reached = auc(unseen.label.numpy(), fitted()(unseen).numpy()).value
    assert reached is not None
    assert reached > 0.99


def test_labels_that_nothing_decides_are_not_learnt_by_heart() -> None:
    """Counts out of fold: with those of its own label, a value seen once would give it away."""
    draw = torch.Generator().manual_seed(0)
    rows = make_rows(ROWS)
    rows = replace(
        rows,
        ids_BF=(5 + torch.randperm(4 * ROWS, generator=draw).reshape(ROWS, 4)).int(),
        label=torch.randint(0, 2, (ROWS,), generator=draw).float(),
    )
    assert fitted(rows)(rows).std() < 0.1


def test_before_a_fit_every_probability_is_one_half() -> None:
    assert GBDT(SCHEMA, GBDT.Settings())(make_rows(3)).tolist() == [0.0, 0.0, 0.0]


def test_what_is_counted_are_impressions_and_clicks_of_each_value() -> None:
    rows = make_rows(50)
    counts = tally(rows, 60)
    item = int(rows.ids_BF[0, 1])
    holds = (rows.ids_BF == item).sum(dim=1).float()
    assert counts[item].tolist() == [holds.sum().item(), (holds * rows.label).sum().item()]
    assert counts[:, 0].sum() == rows.ids_BF.numel()


def test_rates_lean_on_the_overall_one_until_a_value_has_been_shown_often() -> None:
    ids = torch.tensor([[0, 5, 6, 99]])
    counts = torch.zeros(7, 2)
    counts[5] = torch.tensor([30.0, 30.0])
    features = features_of(ids, counts, torch.tensor([100.0, 20.0]), smoothing=10.0)[0]
    torch.testing.assert_close(features[1:4], torch.tensor([32 / 40, 0.2, 0.2]))
    assert features[5:].tolist() == [30, 0, 0]
    assert features[[0, 4]].isnan().all()  # a missing value has no rate


def test_rows_of_a_fold_are_described_by_the_others() -> None:
    rows = make_rows(ROWS)
    model = fitted(rows)
    own = rows.select(rows.row_id % FOLDS == 2)
    others = tally(rows.select(rows.row_id % FOLDS != 2), len(model.counts_N2))
    expected = features_of(own.ids_BF, others, model.total_2, model.settings.smoothing)
    torch.testing.assert_close(model._features_out_of_fold(rows)[rows.row_id % FOLDS == 2], expected)


def test_counts_add_up_over_fits_and_trees_are_grown_anew() -> None:
    first, second = make_rows(ROWS), make_rows(ROWS, seed=1)
    model = fitted(first)
    size = len(model.trees)
    model.fit(second)
    torch.testing.assert_close(
        model.counts_N2, tally(first, len(model.counts_N2)) + tally(second, len(model.counts_N2))
    )
    assert len(model.trees) < 1.5 * size


def test_what_was_saved_scores_the_same_in_a_new_model() -> None:
    model, rows = fitted(), make_rows(100)
    other = GBDT(SCHEMA, GBDT.Settings(trees=10))
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(other(rows), model(rows))


def test_the_same_rows_give_the_same_trees_with_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, alone = make_rows(100), fitted()
    monkeypatch.setattr(gbdt, "threads_for", lambda rows: 2)
    assert torch.equal(fitted()(rows), alone(rows))


def test_small_fits_do_not_wait_for_threads() -> None:
    assert gbdt.threads_for(1) == gbdt.threads_for(gbdt.ROWS_PER_THREAD) == 1
    assert gbdt.threads_for(10**9) == torch.get_num_threads()


def test_a_score_does_not_depend_on_the_rows_scored_with_it() -> None:
    model, rows = fitted(), make_rows(100)
    assert torch.equal(model(rows.select(slice(40, 60))), model(rows)[40:60])


def test_knowledge_is_more_columns_and_may_come_late() -> None:
    plug = make_plug("columns", [PART], fields=4, embedding_width=0, hidden_width=0)
    model = ClickModel(GBDT(SCHEMA, GBDT.Settings(trees=10), sockets_for("columns", [PART], layer=1)), plug)
    backbone = model.backbone
    assert isinstance(backbone, GBDT)
    rows = make_rows(ROWS)
    knowledge = make_knowledge(ROWS)
    rows = replace(rows, label=(knowledge["vectors"][:, 0, 0] > 0).float())  # nothing else tells
    backbone.fit(rows, EMPTY)
    ignorant = model(rows)
    torch.testing.assert_close(model(rows, knowledge), ignorant)  # trees of a time without it take no notice
    backbone.fit(rows, model.plugged(knowledge))
    reached = auc(rows.label.numpy(), model(rows, knowledge).numpy()).value
    assert reached is not None
    assert reached > 0.99
    assert model(rows).isfinite().all()
