"""The sub-domain: of a log over many domains, the rows that backbones serve; bases learn from all of them.

A domain is the value of a categorical field of the log, a sub-domain the rows that have one of the named values.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor

from pkb.batch import Batch
from pkb.errors import SettingError
from simulator.stream.log import Log
from simulator.stream.settings import StreamSettings

MOST_TOLD = 10  # values in a message


@dataclass(frozen=True, kw_only=True)
class SubDomain:
    """The rows of which one column of ids holds one of these."""

    name: str = ""  # for messages
    column: int = 0
    ids: tuple[int, ...] | None = None  # None: all rows are

    def where(self, rows: Batch) -> Tensor | slice:
        """Say which of the rows are in it: a mask, [B] bool, or a slice where all are."""
        if self.ids is None:
            return slice(None)
        return torch.isin(rows.ids_BF[:, self.column], torch.tensor(self.ids, dtype=torch.int32))

    def of(self, rows: Batch) -> Batch:
        """Take its rows."""
        return rows.select(self.where(rows))


def sub_domain(log: Log, stream: StreamSettings) -> SubDomain:
    """Find the rows that backbones serve, all where none are named; SettingError for a field or value that is not."""
    if not stream.sub_domains:
        return SubDomain()
    fields = log.schema.names_of("category")
    if stream.domain not in fields:
        raise SettingError(
            f"stream.domain={stream.domain}: the log has no categorical field of this name that tells which rows are "
            f"of stream.sub_domain; it has {', '.join(fields)}"
        )
    here = [("field", "=", stream.domain)]
    words = pq.read_table(log.folder / "vocabulary.parquet", columns=["id", "text"], filters=here, partitioning=None)
    known = dict(zip(words["text"].to_pylist(), words["id"].to_pylist(), strict=True))
    for value in stream.sub_domains:
        if value not in known:
            more = f" and {len(known) - MOST_TOLD} more" if len(known) > MOST_TOLD else ""
            raise SettingError(
                f"stream.sub_domain={value}: the log's field {stream.domain} has no such value; it has "
                f"{', '.join(list(known)[:MOST_TOLD])}{more}"
            )
    return SubDomain(
        name=f"{stream.domain}={'|'.join(stream.sub_domains)}",
        column=log.schema.names.index(stream.domain),
        ids=tuple(known[value] for value in stream.sub_domains),
    )


def rows_by_period(log: Log, stream: StreamSettings) -> list[int]:
    """Count the sub-domain's rows in each period of the log; SettingError where it has none at all."""
    served = sub_domain(log, stream)
    if served.ids is None:
        return [period.rows for period in log.periods]
    counts = []
    for period in log.periods:
        column = pq.read_table(log.path(period), columns=[stream.domain], partitioning=None).column(0)
        counts.append(int(np.isin(column.to_numpy(), served.ids).sum()))
    if not any(counts):
        raise SettingError(f"stream.sub_domain: no row of the log has {served.name}, histories alone have")
    return counts


def told(log: Log, stream: StreamSettings) -> str | None:
    """Say in a line how much of the log the sub-domain is; None where there is none."""
    if not stream.sub_domains:
        return None
    counts = rows_by_period(log, stream)
    empty = f", none in {counts.count(0)} of the {len(counts)} periods" if 0 in counts else ""
    return (
        f"sub-domain {sub_domain(log, stream).name}: {sum(counts):,} of {log.manifest.rows_kept:,} impressions{empty}; "
        "backbones learn, predict and are measured on these, knowledge bases and search pools hold all"
    )
