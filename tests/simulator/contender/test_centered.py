"""An arm that reads a center: it learns, predicts and is served with the versions of what its base knew."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pkb.batch import Batch, concatenate
from pkb.center import Center, MissingVersionError
from pkb.center.writing import versions_in
from pkb.errors import RunError, SettingError
from pkb.ranks import Ranks
from simulator.contender.centered import Centered, publish
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.contender import Contender
from simulator.contender.learning import learn
from simulator.contender.roster import roster_of
from simulator.contender.settings import ArmSettings, CenterSettings
from simulator.contender.sharing import share_bases
from simulator.settings import Settings
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
PERIODS = 6
KEEP = ArmSettings(
    knowledge="keep", options={"user_width": 6, "width": 4, "hidden": [16, 8]}, plug="hidden", source="center"
)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return tiny_log(tmp_path_factory.mktemp("log"), periods=PERIODS, rows=200)


def made(folder: Path, arm: ArmSettings = KEEP, **settings: Any) -> Contender:
    return contender_of(replace(tiny_settings(folder, arms={"one": arm}), **settings), "one")


def centered(c: Contender) -> Centered:
    assert isinstance(c.source, Centered)
    return c.source


def play(c: Contender, log: Log, periods: range) -> list[np.ndarray]:
    """Predict, compress, publish and learn these periods, as the loop does; the predictions of each."""

    def rows(wanted: range) -> Batch:
        return concatenate([log.read(log.periods[i]) for i in wanted])

    said = []
    for index in periods:
        period = log.periods[index]
        said.append(c.predict_prequentially(period, log.read(period)))
        if index:
            old = log.read(log.periods[index - 1])
            compress(c, old, log.periods[index - 1], period)
            publish(c.source, old, log.read(period), Ranks())
        learn(c, period, range(index, index + 1), rows)
    return said


def played(folder: Path, log: Log, periods: int, arm: ArmSettings = KEEP, **settings: Any) -> Contender:
    c = made(folder, arm, **settings)
    centered(c).write_to(folder / "center", Ranks())
    play(c, log, range(periods))
    return c


def served(c: Contender, folder: Path, name: str) -> Contender:
    """Write a checkpoint and load it, as a replica does."""
    save_contender(folder / name, c, c.trained_through)
    loaded = load_contender(folder / name)
    centered(loaded).read_from(folder / "center")
    return loaded


def test_of_what_was_learned_users_and_items_are_told_as_the_base_tells_them(tmp_path: Path, log: Log) -> None:
    c, learned = played(tmp_path, log, 3), log.read(log.periods[1])
    assert c.base is not None
    found, live = c.knowledge(learned), c.base.knowledge(learned)
    assert found is not None
    assert torch.equal(found["user"], live["user"])
    assert torch.equal(found["item"], live["item"])


def test_a_version_is_told_with_its_entries_and_how_much_of_the_present_it_knows(tmp_path: Path, log: Log) -> None:
    c, old, now = made(tmp_path), log.read(log.periods[0]), log.read(log.periods[1])
    centered(c).write_to(tmp_path / "center", Ranks())
    compress(c, old, log.periods[0], log.periods[1])
    told = publish(c.source, old, now, Ranks())
    users, items = ({*rows.ids_BF[:, column].tolist()} for rows, column in ((old, 0), (old, 1)))
    pairs = {(user, item) for user, item, _ in old.ids_BF.tolist()}
    assert told["center_entries"] == len(users) + len(items) + len(pairs)
    assert told["center_of_all_pairs"] == len(users) * len(items)
    assert told["center_bytes"] > 4 * (6 * len(users) + 4 * len(items) + 8 * len(pairs))
    has: dict[str, list[bool]] = {"user": [], "item": [], "pair": []}
    for user, item, _ in now.ids_BF.tolist():
        has["user"].append(user in users)
        has["item"].append(item in items)
        has["pair"].append((user, item) in pairs)
    for key, known in has.items():
        assert told[f"center_has_{key}"] == pytest.approx(np.mean(known))
    assert publish(c.live, old, now, Ranks()) == {}


def test_offline_and_served_scores_agree_while_versions_move_and_a_pinned_model_keeps_its_answers(
    tmp_path: Path, log: Log
) -> None:
    c, rows = played(tmp_path, log, 2), log.read(log.periods[-1])
    pinned, first = served(c, tmp_path, "first"), c.predict(rows)
    for index in range(2, PERIODS):
        assert np.array_equal(pinned.predict(rows), first), "while others come"
        play(c, log, range(index, index + 1))
        loaded = served(c, tmp_path, f"after {index}")
        assert np.array_equal(loaded.predict(rows), c.predict(rows)), "a model is served with what it was trained with"
        assert centered(loaded).built_until == log.periods[index].start
    assert versions_in(tmp_path / "center") == [0, 1, 2, 3, 4]
    assert np.array_equal(served(pinned, tmp_path, "again").predict(rows), first), "its version is still there"
    newest = served(c, tmp_path, "newest")
    centered(pinned).cached = centered(newest).cached
    assert not np.array_equal(pinned.predict(rows), first), "versions do differ"


def test_a_model_whose_version_has_left_is_told_which_there_are(tmp_path: Path, log: Log) -> None:
    c = played(tmp_path, log, 2, center=CenterSettings(versions=2))
    save_contender(tmp_path / "old", c, 1)
    play(c, log, range(2, 5))
    with pytest.raises(MissingVersionError, match="there is no version 0; there are 2, 3"):
        centered(load_contender(tmp_path / "old")).read_from(tmp_path / "center")


def test_an_arm_goes_on_from_a_checkpoint_as_if_nothing_had_happened(tmp_path: Path, log: Log) -> None:
    kept, broken = tmp_path / "kept", tmp_path / "broken"
    whole = played(kept, log, 3)
    c = played(broken, log, 3)
    save_contender(broken / "checkpoint", c, 2)
    play(c, log, range(3, 4))  # killed before this one was committed
    loaded = load_contender(broken / "checkpoint")
    with pytest.raises(RunError, match="was not told where its versions lie"):
        loaded.predict(log.read(log.periods[3]))
    centered(loaded).write_to(broken / "center", Ranks())
    assert versions_in(broken / "center") == [0, 1]
    for mine, its in zip(*(play(one, log, range(3, PERIODS)) for one in (whole, loaded)), strict=True):
        assert np.array_equal(mine, its)
    one, other = (Center(folder / "center").version(4).manifest.files for folder in (kept, broken))
    assert one == other


def test_the_version_of_a_checkpoint_stays_until_the_next_one_however_few_are_kept(tmp_path: Path, log: Log) -> None:
    c = played(tmp_path, log, 2, center=CenterSettings(versions=1))
    save_contender(tmp_path / "checkpoint", c, 1)
    for fresh, old in enumerate((1, 2, 3), start=1):  # one period compresses three, and is killed
        rows, now = log.read(log.periods[old]), log.periods[4]
        compress(c, rows, log.periods[old], now)
        publish(c.source, rows, log.read(now), Ranks(), fresh=fresh)
    loaded = load_contender(tmp_path / "checkpoint")
    centered(loaded).write_to(tmp_path / "center", Ranks())
    assert versions_in(tmp_path / "center") == [0]
    play(loaded, log, range(2, 4))
    assert versions_in(tmp_path / "center") == [1, 2]


def test_one_base_may_answer_for_an_arm_itself_and_for_another_through_a_center(tmp_path: Path, log: Log) -> None:
    arms = {"live": replace(KEEP, source="live"), "center": KEEP}
    settings: Settings = tiny_settings(tmp_path, arms=arms)
    live, through = (contender_of(settings, name) for name in arms)
    for sharers in ([live, through], [through, live]):
        share_bases(sharers)
        assert live.base is through.base
        assert live.source is live.live is through.live is centered(through).live


def test_a_base_that_no_center_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        SettingError, match=r"^arms\.one\.source=center: holds what does not change.*retrieved searches"
    ):
        tiny_settings(tmp_path, arms={"one": ArmSettings(knowledge="retrieved", source="center")})
    with pytest.raises(SettingError, match="decided by hour, which is neither the user's nor the item's"):
        made(tmp_path, ArmSettings(knowledge="edk", source="center"))
    with pytest.raises(SettingError, match=r"^source=center: the arm has no knowledge"):
        ArmSettings(source="center")


def test_a_version_holds_those_whose_rows_the_base_still_has(tmp_path: Path, log: Log) -> None:
    settings = tiny_settings(tmp_path, arms={"one": KEEP})
    c = contender_of(replace(settings, train=replace(settings.train, evict_after=1)), "one")
    source = centered(c)
    source.write_to(tmp_path / "center", Ranks())
    for old, now in pairwise(log.periods):
        rows = log.read(old)
        compress(c, rows, old, now)
        publish(c.source, rows, log.read(now), Ranks())
        assert source.cached is not None
        held = {key: ids.tolist() for key, ids in source.cached.version.keys.items()}
        pairs = {(user << 32) | item for user, item, _ in rows.ids_BF.tolist()}
        users, items = (rows.ids_BF[:, column].unique().tolist() for column in (0, 1))
        assert held == {"user": users, "item": items, "pair": sorted(pairs)}
    again = roster_of(c, log, range(PERIODS - 1), category=None, holdout_share=0)
    for name, its in source.roster.to_tensors().items():
        assert torch.equal(its, again.to_tensors()[name]), name
