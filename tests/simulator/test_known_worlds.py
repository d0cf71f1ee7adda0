"""The worlds of configs/known: each config's head says what must come out; these hold what came out (docs/known.md)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from simulator.measure.estimate import Estimate
from simulator.measure.quality import slices
from simulator.measure.value import Value
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.settings import load
from tests.simulator.known import Known, above, less
from tests.simulator.main_job import ROOT

WORLDS = sorted(file.stem for file in (ROOT / "configs" / "known").glob("*.yaml"))


@pytest.mark.parametrize("world", WORLDS)
def test_a_known_world_says_first_what_must_come_out(world: str) -> None:
    file = ROOT / "configs" / "known" / f"{world}.yaml"
    assert load(file).name == f"known_{world}"
    head = file.read_text().partition("name:")[0]
    assert head.startswith("# A world with a known answer: ")
    assert "\n# 1. " in head


@pytest.mark.known
def test_where_nothing_drifts_more_data_wins_and_bases_close_some_of_the_gap(tmp_path: Path) -> None:
    known = Known.played("still", tmp_path)
    for informed in ("finetune", "retrain_all", "window_edk", "window_rok"):
        assert above(known.lead(informed, "window")), informed
    assert abs(known.auc("finetune") - known.auc("retrain_all")) < 0.01
    late = range(4, 8)  # in earlier periods a base has hardly a row to hold
    gap = known.lead_in(late, "finetune", "window").value or 0.0
    assert above(known.lead_in(late, "window_rok", "window"), gap / 3)  # stated: more than half
    assert (known.lead_in(late, "window_edk", "window").high or 0.0) < gap / 2  # stated: more than half
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_what_remembers_wins_when_a_regime_returns(tmp_path: Path) -> None:
    known = Known.played("holiday", tmp_path)
    before, returned, after = 9, 10, 11
    assert abs(known.lead_in([before], "replay", "finetune").value or 0.0) < 0.02
    assert abs(known.lead_in([7], "retrain_all", "finetune").value or 0.0) < 0.02  # stated of 9: a weekday new by then
    for remembering in ("retrain_all", "replay"):
        assert above(known.lead_in([returned], remembering, "finetune")), remembering
    for base in ("window_edk", "window_rok"):  # stated: above window; but what takes in period by period forgets too
        assert (known.lead_in([returned], base, "window").value or 0.0) < 0.02, base
        assert above(known.lead_in([returned], "retrain_all", base), 0.1), base
    first, second = (known.lead_in([period], "retrain_all", "finetune").value for period in (returned, after))
    assert first is not None
    assert second is not None
    assert second < first / 2
    assert above(known.numbers.mean("forgetting_difference", "finetune", of="retrain_all"))
    assert (known.numbers.mean("forgetting", "finetune", of="auc").value or 0.0) > 0.02
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_where_everything_moves_memory_misleads_and_a_base_costs_little(tmp_path: Path) -> None:
    known = Known.played("moving", tmp_path)
    assert above(known.lead("finetune", "retrain_all"))
    assert (known.lead("window", "retrain_all").high or 0.0) > 0  # stated: above it beyond the interval
    assert above(known.lead_in(range(5, 8), "window", "retrain_all"))  # once the shift is in the past, it is
    for base in ("window_edk", "window_rok"):
        assert (known.lead(base, "window").high or 0.0) > -0.01, base
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_who_unlearns_a_promotion_that_ended(tmp_path: Path) -> None:
    known = Known.played("promotion", tmp_path)
    promoted = promoted_rows(known)

    def excess(arm: str, period: int) -> Value:
        found = known.predictions[arm, period].probability - known.predictions[BEST_ATTAINABLE, period].probability
        found = found[promoted[period]]
        return Estimate(
            point=float(found.mean()), error=float(found.std() / np.sqrt(len(found))), n=len(found)
        ).interval()

    def point(arm: str, period: int) -> float:
        return excess(arm, period).value or 0.0

    assert above(excess("window", 4), 0.2)
    assert above(excess("finetune", 4))
    assert above(excess("retrain_all", 4))
    assert point("finetune", 4) > point("retrain_all", 4)  # stated: window's is the largest, but it has learned less
    assert point("window", 5) < point("window", 4) / 4  # stated: below 0.05
    assert point("finetune", 7) < point("finetune", 4) / 4
    assert point("retrain_all", 7) > point("finetune", 7)
    assert point("window_edk", 5) < point("window", 5) + 0.05
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_memory_gains_most_on_rare_users(tmp_path: Path) -> None:
    known = Known.played("rare_users", tmp_path)
    late = range(4, 8)

    def gain(arm: str, slice: str) -> Estimate:
        return known.estimate_in(late, arm, "window", lambda p: slices(p, [])[slice])

    for arm in ("finetune", "window_edk", "window_rok"):
        assert above(less(gain(arm, "activity_0_50"), gain(arm, "activity_300"))), arm
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_where_nothing_can_be_learned_nobody_beats_anybody(tmp_path: Path) -> None:
    known = Known.played("noise", tmp_path)
    rows = [row for row in known.numbers.rows("auc_difference") if row["evaluated_on"] > 0]
    apart = [(row["arm"], row["evaluated_on"]) for row in rows if row["low"] > 0 or row["high"] < 0]
    assert len(rows) == 200
    assert len(apart) <= 16, apart
    assert all((row["value"] or 0.0) > 0.05 for row in known.numbers.rows("p_value_holm"))
    assert known.auc(BEST_ATTAINABLE) == 0.5
    assert_nobody_is_too_good(known)


@pytest.mark.known
def test_who_reads_the_future_is_called_too_good(tmp_path: Path) -> None:
    known = Known.played("leak", tmp_path)
    told = [finding.text.split()[0] for finding in known.findings() if finding.tag == "too good"]
    assert sorted(told) == ["finetune", "window"]
    assert known.auc("popularity") < known.auc(BEST_ATTAINABLE)


def assert_nobody_is_too_good(known: Known) -> None:
    assert "too good" not in {finding.tag for finding in known.findings()}


def promoted_rows(known: Known) -> dict[int, np.ndarray]:
    """Mark, by period, the rows of VIPs and brands whose true probability a promotion raises in period 2."""
    batches = [known.log.read(period) for period in known.log.periods]
    ids = [batch.ids_BF.numpy() for batch in batches]
    names = known.log.schema.names
    pair, cell = ([names.index(name) for name in two] for two in (("user_id", "item_id"), ("is_supervip", "brand_id")))

    def logits(period: int) -> dict[tuple[int, ...], float]:
        p = batches[period].p_true
        assert p is not None
        return dict(zip(map(tuple, ids[period][:, pair].tolist()), p.logit().tolist(), strict=True))

    before, during = logits(1), logits(2)
    lifted = {who for who in before.keys() & during.keys() if during[who] - before[who] > 1}
    rows = [tuple(who) in lifted for who in ids[2][:, pair].tolist()]
    promoted = set(map(tuple, ids[2][rows][:, cell].tolist()))
    return {n: np.array([tuple(each) in promoted for each in of[:, cell].tolist()]) for n, of in enumerate(ids)}
