from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pkb.batch import Batch
from pkb.device import Device
from pkb.edk import EDK
from pkb.errors import FutureError
from pkb.knowledge import Knowledge, Part
from pkb.seeding import generator
from pkb.source import Live
from pkb.step import DivergedError
from simulator.arms import knowledge_settings
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.controls import shuffled
from simulator.contender.learning import fit
from simulator.contender.settings import ArmSettings
from simulator.contender.sizes import knowledge_bytes
from simulator.measure.ranking import auc
from simulator.plays import recipe_of
from simulator.stream.log import Log
from tests.simulator.tiny import SCHEMA, contender_of, tiny_log, tiny_settings

ARMS = {
    "frozen": ArmSettings(policy="frozen"),
    "finetune": ArmSettings(policy="finetune"),
    "retrain_all": ArmSettings(policy="retrain_all"),
    "edk": ArmSettings(policy="finetune", knowledge="edk"),
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"))


def contender(tmp_path: Path, arm: str, seed: int = 0) -> Contender:
    return contender_of(tiny_settings(tmp_path, arms=ARMS), arm, seed)


def live(c: Contender) -> Live:
    assert isinstance(c.source, Live)
    return c.source


def test_arms_of_one_backbone_start_from_the_same_weights_and_seeds_differ(tmp_path: Path, log: Log) -> None:
    rows = log.read(log.periods[0])
    scores = []
    for arm, seed in [("finetune", 0), ("retrain_all", 0), ("finetune", 1)]:
        c = contender(tmp_path, arm, seed)
        fit(c, rows, log.periods[0])
        scores.append(c.predict(rows))
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_learning_moves_predictions_towards_the_labels(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "finetune"), log.read(log.periods[0])
    for _ in range(30):
        fit(c, rows, log.periods[0])
    clicked = rows.label.numpy() == 1
    probability = c.predict(rows)
    assert probability[clicked].mean() > probability[~clicked].mean() + 0.3


def test_a_model_that_learned_a_period_may_not_predict_it_prequentially(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "finetune"), log.read(log.periods[1])
    fit(c, rows, log.periods[1])
    with pytest.raises(FutureError, match="the model of finetune-0 was built until 172800 but is used at 86400"):
        c.predict_prequentially(log.periods[1], rows)


def test_knowledge_built_from_a_period_may_not_predict_it_prequentially(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "edk"), log.read(log.periods[1])
    compress(c, rows, log.periods[1], log.periods[2])
    with pytest.raises(FutureError, match="the knowledge base of edk-0 was built until 172800 but is used at 86400"):
        c.predict_prequentially(log.periods[1], rows)


def test_nothing_learns_or_compresses_beyond_the_period_at_hand(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "edk"), log.read(log.periods[2])
    with pytest.raises(FutureError, match="the model"):
        fit(c, rows, log.periods[1])
    with pytest.raises(FutureError, match="the knowledge base"):
        compress(c, rows, log.periods[2], log.periods[2])


def test_a_loss_that_is_not_finite_is_raised_before_any_weight_changes(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "finetune"), log.read(log.periods[0])
    bad: Batch = replace(rows, label=torch.full_like(rows.label, torch.nan))
    before = {k: v.clone() for k, v in c.model.backbone.state_dict().items() if "table" not in k}
    with pytest.raises(DivergedError, match="loss was nan while learning period 0, step 0"):
        fit(c, bad, log.periods[0])
    assert all(torch.equal(v, before[k]) for k, v in c.model.backbone.state_dict().items() if k in before)


def test_knowledge_takes_part_once_it_was_compressed_and_its_plug_has_learned(tmp_path: Path, log: Log) -> None:
    c, rows = contender(tmp_path, "edk"), log.read(log.periods[1])
    without = c.predict(rows)
    compress(c, log.read(log.periods[0]), log.periods[0], log.periods[1])
    assert np.array_equal(without, c.predict_prequentially(log.periods[1], rows))  # the plug starts at zero
    fit(c, rows, log.periods[1])
    with_knowledge = c.predict(rows)
    live(c).compressed_through = -1
    assert not np.array_equal(with_knowledge, c.predict(rows))
    assert knowledge_bytes(c) > 0


@pytest.mark.parametrize("plug", ["fields", "join", "hidden", "gate"])
@pytest.mark.parametrize(("length", "offset"), [(1.0, 0.0), (1e-3, 0.0), (1e-2, 2.0), (50.0, -100.0)])
def test_an_arm_reads_what_knowledge_tells_however_long_it_is(
    tmp_path: Path, log: Log, plug: str, length: float, offset: float
) -> None:
    """Knowledge that tells the label, in the units of this base or that."""
    settings = tiny_settings(tmp_path, arms={"told": ArmSettings(knowledge="edk", plug=plug)})
    settings = replace(settings, train=replace(settings.train, epochs=30))
    c, rows = contender_of(settings, "told"), log.read(log.periods[1])
    base = c.base
    assert base is not None
    [part] = base.parts
    draw_Kd = torch.randn(part.vectors, part.width, generator=torch.Generator().manual_seed(0))

    def tells(batch: Batch) -> Knowledge:
        return {part.name: offset + length * draw_Kd * batch.label[:, None, None]}

    base._knowledge = tells  # type: ignore[method-assign]
    base.standardise(rows)
    live(c).compressed_through = 0
    fit(c, rows, log.periods[1])
    new = log.read(log.periods[2])
    assert (auc(new.label.numpy(), c.predict(new)).value or 0) > 0.95


class Oracle:
    """A source that is no base: it tells the label."""

    parts = (Part(name="label", vectors=1, width=2, fields=()),)
    built_until: int | None = None

    def knowledge(self, batch: Batch) -> Knowledge:
        return {"label": torch.stack([batch.label, -batch.label], dim=1).unsqueeze(1)}

    knowledge_with_gradient = knowledge


def test_knowledge_may_come_from_any_source_as_long_as_it_is_dated(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms={"plain": ArmSettings()})
    settings = replace(settings, train=replace(settings.train, epochs=30))
    source, rows = Oracle(), log.read(log.periods[1])
    c = Contender(recipe_of(settings, "plain", 0), SCHEMA, source=source)
    fit(c, rows, log.periods[1])
    new = log.read(log.periods[2])
    assert (auc(new.label.numpy(), c.predict(new)).value or 0) > 0.95
    source.built_until = log.periods[2].end
    with pytest.raises(FutureError, match="the knowledge base of plain-0"):
        c.predict_prequentially(log.periods[2], new)


def test_all_labels_of_a_row_are_shuffled_together(log: Log) -> None:
    rows = log.read(log.periods[0])
    rows = replace(rows, further_labels={"cart": rows.label.clone(), "other": 1 - rows.label})
    mixed = shuffled(rows, generator(0, "test"))
    assert not torch.equal(mixed.label, rows.label)
    assert torch.equal(mixed.further_labels["cart"], mixed.label)
    assert torch.equal(mixed.further_labels["other"], 1 - mixed.label)


def test_in_bfloat16_a_model_learns_as_much_as_in_float32(tmp_path: Path, log: Log) -> None:
    rows, aucs = log.read(log.periods[0]), []
    for precision in ("float32", "bfloat16"):
        c = contender(tmp_path, "finetune")
        c.device = Device.choose("cpu", precision)
        for _ in range(30):
            fit(c, rows, log.periods[0])
        assert all(p.dtype == torch.float32 for p in c.model.parameters())
        aucs.append(auc(rows.label.numpy(), c.predict(rows)).value or 0)
    assert aucs[0] > 0.9
    assert aucs[1] == pytest.approx(aucs[0], abs=0.01)


def test_an_untrained_control_compresses_nothing_and_a_shuffled_one_something_else(tmp_path: Path, log: Log) -> None:
    old, now, rows = log.periods[0], log.periods[1], log.read(log.periods[0])
    settings = tiny_settings(
        tmp_path,
        arms={
            str(control): ArmSettings(knowledge="edk", control=control) for control in (None, "untrained", "shuffled")
        },
    )
    said = {}
    for arm in settings.arms:
        c = contender_of(settings, arm)
        compress(c, rows, old, now)
        assert c.compressed_through == 0
        assert c.base is not None
        said[arm] = c.base.knowledge(rows)["patterns"]
    new = contender_of(settings, "None")
    assert new.base is not None
    new.base.grow(rows.end_of_ids, generator(0, "new rows", "edk", 0))
    new.base.standardise(rows)
    assert torch.equal(said["untrained"], new.base.knowledge(rows)["patterns"])
    assert not torch.equal(said["shuffled"], said["None"])


def test_an_arms_options_stand_in_place_of_the_common_ones(tmp_path: Path) -> None:
    arms = {"few": ArmSettings(knowledge="edk", options={"patterns": 1}), "common": ArmSettings(knowledge="edk")}
    settings = tiny_settings(tmp_path, arms=arms)
    assert knowledge_settings(settings, "few").patterns == 1
    assert knowledge_settings(settings, "common").patterns == EDK.Settings().patterns


def test_an_arm_that_knows_only_which_values_are_new_learns_to_use_it(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms={"novelty": ArmSettings(knowledge="novelty", plug="join")})
    settings = replace(settings, train=replace(settings.train, epochs=30))
    c, old, now = contender_of(settings, "novelty"), log.read(log.periods[0]), log.read(log.periods[1])
    compress(c, old, log.periods[0], log.periods[1])
    item, known, new = SCHEMA.item_column, old.end_of_ids, torch.arange(len(now)) % 2 == 0
    now.ids_BF[new, item] = known + torch.arange(int(new.sum()), dtype=torch.int32)
    now = replace(now, label=new.float())
    fit(c, now, log.periods[1])
    now.ids_BF[new, item] += len(now)  # again new, and others
    with_knowledge = c.predict(now)
    assert (auc(new.numpy(), with_knowledge).value or 0) > 0.95
    live(c).compressed_through = -1
    assert with_knowledge[new].mean() > c.predict(now)[new].mean() + 0.1


def test_an_arms_epochs_stand_in_place_of_the_common_ones(tmp_path: Path, log: Log) -> None:
    arms = {"thrice": ArmSettings(epochs=3), "common": ArmSettings()}
    settings, rows = tiny_settings(tmp_path, arms=arms), log.read(log.periods[0])
    settings = replace(settings, train=replace(settings.train, epochs=2))
    learned: dict[str, int] = dict.fromkeys(arms, 0)
    for arm in arms:

        def count(rows: int, arm: str = arm) -> None:
            learned[arm] += rows

        fit(contender_of(settings, arm), rows, log.periods[0], progress=count)
    assert learned == {"thrice": 3 * len(rows), "common": 2 * len(rows)}


def test_what_learns_on_with_the_backbone_moves_and_a_fixed_base_does_not(tmp_path: Path, log: Log) -> None:
    rows = log.read(log.periods[0])
    for update, moves in (("fixed", False), ("encoder", True), ("both", True)):
        settings = tiny_settings(tmp_path, arms={"rok": ArmSettings(knowledge="rok", options={"update": update})})
        c = contender_of(settings, "rok")
        assert c.base is not None
        c.base.grow(rows.end_of_ids, generator(0, "test"))
        live(c).compressed_through = 0
        before = c.base.knowledge(rows)["aggregate"]
        fit(c, rows, log.periods[1])  # the plug starts neutral: the first lesson teaches it alone
        fit(c, rows, log.periods[1])
        assert torch.equal(before, c.base.knowledge(rows)["aggregate"]) != moves
        assert (live(c).built_until == log.periods[1].end) == moves
