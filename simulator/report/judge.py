"""What a run can tell at all: a report begins with what it cannot judge, and why.

The rules were fixed before any run was judged by them. An arm can be judged by, that is, others may be held against it,
unless one of these holds of it:

- a yardstick beats it beyond the interval of their difference: what gains on it may only be mending it. Where the arm
  starts afresh, and so is kept from old rows that yardsticks have, losing to them shows what those rows are worth,
  which is what knowledge is held against there, and no weakness
- it is at chance: the interval of its mean prequential AUC does not lie above 0.5
- its probabilities are worse than each period's click rate as a constant: its NE is above 1
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from simulator.measure.opponents import bare_arms, starts_afresh
from simulator.measure.value import Value
from simulator.record.costs import PeriodCosts
from simulator.record.experiment import Experiment
from simulator.report.finding import Finding, lead
from simulator.report.numbers import Numbers
from simulator.report.words import counted, fixed, interval, listed

CHANCE = 0.5  # AUC of a ranking by lot
CONSTANT = 1.0  # NE of the click rate itself, told for every row
LEVEL = (0.8, 1.25)  # PCOC beyond which the level of probabilities is off, and not only their spread
FEW_CLICKS = 300  # fewer leave an AUC uncertain by 0.03, more than any gain that papers report; of the rarer class
CLICK_SPREAD = 0.29  # sqrt(1/12), of the share of other rows that a click lies above; an AUC is its mean over clicks
DETECTABLE = 2.8  # standard errors of a difference that is found 4 times in 5 (`measure.estimate`)

MORE_LEARNING = (
    "To change: more data (a longer log, or longer periods by stream.period), smaller batches (train.batch_size), "
    "more passes (train.epochs), or other fields"
)
OTHER_LEVEL = (
    "Its level is off (PCOC is predicted over actual clicks). To change: more steps (smaller train.batch_size, more "
    "train.epochs), which let its bias settle"
)
LESS_SURE = (
    "It is too sure. To change: fewer passes (train.epochs), or lower rates (train.learning_rate, "
    "train.embedding_learning_rate)"
)


class Judge:
    """Says of each arm whether others may be held against it."""

    def __init__(self, numbers: Numbers, experiment: Experiment, costs: Sequence[PeriodCosts]) -> None:
        self.numbers, self.costs = numbers, costs
        self.afresh = {name for name, arm in experiment.arms.items() if starts_afresh(arm)}
        self.bare = [arm for arm in bare_arms(experiment) if arm in numbers.arms]
        self.measured = [arm for arm in numbers.ranked if self.auc(arm).value is not None]
        self.learned = [arm for arm in self.measured if not self.at_chance(arm)]

    @property
    def anyone_learned(self) -> bool:
        """Tell whether an arm or a yardstick is above chance."""
        return any(self.auc(name).value is not None and not self.at_chance(name) for name in self._contenders())

    def _contenders(self) -> list[str]:
        return [*self.measured, *self.numbers.yardsticks]

    def auc(self, name: str) -> Value:
        """Look up the mean prequential AUC of an arm or a yardstick."""
        return self.numbers.mean("auc_prequential", name)

    def at_chance(self, name: str) -> bool:
        """Tell whether an AUC is not above chance; one without an interval goes by its value."""
        auc = self.auc(name)
        return auc.value is not None and (auc.value if auc.low is None else auc.low) <= CHANCE

    def worse_than_constant(self, arm: str) -> bool:
        """Tell whether the click rate itself would have been the better prediction."""
        return (self.numbers.mean("ne_prequential", arm).value or 0.0) > CONSTANT

    def beaten_by(self, arm: str) -> list[str]:
        """List the yardsticks that beat an arm beyond the interval, the best one first."""
        leads = {name: lead(self.numbers, arm, name) for name in self.numbers.yardsticks}
        beating = [name for name, value in leads.items() if value.high is not None and value.high < 0]
        return sorted(beating, key=lambda name: (-(self.auc(name).value or 0.0), name))

    def doubts(self, arm: str) -> list[str]:
        """Say why nothing can be held against an arm; empty where something can."""
        told, beating = [], [] if arm in self.afresh else self.beaten_by(arm)
        if beating:
            by = [f"{name} beats it by {self._by(arm, name)}" for name in beating]
            told.append(f"{listed(by)}, so that what gains on it may only be mending it")
        if self.at_chance(arm):
            auc = self.auc(arm)
            told.append(f"it is at chance: its {self.numbers.headline} is {fixed(auc.value)}{interval(auc)}")
        if self.worse_than_constant(arm):
            told.append(f"its probabilities are worse than the constant click rate ({self._calibration(arm)})")
        return told

    def findings(self) -> Iterator[Finding]:
        """Find what cannot be judged, what matters most first."""
        yield from self._beaten_all()
        yield from self._too_little()
        if self.measured and not self.anyone_learned:
            yield self._nothing_learned()
        else:
            for arm in self.bare:
                if doubts := self.doubts(arm):
                    text = f"Nothing measured against {arm} means anything: {'; '.join(doubts)}. {self._remedy(arm)}."
                    yield Finding(tag="cannot be judged", tone="bad", text=text)
        yield from self._others()

    def _beaten_all(self) -> Iterator[Finding]:
        names = [arm for arm in self.measured if self.beaten_by(arm)]
        above = [y for y in self.numbers.yardsticks if names and all(y in self.beaten_by(a) for a in self.measured)]
        for yardstick in sorted(above, key=lambda name: (-(self.auc(name).value or 0.0), name))[:1]:
            best = self.measured[0]
            whom = f"the only arm, {best}," if len(self.measured) == 1 else f"every arm, the best of them, {best},"
            others = [name for name in above if name != yardstick]
            also = f" So {'does' if len(others) == 1 else 'do'} {listed(others)}." if others else ""
            text = (
                f"{yardstick} beats {whom} by {self._by(best, yardstick)}.{also} "
                "What one arm gains on another may only be mending what this yardstick has already."
            )
            yield Finding(tag="a yardstick wins", tone="bad", text=text)

    def _too_little(self) -> Iterator[Finding]:
        """Whether there is anything to measure, and enough of it."""
        periods = [period for period in self.costs if period.period in self.numbers.counted]
        rows, clicks = sum(p.rows for p in periods), sum(p.positives for p in periods)
        if not periods:
            if self.costs:
                text = (
                    "No period was predicted by a model that had learned something: the log needs more periods "
                    "(a smaller stream.period), or labels must come sooner (stream.label_delay)."
                )
                yield Finding(tag="cannot be judged", tone="bad", text=text)
            return
        fewer, kind = min((clicks, "click"), (rows - clicks, "impression that was not clicked"))
        if not fewer:
            what = "none is clicked" if not clicks else "all are clicked"
            text = (
                f"Nothing can be ranked: of {counted(rows, 'impression')} measured {what}, and an AUC needs both. "
                "Log loss alone is told. See whether the label's column is the right one, or take more of the log."
            )
            yield Finding(tag="one class", tone="bad", text=text)
        elif fewer < FEW_CLICKS:
            text = (
                f"{counted(fewer, kind)} in the measured periods: differences of AUC below {least(fewer):.1g} are "
                "hardly seen, but between arms that say nearly the same. Take more of the log before believing any."
            )
            yield Finding(tag="too few clicks", tone="bad", text=text)

    def _nothing_learned(self) -> Finding:
        best = max(self._contenders(), key=lambda name: self.auc(name).value or 0.0)
        auc = self.auc(best)
        who = "arm and no yardstick" if self.numbers.yardsticks else "arm"
        text = (
            f"No {who} is above chance: the best AUC is that of {best}, {fixed(auc.value)}{interval(auc)}. The fields "
            f"may say nothing about the label, or the label's column may be the wrong one. {MORE_LEARNING}."
        )
        return Finding(tag="nothing learned", tone="bad", text=text)

    def _others(self) -> Iterator[Finding]:
        """Arms that nothing is held against, and yet are no better than a lot or a constant."""
        others = [arm for arm in self.measured if arm not in self.bare]
        if self.learned and (chance := [arm for arm in others if self.at_chance(arm)]):
            auc = [f"{arm} ({fixed(self.auc(arm).value)}{interval(self.auc(arm))})" for arm in chance]
            yield Finding(tag="at chance", tone="bad", text=f"Not above chance, and not ranked: {listed(auc)}.")
        untold = others if self.anyone_learned else self.measured
        if worse := [arm for arm in untold if self.worse_than_constant(arm)]:
            told = [f"{arm} ({self._calibration(arm)})" for arm in worse]
            text = f"Probabilities worse than the constant click rate, whatever the ranking: {listed(told)}."
            yield Finding(tag="miscalibrated", tone="bad", text=text)

    def _remedy(self, arm: str) -> str:
        if self.at_chance(arm) or self.beaten_by(arm):
            return MORE_LEARNING
        pcoc = self.numbers.mean("pcoc_prequential", arm).value
        within = pcoc is None or LEVEL[0] <= pcoc <= LEVEL[1]
        return LESS_SURE if within else OTHER_LEVEL

    def _by(self, arm: str, yardstick: str) -> str:
        """How far a yardstick leads an arm."""
        value = lead(self.numbers, arm, yardstick)
        assert value.value is not None
        assert value.low is not None
        assert value.high is not None
        ahead = Value(value=-value.value, low=-value.high, high=-value.low, n=value.n)
        return f"{fixed(ahead.value)}{interval(ahead)}"

    def _calibration(self, arm: str) -> str:
        ne, pcoc = (self.numbers.mean(f"{metric}_prequential", arm).value for metric in ("ne", "pcoc"))
        return f"NE {fixed(ne, 3)}, PCOC {fixed(pcoc, 2)}"


def least(clicks: int) -> float:
    """The difference of AUC that so many clicks can show 4 times in 5, of arms whose errors are their own."""
    return DETECTABLE * CLICK_SPREAD / math.sqrt(clicks)
