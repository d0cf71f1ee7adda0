"""Which findings of a run stand when its settings are others: the sign of each arm's difference from its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from simulator.measure.opponents import baselines
from simulator.measure.value import Value
from simulator.record.experiment import Experiment
from simulator.record.robustness import Robustness, Seen, Steadiness
from simulator.report.finding import Finding, beyond_chance, lead
from simulator.report.judge import Judge
from simulator.report.numbers import Numbers
from simulator.report.words import DASH, between, counted, listed, percent, signed

MOST_NAMED = 3  # settings in which a run differs that are told; with more its name says which it is
NO_MATTER = ("name", "runs", "train.groups", "train.threads", "serve.", "measure.")  # to what was learned


def robustness(
    experiment: Experiment, names: Sequence[str], tables: Sequence[Numbers], settings: Sequence[Mapping[str, Any]]
) -> Robustness:
    """Look at the findings of the first run (an arm's difference from its baseline) in all of them.

    Against a baseline that nothing can be held against there is no finding.
    `settings` are those of each run, flat; with none of a run its name says which it is.
    """
    judge, findings = Judge(tables[0], experiment, ()), []
    for arm, baseline in baselines(experiment).items():
        if judge.doubts(baseline):
            continue
        seen = [_seen(numbers, arm, baseline) for numbers in tables]
        if seen[0].difference is not None:
            findings.append(Steadiness(arm=arm, baseline=baseline, seen=seen))
    differing = [_differing(settings[0], its, name) for its, name in zip(settings, names, strict=True)]
    return Robustness(runs=[*names], differing=["", *differing[1:]], findings=findings)


def shares(found: Robustness) -> list[Finding]:
    """Say how many findings stand in every run, and which do not."""
    text = f"{share(found)} Runs: {listed([_named(found, place) for place in range(len(found.runs))])}."
    if told := [f"{each.arm} {_turned(found, each)}" for each in found.findings if each.turned]:
        text += f" {'; '.join(told)}."
    steady = not any(each.turned for each in found.findings)
    tone = "plain" if not found.findings else "good" if steady else "bad"
    return [Finding(tag="robustness", tone=tone, text=text)]


def marked(finding: Finding, found: Robustness | None, arm: str) -> Finding:
    """Mark what was found of an arm's knowledge where it turns round in another run."""
    known = [] if found is None else [each for each in found.findings if each.arm == arm and each.turned]
    if found is None or not known or not finding.tag.startswith("knowledge"):
        return finding
    return replace(finding, tone="plain", text=f"{finding.text} It {_turned(found, known[0])}.")


def in_other_runs(found: Robustness, arm: str) -> tuple[str, str]:
    """Tell whether an arm's difference keeps its sign, and where not."""
    known = [each for each in found.findings if each.arm == arm]
    if not known:
        return DASH, ""
    where = [_named(found, place) for place in known[0].turned]
    return ("does not stand", f"with {listed(where)}") if where else ("keeps its sign", "")


def table(found: Robustness) -> Table:
    """Show a row per arm and a column per run: the difference with its interval, red where it has turned round."""
    shown = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        caption=Text("* beyond chance; red: turned round", style="dim"),
        caption_justify="left",
        show_edge=False,
    )
    shown.add_column("arm\nminus its baseline", overflow="fold", min_width=16)
    for place in range(len(found.runs)):
        shown.add_column(_named(found, place), justify="right", overflow="fold")
    for each in found.findings:
        cells = [Text(_cell(seen), style="red" if place in each.turned else "") for place, seen in enumerate(each.seen)]
        shown.add_row(Text.assemble(each.arm, (f"\n− {each.baseline}", "dim")), *cells)
    return shown


def _seen(numbers: Numbers, arm: str, baseline: str) -> Seen:
    gap = lead(numbers, arm, baseline)
    tested = numbers.mean("p_value_holm", arm, of=baseline)
    beyond = gap.value is not None and beyond_chance(gap, tested)
    return Seen(difference=gap.value, low=gap.low, high=gap.high, beyond_chance=beyond)


def _differing(first: Mapping[str, Any], its: Mapping[str, Any], name: str) -> str:
    keys = [key for key in {**first, **its} if first.get(key) != its.get(key) and not key.startswith(NO_MATTER)]
    if not keys or len(keys) > MOST_NAMED:
        return name
    return ", ".join(f"{key}={_typed(its.get(key))}" for key in keys)


def _typed(value: Any) -> str:
    return "null" if value is None else str(value).replace(" ", "")


def _named(found: Robustness, place: int) -> str:
    return found.differing[place] if place else found.runs[0]


def _turned(found: Robustness, finding: Steadiness) -> str:
    seen = {_named(found, place): finding.seen[place].difference for place in finding.turned}
    told = [f"turns round with {name}: {signed(value)}" for name, value in seen.items() if value is not None]
    told += [f"has no number with {name}" for name, value in seen.items() if value is None]
    return listed(told)


def share(found: Robustness) -> str:
    """Say how many findings keep their sign in every run."""
    if not found.findings:
        return "The first run has no finding that could stand or turn round: nothing in it can be judged."
    sure = [each for each in found.findings if each.seen[0].beyond_chance]
    stand = [sum(not each.turned for each in few) for few in (found.findings, sure)]
    number, runs = len(found.findings), len(found.runs)
    part, which = percent(stand[0] / number, 0), "both" if runs == 2 else f"all {runs}"
    text = f"{stand[0]} of {counted(number, 'finding')} ({part}) keep the sign in {which} runs"
    beyond = f"{stand[1]} of the {len(sure)} that are beyond chance" if sure else "none of them is beyond chance"
    return f"{text}, {beyond} in the first."


def _cell(seen: Seen) -> str:
    star = "*" if seen.beyond_chance else ""
    bounds = between(Value(value=seen.difference, low=seen.low, high=seen.high, n=0), sign=True)
    return f"{signed(seen.difference)}{star}\n{bounds.replace('…', ' ')}"
