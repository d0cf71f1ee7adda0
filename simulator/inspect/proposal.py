"""What the settings of a log should be, and why: the roles of all its columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simulator.inspect import after
from simulator.inspect.columns import Column, columns_of
from simulator.inspect.lists import Explode, Lists, exploded, lists_of
from simulator.inspect.roles import (
    Guess,
    attribute_of,
    by_numbers,
    further_labels,
    guessed_label,
    identity,
    is_of,
    named_label,
    request_of,
    weight_of,
)
from simulator.inspect.sample import Sample
from simulator.inspect.time_column import Time, times_of
from simulator.stream.raw import RESERVED

AMOUNTS = {  # words of a name that tell how much, not which
    *("price", "age", "amount", "amt", "cost", "count", "counts", "cnt", "num", "score", "rate", "ctr", "cvr", "avg"),
    *("mean", "total", "sum", "percent", "pct", "percentage", "ratio", "duration", "length", "len", "width", "height"),
    *(
        "size",
        "distance",
        "dist",
        "budget",
        "bid",
        "views",
        "popularity",
        "seconds",
        "minutes",
        "days",
        "weight",
        "std",
    ),
    *("quantity", "qty", "balance", "income", "revenue", "discount", "stars", "frequency", "freq", "recency", "value"),
}
CODES = {"id", "code", "category", "cat", "cate", "brand", "type", "city", "zip", "postcode", "class", "group", "kind"}
SCENARIOS = {"scenario", "scene", "domain", "tab", "surface", "channel", "placement", "slot", "pid", "site", "section"}
MOST_SCENARIOS = 50
FEW = 12  # values that are a category though they are whole numbers
SKEW = 8  # a count's largest value is so many times its median
COMES_BACK = 1.5  # rows of a value on average, below which it tells no model anything
PART = 0.001  # of a column's values: so many that say "no value" are told


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The roles of a table's columns. Every column is in one of them, or in `left_out`."""

    time: Time | None
    label: Guess | None
    user: Guess | None
    item: Guess | None
    request: Guess | None
    weight: Guess | None
    further_labels: list[str] = field(default_factory=list)
    user_fields: list[str] = field(default_factory=list)
    item_fields: list[str] = field(default_factory=list)
    context: list[str] = field(default_factory=list)
    scenario: list[str] = field(default_factory=list)
    numeric: list[str] = field(default_factory=list)
    lists: Lists = field(default_factory=Lists)
    missing: dict[str, str] = field(default_factory=dict)  # a text that means none, and where it stands
    left_out: dict[str, str] = field(default_factory=dict)  # a column, and why
    doubts: list[str] = field(default_factory=list)


def propose(sample: Sample) -> Proposal:
    """Roles for the columns of a sample."""
    columns = columns_of(sample)
    left_out = dict(sample.shape.left_out) | {c.name: _nothing(c) for c in columns if c.is_constant}
    columns = [column for column in columns if column.name not in left_out or column.is_yes_no]
    key = _key_of(sample, columns)
    left_out |= {other.column.name: "a further time" for other in key.times[1:]}
    rest = [column for column in columns if column not in key.taken and column.name not in left_out]
    listed, rest = [c for c in rest if c.holds_lists], [c for c in rest if not c.holds_lists]
    further = further_labels(rest, key.label.column) if key.label else []
    told = after.tells(sample, [c for c in rest if c not in further], key.label.column) if key.label else {}
    roles = _Roles(key, left_out)
    for column in rest:
        if column in further:
            continue
        if column.name in told:
            left_out[column.name] = (
                f"tells the label almost alone (AUC {told[column.name]:.3f}), so it is known only after it"
            )
        else:
            roles.place(column)
    fields = [*key.owners, *(column for column in rest if column.name in roles.names)]
    item, label = (guess.column if guess else None for guess in (key.item, key.label))
    lists = lists_of(sample, listed, item, fields, label, key.explode)
    left_out |= lists.left_out
    proposal = Proposal(
        time=key.times[0] if key.times else None,
        label=key.label,
        user=key.user,
        item=key.item,
        request=key.request,
        weight=key.weight,
        further_labels=[column.name for column in further],
        user_fields=roles.user_fields,
        item_fields=roles.item_fields,
        context=roles.context,
        scenario=roles.scenario,
        numeric=roles.numeric,
        lists=lists,
        left_out={name: why for name, why in left_out.items() if name not in key.names},
        missing=_missing([*rest, *key.owners]),
    )
    proposal.doubts.extend(_doubts(proposal, told))
    return proposal


@dataclass(frozen=True, kw_only=True)
class _Key:
    """The columns that tell when, who, what, and whether it was clicked."""

    times: list[Time]
    label: Guess | None
    explode: Explode | None
    user: Guess | None
    item: Guess | None
    request: Guess | None
    weight: Guess | None
    of_user: set[str]  # columns with one value for each user
    of_item: set[str]
    visits: set[str]  # columns with one user for each of their values, of which there are more than users
    taken: list[Column]

    @property
    def owners(self) -> list[Column]:
        return [guess.column for guess in (self.user, self.item) if guess]

    @property
    def names(self) -> set[str]:
        """Of the columns in these roles."""
        guesses = [g.column.name for g in (self.label, self.user, self.item, self.request, self.weight) if g]
        return {*guesses, *(time.column.name for time in self.times[:1])}


def _key_of(sample: Sample, columns: Sequence[Column]) -> _Key:
    times = times_of(sample, columns)
    time = times[0].column if times else None
    taken = [time.column for time in times]
    label = named_label([column for column in columns if column not in taken])
    explode = None if label else exploded(sample, columns)  # what is shown in lists is the item
    amounts = [column for column in columns if _is_amount(column)]
    named = None if explode else identity(columns, "item", taken)
    others = [*taken, *amounts, *([named.column] if named else [])]
    user = identity(columns, "user", others) or by_numbers(sample, columns, "user", others, time)
    taken += [user.column] if user else []
    others = [*taken, *amounts]
    item = None if explode else identity(columns, "item", taken) or by_numbers(sample, columns, "item", others, time)
    taken += [item.column] if item else []
    free = [column for column in columns if column not in taken]
    of_user, of_item = (attribute_of(sample, free, guess.column) if guess else set() for guess in (user, item))
    if label is None and explode is None:
        label = guessed_label(free, of_user | of_item)
    taken += [label.column] if label else []
    weight = weight_of([column for column in columns if column not in taken], of_user | of_item)
    taken += [weight.column] if weight else []
    request = request_of(sample, columns, time, user.column if user else None, taken)
    return _Key(
        times=times,
        label=label,
        explode=explode,
        user=user,
        item=item,
        request=request,
        weight=weight,
        of_user=of_user,
        of_item=of_item,
        visits={c.name for c in free if user and _is_visit(sample, c, user.column)},
        taken=[*taken, *([request.column] if request else [])],
    )


def _is_visit(sample: Sample, column: Column, user: Column) -> bool:
    return column.distinct > user.distinct and user.name in attribute_of(sample, [user], column)


class _Roles:
    """Puts columns into roles, one after the other."""

    def __init__(self, key: _Key, left_out: dict[str, str]) -> None:
        self.of_user = key.of_user
        self.of_item = key.of_item
        self.visits = key.visits
        self.left_out = left_out
        self.user_fields: list[str] = []
        self.item_fields: list[str] = []
        self.context: list[str] = []
        self.scenario: list[str] = []
        self.numeric: list[str] = []

    @property
    def names(self) -> set[str]:
        """Of the fields that are categories."""
        return {*self.user_fields, *self.item_fields, *self.context, *self.scenario}

    def place(self, column: Column) -> None:
        """Give the column a role, or say why it has none."""
        name = column.name
        if name in RESERVED:
            self.left_out[name] = "the log on disk has a column of its own by this name; rename it to use it"
        elif after.named(column):
            self.left_out[name] = "its name says that it is known only after the click"
        elif name in self.visits:
            self.left_out[name] = "each of its values is of one user: a visit, which does not come back"
        elif _is_amount(column):
            self.numeric.append(name)
        elif column.present < COMES_BACK * column.distinct:
            self.left_out[name] = "its values hardly ever come back: a number of the row, or a text"
        elif column.length > 60:
            self.left_out[name] = "long texts"
        elif name in self.of_user and (name not in self.of_item or is_of(column, "user")):
            self.user_fields.append(name)
        elif name in self.of_item:
            self.item_fields.append(name)
        elif not self.scenario and column.tokens & SCENARIOS and column.distinct <= MOST_SCENARIOS:
            self.scenario.append(name)
        else:
            self.context.append(name)


def _nothing(column: Column) -> str:
    return "holds no value" if column.distinct == 0 else f"is {column.top[0][0]!r} in every row"


def _is_amount(column: Column) -> bool:
    """Whether a column of numbers tells how much: it has fractions, its name says so, or its values are counts."""
    if not column.is_number or column.distinct <= 2 or column.low is None or column.high is None:
        return False
    if not column.is_whole:
        return column.distinct > FEW or bool(column.tokens & AMOUNTS)
    if column.tokens & CODES or column.distinct <= FEW:
        return False
    counts = column.distinct > 50 and column.low > -10 and column.high > SKEW * max(1.0, column.median or 0.0)
    return bool(column.tokens & AMOUNTS) or counts


def _missing(columns: Sequence[Column]) -> dict[str, str]:
    found: dict[str, str] = {}
    for column in columns:
        for text, count in column.usual.items():
            if count >= PART * column.rows and column.distinct:
                where = f"{count / column.rows:.1%} of {column.name}"
                found[text] = f"{found[text]}, {where}" if text in found else where
    return found


def _doubts(proposal: Proposal, told: dict[str, float]) -> list[str]:
    guesses = (proposal.time, proposal.label, proposal.user, proposal.item, proposal.weight)
    found = [guess.doubt for guess in guesses if guess]
    if proposal.time is None:
        found.append("no column holds times: the order of the rows stands for time (stream.table.time=row)")
    if proposal.label is None and not proposal.lists.explode:
        found.append(
            "no column is 0 or 1, so that there is no label: name one, or make one (rating >= 4); a log that holds"
            " only what users chose needs a label that is 1 in every row, and negatives"
        )
    for role, guess in (("user", proposal.user), ("item", proposal.item)):
        if guess is None and not (role == "item" and proposal.lists.explode):
            found.append(f"no column identifies the {role}: name one in stream.table.{role}")
    late = [name for name, why in proposal.left_out.items() if "after" in why and name not in told]
    if late:
        found.append(f"known only after the click, by their names, and left out: {', '.join(late)}")
    found += [f"column {name!r} tells the label almost alone (AUC {told[name]:.3f}); left out" for name in told]
    return [doubt for doubt in found if doubt]
