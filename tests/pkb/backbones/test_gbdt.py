from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch.nn import functional

from pkb.backbones import gbdt
from pkb.backbones.base import ClickModel
from pkb.backbones.before import tally
from pkb.backbones.gbdt import GBDT, SLICES
from pkb.batch import MISSING, Batch, concatenate
from pkb.plug import EMPTY, make_plug, sockets_for
from simulator.measure.ranking import auc
from tests.pkb.backbones.check_backbone import PART, SCHEMA, make_knowledge, make_rows

ROWS = 2000
ENTROPY_OF_ONE_IN_FIVE = 0.5004  # nats


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
    """A row's counts leave out its own label, which would give a value away that was seen once."""
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


def later(rows: Batch) -> Batch:
    assert rows.ts is not None
    return replace(rows, row_id=rows.row_id + 10**6, ts=rows.ts + 10**6)


def one_click_a_request(requests: int, seed: int) -> Batch:
    """Five rows a request, one of them clicked by chance; of what else is told, nothing depends on it."""
    draw = torch.Generator().manual_seed(seed)
    rows = make_rows(5 * requests, seed=seed)
    request = torch.arange(5 * requests) // 5
    rows.ids_BF[:, 0] = 1000 * (1 + seed) + request  # who has no past to be told from: the user of one request
    clicked = torch.randint(5, (requests,), generator=draw)
    label = (torch.arange(5 * requests) % 5 == clicked.repeat_interleave(5)).float()
    return replace(rows, label=label, request=request, ts=request)


def test_what_the_other_rows_of_a_request_tell_of_a_click_is_not_learnt() -> None:
    """Counts out of fold leak here: of a user with one click, others' rows without it say that it is this one."""
    model = GBDT(SCHEMA, GBDT.Settings())
    first, second, unseen = one_click_a_request(600, 0), later(one_click_a_request(600, 1)), one_click_a_request(600, 2)
    for rows in (first, second):
        model.fit(rows)
        said = torch.sigmoid(model(unseen))
        reached = auc(unseen.label.numpy(), said.numpy()).value
        assert reached is not None
        assert abs(reached - 0.5) < 0.04
        assert functional.binary_cross_entropy(said, unseen.label) < 1.03 * ENTROPY_OF_ONE_IN_FIVE
        assert 0.05 < said.min() < said.max() < 0.5


def test_rows_of_a_first_fit_are_described_by_the_slices_before_theirs() -> None:
    rows = make_rows(ROWS)
    model = GBDT(SCHEMA, GBDT.Settings())
    features, learnable = model._described(rows)
    assert learnable.float().mean() == 1 - 1 / SLICES
    size = ROWS // SLICES
    for number in (1, SLICES - 1):
        before = GBDT(SCHEMA, GBDT.Settings())
        before._described(rows.select(slice(number * size)))
        some = slice(number * size, (number + 1) * size)
        assert torch.equal(features[some], before._features(rows.select(some)))


def test_rows_of_a_later_fit_are_described_as_a_prediction_of_them_is() -> None:
    model, rows = fitted(), later(make_rows(ROWS, seed=1))
    told = model._features(rows)
    features, learnable = model._described(rows)
    assert torch.equal(features, told)
    assert learnable.all()


def test_a_missing_value_is_missing_and_one_never_seen_has_a_lift_of_exactly_1_at_all_times() -> None:
    model, rows = fitted(), make_rows(1)
    rows.ids_BF[0] = torch.tensor([MISSING, 10**6, 10**6, int(rows.ids_BF[0, 3])])
    features = model._features(rows)[0]
    assert features[[0, 4]].isnan().all()
    assert features[[1, 2, 5, 6]].tolist() == [1, 1, 0, 0]
    assert features[7] > 0


def test_counts_add_up_over_fits_and_trees_are_grown_anew() -> None:
    first, second = make_rows(ROWS), later(make_rows(ROWS, seed=1))
    model = fitted(first)
    size = len(model.trees)
    model.fit(second)
    counts = [tally(rows.ids_BF, rows.label, len(model.counts_N2)) for rows in (first, second)]
    torch.testing.assert_close(model.counts_N2, counts[0] + counts[1])
    assert len(model.trees) < 1.5 * size


def test_rows_that_come_again_are_neither_counted_nor_learnt_again() -> None:
    rows, asked = make_rows(ROWS), make_rows(50, seed=1)
    once, twice = fitted(rows), fitted(rows)
    twice.fit(rows)
    assert torch.equal(once(asked), twice(asked))
    twice.fit(concatenate([rows, later(rows)]))
    once.fit(later(rows))
    assert torch.equal(once(asked), twice(asked))


def test_rows_that_cannot_be_cut_by_time_and_labels_of_one_class_leave_the_overall_rate() -> None:
    rows = make_rows(80)
    for odd in (replace(rows, ts=torch.zeros(80)), replace(rows, label=torch.zeros(80))):
        expected = (odd.label.sum() + 1) / 82
        torch.testing.assert_close(torch.sigmoid(fitted(odd)(rows)), expected.expand(80))


def test_trees_grow_on_no_more_earlier_rows_than_the_settings_say() -> None:
    model = GBDT(SCHEMA, GBDT.Settings(trees=10, examples=500))
    model.fit(make_rows(ROWS))
    assert len(model.label_E) == 500
    model.fit(later(make_rows(100, seed=1)))
    assert len(model.label_E) == len(model.examples_EX) == 500
    assert model.label_E[-100:].sum() == make_rows(100, seed=1).label.sum()


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
    backbone.fit(later(rows), model.plugged(knowledge))
    reached = auc(rows.label.numpy(), model(rows, knowledge).numpy()).value
    assert reached is not None
    assert reached > 0.99
    assert model(rows).isfinite().all()
