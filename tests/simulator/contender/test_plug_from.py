"""Knowledge that is plugged into a model in use: nothing changes before that moment, nor at it, but from it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pkb import keep
from pkb.backbones.base import ClickModel
from pkb.batch import Batch, concatenate
from pkb.parameters import tables_of
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.plugging import plug_in, plug_in_second
from simulator.contender.settings import ArmSettings
from simulator.contender.sizes import memory_bytes
from simulator.plays import recipe_of
from simulator.policies import POLICIES
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

HOLDING = [name for name, policy in POLICIES.items() if policy.adds_to_loss]
GOING_ON = [name for name, policy in POLICIES.items() if policy.goes_on]
AT = 2
pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"user_width": 6, "width": 4, "hidden": [16, 8]}
KEEP = ArmSettings(knowledge="keep", options=SMALL, plug="hidden")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=5, rows=300)


def made(folder: Path, arm: ArmSettings) -> Contender:
    return contender_of(tiny_settings(folder, arms={"one": arm}), "one")


def take_in(c: Contender, log: Log, period: int) -> None:
    """Compress what has become old at the start of a period."""
    if period:
        compress(c, log.read(log.periods[period - 1]), log.periods[period - 1], log.periods[period])


def play(c: Contender, log: Log, periods: range) -> list[np.ndarray]:
    """Predict, compress and learn these periods, as the loop does; give the predictions of each."""

    def rows(wanted: range) -> Batch:
        return concatenate([log.read(log.periods[i]) for i in wanted])

    said = []
    for index in periods:
        period = log.periods[index]
        said.append(c.predict_prequentially(period, log.read(period)))
        take_in(c, log, index)
        learn(c, period, range(index, index + 1), rows)
    return said


def state(c: Contender) -> dict[str, torch.Tensor]:
    """Copy all that the click model and its optimiser hold."""
    moments = {f"{i}.{kind}": v for i, p in enumerate(c.model_optimiser.dense) for kind, v in _moments(c, p).items()}
    return {name: value.clone() for name, value in (c.model.state_dict() | moments).items()}


def weights(model: ClickModel) -> dict[str, torch.Tensor]:
    """Copy parameters and buffers; of tables the rows in use."""
    inside = tuple(f"{name}." for name in tables_of(model))
    held = {name: value.clone() for name, value in model.state_dict().items() if not name.startswith(inside)}
    for name, table in tables_of(model).items():
        held |= {f"{name}.{kind}": rows.clone() for kind, rows in table.rows_in_use().items()}
    return held


def _moments(c: Contender, parameter: torch.nn.Parameter) -> dict[str, torch.Tensor]:
    return dict(c.model_optimiser.adam.state.get(parameter, {}))


@pytest.mark.parametrize(
    ("policy", "plug"),
    [
        *((policy, plug) for policy in GOING_ON for plug in ("hidden", "gate")),
        *((policy, "fields") for policy in GOING_ON if policy not in HOLDING),
    ],
)
def test_an_arm_is_its_bare_arm_until_its_moment_and_learns_on_with_knowledge(
    tmp_path: Path, log: Log, policy: str, plug: str
) -> None:
    warm = made(tmp_path, replace(KEEP, policy=policy, plug=plug, plug_from=AT))
    bare = made(tmp_path, ArmSettings(policy=policy))
    for mine, its in zip(play(warm, log, range(AT)), play(bare, log, range(AT)), strict=True):
        assert np.array_equal(mine, its)
    [mine], [its] = play(warm, log, range(AT, AT + 1)), play(bare, log, range(AT, AT + 1))
    assert np.array_equal(mine, its), "the period of the moment is predicted without knowledge"
    assert warm.plugged
    [mine], [its] = (play(c, log, range(AT + 1, AT + 2)) for c in (warm, bare))
    assert not np.array_equal(mine, its)


def test_at_its_moment_scores_weights_and_optimiser_stay_to_the_bit(tmp_path: Path, log: Log) -> None:
    warm, rows = made(tmp_path, replace(KEEP, plug_from=AT)), log.read(log.periods[AT])
    play(warm, log, range(AT))
    take_in(warm, log, AT)
    before, scores = state(warm), warm.predict(rows)
    assert warm.knowledge(rows) is None
    plug_in(warm)
    assert warm.knowledge(rows) is not None
    assert np.array_equal(warm.predict(rows), scores)
    after = state(warm)
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_the_base_is_the_one_of_an_arm_that_has_had_it_from_the_start(tmp_path: Path, log: Log) -> None:
    warm, always = made(tmp_path, replace(KEEP, plug_from=AT)), made(tmp_path, KEEP)
    rows = log.read(log.periods[AT + 1])
    for c in (warm, always):
        play(c, log, range(AT + 1))
    one, other = warm.knowledge(rows), always.knowledge(rows)
    assert one is not None
    assert other is not None
    assert all(torch.equal(part, other[name]) for name, part in one.items())
    assert not np.array_equal(warm.predict(rows), always.predict(rows))


def test_a_model_that_is_replaced_later_keeps_its_knowledge(tmp_path: Path, log: Log) -> None:
    warm = made(tmp_path, replace(KEEP, plug_from=1, restart_at=[AT]))
    always = made(tmp_path, replace(KEEP, restart_at=[AT]))
    for c in (warm, always):
        play(c, log, range(AT + 1))
    rows = log.read(log.periods[AT + 1])
    assert np.array_equal(warm.predict(rows), always.predict(rows)), "from its restart on nothing tells them apart"


@pytest.mark.parametrize("backbone", ["deepfm", "dcnv2", "autoint"])
def test_with_a_new_input_the_layers_that_read_it_start_anew_and_all_others_go_on(
    tmp_path: Path, log: Log, backbone: str
) -> None:
    warm = made(tmp_path, replace(KEEP, backbone=backbone, plug="fields", plug_from=AT))
    play(warm, log, range(AT))
    take_in(warm, log, AT)
    before = weights(warm.model)
    former = dict(warm.model_optimiser.module.named_parameters())
    moments = {name: its["exp_avg"] for name, p in former.items() if (its := warm.model_optimiser.adam.state.get(p))}
    plug_in(warm)
    after = weights(warm.model)
    changed = {name.rpartition(".")[0] for name, value in before.items() if after[name].shape != value.shape}
    kept = [name for name in before if name.rpartition(".")[0] not in changed]
    anew = [name for name in before if name not in kept]
    assert "backbone.tower.layers.0.0.weight" in anew, "the first layer reads more"
    assert "backbone.tower.layers.0.0.bias" in anew
    assert {"backbone.tower.layers.1.0.weight", "backbone.table.weight", "prior"} <= set(kept)
    assert all(torch.equal(after[name], before[name]) for name in kept)
    assert not any(torch.equal(after[name], before[name]) for name in anew)
    dense = [f"0.{name}" for name in kept if not name.startswith(tuple(f"{t}." for t in tables_of(warm.model)))]
    adam, ours = warm.model_optimiser.adam.state, dict(warm.model_optimiser.module.named_parameters())
    assert {name for name, parameter in ours.items() if adam.get(parameter)} == {name for name in dense if name in ours}
    assert all(torch.equal(adam[ours[name]]["exp_avg"], moments[name]) for name in dense if name in ours)
    [_, said] = play(warm, log, range(AT, AT + 2))
    assert np.isfinite(said).all()


def test_what_was_pre_trained_goes_on_as_the_click_model_and_the_base_is_no_more(tmp_path: Path, log: Log) -> None:
    tuned = made(tmp_path, replace(KEEP, backbone="keep", plug="weights", plug_from=AT))
    bare = made(tmp_path, ArmSettings(backbone="keep"))
    assert sum(p.numel() for p in bare.model.parameters()) > sum(p.numel() for p in tuned.model.parameters())
    play(tuned, log, range(AT))
    take_in(tuned, log, AT)
    base, rows = tuned.base, log.read(log.periods[AT])
    assert isinstance(base, keep.KEEP)
    with torch.no_grad():
        expected = torch.sigmoid(base.eval().score(rows, "click")).numpy()
    plug_in(tuned)
    assert np.array_equal(tuned.predict(rows), expected)
    assert tuned.base is None
    assert tuned.source is None
    assert memory_bytes(tuned)["knowledge"] == 0
    play(tuned, log, range(AT, AT + 1))
    assert not np.array_equal(tuned.predict(rows), expected), "it learns on"


@pytest.mark.parametrize(("backbone", "plug"), [("deepfm", "join"), ("keep", "weights")])
@pytest.mark.parametrize("after", [AT - 1, AT])
def test_a_model_whose_shapes_change_goes_on_from_a_checkpoint_too(
    tmp_path: Path, log: Log, backbone: str, plug: str, after: int
) -> None:
    kept = made(tmp_path, replace(KEEP, backbone=backbone, plug=plug, plug_from=AT))
    play(kept, log, range(after + 1))
    save_contender(tmp_path / "checkpoint", kept, after)
    one, other = (play(c, log, range(after + 1, 5)) for c in (kept, load_contender(tmp_path / "checkpoint")))
    assert all(np.array_equal(mine, its) for mine, its in zip(one, other, strict=True))


def test_a_second_base_is_plugged_in_beside_the_first_and_nothing_changes_at_that_moment(
    tmp_path: Path, log: Log
) -> None:
    arm = replace(KEEP, plug_from=1)
    later = made(tmp_path, replace(arm, beside="edk", beside_options={"patterns": 2, "width": 4}, beside_from=AT + 1))
    play(later, log, range(AT + 1))
    take_in(later, log, AT + 1)
    rows = log.read(log.periods[AT + 1])
    known = later.knowledge(rows)
    assert known is not None
    assert {name.partition("_")[0] for name in known} >= {"user", "item", "beside"}
    scores, before = later.predict(rows), state(later)
    plug_in_second(later)
    assert np.array_equal(later.predict(rows), scores)
    after = state(later)
    changed = [name for name, value in before.items() if not torch.equal(value, after[name])]
    assert changed == ["plug.opened"]
    save_contender(tmp_path / "checkpoint", later, AT)
    one, other = (play(c, log, range(AT + 1, 5)) for c in (later, load_contender(tmp_path / "checkpoint")))
    assert all(np.array_equal(mine, its) for mine, its in zip(one, other, strict=True))
    assert any((v - before[name]).any() for name, v in state(later).items() if name.startswith("plug.second."))


@pytest.mark.parametrize("after", [AT - 1, AT])
def test_around_its_moment_an_arm_goes_on_from_a_checkpoint_as_if_nothing_had_happened(
    tmp_path: Path, log: Log, after: int
) -> None:
    kept = made(tmp_path, replace(KEEP, plug_from=AT))
    play(kept, log, range(after + 1))
    save_contender(tmp_path / "checkpoint", kept, after)
    loaded = load_contender(tmp_path / "checkpoint")
    assert loaded.plugged == kept.plugged == (after >= AT)
    one, other = (play(c, log, range(after + 1, 5)) for c in (kept, loaded))
    assert all(np.array_equal(mine, its) for mine, its in zip(one, other, strict=True))


def test_a_base_that_reads_histories_is_given_them_whatever_the_backbone_reads(tmp_path: Path) -> None:
    settings = tiny_settings(tmp_path, arms={"keep": KEEP, "edk": ArmSettings(knowledge="edk"), "bare": ArmSettings()})
    reads = {name: recipe_of(settings, name, 0).reads_histories for name in settings.arms}
    assert reads == {"keep": True, "edk": False, "bare": False}
