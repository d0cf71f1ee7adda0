"""The command `center`: a version of what the base of a finished arm knows."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pkb.center import Cached, Center
from pkb.errors import RunError, SettingError
from simulator.contender.checkpoint import load_contender, save_contender
from simulator.contender.compression import compress
from simulator.contender.roster import roster_of
from simulator.contender.settings import ArmSettings
from simulator.gkc import bring_up_to_date, center, present
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.settings import Settings, to_yaml
from simulator.stream.holdout import holdout_mask
from simulator.stream.log import Log
from tests.simulator.tiny import contender_of, tiny_log, tiny_settings

pytestmark = pytest.mark.usefixtures("one_thread")
ARMS = {
    "bare": ArmSettings(),
    "keep": ArmSettings(knowledge="keep", options={"user_width": 6, "width": 4, "hidden": [16, 8]}, plug="hidden"),
}


def trained(folder: Path, log: Log, periods: int) -> tuple[RunFolder, Settings]:
    """A run whose base has taken in all of so many periods but the last."""
    settings = tiny_settings(folder, arms=ARMS)
    run, contender = RunFolder(folder / "runs" / "tiny"), contender_of(settings, "keep")
    for old, now in zip(log.periods, log.periods[1:periods], strict=False):
        rows = log.read(old)
        compress(contender, rows.select(~holdout_mask(rows, settings.stream.holdout_share)), old, now)
    save_contender(run.checkpoint(contender.key, periods - 1), contender, periods - 1)
    write_text(run.committed_file(contender.key), str(periods - 1))
    write_text(run.config, to_yaml(settings))
    return run, settings


def test_a_version_tells_of_all_that_the_base_has_learned_and_of_nobody_else(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "data" / "tiny", periods=3, rows=200)
    run, settings = trained(tmp_path, log, 3)
    bring_up_to_date(run, "keep-0", settings, lambda: log)
    version = Center(run.center("keep-0")).version()
    assert version.number == 1
    assert version.manifest.built_until == log.periods[1].end
    rows = log.read(log.periods[0])
    held = holdout_mask(rows, settings.stream.holdout_share)
    known = version.known(*(rows.ids_BF[:, column].numpy() for column in (0, 1, 1)))
    assert known["pair"][~held.numpy()].all()
    assert not known["pair"][held.numpy()].all()
    base, learned = load_contender(run.checkpoint("keep-0", 2)).base, rows.select(~held)
    assert base is not None
    found, live = Cached(version, log.schema).knowledge(learned), base.knowledge(learned)
    assert torch.equal(found["user"], live["user"])
    bring_up_to_date(run, "keep-0", settings, lambda: pytest.fail("it is there already"))


def test_who_was_seen_before_the_base_began_to_learn_is_no_part_of_a_version(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "data" / "tiny", periods=3, rows=200)
    settings = tiny_settings(tmp_path, arms={"late": replace(ARMS["keep"], compress_from=1)})
    contender, rows = contender_of(settings, "late"), log.read(log.periods[1])
    compress(contender, rows, log.periods[1], log.periods[2])
    share = settings.stream.holdout_share
    learned = rows.select(~holdout_mask(rows, share))
    roster = roster_of(contender, log, range(2), category=None, holdout_share=share)
    assert roster.keys("user").tolist() == learned.ids_BF[:, 0].unique().tolist()


def test_versions_are_shown_with_their_entries_beside_all_pairs_and_damage_by_name(tmp_path: Path) -> None:
    log = tiny_log(tmp_path / "data" / "tiny", periods=3, rows=200)
    run, settings = trained(tmp_path, log, 2)
    bring_up_to_date(run, "keep-0", settings, lambda: log)
    said = io.StringIO()
    present(Center(run.center("keep-0")), Console(file=said, width=110))
    entries = Center(run.center("keep-0")).version().manifest.entries
    assert f"{sum(entries.values()):,}" in said.getvalue()
    assert f"{entries['user'] * entries['item']:,}" in said.getvalue()
    file = run.center("keep-0") / "version-00000" / "item.values"
    file.write_bytes(file.read_bytes() + b"?")
    present(Center(run.center("keep-0")), Console(file=said, width=200))
    assert "item.values: missing or damaged" in " ".join(said.getvalue().split())


@pytest.mark.parametrize(
    ("arm", "error", "told"),
    [
        ("bare", SettingError, r"^--arm bare: has no knowledge in this run; those that have are keep$"),
        ("none", SettingError, r"^--arm none: has no knowledge in this run"),
        (None, RunError, r"keep-0 has not committed any period yet$"),
    ],
)
def test_what_cannot_be_served_is_refused_in_one_line(
    tmp_path: Path, arm: str | None, error: type[Exception], told: str
) -> None:
    run = RunFolder(tmp_path / "runs" / "tiny")
    console = Console(file=io.StringIO())
    with pytest.raises(RunError, match="holds no run; name the folder of one"):
        center(run.path, arm, console, host="127.0.0.1", port=0, build_only=True)
    run.path.mkdir(parents=True)
    write_text(run.config, to_yaml(tiny_settings(tmp_path, arms=ARMS)))
    with pytest.raises(error, match=told):
        center(run.path, arm, console, host="127.0.0.1", port=0, build_only=True)
    write_text(run.config, to_yaml(replace(tiny_settings(tmp_path), arms={"bare": ArmSettings()})))
    with pytest.raises(SettingError, match="no arm of this run has the knowledge keep; name one with --arm"):
        center(run.path, None, console, host="127.0.0.1", port=0, build_only=True)
