from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from pkb.errors import DataError, SettingError
from simulator.stream.log import Log
from simulator.stream.raw import RESERVED
from simulator.stream.settings import NegativeSettings
from tests.simulator.stream.raw_files import rejects
from tests.simulator.stream.tables import clicks, log_of, write_csv


def weighted_log(folder: Path, weights: dict[int, Any] | None = None, **table: Any) -> Log:
    write_csv(folder / "raw" / "a.csv", clicks(400, w=lambda row: (weights or {}).get(row, row / 4)))
    return log_of(folder, **({"weight": "w"} | table))


def test_rows_carry_their_weights_into_the_batch(tmp_path: Path) -> None:
    log = weighted_log(tmp_path)
    held = [log.read(period).weight for period in log.periods]
    assert torch.cat([weight for weight in held if weight is not None]).tolist() == [row / 4 for row in range(400)]
    assert log.read(log.periods[0]).select(slice(3)).weight.tolist() == [0, 0.25, 0.5]  # type: ignore[union-attr]


def test_a_row_without_a_weight_of_0_or_more_is_set_aside(tmp_path: Path) -> None:
    log = weighted_log(tmp_path, {1: "", 2: -1, 3: "much", 4: "inf"}, stream={"period": "1d"})
    assert [(row, why) for _, row, why in rejects(log)] == [
        (3, "no weight"),
        (4, "weight '-1' is not a number of 0 or more"),
        (5, "weight 'much' is not a number of 0 or more"),
        (6, "weight 'inf' is not a number of 0 or more"),
    ]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_weight_that_is_true_or_false_is_1_or_0(tmp_path: Path, ending: str) -> None:
    rows = clicks(w=lambda row: row % 3 > 0)
    write_csv(tmp_path / "raw" / "a.csv", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "raw" / "a.parquet")
    log = log_of(tmp_path, weight="w", files=f"a.{ending}")
    held = [log.read(period).weight for period in log.periods]
    assert torch.cat([weight for weight in held if weight is not None]).tolist() == [row % 3 > 0 for row in range(120)]


def test_a_log_in_which_every_row_weighs_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^stream\.table\.weight: every row weighs 0"):
        weighted_log(tmp_path, dict.fromkeys(range(400), 0))


def test_a_drawn_negative_has_the_weight_of_its_positive(tmp_path: Path) -> None:
    log = weighted_log(tmp_path, stream={"negatives": NegativeSettings(per_positive=1)})
    rows = log.read(log.periods[1])
    assert rows.weight is not None
    clicked = rows.label.nonzero().flatten()
    assert torch.equal(rows.weight[clicked], rows.weight[clicked + 1])


def test_without_the_setting_rows_have_no_weights(tmp_path: Path) -> None:
    log = weighted_log(tmp_path, weight=None)
    assert log.read(log.periods[0]).weight is None
    assert log.folder.name != weighted_log(tmp_path).folder.name


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize("weight", ["w", None])
def test_no_field_has_the_name_of_a_column_of_the_log_itself(tmp_path: Path, name: str, weight: str | None) -> None:
    """Else its ids would be taken for weights or times when the log is read."""
    rows = [row | {"w": 1, name: place} for place, row in enumerate(clicks())]
    write_csv(tmp_path / "raw" / "a.csv", rows)
    with pytest.raises(DataError, match=f"column {name}: the log has a column of its own by this name"):
        log_of(tmp_path, weight=weight, context=[name])
    for line in ("hour", "age(item)"):
        with pytest.raises(SettingError, match=rf"features\.{name}='.*': the log has a column of its own by this name"):
            log_of(tmp_path, weight=weight, stream={"features": {name: line}})
