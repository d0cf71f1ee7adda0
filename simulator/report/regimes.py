"""Whether knowledge pays, a line for each regime: whether or not the backbone has itself learned the old log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from simulator.measure.opponents import controls, starts_afresh
from simulator.measure.value import Value
from simulator.record.experiment import Experiment
from simulator.report.finding import Finding, beyond_chance, lead, separable
from simulator.report.judge import Judge
from simulator.report.knowledge import times_the_time, won_back
from simulator.report.numbers import Numbers
from simulator.report.words import interval, signed

WHERE = {
    True: ("afresh", "a backbone starts afresh on the newest rows"),
    False: ("goes on", "a backbone has itself learned its own old log"),
}


def regimes(numbers: Numbers, judge: Judge, experiment: Experiment) -> Iterator[Finding]:
    """Find in a line for each regime whether knowledge pays, and at what price."""
    against = controls(experiment)
    judged = [arm for arm in judge.measured if arm in against and _can_be_judged(numbers, judge, arm)]
    for afresh in WHERE:
        arms = [arm for arm in judged if starts_afresh(experiment.arms[arm]) == afresh]
        arms = [arm for arm in arms if not experiment.arms[arm].base_is_control] or arms
        if arms:
            yield _line(numbers, arms, {arm: [c for c in against[arm] if c in judge.measured] for arm in arms}, afresh)


def _can_be_judged(numbers: Numbers, judge: Judge, arm: str) -> bool:
    bare = numbers.reference(arm)
    return bare is not None and not judge.doubts(bare) and lead(numbers, arm, bare).value is not None


def _line(numbers: Numbers, arms: list[str], against: Mapping[str, list[str]], afresh: bool) -> Finding:
    """The best of the arms that gain beyond chance and pass their controls, or what there is of them."""
    gain = {arm: lead(numbers, arm, _bare(numbers, arm)) for arm in arms}
    by_gain = sorted(arms, key=lambda arm: -(gain[arm].value or 0.0))
    beyond = [arm for arm in by_gain if beyond_chance(gain[arm], _tested(numbers, arm))]
    helping = [arm for arm in beyond if (gain[arm].value or 0.0) > 0]
    passing = [arm for arm in helping if all(_beats(numbers, arm, control) for control in against[arm])]
    best = (passing or helping or by_gain)[0]
    bare, (tag, where) = _bare(numbers, best), WHERE[afresh]
    said = f"{best} scores {signed(gain[best].value)} AUC{interval(gain[best], sign=True)} against {bare}"
    price = f", at {times} its training time" if (times := times_the_time(numbers, best, bare)) else ""
    if passing:
        back = f" and {told}" if (told := won_back(numbers, best, bare)) else ""
        others = f" Of {len(arms)} such arms {len(passing)} gain{'s' if len(passing) == 1 else ''}."
        text = f"Where {where}, knowledge pays: {said}{back}{price}.{others if len(arms) > 1 else ''}"
        return Finding(tag=f"{tag}: pays", tone="good", text=text)
    if helping:
        text = f"{said}, but not beyond chance more than its controls: what it has learned is not shown to help{price}."
        return Finding(tag=f"{tag}: not shown", tone="plain", text=f"Where {where}, {text}")
    which = "the best of them, " if len(arms) > 1 else ""
    chance = "" if best in beyond else ", not separable from chance"
    text = f"Where {where}, knowledge does not pay: {which}{said}{chance}{price}."
    return Finding(tag=f"{tag}: does not pay", tone="bad" if best in beyond else "plain", text=text)


def _bare(numbers: Numbers, arm: str) -> str:
    bare = numbers.reference(arm)
    assert bare is not None, f"{arm} was found to have a bare arm"
    return bare


def _tested(numbers: Numbers, arm: str) -> Value:
    return numbers.mean("p_value_holm", arm, of=_bare(numbers, arm))


def _beats(numbers: Numbers, arm: str, control: str) -> bool:
    ahead = lead(numbers, arm, control)
    return separable(ahead) and (ahead.value or 0.0) > 0
