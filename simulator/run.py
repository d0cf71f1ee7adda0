"""One run from settings to report: ingest, train, measure, report, serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from pkb.errors import RunError
from simulator.arms import check_changes
from simulator.config.kinds import flat
from simulator.config.typed import plain
from simulator.contender.checkpoint import verify
from simulator.describe import describe
from simulator.plays import play_of, within_budget
from simulator.record.costs import read_costs, stop_reasons
from simulator.record.experiment import key_of, read_experiment, write_experiment
from simulator.record.files import write_text
from simulator.record.layout import RunFolder
from simulator.record.lock import held
from simulator.record.provenance import write_environment
from simulator.record.replayed import Replayed, ReplayedPeriod, hold_to
from simulator.report.commands import conclude, conclude_serving, conclude_what_is_missing, present, say
from simulator.serve.serving import check_servable, serve_and_measure
from simulator.settings import Settings, load, to_yaml
from simulator.stream.domains import told
from simulator.stream.ingest import ingest
from simulator.stream.log import Log


def run(settings: Settings, console: Console, address: str | None = None) -> Path:
    """Play one experiment and return its folder; the same call resumes one that was killed."""

    def tell(line: str) -> None:
        say(console, line)

    log = ingest(settings.stream, settings.ingest, tell)
    if log.manifest.source == "world" != settings.stream.source:  # what stands in for a real log says so in its name
        settings = replace(settings, name=f"{settings.name}-synthetic")
    if line := told(log, settings.stream):
        tell(line)
    settings.tune.check_leaves_some(len(log.periods))
    check_changes(settings, len(log.periods))
    settings = within_budget(settings, log)
    with held(_folder(settings)):
        return _play(settings, log, console, address, tell)


def _play(settings: Settings, log: Log, console: Console, address: str | None, tell: Callable[[str], None]) -> Path:
    """Play an experiment on its log, in a folder that is this process's alone."""
    if settings.serve.enabled:
        check_servable(settings.serve, settings.stream, log)  # before anything is written of a run that must be another
    folder = open_run(settings, replayed(log), tell)
    tell(f"run {folder}: {log.manifest.name}, {len(log.periods)} periods, {log.manifest.rows_kept:,} impressions")
    for key in read_experiment(folder).keys:  # better known now than after Ray has started
        if (committed := folder.committed(key)) >= 0:
            verify(folder.checkpoint(key, committed))
    if is_over(folder, settings, log):
        present(folder, conclude_what_is_missing(folder, console), console)
        refuse_all_stopped(folder, settings)
        return folder.path
    # They import Ray Train, which takes seconds that a run which is over need not spend.
    from simulator.cluster.groups import train
    from simulator.cluster.progress import Board, shown
    from simulator.cluster.session import ray_session

    played = RunFolder(folder.path.resolve())  # workers have another working directory
    with ray_session(address):
        chosen = None
        if settings.tune.periods:
            from simulator.tune.tuning import tuned  # imports Optuna and Ray Tune

            chosen = tuned(settings.tune, play_of(replace(settings, yardsticks=[])), log, played, tell)
        board = Board.remote()  # type: ignore[attr-defined]
        with shown(board, console, len(log.periods)):
            train(play_of(settings, chosen), log, played, board, tell)
        finish(folder, settings, log, console, tell)
    return folder.path


def finish(run: RunFolder, settings: Settings, log: Log, console: Console, tell: Callable[[str], None]) -> None:
    """Report on what was trained, then serve it and report again, so that serving never takes the report along."""
    results = conclude(run, console)
    try:
        if settings.serve.enabled:
            asked, stream, retrieval = settings.serve, settings.stream, settings.retrieval
            serve_and_measure(run, asked, stream, retrieval, log, tell, seed=settings.seeds[0])
            results = conclude_serving(run, results)
    finally:
        present(run, results, console)
    refuse_all_stopped(run, settings)


def is_over(run: RunFolder, settings: Settings, log: Log) -> bool:
    """Tell whether every contender has committed every period, and was served if that is asked for."""
    complete = 1 + run.complete_through(read_experiment(run).keys)
    return complete == len(log.periods) and (run.serving.exists() or not settings.serve.enabled)


def refuse_all_stopped(run: RunFolder, settings: Settings) -> None:
    """RunError where no arm came to the end."""
    arms = [key_of((arm, seed)) for arm in settings.arms for seed in settings.seeds]
    stopped = stop_reasons(read_costs(run, arms))
    if len(stopped) == len(arms):
        raise RunError(f"{run}: every arm was {next(iter(stopped.values()))}")


def open_run(settings: Settings, log: Replayed, tell: Callable[[str], None]) -> RunFolder:
    """Open the folder of a run, new or of the same experiment and log; RunError, and nothing changes, if of others."""
    run = _folder(settings)
    before = load(run.config) if run.config.exists() else None
    differing = [] if before is None else differences(before, settings)
    if differing:
        raise RunError(
            f"{run}: holds a run with other settings ({', '.join(differing[:3])}); "
            "choose another name=..., or delete it to start over"
        )
    run.path.mkdir(parents=True, exist_ok=True)
    hold_to(run, log, tell)
    if before is None:
        write_environment(run, log.name)
        write_experiment(run, describe(settings, log.name))
    elif settings.serve.enabled and before.serve != settings.serve:
        run.serving.unlink(missing_ok=True)  # it was measured under other settings
    write_text(run.config, to_yaml(settings))  # last: what stands beside it is complete
    return run


def _folder(settings: Settings) -> RunFolder:
    return RunFolder(Path(settings.runs) / settings.name)


def replayed(log: Log) -> Replayed:
    """Say what tells a log from every other."""
    of = log.manifest
    periods = [ReplayedPeriod(start=p.start, end=p.end, rows=p.rows, digest=p.digest) for p in log.periods]
    return Replayed(name=of.name, fingerprint=of.fingerprint, rows=of.rows_kept, periods=periods)


def differences(one: Settings, other: Settings) -> list[str]:
    """List the settings in which two experiments differ; a run may go on in other groups, and be served otherwise."""
    before, now = (flat(plain(settings)) for settings in (one, other))
    free = ("train.groups", "serve.")
    return [key for key in {**before, **now} if not key.startswith(free) and before.get(key) != now.get(key)]
