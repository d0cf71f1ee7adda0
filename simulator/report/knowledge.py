"""What knowledge is worth to an arm: its gain, its controls, its price, and whether it has collapsed."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.record.experiment import Experiment
from simulator.report.finding import Finding, beyond_chance, lead, separable
from simulator.report.judge import Judge
from simulator.report.numbers import Numbers
from simulator.report.words import fixed, interval, listed, p_value, share, signed, signed_percent, size

RANK = "knowledge_rank"  # the health figure of a base whose low value is a collapse
COLLAPSED_RANK = 2.0  # effective rank of knowledge vectors below which they say next to nothing
NOT_JUDGED = "not judged"


def knowledge(
    numbers: Numbers, judge: Judge, experiment: Experiment, arm: str, controls: list[str]
) -> Iterator[Finding]:
    """Find what the knowledge of one arm is worth; `controls` are those of its controls that were measured."""
    if reference := numbers.reference(arm):
        doubts = judge.doubts(reference)
        yield _gain(numbers, arm, reference, doubts)
        if not doubts:
            yield from _gap(numbers, arm, reference)
        yield from _controls(numbers, experiment, arm, controls, judged=not doubts)
        yield _price(numbers, arm, reference)
    yield from _collapse(numbers, arm, experiment.arms[arm].remedies)


def _gain(numbers: Numbers, arm: str, reference: str, doubts: list[str]) -> Finding:
    gain = lead(numbers, arm, reference)
    if gain.value is None:
        text = f"{arm} cannot be compared with {reference}: {gain.reason}."
        return Finding(tag="not comparable", tone="bad", text=text)
    against = f"{reference}, the same backbone and policy without it"
    if doubts:
        text = (
            f"{arm} scores {signed(gain.value)} AUC{interval(gain, sign=True)} against {against}, which tells nothing "
            f"of its knowledge, since nothing can be held against {reference} (see above)."
        )
        return Finding(tag=NOT_JUDGED, tone="plain", text=text)
    relative, above_half = (numbers.mean(f"rel_impr_auc{of}", arm).value for of in ("", "_minus_half"))
    amount = f"{signed(gain.value)} AUC{interval(gain, sign=True)}, {signed_percent(relative)} relative"
    if above_half is not None:
        amount += f" ({signed_percent(above_half)} of what lies above 0.5)"
    tested = numbers.mean("p_value_holm", arm, of=reference)
    if tested.value is not None:
        amount += f", p {_compared(tested.value)} after Holm's correction over {tested.n} tests,"
    if not beyond_chance(gain, tested):
        text = (
            f"Whether knowledge helps {arm} is not separable from chance: {amount} against {against}."
            f"{_detectable(numbers, arm, reference)}"
        )
        return Finding(tag="knowledge: no clear effect", tone="plain", text=text)
    helps = gain.value > 0
    text = f"Knowledge {'helps' if helps else 'does not help, it hurts'}: {arm} scores {amount} against {against}."
    return Finding(tag=f"knowledge {'helps' if helps else 'hurts'}", tone="good" if helps else "bad", text=text)


def _gap(numbers: Numbers, arm: str, reference: str) -> Iterator[Finding]:
    """How much it wins back of what its bare arm lacks against an arm that has learned all, and at what price."""
    told = won_back(numbers, arm, reference)
    if told is None:
        return
    times = times_the_time(numbers, arm, reference)
    text = f"{arm} {told}{f', at {times} its training time' if times else ''}."
    lost = numbers.gap_closed(arm, "forgetting")
    if lost.value is not None:
        text += f" Of what {reference} forgets more than {numbers.goal(arm)} it takes away {share(lost)}."
    yield Finding(tag="gap closed", tone="plain", text=text)


def won_back(numbers: Numbers, arm: str, reference: str) -> str | None:
    """Say how much of its gap an arm closes; None where there is no gap."""
    closed = numbers.gap_closed(arm)
    if closed.value is None:
        return None
    return f"wins back {share(closed)} of what {reference} lacks against {numbers.goal(arm)}"


def times_the_time(numbers: Numbers, arm: str, reference: str) -> str | None:
    """Relate the CPU time of training to that of another arm; None where it was not measured."""
    mine, other = (numbers.total("train_cpu_seconds", each) for each in (arm, reference))
    return f"{mine / other:.1f} times" if mine and other else None


def _controls(
    numbers: Numbers, experiment: Experiment, arm: str, controls: list[str], *, judged: bool
) -> Iterator[Finding]:
    """Whether what a base has learned is what helps: its controls have all of it but that."""
    if not controls:
        return
    leads = {control: lead(numbers, arm, control) for control in controls}
    told = []
    for ignorant in (True, False):
        few = [c for c in controls if (experiment.arms[c].knowledge is not None) == ignorant]
        parts = [f"{signed(leads[c].value)}{interval(leads[c], sign=True)} against {c}" for c in few]
        if ignorant and few:
            told.append(f"{listed(parts)}, whose base{'' if len(few) == 1 else 's'} learned nothing that could help")
        elif few:
            told.append(f"{listed(parts)}, without knowledge but with more work or parameters")
    text = f"{arm} scores {'; '.join(told)}"
    level = [control for control, gap in leads.items() if not (separable(gap) and (gap.value or 0.0) > 0)]
    if not judged:
        yield Finding(tag=NOT_JUDGED, tone="plain", text=f"{text}.")
    elif level:
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
    if times := times_the_time(numbers, arm, reference):
        parts.append(f"{times} the CPU time of {reference} in training")
    parts.append(f"{size(numbers.at_end('knowledge_bytes', arm))} of knowledge")
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
