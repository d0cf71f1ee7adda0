"""What a run's numbers say, in plain words: a negative result is a result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from simulator.measure.opponents import controls
from simulator.measure.value import Value
from simulator.record.costs import PeriodCosts
from simulator.record.experiment import Experiment
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.report.numbers import Numbers
from simulator.report.words import between, fixed, listed, megabytes, p_value, percent, signed, signed_percent

RANK = "knowledge_rank"  # the health figure of a base whose low value is a collapse
COLLAPSED_RANK = 2.0  # effective rank of knowledge vectors below which they say next to nothing


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`tone` is good, bad or plain: how the tag is coloured."""

    tag: str
    tone: str
    text: str


def verdict(numbers: Numbers, experiment: Experiment) -> list[Finding]:
    """Find what a reader asks for first."""
    measured = [arm for arm in numbers.ranked if numbers.mean("auc_prequential", arm).value is not None]
    findings = [*_stopped(numbers)]
    if not measured:
        reason = numbers.mean("auc_prequential", numbers.arms[0]).reason if numbers.arms else "no arm took part"
        return [*findings, Finding(tag="no ranking", tone="bad", text=f"No arm has a mean AUC: {reason}.")]
    findings.append(_best(numbers, measured))
    against = controls(experiment)
    for arm in (arm for arm in measured if arm in against):
        if reference := numbers.reference(arm):
            findings.append(_knowledge(numbers, arm, reference))
            findings += _controls(numbers, arm, [control for control in against[arm] if control in measured])
            findings.append(_price(numbers, arm, reference))
        findings += _collapse(numbers, arm, experiment.arms[arm].remedies)
    findings += [*_forgetting(numbers, measured), *_attainable(numbers, measured)]
    return findings


def mixed_code(costs: Sequence[PeriodCosts]) -> list[Finding]:
    """Find whether a run was resumed under other code, so that it is no longer one experiment."""
    played: dict[str, tuple[int, list[str]]] = {}  # by commit: the first period, and who was played so in it
    for period in costs:
        by_commit: dict[str, list[str]] = {}
        for arm in period.arms:
            by_commit.setdefault(arm.commit or "unknown", []).append(f"{arm.arm} (seed {arm.seed})")
        for commit, names in by_commit.items():
            played.setdefault(commit, (period.period, [] if len(by_commit) == 1 else names))
    if len(played) < 2:
        return []
    parts = [
        f"commit {commit} from period {first} on{f' for {listed(names)}' if names else ''}"
        for commit, (first, names) in played.items()
    ]
    text = f"The run was resumed under other code, {listed(parts)}: delete its folder and run it again."
    return [Finding(tag="mixed code", tone="bad", text=text)]


def unfinished(complete: int, begun: int) -> list[Finding]:
    """Find whether contenders have come to periods that others have not; no number is of these periods."""
    if complete >= begun:
        return []
    text = (
        f"{complete} of {begun} periods are complete, that is, committed by every contender: all numbers are of these."
    )
    return [Finding(tag="not finished", tone="plain", text=text)]


def _best(numbers: Numbers, measured: list[str]) -> Finding:
    best, *others = measured
    auc = numbers.mean("auc_prequential", best)
    text = f"{best} has the best {numbers.headline}, {fixed(auc.value)}{_interval(auc)}."
    if not others:
        return Finding(tag="result", tone="plain", text=text)
    lead = numbers.mean("auc_prequential_difference", best, of=others[0])
    text += f" It leads {others[0]} by {signed(lead.value)}{_interval(lead, sign=True)}"
    if told_apart(numbers, best, others[0]):
        return Finding(tag="best", tone="good", text=f"{text}: a lead beyond chance.")
    level = [arm for arm in others if not told_apart(numbers, best, arm)]
    corrected = " once corrected for the number of arms" if separable(lead) else ""
    text += f": not separable from chance{corrected}. On this log {listed([best, *level])} cannot be told apart."
    return Finding(tag="no clear winner", tone="plain", text=text)


def _knowledge(numbers: Numbers, arm: str, reference: str) -> Finding:
    gain = numbers.mean("auc_prequential_difference", arm, of=reference)
    relative = numbers.mean("rel_impr_auc", arm).value
    above_half = numbers.mean("rel_impr_auc_minus_half", arm).value
    if gain.value is None:
        text = f"{arm} cannot be compared with {reference}: {gain.reason}."
        return Finding(tag="not comparable", tone="bad", text=text)
    amount = (
        f"{signed(gain.value)} AUC{_interval(gain, sign=True)}, {signed_percent(relative)} relative "
        f"({signed_percent(above_half)} of what lies above 0.5)"
    )
    tested = numbers.mean("p_value_holm", arm, of=reference)
    if tested.value is not None:
        amount += f", p {_compared(tested.value)} after Holm's correction over {tested.n} tests,"
    if not beyond_chance(gain, tested):
        text = (
            f"Whether knowledge helps {arm} is not separable from chance: {amount} against {reference}, "
            f"the same backbone and policy without it.{_detectable(numbers, arm, reference)}"
        )
        return Finding(tag="knowledge: no clear effect", tone="plain", text=text)
    helps = gain.value > 0
    text = (
        f"Knowledge {'helps' if helps else 'does not help, it hurts'}: {arm} scores {amount} against "
        f"{reference}, the same backbone and policy without it."
    )
    return Finding(tag=f"knowledge {'helps' if helps else 'hurts'}", tone="good" if helps else "bad", text=text)


def _controls(numbers: Numbers, arm: str, controls: list[str]) -> Iterator[Finding]:
    """Whether what a base has learned is what helps: its controls have all of it but that."""
    if not controls:
        return
    leads = {control: numbers.mean("auc_prequential_difference", arm, of=control) for control in controls}
    told = [f"{signed(lead.value)}{_interval(lead, sign=True)} against {control}" for control, lead in leads.items()]
    whose = "whose base has" if len(told) == 1 else "whose bases have"
    text = f"{arm} scores {listed(told)}, {whose} learned nothing that could help"
    level = [control for control, lead in leads.items() if not (separable(lead) and (lead.value or 0.0) > 0)]
    if level:
        text += f". No lead beyond chance over {listed(level)}: what it has learned is not shown to help."
        yield Finding(tag="controls not passed", tone="bad", text=text)
    else:
        yield Finding(tag="controls passed", tone="good", text=f"{text}: what its own has learned helps.")


def _compared(p: float) -> str:
    text = p_value(p)
    return text if text.startswith("<") else f"= {text}"


def _detectable(numbers: Numbers, arm: str, reference: str) -> str:
    least = numbers.mean("detectable_difference", arm, of=reference).value
    return "" if least is None else f" A difference of {fixed(least)} would have been found 4 times in 5."


def _price(numbers: Numbers, arm: str, reference: str) -> Finding:
    parts = []
    mine, other = (numbers.total("train_cpu_seconds", each) for each in (arm, reference))
    if mine and other:
        parts.append(f"{mine / other:.1f} times the CPU time of {reference} in training")
    parts.append(f"{megabytes(numbers.at_end('knowledge_bytes', arm))} MB of knowledge")
    for rate in numbers.rates(arm)[:1]:
        latencies = [numbers.latency("latency_p50_ms", a, rate).value for a in (arm, reference)]
        if None not in latencies:
            p50, p50_without = (value or 0.0 for value in latencies)
            parts.append(f"{signed(p50 - p50_without, 1)} ms at the median of requests offered at {rate:g}/s")
    return Finding(tag="its price", tone="plain", text=f"{arm} takes {listed(parts)}.")


def _collapse(numbers: Numbers, arm: str, remedies: dict[str, str]) -> Iterator[Finding]:
    """Vectors that are all alike, or that lie on one line, carry no knowledge however small their loss was."""
    rank = numbers.at_end(f"{RANK}_next", arm)
    if rank is not None and rank < COLLAPSED_RANK:
        text = f"The knowledge that {arm} reads has collapsed: at the end its vectors span {fixed(rank, 1)} directions."
        if remedy := remedies.get(RANK):
            text += f" {remedy[0].upper()}{remedy[1:]}."
        yield Finding(tag="collapsed", tone="bad", text=text)


def _forgetting(numbers: Numbers, measured: list[str]) -> Iterator[Finding]:
    lost = {arm: numbers.mean("forgetting", arm, of="auc").value for arm in measured}
    known = sorted((value, arm) for arm, value in lost.items() if value is not None)
    if len(known) > 1:
        (least, keeper), (most, loser) = known[0], known[-1]
        text = (
            f"{keeper} forgets least and {loser} most: on earlier periods' holdouts their AUC has fallen "
            f"from its best by {fixed(least)} and {fixed(most)} on average."
        )
        yield Finding(tag="forgetting", tone="plain", text=text)


def _attainable(numbers: Numbers, measured: list[str]) -> Iterator[Finding]:
    best = numbers.mean("auc_prequential", BEST_ATTAINABLE)
    if best.value is None:
        return
    reached = numbers.mean("auc_prequential", measured[0]).value or 0.0
    share = (reached - 0.5) / (best.value - 0.5)
    text = (
        f"The world's own click probability scores {fixed(best.value)}{_interval(best)}; "
        f"{measured[0]} reaches {percent(share, 0)} of the way there from chance."
    )
    yield Finding(tag="best attainable", tone="plain", text=text)
    for arm in measured:
        over = numbers.mean("auc_prequential_difference", arm, of=BEST_ATTAINABLE)
        if (over.value or 0.0) > 0 and separable(over):
            text = (
                f"{arm} exceeds the best attainable AUC by {signed(over.value)}{_interval(over, sign=True)}, "
                "which cannot be: look for information from the future."
            )
            yield Finding(tag="too good", tone="bad", text=text)


def _stopped(numbers: Numbers) -> Iterator[Finding]:
    for arm, seed, reason in numbers.stopped():
        text = f"{arm} (seed {seed}) took no further part: {reason}. It has no numbers over the whole run."
        yield Finding(tag="stopped", tone="bad", text=text)


def separable(difference: Value) -> bool:
    """Tell whether the 95 % interval of a difference leaves zero out; without an interval nothing is."""
    if difference.low is None or difference.high is None:
        return False
    return difference.low > 0 or difference.high < 0


def told_apart(numbers: Numbers, one: str, other: str) -> bool:
    """Tell whether two arms differ beyond chance: by the corrected test if one is the other's baseline."""
    arm, of = (other, one) if numbers.baseline(other) == one else (one, other)
    difference = numbers.mean("auc_prequential_difference", arm, of=of)
    return beyond_chance(difference, numbers.mean("p_value_holm", arm, of=of))


def beyond_chance(difference: Value, p_holm: Value) -> bool:
    """Judge by the test that is corrected for the number of arms; by the interval where there was no test."""
    return separable(difference) if p_holm.value is None else p_holm.value < 0.05


def _interval(value: Value, *, sign: bool = False) -> str:
    bounds = between(value, sign=sign)
    return f" (95 % interval {bounds})" if bounds else " (no interval)"
