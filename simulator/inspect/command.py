"""`python -m simulator inspect FILES`: look at a log, tell what it holds, and propose the YAML that replays it."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pkb.errors import DataError, SettingError
from simulator.inspect.doubts import class_doubt, doubts_of
from simulator.inspect.files import Found, estimated_rows, find, is_parquet
from simulator.inspect.known import known
from simulator.inspect.proposal import Proposal, propose
from simulator.inspect.sample import sampled
from simulator.inspect.settings import stream_of
from simulator.inspect.survey import Survey, survey
from simulator.inspect.text_files import written
from simulator.inspect.writing import yaml_of
from simulator.record.files import write_text
from simulator.stream.settings import StreamSettings

LOOKED_AT = 100_000  # rows of which the columns are learned, about
SURVEYED = 400_000  # rows that are read as an ingest reads them, about
MOST_PERIODS = 40  # of the table


def inspect(given: Sequence[str], output: Path | None, console: Console) -> None:
    """Print what the log in these files holds, and the YAML, which goes to `output` if there is one.

    DataError if no file is there, one cannot be read, or `output` is there already.
    """
    if output is not None and output.exists():
        raise DataError(f"{output}: is there already; delete it, or choose another name")
    found = find(given)
    with tempfile.TemporaryDirectory() as name:
        stream, files, proposal, doubts = _proposed(found, Path(name))
        seen = None
        try:
            seen = survey(stream, files, max(1, estimated_rows(files) // SURVEYED), Path(name))
            stream = seen.stream
            if doubt := class_doubt(seen.rows - seen.rejected, seen.positives, f"the label {stream.table.label!r}"):
                doubts.insert(0, doubt)
            doubts += [*(f"the ingest stops: {stop}" for stop in seen.stops), *seen.notes]
        except (DataError, SettingError) as error:
            doubts.append(f"the ingest stops: {error}")
    text = yaml_of(_name(found, stream), stream, proposal, seen, doubts)
    told = console if output else Console(stderr=True, width=console.width)
    _tell(told, found, seen, doubts)
    if output is None:
        print(text, end="")
    else:
        write_text(output, text)
        console.print(f"written to {output}; python -m simulator run {output}", soft_wrap=True, markup=False)


def _proposed(found: Found, folder: Path) -> tuple[StreamSettings, tuple[Path, ...], Proposal | None, list[str]]:
    """The settings, the files that they lead to, the roles of a table's columns, and what looks wrong with it."""
    if data_set := known(found):
        return data_set.stream, data_set.files, None, []
    text = next((path for path in found.paths if not is_parquet(path)), None)
    shape = None if text is None else written(text)
    with sampled(found, shape, LOOKED_AT, folder) as sample:
        proposal = propose(sample)
        doubts = list(doubts_of(sample, proposal))
    return stream_of(found, shape, proposal), found.paths, proposal, doubts


def _name(found: Found, stream: StreamSettings) -> str:
    """What to call the run: the data set, the folder, or the one file."""
    if stream.source != "table":
        return stream.source
    name = found.paths[0].name.partition(".")[0] if len(found.paths) == 1 else found.root.name
    return re.sub(r"[^\w-]+", "_", name).strip("_") or "log"


def _tell(console: Console, found: Found, seen: Survey | None, doubts: Sequence[str]) -> None:
    files = f"{found.paths[0].name}" if len(found.paths) == 1 else f"{len(found.paths)} files"
    head = f"{files} in {found.root}"
    if seen is not None:
        kept = seen.rows - seen.rejected
        of = f", one stretch of rows in {seen.one_in} read" if seen.one_in > 1 else ""
        head += f": {seen.rows:,} rows{of}, {seen.rejected:,} bad, {seen.positives / kept:.2%} clicked"
    console.print(head, soft_wrap=True, markup=False)
    if seen is not None and seen.periods:
        console.print(_table(seen))
    for doubt in doubts:
        console.print(f"look: {doubt}", soft_wrap=True, markup=False)


def _table(seen: Survey) -> Table:
    table = Table(title=f"periods of {seen.stream.period}")
    for column in ("from", "rows", "clicked", "users", "new", "items", "new"):
        table.add_column(column, justify="left" if column == "from" else "right")
    for one in seen.periods[:MOST_PERIODS]:
        counts = (one.users, one.new_users, one.items, one.new_items)
        table.add_row(one.start, f"{one.rows:,}", f"{one.positives / one.rows:.2%}", *(f"{n:,}" for n in counts))
    if left := len(seen.periods) - MOST_PERIODS:
        table.caption = f"and {left} more" if left > 0 else None
    return table
