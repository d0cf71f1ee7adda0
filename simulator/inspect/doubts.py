"""What looks wrong with a table before anybody reads it as a log; `simulator/stream/doubts.py` tells the rest."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.inspect.known import is_ebnerd
from simulator.inspect.proposal import Proposal
from simulator.inspect.sample import Sample
from simulator.stream.raw import texts
from simulator.stream.seen import USUAL

REPEATED = 0.001  # of the rows may be equal to an earlier one


def doubts_of(sample: Sample, proposal: Proposal) -> Iterator[str]:
    """One line each, the weightiest first."""
    if hint := is_ebnerd(sample.shape.names):
        yield hint
    yield from proposal.doubts
    yield from _of_ids(sample, proposal)
    if sample.rows and (repeated := _repeated(sample)) > REPEATED * sample.rows:
        yield f"{repeated} of {sample.rows} rows of the sample are equal to another one in every column"


def class_doubt(rows: int, positives: int, label: str) -> str:
    """What to say of a label of one class, or nothing."""
    if rows == 0 or 0 < positives < rows:
        return ""
    if positives == 0:
        return f"no row is clicked: look at {label}"
    return (
        f"every row is clicked ({label}): the log holds what users chose, and nothing can be told from that without"
        " rows of what they did not choose; the YAML has them drawn"
    )


def _of_ids(sample: Sample, proposal: Proposal) -> Iterator[str]:
    """Ids that are integers here and floats there."""
    owners = [guess.column.name for guess in (proposal.user, proposal.item, proposal.request) if guess]
    names = [*owners, *proposal.user_fields, *proposal.item_fields, *proposal.context, *proposal.scenario]
    for name in names:
        kinds = sample.shape.kinds[name]
        if len(kinds) > 1:
            yield f"column {name!r} is {' in some files, '.join(kinds)} in others: see that an id is written alike"
        elif kinds and kinds[0] in ("double", "float", "halffloat") and name in owners:
            yield (
                f"column {name!r} is {kinds[0]}, though it tells who or what: pandas makes floats of integers where one"
                " is missing; 123.0 is read as 123"
            )
        elif not kinds and (mixed := _files_with_points(sample, name)):
            yield f"column {name!r} is written as {mixed}: two ids; write it alike in every file"


def _files_with_points(sample: Sample, name: str) -> str:
    key = sample.key(name)
    found = sample.ask(rf"""
        SELECT any_value({key}) FILTER (regexp_full_match({key}, '-?\d+\.0+')),
            any_value({key}) FILTER (regexp_full_match({key}, '-?\d+')),
            any_value(_file) FILTER (regexp_full_match({key}, '-?\d+\.0+')),
            any_value(_file) FILTER (regexp_full_match({key}, '-?\d+'))
        FROM sample WHERE {key} NOT IN ({texts(USUAL)})""")
    ((pointed, whole, file, other),) = found
    return f"{whole} in {other} and {pointed} in {file}" if pointed and whole else ""


def _repeated(sample: Sample) -> int:
    columns = ", ".join(sample.key(name) for name in sample.shape.names)
    ((repeated,),) = sample.ask(f"SELECT count(*) - count(DISTINCT ({columns})) FROM sample")
    return int(repeated)
