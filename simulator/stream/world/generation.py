"""The world's raw files: one a period, written a slice at a time.

A slice and a period need memory for their own rows; what passes on is the users' tastes and their latest clicks.

Shapes: R requests of a slice, K items shown in each, N rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from simulator.config.durations import SECONDS
from simulator.stream import raw
from simulator.stream.periods import ByTime, cut_of
from simulator.stream.raw import RawLog
from simulator.stream.settings import StreamSettings
from simulator.stream.world.clicks import Clicks, places
from simulator.stream.world.domains import FIELD, WORDS, with_domain
from simulator.stream.world.impressions import Impressions, Market
from simulator.stream.world.liking import sigmoid
from simulator.stream.world.population import SHOWN
from simulator.stream.world.presets import PRESETS, Preset
from simulator.stream.world.scenarios import NAME, with_scenarios
from simulator.stream.world_settings import WorldSettings

SLICE = 100_000  # requests
GROUP = 65_536  # rows of a row group: a reader holds whole ones
LEAKED = 2**31 - 1  # what stands in a field that gives a click away
CART, PURCHASE = -1.5, -1.0  # logit of a cart given a click, and of a purchase given a cart, where the appeal is 0


def generate(stream: StreamSettings, folder: Path) -> RawLog:
    """Writes the raw files to `folder` and describes them as a source would."""
    preset = PRESETS[stream.world.preset]
    cut = cut_of(stream)
    width = cut.width if isinstance(cut, ByTime) else SECONDS["d"]
    world = World(preset, stream.world, width=width, utc_offset=stream.utc_offset_hours * 3600)
    files = [folder / f"world-{period:05d}.parquet" for period in range(stream.world.periods)]
    for period, file in enumerate(files):
        words = [name for name in world.schema.names if name == FIELD or preset.words(name)]
        write(file, world.period(period), text=words)
    schema = world.schema
    columns = [*schema.names, *(history.name for history in schema.histories)]
    return RawLog(
        source="world",
        schema=schema,
        root=folder,
        relation=raw.union(raw.parquet(file, folder) for file in files),
        time="ts",
        ts="ts",
        label=schema.labels[0],
        further_labels={label: raw.name(label) for label in schema.labels[1:]},
        request="request_id",
        p_true="p_true",
        values={column: raw.name(column) for column in columns},
        missing=("-1", "-99"),
    )


def write(file: Path, slices: Iterator[pa.Table], *, text: list[str]) -> None:
    """One Parquet file; a slice is written while the next one is made."""
    with ThreadPoolExecutor(1) as writing:
        first = next(slices)
        with pq.ParquetWriter(
            file, first.schema, compression="lz4", use_dictionary=text, write_statistics=False
        ) as writer:
            pending: Future[None] = writing.submit(writer.write_table, first, GROUP)
            for table in slices:
                pending.result()
                pending = writing.submit(writer.write_table, table, GROUP)
            pending.result()


class World:
    """A preset at work; its periods are asked for in order."""

    def __init__(self, preset: Preset, settings: WorldSettings, *, width: int, utc_offset: int) -> None:
        self._preset, self._settings, self._utc_offset = preset, settings, utc_offset
        self._market = Market(preset, settings, width)
        self._clicks = Clicks.none()
        self.schema = preset.schema
        if settings.domains.impressions:
            self.schema = with_domain(self.schema)
        if settings.scenarios:
            self.schema = with_scenarios(self.schema)

    def period(self, index: int) -> Iterator[pa.Table]:
        """The raw rows of a period in order of time, a slice at a time."""
        rows = self._settings.rows_per_period
        requests = -(-rows // SHOWN)
        self._market.begin(index)
        for begin in range(0, requests, SLICE):
            end = min(begin + SLICE, requests)
            rng = self._market.rng("rows", index, begin)
            shown = self._market.impressions(rng, begin / requests, end / requests, end - begin)
            yield self._table(shown, rng, index * requests + begin, min(rows - begin * SHOWN, (end - begin) * SHOWN))

    def _table(self, shown: Impressions, rng: np.random.Generator, first_request: int, rows: int) -> pa.Table:
        """The first `rows` rows of a slice."""
        labels = _labels(shown, rng, rows)
        requests = shown.requests
        row, column = np.divmod(np.flatnonzero(labels["click"]), SHOWN)
        self._clicks = self._clicks.with_later(requests.user[row], requests.time[row], shown.item[row, column])
        histories = self._histories(shown, rows)
        self._clicks = self._clicks.latest()
        return pa.table(
            {
                "ts": _rows(requests.time - self._utc_offset, rows),
                "request_id": _rows(np.arange(first_request, first_request + len(requests.user)), rows),
                **labels,
                "p_true": shown.p_true.reshape(-1)[:rows],
                **self._fields(shown, rows, self._leaked(labels["click"], first_request)),
                **histories,
            }
        )

    def _leaked(self, click: np.ndarray, first_request: int) -> np.ndarray:
        """[N] the clicks that a field gives away."""
        drawn = self._market.rng("leak", first_request).random(len(click)) < self._settings.leak
        leaked: np.ndarray = click & drawn
        return leaked

    def _fields(self, shown: Impressions, rows: int, leaked: np.ndarray) -> dict[str, pa.Array]:
        users, menu, requests = self._market.users, self._market.menu, shown.requests
        by_request = self._preset.context(requests, users) | {
            name: values[requests.user] for name, values in users.columns.items()
        }
        by_request[self.schema.user] = requests.user
        if requests.scenario is not None:
            by_request[NAME] = requests.scenario
        item = shown.item.reshape(-1)[:rows]
        columns = {name: _rows(values, rows) for name, values in by_request.items()} | menu.item_columns(item)
        columns[self._preset.leaks][leaked] = LEAKED
        if requests.there is not None:
            columns[FIELD] = _rows(requests.there.astype(np.int8), rows)
        return {name: self._written(name, columns[name]) for name in self.schema.names}

    def _written(self, field: str, values: np.ndarray) -> pa.Array:
        words = WORDS if field == FIELD else self._preset.words(field)
        return pa.array(values) if words is None else pa.DictionaryArray.from_arrays(values, list(words))

    def _histories(self, shown: Impressions, rows: int) -> dict[str, pa.ListArray]:
        """The user's latest clicks before each request, for every row of it."""
        if not self._preset.schema.histories:
            return {}
        clicks = self._clicks
        begin, count = clicks.before(shown.requests.user, shown.requests.time)
        offsets, place = places(begin, count)
        items, time = self._market.menu.item_columns(clicks.item[place]), clicks.time[place]
        row_offsets, row_place = places(_rows(offsets[:-1], rows), _rows(count, rows))
        return {
            history.name: pa.ListArray.from_arrays(
                row_offsets, pa.array(self._preset.clicked(history.field, items, time)[row_place])
            )
            for history in self._preset.schema.histories
        }


def _labels(shown: Impressions, rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Click, cart and purchase; the later ones are likelier where the appeal is high, and imply the earlier ones."""
    click = rng.random(rows, dtype=np.float32) < shown.p_true.reshape(-1)[:rows]
    clicked = np.flatnonzero(click)
    appeal = shown.appeal.reshape(-1)[clicked]
    in_cart = rng.random(len(clicked)) < sigmoid(CART + appeal / 2)
    bought = in_cart & (rng.random(len(clicked)) < sigmoid(PURCHASE + appeal / 2))
    cart, purchase = np.zeros_like(click), np.zeros_like(click)
    cart[clicked], purchase[clicked] = in_cart, bought
    return {"click": click, "cart": cart, "purchase": purchase}


def _rows(by_request: np.ndarray, rows: int) -> np.ndarray:
    """[N] from [R]"""
    return np.repeat(by_request, SHOWN)[:rows]
