"""What a run's numbers say, in plain words: first what they cannot, then what was found. A negative result is one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from simulator.measure.opponents import controls, starts_afresh
from simulator.record.costs import PeriodCosts
from simulator.record.experiment import Experiment
from simulator.record.predictions import BEST_ATTAINABLE
from simulator.record.robustness import Robustness
from simulator.report.finding import Finding, lead, separable, told_apart
from simulator.report.judge import Judge
from simulator.report.knowledge import knowledge
from simulator.report.numbers import Numbers
from simulator.report.recovery import recoveries
from simulator.report.regimes import regimes
from simulator.report.robustness import marked, shares
from simulator.report.words import fixed, interval, listed, moved, percent, signed


def verdict(
    numbers: Numbers,
    experiment: Experiment,
    costs: Sequence[PeriodCosts] = (),
    begun: int = 0,
    robustness: Robustness | None = None,
) -> list[Finding]:
    """Find what a reader asks for first; of `begun` periods the complete ones have `costs`."""
    judge = Judge(numbers, experiment, costs)
    findings = [*judge.findings(), *_of_lists(experiment), *mixed_code(costs), *unfinished(len(costs), begun)]
    findings += _stopped(numbers)
    if not judge.learned:
        return [*findings, *_no_ranking(numbers, judge)]
    findings += [*regimes(numbers, judge, experiment), _best(numbers, judge), *_yardsticks(numbers, judge)]
    against, measured = controls(experiment), judge.measured
    knowing = [arm for arm in measured if arm in against]
    for arm in sorted(knowing, key=lambda arm: not starts_afresh(experiment.arms[arm])):
        its = knowledge(numbers, judge, experiment, arm, [control for control in against[arm] if control in measured])
        findings += [marked(finding, robustness, arm) for finding in its]
    findings += recoveries(numbers)
    findings += [*_forgetting(numbers, judge.learned), *_attainable(numbers, judge.learned)]
    return findings + ([] if robustness is None else shares(robustness))


def _of_lists(experiment: Experiment) -> Iterator[Finding]:
    """Find whether models read what the ranker of the time thought of a row."""
    if experiment.of_lists:
        fields = listed(experiment.of_lists)
        text = (
            f"Every model reads {fields} of stream.features, which tell what the ranker of the time thought of a row:"
            " what is learned of them ranks nothing anew. Leave them out to see how much of an AUC they are."
        )
        yield Finding(tag="places are told", tone="bad", text=text)


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


def _no_ranking(numbers: Numbers, judge: Judge) -> Iterator[Finding]:
    """Why no arm is the best, unless it was said that nobody has learned anything."""
    if judge.measured and judge.anyone_learned:
        text = f"{listed(judge.measured)}: not above chance, so that none is better than another."
        yield Finding(tag="no ranking", tone="bad", text=text)
    elif not judge.measured:
        reason = numbers.mean("auc_prequential", numbers.arms[0]).reason if numbers.arms else "no arm took part"
        yield Finding(tag="no ranking", tone="bad", text=f"No arm has a mean AUC: {reason}.")


def _best(numbers: Numbers, judge: Judge) -> Finding:
    """The best of the arms that have learned something."""
    best, *others = judge.learned
    auc = judge.auc(best)
    text = f"{best} has the best {numbers.headline}, {fixed(auc.value)}{interval(auc)}."
    beating = judge.beaten_by(best)
    verb = "beats" if len(beating) == 1 else "beat"
    beaten = f" It is the best of the arms alone: {listed(beating)} {verb} it." if beating else ""
    if not others:
        return Finding(tag="result", tone="plain", text=f"{text}{beaten}")
    ahead = lead(numbers, best, others[0])
    text += f" It leads {others[0]} by {signed(ahead.value)}{interval(ahead, sign=True)}"
    if told_apart(numbers, best, others[0]):
        text += ": a lead beyond chance."
        if beaten:
            return Finding(tag="best of the arms", tone="plain", text=f"{text}{beaten}")
        return Finding(tag="best", tone="good", text=text)
    level = [arm for arm in others if not told_apart(numbers, best, arm)]
    corrected = " once corrected for the number of arms" if separable(ahead) else ""
    text += (
        f": not separable from chance{corrected}. On this log {listed([best, *level])} cannot be told apart.{beaten}"
    )
    return Finding(tag="no clear winner", tone="plain", text=text)


def _yardsticks(numbers: Numbers, judge: Judge) -> Iterator[Finding]:
    """How the arms that all else hangs on stand to what a page of code would do."""
    if not numbers.yardsticks:
        text = "No yardstick was played, so nothing here says whether an arm beats as little as an item's click rate."
        yield Finding(tag="no yardstick", tone="plain", text=text)
    for arm in dict.fromkeys([judge.learned[0], *judge.bare]):
        leads = [(name, lead(numbers, arm, name)) for name in numbers.yardsticks]
        parts = [
            f"{signed(gap.value)}{interval(gap, sign=True)} against {name}"
            for name, gap in leads
            if gap.value is not None
        ]
        if parts:
            yield Finding(tag="yardsticks", tone="plain", text=f"{arm} scores {listed(parts)}.")


def _forgetting(numbers: Numbers, learned: list[str]) -> Iterator[Finding]:
    """Who forgets least and most, of the arms that have learned something to forget."""
    lost = {arm: numbers.mean("forgetting", arm, of="auc").value for arm in learned}
    known = sorted((value, arm) for arm, value in lost.items() if value is not None)
    if len(known) < 2:
        return
    (least, keeper), (most, loser) = known[0], known[-1]
    gap = numbers.mean("forgetting_difference", loser, of=keeper)
    since = "on earlier periods' holdouts the AUC, from its best, has"
    each = f"{moved(least)} on average for {keeper} and {moved(most)} for {loser}"
    if gap.low is None:
        text = f"Forgetting has no interval here, so nobody is said to forget more: {since} {each}."
    elif separable(gap):
        apart = f"a difference of {fixed(gap.value)}{interval(gap)}"
        text = f"{keeper} forgets least and {loser} most: {since} {each}, {apart}."
    else:
        apart = f"{signed(gap.value)}{interval(gap, sign=True)}"
        text = f"Who forgets most is not separable from chance: {since} {each}, {apart}."
    yield Finding(tag="forgetting", tone="plain", text=text)


def _attainable(numbers: Numbers, learned: list[str]) -> Iterator[Finding]:
    best = numbers.mean("auc_prequential", BEST_ATTAINABLE)
    if best.value is None:
        return
    reached = numbers.mean("auc_prequential", learned[0]).value or 0.0
    share = (reached - 0.5) / (best.value - 0.5)
    text = (
        f"The world's own click probability scores {fixed(best.value)}{interval(best)}; "
        f"{learned[0]} reaches {percent(share, 0)} of the way there from chance."
    )
    yield Finding(tag="best attainable", tone="plain", text=text)
    for arm in learned:
        over = lead(numbers, arm, BEST_ATTAINABLE)
        if (over.value or 0.0) > 0 and separable(over):
            text = (
                f"{arm} exceeds the best attainable AUC by {signed(over.value)}{interval(over, sign=True)}, "
                "which cannot be: look for information from the future."
            )
            yield Finding(tag="too good", tone="bad", text=text)


def _stopped(numbers: Numbers) -> Iterator[Finding]:
    for arm, seed, reason in numbers.stopped():
        text = f"{arm} (seed {seed}) took no further part: {reason}. It has no numbers over the whole run."
        yield Finding(tag="stopped", tone="bad", text=text)
