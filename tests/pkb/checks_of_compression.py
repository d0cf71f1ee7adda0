"""What every knowledge base must hold to while it takes in old rows, grows and is stored; each check takes one case."""

from __future__ import annotations

from dataclasses import replace

import torch
from safetensors.torch import load, save

from pkb.batch import MISSING
from pkb.errors import SettingError
from pkb.parameters import dense_parameters, tables_of
from tests.pkb.backbones.check_backbone import IDS
from tests.pkb.base_case import (
    SCHEMA,
    UNSEEN,
    Case,
    assert_alike,
    assert_other,
    compress,
    dense_state,
    losses_of,
    same_bits,
    table_state,
    with_others,
)


def settings_are_frozen_and_have_defaults(case: Case) -> None:
    settings = case.base.Settings()
    assert settings.__dataclass_params__.frozen
    assert hash(settings) == hash(case.base.Settings())


def missing_values_are_known_and_compressed(case: Case) -> None:
    base, rows = case.make_compressed(), case.rows
    rows.ids_BF[:, 1] = MISSING
    rows.ids_BF[0] = MISSING
    assert all(part.isfinite().all() for part in base.knowledge(rows).values())
    for stage in base.stages:
        assert all(loss.isfinite() for loss in losses_of(base, rows, stage).values())


def what_was_saved_knows_the_same(case: Case) -> None:
    base, rows = case.make_compressed(), case.queries
    dense = load(save({name: value.clone() for name, value in dense_state(base).items()} | {"": torch.ones(1)}))
    other = case.make(seed=1)
    for name, table in tables_of(other).items():
        table.restore(load(save({kind: r.clone() for kind, r in table_state(base)[name].items()})))
    del dense[""]  # a base may have nothing dense
    other.load_state_dict(dense, strict=False)
    known, restored = base.knowledge(rows), other.knowledge(rows)
    assert all(same_bits(part, restored[name]) for name, part in known.items())


def the_seed_decides_every_draw(case: Case) -> None:
    one, same, other = (case.make_compressed(seed=seed).knowledge(case.queries) for seed in (0, 0, 1))
    assert all(same_bits(part, same[name]) for name, part in one.items())
    if case.base.stages:
        assert_other(one, other)


def growing_leaves_known_ids_alone(case: Case) -> None:
    base, rows = case.make_compressed(), case.rows
    known = base.knowledge(rows)
    base.grow(3 * IDS, torch.Generator().manual_seed(5))
    assert_alike(base.knowledge(rows), known)


def values_that_came_get_rows_of_their_own(case: Case) -> None:
    base, rows = case.make_compressed(), with_others(case.rows, IDS)
    new = base.knowledge(rows)
    base.grow(rows.end_of_ids, torch.Generator().manual_seed(5))
    compress(base, rows)
    known = base.knowledge(rows)
    assert_other(known, new)
    if base.stages:
        assert all(part.flatten(1).unique(dim=0).shape[0] > len(rows) // 3 for part in known.values())


def values_long_unseen_give_up_their_rows(case: Case) -> None:
    base, draw = case.make_compressed(), torch.Generator().manual_seed(5)
    gone, come = case.rows, with_others(case.rows, IDS)
    for now, rows in enumerate((gone, come)):
        for table in tables_of(base).values():
            table.renew(rows.unique_ids(), now=now, keep=1, generator=draw)
        compress(base, rows)
    assert all(table.size <= SCHEMA.first_value_id + len(come.unique_ids()) for table in tables_of(base).values())
    unseen = base.knowledge(with_others(gone, UNSEEN))
    assert_alike(base.knowledge(gone), unseen)
    assert_other(base.knowledge(come), unseen)


def every_dense_parameter_is_in_one_group_and_no_table_in_any(case: Case) -> None:
    base = case.make()
    groups = base.parameter_groups(0.5)
    held = [id(p) for group in groups for p in group["params"]]
    assert sorted(held) == sorted(id(p) for p in dense_parameters(base) if p.requires_grad)
    assert all(group["lr"] > 0 for group in groups)


def a_label_that_the_log_lacks_is_named(case: Case) -> None:
    wanted, message = case.make().labels, ""
    assert set(wanted) <= set(SCHEMA.labels)
    try:
        assert case.make(schema=replace(SCHEMA, labels=("bought",))).labels == ("bought",)
    except SettingError as error:
        message = str(error)
    assert "\n" not in message
    assert not message or ("bought" in message and any(label in message for label in wanted))


def figures_of_health_are_finite(case: Case) -> None:
    base = case.make_compressed()
    figures = base.health(case.rows)
    assert set(base.remedies) <= set(figures)
    assert torch.tensor(list(figures.values())).isfinite().all()


def compression_lowers_the_loss_of_each_stage(case: Case) -> None:
    base, rows = case.make(), case.rows
    for stage in base.stages:
        before = losses_of(base, rows, stage)
        assert all(loss.isfinite() and loss.dim() == 0 for loss in before.values())
        compress(base, rows, steps=40, stages=[stage])
        after = losses_of(base, rows, stage)
        start, end = (losses["total"] - sum(losses.get(e, 0) for e in base.estimators) for losses in (before, after))
        assert end < start, f"the loss of {stage} went from {start:.4f} to {end:.4f}"


def a_compressed_base_knows_other_things_than_an_untrained_one(case: Case) -> None:
    untrained = case.make()
    untrained.standardise(case.queries)
    assert_other(case.make_compressed().knowledge(case.queries), untrained.knowledge(case.queries))


def labels_count_if_and_only_if_it_says_so(case: Case) -> None:
    base, rows = case.make(), case.rows
    near = {name: replace(its, label_BK=(1 - its.label_BK) * its.present_BK) for name, its in rows.neighbours.items()}
    further = {name: 1 - label for name, label in rows.further_labels.items()}
    turned = replace(rows, label=1 - rows.label, further_labels=further, neighbours=near)
    both = [[losses_of(base, one, stage)["total"] for stage in base.stages] for one in (rows, turned)]
    assert (both[0] != both[1]) == base.learns_labels


def labels_that_it_does_not_learn_leave_its_losses_alone(case: Case) -> None:
    base, rows = case.make(), case.rows
    if "cart" in base.labels:
        return
    for stage in base.stages:
        with_them = losses_of(base, rows, stage)
        without = losses_of(base, replace(rows, further_labels={}), stage)
        assert all(torch.equal(loss, without[name]) for name, loss in with_them.items())
