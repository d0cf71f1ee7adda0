"""`serve RUN`: a contender of a run, as its folder and its log tell of it, behind HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pkb.errors import DataError, SettingError
from simulator.config.kinds import near
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.replayed import Replayed
from simulator.record.typed_json import read_typed
from simulator.serve.guard import token_of_environment
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source
from simulator.settings import Settings, load

MOST_REPLICAS = 64  # of one contender; each holds all that it reads


def serve(
    run: Path,
    tell: Callable[[str], None],
    *,
    arm: str | None = None,
    seed: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8_000,
    follow: bool = False,
    replicas: int = 1,
    plain: bool = False,
    address: str | None = None,
) -> None:
    """Serve one contender until interrupted, on Ray Serve or, if `plain`, from this process alone."""
    settings = ServeSettings(host=host, port=port)
    token = token_of_environment(host)
    source = source_of(run, arm, seed)
    if not 1 <= replicas <= MOST_REPLICAS or (plain and replicas > 1):
        raise SettingError(f"--replicas {replicas}: must be from 1 to {MOST_REPLICAS}, and 1 with --plain")
    if plain:
        from simulator.serve.alone import serve_alone

        serve_alone(source, settings, token, follow=follow, tell=tell)
        return
    from simulator.cluster.session import ray_session
    from simulator.serve.replica import serve_on_ray

    with ray_session(address):
        serve_on_ray(source, settings, token, follow=follow, replicas=replicas, tell=tell)


def source_of(run: Path, arm: str | None = None, seed: int | None = None) -> Source:
    """The contender of a run, the first one unless told otherwise; an Error says what is not there."""
    folder = RunFolder(run.resolve())
    experiment = read_experiment(folder)
    arms = [*experiment.arms, *experiment.yardsticks]
    arm = arms[0] if arm is None else arm
    if arm not in arms:
        raise SettingError(f"--arm {arm}: the run has {', '.join(arms)}{near(arm, arms)}")
    seeds = [held for name, held in experiment.everyone if name == arm]
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise SettingError(f"--seed {seed}: {arm} has {', '.join(map(str, seeds))}")
    settings = load(folder.config)
    log = log_of(folder, settings)
    return Source(run=folder.path, log=log, stream=settings.stream, retrieval=settings.retrieval, arm=arm, seed=seed)


def log_of(run: RunFolder, settings: Settings) -> Path:
    """The folder of the log that a run has replayed; DataError where it is not there."""
    replayed = read_typed(run.replayed, Replayed)
    log = Path(settings.stream.data).resolve() / f"{replayed.name}-{replayed.fingerprint[:8]}"
    if not log.is_dir():
        raise DataError(
            f"{log}: the log that {run} replayed is not there; start the command in the folder that the run was"
            " started in, or run it again to ingest the log"
        )
    return log
