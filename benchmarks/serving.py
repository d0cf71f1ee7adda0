"""What serving costs, on a small run of its own that is played first: three questions, each answered by ratios.

1. The model's path in this process for one request of 100 candidates: a backbone alone, and with each base.
2. Over HTTP: `serve` on Ray Serve, asked at the replica and through the proxy, `serve --plain`, and a plain deployment
   of Ray Serve around the same model, asked through the proxy as it is by default: p50 at few requests, and the rate
   that each sustains with p99 within 50 ms (`simulator.loadtest`), in turns.
3. How long eight arms take to deploy.

EDK's knowledge is decided by every field of a row, so no store holds it by a key; of KEEP's, one does (docs/keep.md).
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from ray import serve
from starlette.requests import Request

from benchmarks.figures import Figure, in_turns
from pkb.batch import Batch
from pkb.cores import allowed_cores
from simulator.cluster.session import ray_session
from simulator.loadtest.bodies import write_bodies
from simulator.loadtest.early_stopping import enough_requests
from simulator.loadtest.senders import Senders, read_bodies
from simulator.loadtest.settings import LoadSettings
from simulator.loadtest.target import Target
from simulator.loadtest.trial import Trial
from simulator.record.experiment import read_experiment
from simulator.record.layout import RunFolder
from simulator.record.loadtest import LoadTest
from simulator.serve.body import JSON, columns_of
from simulator.serve.deploy import running
from simulator.serve.ports import free_port
from simulator.serve.replica import application, deployed
from simulator.serve.settings import ServeSettings
from simulator.serve.versions import Source, Version, Versions
from simulator.serving import source_of

CONFIG = """
stream:
  source: world
  world: {preset: alidisplay, periods: 3, rows_per_period: 3_000, users: 600, items: 300, click_rate: 0.2}
train: {epochs: 1}
yardsticks: []
arms:
  deepfm: {}
  rok: {knowledge: rok, plug: fields+join}
  edk: {knowledge: edk}
  keep: {knowledge: keep, plug: hidden}
  keep_cached: {knowledge: keep, plug: hidden, source: center}
  lr: {backbone: lr}
  dnn: {backbone: dnn}
  dcn: {backbone: dcn}
serve: {enabled: false}
measure: {bootstrap: 0}
"""
BACKBONE = "deepfm"
WAYS = ("deepfm", "rok", "edk", "keep", "keep_cached")  # beside the backbone alone
CANDIDATES, REQUESTS, REPEATS = 100, 20, 9
LOAD = LoadSettings(
    candidates=CANDIDATES, requests=enough_requests(0), seconds=1.0, repeats=1, step=0.1, start=50.0, least=25.0
)
ON_RAY, PROXY = "serve on Ray Serve, at the replica", "serve on Ray Serve, through its proxy"
ALONE, PLAIN = "serve --plain", "a plain deployment"
START_SECONDS = 60


def serving() -> list[Figure]:
    """Play the run, and measure it."""
    with tempfile.TemporaryDirectory() as folder:
        run = played(Path(folder))
        sources = {arm: source_of(run, arm) for arm in read_experiment(RunFolder(run)).arms}
        file = Path(folder) / "requests.jsonl"
        write_requests(sources[BACKBONE], file)
        figures = in_process(sources, file)
        settings = ServeSettings(port=0)
        with ray_session(None):
            since = time.perf_counter()
            with deployed(list(sources.values()), settings, None):
                took = time.perf_counter() - since
            figures.append(Figure(name="serving_deploy_eight_arms", value=took, unit="s", repeats=1))
            with served(sources[BACKBONE], settings) as targets, Senders(file, allowed_cores()) as senders:
                test = Trial(targets, senders, LOAD, say, "serving", None, allowed_cores()).run()
    return figures + over_http(test)


def played(folder: Path) -> Path:
    """Play the run; its folder."""
    config = folder / "serving.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    places = ["name=serving", f"runs={folder / 'runs'}", f"stream.data={folder / 'data'}"]
    words = [sys.executable, "-m", "simulator", "run", str(config), *places]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout[-1000:] + done.stderr[-2000:])
    return folder / "runs" / "serving"


def write_requests(source: Source, file: Path) -> None:
    """Write requests of 100 candidates each, made of the last period's rows."""
    log = Versions(source, say).log
    rows = log.read(log.periods[-1], histories=bool(log.schema.histories))
    write_bodies(rows, log, source.stream, candidates=CANDIDATES, file=file)


def in_process(sources: dict[str, Source], file: Path) -> list[Figure]:
    """Score the same requests by each arm in turns, in one thread and by the processor's time."""
    ways: dict[str, Callable[[Batch], object]] = {}
    requests: list[Batch] = []
    for arm in WAYS:
        versions, version = ready(sources[arm])
        ways[arm] = version.scorer.predict
        requests = requests or [rows_of(versions, version, body) for body in read_bodies(file)[:REQUESTS]]
    return in_turns("serving", ways, BACKBONE, requests, unit="ms a request of 100", repeats=REPEATS)


def ready(source: Source) -> tuple[Versions, Version]:
    """The latest version of a contender, held to what the run has stored."""
    versions = Versions(source, say)
    versions.begin(follow=False)
    assert versions.current is not None
    return versions, versions.current


def rows_of(versions: Versions, version: Version, body: bytes) -> Batch:
    """What a request asks for, of one log the same for all arms."""
    columns, rows = columns_of(body, JSON, versions.reader)
    return versions.reader.read(columns, rows, version.known).rows


class Plain:
    """The model as anybody would serve it, with what Ray Serve sets by itself, but for the variables of a session."""

    def __init__(self, source: Source) -> None:
        self.versions, self.version = ready(source)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        rows = rows_of(self.versions, self.version, await request.body())
        return {"scores": self.version.scorer.predict(rows).tolist()}


@contextlib.contextmanager
def served(source: Source, settings: ServeSettings) -> Iterator[list[Target]]:
    """One contender served in four ways at once, of which one is asked at a time."""
    plain = serve.deployment(ray_actor_options={"num_cpus": 0.1})(Plain).bind(source)
    ours = application({"/": source}, None, follow=False, cpus=0.1)
    with (
        alone(source) as url,
        running("serving", settings, {("ours", "/ours"): ours, ("plain", "/plain"): plain}) as on_ray,
    ):
        urls = {
            ON_RAY: f"{on_ray.replicas('/ours')[0]}/v1/score",
            PROXY: f"{on_ray.proxy}/ours/v1/score",
            ALONE: f"{url}/v1/score",
            PLAIN: f"{on_ray.proxy}/plain",
        }
        yield [Target(arm=arm, seed=0, url=url) for arm, url in urls.items()]


@contextlib.contextmanager
def alone(source: Source) -> Iterator[str]:
    """A process that serves without Ray."""
    port = free_port(ServeSettings(port=0))
    words = [sys.executable, "-m", "simulator", "serve", str(source.run), "--arm", source.arm, "--plain"]
    process = subprocess.Popen([*words, "--port", str(port)], stdout=subprocess.DEVNULL)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                direct.open(f"http://127.0.0.1:{port}/healthz", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{' '.join(words)}: does not answer")
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def over_http(test: LoadTest) -> list[Figure]:
    """Of each way the sustained rate, 0 where none was, and p50 at the first rate, beside the one on Ray Serve."""
    rates = {arm.arm: arm.sustained.value or 0.0 for arm in test.arms}
    first = {load.arm: load.p50_ms for load in reversed(test.loads) if load.rate == test.loads[0].rate}
    figures = []
    for what, values, unit in (("sustained", rates, "requests/s"), ("p50", first, "ms")):
        ours = values[ON_RAY]
        for name, way in (("on_ray", ON_RAY), ("proxy", PROXY), ("alone", ALONE), ("plain_deployment", PLAIN)):
            value = values[way]
            share = None if way == ON_RAY or not value or not ours else ours / value
            figures.append(
                Figure(
                    name=f"serving_{what}_{name}",
                    value=value or 0.0,
                    unit=unit,
                    against=None if way == ON_RAY else f"{ON_RAY}, of this",
                    ratio=share,
                    repeats=1,
                )
            )
    for why in test.invalid:
        say(f"INVALID: {why}")
    return figures


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
