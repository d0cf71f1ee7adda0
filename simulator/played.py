"""What is done with a run that has been played: an arm is exported, arms are put under load."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rich.console import Console

from pkb.cores import allowed_cores
from pkb.errors import RunError
from simulator.config.checks import among
from simulator.config.reading import from_overrides
from simulator.loadtest.bodies import write_bodies
from simulator.loadtest.senders import Senders
from simulator.loadtest.settings import LoadSettings
from simulator.loadtest.target import Target
from simulator.loadtest.trial import Trial
from simulator.record.costs import read_arm_costs
from simulator.record.experiment import ArmAndSeed, Experiment, key_of, read_experiment
from simulator.record.layout import RunFolder
from simulator.record.loadtest import LoadTest, write_loadtest
from simulator.record.lock import held
from simulator.record.typed_json import write_json
from simulator.report.commands import say
from simulator.serving import log_of, source_of
from simulator.settings import Settings, load
from simulator.stream.log import Log


@dataclass(frozen=True, kw_only=True)
class Played:
    """A run with what it was played from."""

    run: RunFolder
    experiment: Experiment
    settings: Settings
    log: Log


Deploy = Callable[[Played, Sequence[ArmAndSeed]], AbstractContextManager[list[Target]]]


def open_played(path: Path) -> Played:
    """Find a run's settings and its log; DataError where the folder is none of a run, or the log is gone."""
    run = RunFolder(path)
    experiment, settings = read_experiment(run), load(run.config)
    return Played(run=run, experiment=experiment, settings=settings, log=Log(log_of(run, settings)))


def export(folder: Path, arm: str, seed: int | None, output: Path | None, console: Console) -> Path:
    """Write an arm for another team's server; SettingError or RunError says why it cannot be."""
    from simulator.export.folder import export_arm  # torch.export takes a second to import

    played = open_played(folder)
    who = _who(played.experiment, arm, seed)
    written = export_arm(played.run, played.log, who, output or played.run.export(key_of(who)))
    say(console, f"export: {written}")
    return written


def loadtest(
    target: str, overrides: Sequence[str], requests: Path | None, output: Path | None, console: Console
) -> LoadTest:
    """Put a run's arms, or a URL, under load, and print what came out."""
    settings = from_overrides(LoadSettings, overrides)
    if target.startswith(("http://", "https://")):
        return loadtest_url(target, settings, requests, output, console)
    if requests is not None or output is not None:
        raise RunError(f"loadtest {target}: a run has its own requests and its own folder; leave the options out")
    return loadtest_run(Path(target).expanduser(), settings, console)


def loadtest_url(
    url: str, settings: LoadSettings, requests: Path | None, output: Path | None, console: Console
) -> LoadTest:
    """Put whatever answers at a URL under load."""
    if requests is None:
        raise RunError(f"loadtest {url}: what to ask it? add --requests with a run, or with a file of JSON lines")
    with _bodies(requests, settings) as file:
        test = _tried([Target(arm=url, seed=0, url=url)], file, settings, url, None, console)
    if output is not None:
        write_json(output, test)
        say(console, f"load test: {output}")
    return test


def loadtest_run(folder: Path, settings: LoadSettings, console: Console, deploy: Deploy | None = None) -> LoadTest:
    """Put a run's arms under load in turns; writes `loadtest.json`, and the report anew if there is one."""
    played = open_played(folder)
    with held(played.run):
        arms = _alive(played, settings)
        with _bodies(folder, settings) as file, (deploy or serve_arms)(played, arms) as targets:
            last = played.log.periods[-1].index
            test = _tried(targets, file, settings, played.run.name, last, console)
        write_loadtest(played.run, test)
        say(console, f"load test: {played.run.loadtest}")
        if played.run.results.exists():
            from simulator.report.page import write_report

            say(console, f"report:    {write_report(played.run)}")
    return test


@contextlib.contextmanager
def serve_arms(played: Played, arms: Sequence[ArmAndSeed]) -> Iterator[list[Target]]:
    """Deploy arms, each as `serve` does, on a Ray of this machine's own; give the URL of each."""
    from simulator.cluster.session import ray_session
    from simulator.serve.replica import deployed

    settings = replace(played.settings.serve, host="127.0.0.1")  # no token is asked for, so nobody else may ask
    sources = [source_of(played.run.path, arm, seed) for arm, seed in arms]
    with ray_session(None), deployed(sources, settings, None) as targets:
        yield targets


def _tried(
    targets: Sequence[Target], file: Path, settings: LoadSettings, name: str, through: int | None, console: Console
) -> LoadTest:
    from simulator.report.loadtest import table

    processes = settings.processes or allowed_cores()
    with Senders(file, processes) as senders:
        tell = partial(say, console)
        test = Trial(targets, senders, settings, tell, name, through, processes).run()
    for why in test.invalid:
        say(console, f"load test: INVALID: {why}")
    console.print(table(test))
    return test


@contextlib.contextmanager
def _bodies(source: Path, settings: LoadSettings) -> Iterator[Path]:
    """A file of requests: the one given, or for the block one made of the last period of a run's log."""
    if not source.is_dir():
        yield source
        return
    played = open_played(source)
    log = played.log
    rows = log.read(log.periods[-1], histories=bool(log.schema.histories))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests.jsonl"
        write_bodies(rows, log, played.settings.stream, candidates=settings.candidates, file=file)
        yield file


def _who(experiment: Experiment, arm: str, seed: int | None) -> ArmAndSeed:
    seed = experiment.seeds[0] if seed is None else seed
    among("arm", arm, [*experiment.arms, *experiment.yardsticks])
    among("seed", str(seed), map(str, experiment.seeds))
    return arm, seed


def _alive(played: Played, settings: LoadSettings) -> list[ArmAndSeed]:
    """The arms asked for, in the order of the run, that took part to the end."""
    experiment, last = played.experiment, len(played.log.periods) - 1
    chosen = [_who(experiment, arm, settings.seed) for arm in settings.arms or experiment.arms]
    if played.run.complete_through([key_of(who) for who in chosen]) < last:
        raise RunError(f"{played.run}: is not played to its end yet; run it first")
    alive = [who for who in chosen if read_arm_costs(played.run, last, key_of(who)).stopped is None]
    if not alive:
        raise RunError(f"{played.run}: every arm was stopped, so there is none to serve")
    return alive
