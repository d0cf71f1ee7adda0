"""Applications on Ray Serve for as long as a block runs; what somebody else serves is left alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import ray
from ray import serve
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.config import HTTPOptions, ProxyLocation
from ray.serve.schema import ApplicationStatusOverview, LoggingConfig

from pkb.errors import RunError
from simulator.serve.ports import free_port, reachable, refuse_open_pages
from simulator.serve.settings import ServeSettings

# A backlog waits inside the replica: what a full replica turns away, Serve's router offers again only after
# back-offs of up to a second, and throughput under overload collapses. Beyond both, Serve answers 503 at once.
MAX_ONGOING_REQUESTS = 128
# A replica that listens itself counts as queued what came while it computed or had no core, though none has to wait.
MAX_QUEUED_REQUESTS = 128
START_SECONDS = 60  # patience with the first contender to come up ...
START_SECONDS_EACH = 15  # ... and with each further one
SHUTDOWN_SECONDS = 30
POLL_SECONDS = 0.2
STATUS_SECONDS = 0.5  # to ask Serve for its status takes the processor some 50 ms, which those that start need


def replicated(name: str, cpus: float, replicas: int = 1) -> Callable[[Any], serve.Deployment]:
    """What makes a deployment of a class: replicas of it, each of which reserves so much of a core."""
    return serve.deployment(
        name=name,
        num_replicas=replicas,
        ray_actor_options={"num_cpus": cpus},
        max_ongoing_requests=MAX_ONGOING_REQUESTS,
        max_queued_requests=MAX_QUEUED_REQUESTS,
        max_constructor_retry_count=1,  # a damaged checkpoint does not heal
        graceful_shutdown_timeout_s=1.0,
        graceful_shutdown_wait_loop_s=0.1,
    )


def route_of(arm: str, seed: int) -> str:
    """The route of a contender that is served beside others."""
    return f"/{arm}/{seed}"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where applications that run are asked: through Serve's proxy, or each at its replica."""

    host: str
    port: int  # of the proxy, which knows all routes, and keeps requests waiting while a replica starts anew

    @property
    def proxy(self) -> str:
        """URL of the proxy."""
        return f"http://{reachable(self.host)}:{self.port}"

    def replicas(self, route: str) -> list[str]:
        """URLs of a route at each replica of its application: several times as fast, as long as that one lives.

        The proxy's alone where replicas do not listen themselves, as on a cluster that was not told to
        (`simulator.cluster.session`), or are on other nodes.
        """
        here = ray.util.get_node_ip_address()
        groups = ray.get(_controller().get_target_groups.remote())
        ports = [t.port for group in groups if group.route_prefix == route for t in group.targets if t.ip == here]
        return [f"http://{reachable(self.host)}:{port}{quote(route.rstrip('/'))}" for port in ports or [self.port]]


@contextlib.contextmanager
def running(
    name: str,
    settings: ServeSettings,
    applications: Mapping[tuple[str, str], serve.Application],
    patience_s: float = START_SECONDS + START_SECONDS_EACH,
) -> Iterator[Address]:
    """Run the applications of the run `name`, by their names and routes, and yield where they are asked.

    Ray must be initialised; Serve is shut down at the end. SettingError if the port is taken, or pages of its own would
    be open to everybody; RunError if the cluster serves something already, or an application does not come up.
    """
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    refuse_open_pages()
    port = free_port(settings)
    _make_way(name)
    quiet = LoggingConfig(log_level="ERROR", enable_access_log=False)
    targets = [
        serve.RunTarget(target=application, name=_prefix(name) + quote(own), route_prefix=route, logging_config=quiet)
        for (own, route), application in applications.items()
    ]
    try:
        serve.start(
            proxy_location=ProxyLocation.HeadOnly,
            http_options=HTTPOptions(host=settings.host, port=port, request_timeout_s=settings.timeout_s),
            logging_config=quiet,
        )
        serve.run_many(targets, wait_for_applications_running=False)
        deadline = time.monotonic() + patience_s
        _wait_until_running(deadline)
        address = Address(host=settings.host, port=port)
        wait_until_routed(address.proxy, {route for _, route in applications}, deadline)
        yield address
    finally:
        shut_down()


def _make_way(run: str) -> None:
    """Remove what a killed start of this run left on a lasting cluster; RunError if others serve there."""
    running = serve.status().applications
    others = [name for name in running if not name.startswith(_prefix(run))]
    if others:
        raise RunError(
            f"Ray Serve on this cluster runs {others[0]} already, which would be disturbed and would disturb "
            "the measurement; use another cluster, or serve.enabled=false"
        )
    shut_down()


def shut_down() -> None:
    """End Serve on this cluster, if it runs.

    First asked not to wait: `serve.shutdown()` alone leaves a call pending on the controller, and its planned
    death makes Ray print a false alarm about that call on the driver's output.
    """
    controller = _controller()
    if controller is not None:
        ray.get(controller.graceful_shutdown.remote(wait=False))
        deadline = time.monotonic() + SHUTDOWN_SECONDS
        while _controller() is not None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    serve.shutdown()


def _controller() -> Any:
    """The actor that runs Serve on this cluster, or None."""
    try:
        return ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    except ValueError:
        return None


def where_served() -> tuple[str, int]:
    """Host and port at which Serve's proxy listens: those of whoever started it; RunError if it has no proxy."""
    options = ray.get(_controller().get_http_config.remote())
    if not options.host:
        raise RunError("Ray Serve on this cluster was started without HTTP; use another cluster, or ask by handle")
    return options.host, options.port


def _prefix(run: str) -> str:
    """What the names of a run's applications begin with; of letters that are not ASCII Serve waits for ever."""
    return f"{quote(run, safe='')}/"


def _wait_until_running(deadline: float) -> None:
    while True:
        applications = serve.status().applications
        waiting = {name: a for name, a in applications.items() if a.status != "RUNNING"}
        if not waiting:
            return
        for name, application in waiting.items():
            if application.status == "DEPLOY_FAILED":
                raise RunError(f"{name}: could not be served: {_reason(application)}")
        if time.monotonic() > deadline:
            name, application = next(iter(waiting.items()))
            raise RunError(f"{name}: still {application.status.lower()}; has the cluster a free CPU and memory?")
        time.sleep(STATUS_SECONDS)


def wait_until_routed(root: str, routes: set[str], deadline: float) -> None:
    """The HTTP proxy learns of new routes a moment after their applications run."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # by no proxy that the environment names
    while True:
        try:
            with direct.open(f"{root}/-/routes", timeout=5) as response:
                if routes <= set(json.load(response)):
                    return
        except (OSError, http.client.HTTPException, ValueError):  # a refusal, half an answer, somebody else's
            pass
        if time.monotonic() > deadline:
            raise RunError(
                f"{root}: Ray Serve's proxy does not answer there; it listens on the head node, so start the "
                "run there, or set serve.host to an address of it"
            )
        time.sleep(POLL_SECONDS)


def _reason(application: ApplicationStatusOverview) -> str:
    """The exception itself, of the traceback that a deployment's message is."""
    messages = [application.message, *(d.message for d in application.deployments.values())]
    lines = [line.strip() for message in messages for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else "Ray Serve gives no reason"
