from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import MISSING, Batch, Field, Schema
from pkb.edk import EDK
from pkb.errors import SettingError
from pkb.step import Optimiser

SCHEMA = Schema(fields=tuple(Field(name=f"field{i}", role="context") for i in range(4)), user="field0", item="field1")
VALUES = 12  # of each field
SIZE = SCHEMA.first_value_id + VALUES * len(SCHEMA.fields)
SMALL = EDK.Settings(patterns=3, width=4, depth=2, heads=2, hidden=8)


def world(rows: int, seed: int = 0) -> Batch:
    """Fields 0 and 1 decide the click; the others are noise."""
    draw = torch.Generator().manual_seed(seed)
    values = torch.randint(VALUES, (rows, len(SCHEMA.fields)), generator=draw)
    p = torch.where((values[:, 0] < 4) | (values[:, 1] < 3), 0.75, 0.05)
    return Batch(
        row_id=torch.arange(rows),
        ids_BF=(SCHEMA.first_value_id + values + VALUES * torch.arange(len(SCHEMA.fields))).int(),
        label=(torch.rand(rows, generator=draw) < p).float(),
    )


def base(settings: EDK.Settings = SMALL, seed: int = 0) -> EDK:
    torch.manual_seed(seed)
    made = EDK(SCHEMA, settings)
    made.grow(SIZE, torch.Generator().manual_seed(seed))
    return made


def train(edk: EDK, batch: Batch, *, epochs: int) -> list[float]:
    """The loss of eq. 32 at each step; the total has the estimator's beside it, which is another game."""
    optimiser = Optimiser(edk, edk.parameter_groups(3e-3), embedding_learning_rate=0.05)
    edk.train()
    history = []
    for _ in range(epochs):
        for part in batch.minibatches(256, torch.randperm(len(batch))):
            losses = edk.compression_losses(part, "compress")
            optimiser.step(losses["total"], len(part))
            history.append((losses["total"] - losses["estimator"]).item())
    return history


def test_compression_learns_the_label_and_its_loss_falls() -> None:
    edk = base()
    history = train(edk, world(8000), epochs=5)
    assert sum(history[-10:]) / 10 < sum(history[:10]) / 10 - 0.1
    fresh = world(4000, seed=1)
    share = fresh.label.mean().item()
    entropy = -share * math.log(share) - (1 - share) * math.log(1 - share)
    edk.eval()
    with torch.no_grad():
        losses = edk.compression_losses(fresh, "compress")
    assert losses["cross_entropy"] < entropy - 0.1
    assert losses["essential"] < 2 * math.log(2) - 0.1


def test_the_total_is_eq_32_with_the_estimator_beside_it() -> None:
    settings = replace(SMALL, alpha=0.7, beta=0.4, lambda1=0.3, lambda2=0.2)
    losses = base(settings).compression_losses(world(64), "compress")
    principles = 0.7 * losses["essential"] + losses["compression"].clamp(min=0) + 0.4 * losses["disentangled"]
    expected = losses["cross_entropy"] + 0.3 * principles + 0.2 * losses["l0"] + losses["estimator"]
    torch.testing.assert_close(losses["total"], expected)
    assert all(loss.ndim == 0 for loss in losses.values())


def test_the_main_loss_does_not_move_the_estimator_and_the_estimator_loss_does_not_move_the_base() -> None:
    edk = base()
    losses = edk.compression_losses(world(64), "compress")
    main_group, estimator_group = (group["params"] for group in edk.parameter_groups(1e-3))
    main = losses["total"] - losses["estimator"] + 100 * losses["compression"]
    for loss, moved, still in (
        (main, main_group, estimator_group),
        (losses["estimator"], estimator_group, [*main_group, edk.table.weight]),
    ):
        edk.zero_grad()
        loss.backward(retain_graph=True)
        assert all(parameter.grad is not None for parameter in moved)
        assert all(parameter.grad is None or not parameter.grad.any() for parameter in still)


def test_what_serves_compression_alone_has_no_part_in_knowledge_and_everything_else_has() -> None:
    edk, batch = base().eval(), world(50)
    edk._knowledge(batch)["patterns"].square().sum().backward()
    alone = {id(p) for part in edk.compression_only() for p in part.parameters()}
    for name, p in edk.named_parameters():
        assert (p.grad is None) == (id(p) in alone), name


def test_no_part_learns_on_with_a_backbone_and_knowledge_has_no_gradient_even_where_one_is_asked_for() -> None:
    edk, batch = base(), world(10)
    assert len(edk.learns_on()) == 0
    assert not edk.knowledge_with_gradient(batch)["patterns"].requires_grad


def test_the_groups_hold_every_dense_parameter_once_and_no_table() -> None:
    edk = base()
    groups = edk.parameter_groups(0.5)
    held = [id(parameter) for group in groups for parameter in group["params"]]
    dense = [id(p) for name, p in edk.named_parameters() if name != "table.weight"]
    assert sorted(held) == sorted(dense)
    assert [group["lr"] for group in groups] == [0.5, SMALL.estimator_learning_rate]


def test_every_parameter_has_a_gradient_whatever_the_labels() -> None:
    for settings in (SMALL, replace(SMALL, patterns=1, depth=1)):
        for label in (0.0, 1.0):
            edk = base(settings)
            batch = replace(world(16), label=torch.full((16,), label))
            losses = edk.compression_losses(batch, "compress")
            losses["total"].backward()
            assert all(loss.isfinite() for loss in losses.values())
            for name, parameter in edk.named_parameters():
                assert parameter.grad is not None, name
                assert parameter.grad.to_dense().isfinite().all(), name


def test_masks_are_sampled_while_compressing_and_fixed_in_evaluation() -> None:
    edk, batch = base(), world(32)
    edk.train()
    assert not torch.equal(edk._knowledge(batch)["patterns"], edk._knowledge(batch)["patterns"])
    edk.eval()
    assert torch.equal(edk._knowledge(batch)["patterns"], edk._knowledge(batch)["patterns"])


def test_knowledge_is_k_vectors_without_gradient_and_the_mode_is_left_as_it_was() -> None:
    edk, batch = base(), world(10)
    edk.train()
    knowledge = edk.knowledge(batch)["patterns"]
    assert knowledge.shape == (10, edk.parts[0].vectors, edk.parts[0].width) == (10, 3, 4)
    assert not knowledge.requires_grad
    assert edk.training
    assert torch.equal(knowledge, edk.knowledge(batch)["patterns"])


def test_the_knowledge_of_a_row_does_not_depend_on_the_rows_beside_it() -> None:
    edk, batch = base(), world(50)
    alone = torch.cat([edk.knowledge(row)["patterns"] for row in batch.minibatches(1)])
    torch.testing.assert_close(alone, edk.knowledge(batch)["patterns"], atol=1e-6, rtol=1e-5)


def test_ids_never_seen_share_the_knowledge_of_their_fields_new_value() -> None:
    edk, batch = base(), world(2)
    ids = batch.ids_BF.clone()
    ids[0, 2], ids[1, 2] = SIZE + 5, SIZE + 999
    ids[1, [0, 1, 3]] = ids[0, [0, 1, 3]]
    knowledge = edk.knowledge(replace(batch, ids_BF=ids))["patterns"]
    assert knowledge.isfinite().all()
    torch.testing.assert_close(knowledge[0], knowledge[1])


def test_missing_fields_even_all_of_them_have_finite_losses_and_knowledge() -> None:
    edk, batch = base(), world(16)
    ids = batch.ids_BF.clone()
    ids[:, 3] = MISSING
    ids[0] = MISSING
    batch = replace(batch, ids_BF=ids)
    losses = edk.compression_losses(batch, "compress")
    losses["total"].backward()
    assert all(loss.isfinite() for loss in losses.values())
    assert edk.knowledge(batch)["patterns"].isfinite().all()


def test_a_stored_base_has_the_same_knowledge() -> None:
    edk, batch = base(), world(300)
    train(edk, batch, epochs=1)
    stored = save(
        {name: value.contiguous() for name, value in edk.state_dict().items() if not name.startswith("table")}
    )
    other = EDK(SCHEMA, SMALL)
    other.load_state_dict(load(stored), strict=False)
    other.table.restore(edk.table.rows_in_use())
    assert torch.equal(other.knowledge(batch)["patterns"], edk.knowledge(batch)["patterns"])


def test_the_seed_decides_everything() -> None:
    assert train(base(seed=3), world(600), epochs=1) == train(base(seed=3), world(600), epochs=1)
    assert train(base(seed=3), world(600), epochs=1) != train(base(seed=4), world(600), epochs=1)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"patterns": 0}, "patterns=0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"mask_temperature": 0.0}, "mask_temperature=0.0"),
        ({"mask_low": 0.1}, "mask_low=0.1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_edk_is_found_by_its_name() -> None:
    assert KNOWLEDGE_BASES["edk"] is EDK
