"""KEEP through its center: look-ups beside live extraction, models beside themselves alone, and millions of users.

A request is of one user with 100 candidates, with the paper's sizes of KEEP: a user 48 wide, four MLPs 512-256-128-64
fed by histories of 50 items, shops and categories, three tasks. All in one thread, as what is served. What asks the
service is timed by the clock; the rest by the processor, so that what else the machine does counts for little.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.figures import Figure, in_turns, seconds
from pkb.backbones import BACKBONES
from pkb.backbones.base import ClickModel, make_click_model
from pkb.batch import Batch, Field, History, Schema
from pkb.center import Cached, Center, Folded, Roster, build
from pkb.center.keys import ids_of
from pkb.keep import KEEP
from pkb.plug import AddedToHidden

ITEM = ("item", "shop", "category")
SCHEMA = Schema(
    fields=(Field(name="user", role="user"), *(Field(name=name, role="item") for name in ITEM)),
    user="user",
    item="item",
    histories=tuple(History(name=f"{name}s", field=name) for name in ITEM),
    labels=("click", "cart", "buy"),
)
CANDIDATES, HISTORY = 100, 50
USERS, SHOPS, CATEGORIES, ITEMS = 5_000, 500, 100, 5_000
SEEN = 2  # rows of each user that the base knows
CALLS = 10  # of each kind in a repeat
UNIT = "ms a request of 100"
MODELS = ("deepfm", "din", "can")
LIMIT_GIB = 4


def rows(number: int, *, users: int, first: int = 0, history: int = HISTORY) -> Batch:
    """Rows of so many users from `first` on; a hash gives an item its shop and category."""
    draw, start = torch.Generator().manual_seed(first), SCHEMA.first_value_id
    item_B = torch.randint(ITEMS, (number,), generator=draw)
    columns = [CATEGORIES + SHOPS + ITEMS + (first + torch.arange(number)) % users]
    columns += [CATEGORIES + SHOPS + item_B, CATEGORIES + item_B * 7 % SHOPS, item_B * 7 % SHOPS % CATEGORIES]
    past_BH = torch.randint(ITEMS, (number, history), generator=draw)
    pasts = (CATEGORIES + SHOPS + past_BH, CATEGORIES + past_BH * 7 % SHOPS, past_BH * 7 % SHOPS % CATEGORIES)
    return Batch(
        row_id=torch.arange(number),
        ids_BF=(start + torch.stack(columns, dim=1)).int(),
        label=torch.zeros(number),
        histories={f"{name}s": (start + past).int() for name, past in zip(ITEM, pasts, strict=True)},
    )


def request(number: int) -> Batch:
    """One user with so many candidates, and the user's histories."""
    some = rows(CANDIDATES, users=1, first=number % USERS)
    ids_BF = some.ids_BF.clone()
    ids_BF[:, 0] = SCHEMA.first_value_id + CATEGORIES + SHOPS + ITEMS + number % USERS
    histories = {name: past[:1].expand(CANDIDATES, -1).contiguous() for name, past in some.histories.items()}
    return Batch(row_id=some.row_id, ids_BF=ids_BF, label=some.label, histories=histories)


def base_of(size: int, settings: KEEP.Settings) -> KEEP:
    """KEEP with a table of so many rows, as it is drawn."""
    torch.manual_seed(0)
    base, draw = KEEP(SCHEMA, settings), torch.Generator().manual_seed(0)
    for part in range(
        SCHEMA.first_value_id, size, 1_000_000
    ):  # a table that grows at once takes three times the memory
        base.grow(min(size, part + 1_000_000), draw)
    return base.eval()


@torch.inference_mode()
def ratios(repeats: int) -> list[Figure]:
    """Look-ups in this process, by handle and by HTTP beside live extraction; then models with either, beside none."""
    from simulator.center.client import ByHandle, ByHttp
    from simulator.center.service import served
    from simulator.cluster.session import ray_session

    torch.set_num_threads(1)
    base = base_of(SCHEMA.first_value_id + CATEGORIES + SHOPS + ITEMS + USERS, KEEP.Settings())
    roster, requests = Roster(SCHEMA), [request(number) for number in range(CALLS)]
    for first in range(0, SEEN * USERS, USERS):
        roster.add(rows(USERS, users=USERS, first=first))
    for one in requests:
        roster.add(one)
    with tempfile.TemporaryDirectory() as folder:
        built = build(base, roster, Path(folder), 0, built_until=0)
        source = Cached(Center(Path(folder)).version(0), SCHEMA)
        figures = [
            Figure(
                name="center_entries",
                value=sum(built.entries.values()),
                unit="entries",
                against="N_u x N_i",
                ratio=sum(built.entries.values()) / built.of_all_pairs,
                repeats=1,
            ),
            Figure(name="center_bytes", value=built.bytes, unit="bytes", repeats=1),
            Figure(name="center_build", value=built.seconds, unit="s", repeats=1),
        ]
        with ray_session(None), served(Path(folder)) as service:
            by_handle = ByHandle(service.handle, 10.0)
            by_http, direct = ByHttp(service.url, 10.0), ByHttp(service.direct, 10.0)
            ways: dict[str, Callable[[Batch], object]] = {
                "live": base.knowledge,
                "look_up": source.knowledge,
                "by_handle": lambda one: by_handle.ask(*ids_of(one, SCHEMA, "category"), 0),
                "by_http": lambda one: by_http.ask(*ids_of(one, SCHEMA, "category"), 0),
                "by_http_direct": lambda one: direct.ask(*ids_of(one, SCHEMA, "category"), 0),
            }
            figures += in_turns(
                "center", ways, "live", requests, unit=UNIT, repeats=repeats, clock=time.perf_counter, faster=True
            )
            by_http.close()
            direct.close()
        for name in MODELS:
            torch.manual_seed(0)
            alone, plugged = (_model(name, base, plugged=knows) for knows in (False, True))
            assert isinstance(plugged.plug, AddedToHidden)
            ahead = Folded(source.version, SCHEMA, plugged.plug)
            paths: dict[str, Callable[[Batch], object]] = {
                "alone": alone,
                "keep_cached": lambda one, model=plugged, ahead=ahead: model(one, ahead.plugged(one)),  # type: ignore[misc]
                "keep_live": lambda one, model=plugged: model(one, base.knowledge(one)),  # type: ignore[misc]
            }
            figures += in_turns(name, paths, "alone", requests, unit=UNIT, repeats=repeats, clock=time.process_time)
    return figures


def _model(name: str, base: KEEP, *, plugged: bool) -> ClickModel:
    cls = BACKBONES[name]
    model = make_click_model(cls, SCHEMA, None, base.parts if plugged else (), plug="hidden")
    model.backbone.grow(base.table.size, torch.Generator().manual_seed(0))
    return model.eval()


def many_users(millions: int) -> list[Figure]:
    """Build and serve the users' and items' parts of so many users, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        told = {step: _in_a_process(step, folder, millions) for step in ("build", "serve")}
    units = {
        "build": "s",
        "bytes": "bytes",
        "build_peak": "GiB resident",
        "open": "s",
        "look_up": "ms a request of 100 random users",
        "serve_peak": "GiB resident, once every value was read",
    }
    values = told["build"] | told["serve"]
    for name in ("build_peak", "serve_peak"):
        assert values[name] < LIMIT_GIB, f"{name} is {values[name]:.2f} GiB"
    return [
        Figure(name=f"center_{millions}m_{name}", value=values[name], unit=unit, repeats=1)
        for name, unit in units.items()
    ]


def _in_a_process(step: str, folder: str, millions: int) -> dict[str, float]:
    words = [sys.executable, "-m", "benchmarks.center", step, folder, str(millions)]
    told: dict[str, float] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return told


def _build(folder: Path, users: int) -> dict[str, float]:
    torch.set_num_threads(1)
    roster, part = Roster(SCHEMA), min(users, 2_000_000)
    for start in range(0, users, part):
        roster.add(rows(part, users=users, first=start, history=0))
    base = base_of(SCHEMA.first_value_id + CATEGORIES + SHOPS + ITEMS + users, KEEP.Settings(parts=("user", "item")))
    built = build(base, roster, folder, 0, built_until=0)
    return {"build": built.seconds, "bytes": built.bytes, "build_peak": _peak()}


def _serve(folder: Path, users: int) -> dict[str, float]:
    center, draw = Center(folder), np.random.default_rng(0)
    opened = seconds(lambda: center.version(0))
    version = center.version(0)
    users_RB = version.keys["user"][draw.integers(users, size=(200, CANDIDATES))]
    since = time.perf_counter()
    for user_B in users_RB:
        version.knowledge(user_B, user_B, user_B)
    took = 1000 * (time.perf_counter() - since) / len(users_RB)
    for values in version.values.values():
        values.sum()
    return {"open": opened, "look_up": took, "serve_peak": _peak()}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    step, folder, millions = sys.argv[1:]
    sys.stdout.write(json.dumps({"build": _build, "serve": _serve}[step](Path(folder), int(millions) * 1_000_000)))
