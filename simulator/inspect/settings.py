"""A proposal as settings of the stream."""

from __future__ import annotations

from simulator.inspect.files import Found
from simulator.inspect.proposal import Proposal
from simulator.inspect.text_files import Written
from simulator.stream.settings import BY_ROW, StreamSettings, TableSettings


def stream_of(found: Found, written: Written | None, proposal: Proposal) -> StreamSettings:
    """The settings that read the table; roles that nobody was found for are empty."""
    time, lists = proposal.time, proposal.lists
    text = written or Written()
    user, item = ([guess.column.name] if guess else [] for guess in (proposal.user, proposal.item))
    label = [proposal.label.column.name] if proposal.label else []
    if lists.explode:
        item, label = [lists.explode.item], [lists.explode.label]
    table = TableSettings(
        files=found.files,
        time=time.column.name if time else BY_ROW,
        time_unit=time.unit if time else "s",
        time_format=time.format if time else "",
        first_year=time.first_year if time else 2000,
        label="".join(label),
        further_labels=proposal.further_labels,
        request=proposal.request.column.name if proposal.request else None,
        weight=proposal.weight.column.name if proposal.weight else None,
        user=[*user, *proposal.user_fields],
        item=[*item, *proposal.item_fields],
        context=proposal.context,
        scenario=proposal.scenario,
        numeric=proposal.numeric,
        lists=lists.values,
        vectors=lists.vectors,
        histories=lists.histories,
        explode=lists.explode.setting if lists.explode else {},
        columns=list(text.columns),
        separator=text.separator,
        quoting=text.quoting,
        list_separator=lists.separator or ";",
        missing=list(proposal.missing),
    )
    period = "1d" if time else "1000rows"  # until rows are counted
    return StreamSettings(source="table", root=str(found.root), period=period, table=table)
