"""Which column is the label, the user, the item and the request: by names, and by what the values do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simulator.inspect.columns import Column, tokens_of
from simulator.inspect.sample import Sample
from simulator.stream.requests import LONG

LABELS = (  # likelier ones first
    *("click", "clicked", "clicks", "clk", "label", "target", "y", "response", "trade", "traded"),
    *("conversion", "converted", "purchase", "purchased", "buy", "bought", "order", "ordered"),
    *("like", "liked", "positive", "engaged", "engagement", "view", "played", "installed", "subscribed"),
)
FURTHER = {  # what comes after a click, or beside it
    *(
        "cart",
        "fav",
        "favorite",
        "favourite",
        "collect",
        "follow",
        "comment",
        "forward",
        "share",
        "hate",
        "long",
        "enter",
    ),
    *("trade", "conversion", "converted", "purchase", "purchased", "buy", "bought", "order", "ordered", "install"),
    *("installed", "like", "liked", "dislike", "attributed", "skip", "save", "saved", "download", "pay", "paid"),
}
DENIED = {"non", "no", "not", "nonclk", "noclk", "nonclick", "noclick", "neg", "negative", "unclicked"}
USERS = (
    *("user", "uid", "userid", "users", "use", "usr", "member", "customer", "client", "visitor", "reader", "viewer"),
    *("account", "buyer", "person", "profile", "reviewer", "listener", "device", "cookie", "session", "ip", "u"),
)
ITEMS = (
    *("item", "iid", "itemid", "items", "ite", "article", "product", "movie", "video", "news", "song", "track", "book"),
    *(
        "adgroup",
        "ad",
        "ads",
        "creative",
        "goods",
        "sku",
        "asin",
        "doc",
        "document",
        "listing",
        "post",
        "photo",
        "offer",
    ),
    *(
        "content",
        "film",
        "app",
        "game",
        "job",
        "hotel",
        "restaurant",
        "recipe",
        "course",
        "page",
        "shop",
        "campaign",
        "i",
    ),
)
REQUESTS = {
    "request",
    "req",
    "impression",
    "search",
    "srch",
    "query",
    "slate",
    "list",
    "pv",
    "pageview",
    "auction",
    "exposure",
}
IDS = {"id", "ids", "key", "hash", "idx", "index", "no", "nr", "number", "code", "uuid", "guid", "encrypted", "raw"}
WEIGHTS, OF_ROWS = {"weight", "weights"}, {"sample", "row", "instance", "example", "importance", "loss", "ips"}
COMES_BACK = 1.2  # rows of a value, on average, below which it tells nobody apart
TOGETHER = 0.99  # of a request's rows are of one time and user
SHOWN_IN_LISTS = 0.5  # of the rows have another one of their request


@dataclass(frozen=True, kw_only=True)
class Guess:
    """A column in a role, and why."""

    column: Column
    why: str
    doubt: str = ""


def named_label(columns: Sequence[Column]) -> Guess | None:
    """The column of 0 and 1 whose name says that it is the label."""
    found = _yes_no(columns)
    for word in LABELS:
        named = sorted((c for c in found if word in c.tokens), key=lambda column: len(column.tokens))
        if named:
            return Guess(column=named[0], why="0 or 1, and its name says so")
    return None


def guessed_label(columns: Sequence[Column], attributes: set[str]) -> Guess | None:
    """The first column of 0 and 1 that is not one of the `attributes` of user and item."""
    free = [column for column in _yes_no(columns) if column.name not in attributes]
    if not free:
        return None
    others = f"; so are {', '.join(column.name for column in free[1:])}" if free[1:] else ""
    doubt = f"the label is guessed: {free[0].name!r} is 0 or 1{others}, and no name says which; look"
    return Guess(column=free[0], why=f"0 or 1{others}; no name says which", doubt=doubt)


def _yes_no(columns: Sequence[Column]) -> list[Column]:
    return [c for c in columns if c.is_yes_no and not c.holds_lists and not c.tokens & (DENIED | {"next"})]


def further_labels(columns: Sequence[Column], label: Column) -> list[Column]:
    """Columns of 0 and 1 whose names tell of what comes after a click or beside it."""
    return [
        column
        for column in columns
        if column is not label and column.is_yes_no and column.tokens & FURTHER and not column.tokens & DENIED
    ]


def identity(columns: Sequence[Column], role: str, taken: Sequence[Column]) -> Guess | None:
    """The column that identifies a user or an item, by its name."""
    words = USERS if role == "user" else ITEMS
    free = [column for column in columns if column not in taken and _may_identify(column)]
    for word in words:
        named = [column for column in free if word in column.tokens and column.tokens <= {word} | IDS]
        if named:
            chosen = max(named, key=lambda column: column.distinct)
            weak = {"session": "sessions", "ip": "addresses", "device": "devices", "cookie": "cookies"}.get(word)
            doubt = f"no column names users: {weak} stand for them" if role == "user" and weak else ""
            return Guess(column=chosen, why=f"its name; {chosen.distinct} in the sample", doubt=doubt)
    for word in words[:-1]:
        named = [column for column in free if word in column.tokens and column.tokens & IDS]
        if named:
            chosen = max(named, key=lambda column: column.distinct)
            return Guess(column=chosen, why=f"its name; {chosen.distinct} in the sample")
    return None


def by_numbers(
    sample: Sample, columns: Sequence[Column], role: str, taken: Sequence[Column], time: Column | None
) -> Guess | None:
    """The column with the most values that come back at other times, where no name tells who or what."""
    free = [
        column
        for column in columns
        if column not in taken
        and _may_identify(column)
        and not column.is_yes_no
        and column.distinct >= 5
        and column.present >= COMES_BACK * column.distinct
    ]
    free = [column for column in free if time is None or time.name not in attribute_of(sample, [time], column)]
    chosen = max(free, key=lambda column: column.distinct, default=None)
    if chosen is None:
        return None
    doubt = (
        f"the {role} is guessed: no name tells which column identifies it; {chosen.name!r} has the most values that"
        f" come back, {chosen.distinct}; look"
    )
    return Guess(column=chosen, why="a guess: the most values that come back", doubt=doubt)


def request_of(
    sample: Sample, columns: Sequence[Column], time: Column | None, user: Column | None, taken: Sequence[Column]
) -> Guess | None:
    """The column that is equal for rows shown together: rows of one of its values have one time and one user."""
    best: tuple[bool, int] = (False, 0)
    found = None
    same_time = f"count(DISTINCT {time.key})" if time else "1"
    same_user = f"count(DISTINCT {user.key})" if user else "1"
    for column in columns:
        if column in taken or column.holds_lists or column.distinct < 2 or column.is_yes_no:
            continue
        if not column.is_whole and column.is_number:
            continue
        if not column.present / LONG <= column.distinct <= column.present / COMES_BACK:
            continue
        named = bool(column.tokens & REQUESTS) or {"page", "view"} <= column.tokens
        if user is not None and not named and column.distinct <= user.distinct:
            continue
        ((rows, together, one_user),) = sample.ask(f"""
            SELECT coalesce(sum(n), 0), coalesce(sum(n) FILTER (times = 1 AND users = 1), 0),
                coalesce(sum(n) FILTER (users = 1), 0)
            FROM (SELECT {column.key}, count(*) AS n, {same_time} AS times, {same_user} AS users
                  FROM sample WHERE {column.key} IS NOT NULL GROUP BY 1 HAVING n > 1)""")
        if rows < SHOWN_IN_LISTS * column.present:
            continue
        fits = one_user if named else together
        if fits >= TOGETHER * rows and (named, column.distinct) > best:
            best, found = (named, column.distinct), column
    if found is None:
        return None
    size = found.present / found.distinct
    return Guess(column=found, why=f"rows with one of its values are of one time and user, {size:.1f} on average")


def weight_of(columns: Sequence[Column], attributes: set[str]) -> Guess | None:
    """The column of numbers whose name says that rows weigh so much; an item's own weight is one of `attributes`."""
    for column in columns:
        named = column.tokens & WEIGHTS and column.tokens <= WEIGHTS | OF_ROWS
        fits = column.is_number and column.present == column.rows and column.low is not None and column.low >= 0
        if named and fits and not column.holds_lists and column.name not in attributes:
            doubt = (
                f"the weight of rows is guessed: {column.name!r} is called so; if it is a field, name it under numeric"
            )
            return Guess(
                column=column, why="what a row counts in losses and weighted metrics: its name says so", doubt=doubt
            )
    return None


def attribute_of(sample: Sample, columns: Sequence[Column], owner: Column) -> set[str]:
    """Names of the columns that have one value for each of the owner's, as an age has for each user."""
    if owner.present < COMES_BACK * owner.distinct:
        return set()
    others = [column for column in columns if column is not owner and not column.is_list]
    if not others:
        return set()
    pairs = ", ".join(f"count(DISTINCT ({owner.key}, {column.key}))" for column in others)
    ((*counts, owners),) = sample.ask(
        f"SELECT {pairs}, count(DISTINCT {owner.key}) FROM sample WHERE {owner.key} IS NOT NULL"
    )
    return {c.name for c, count in zip(others, counts, strict=True) if count <= 1.02 * owners}


def _may_identify(column: Column) -> bool:
    """Whether its values can be ids: whole numbers or texts, of more than one value, and no lists or times."""
    if column.holds_lists or column.is_time or column.distinct < 2:
        return False
    return column.is_whole or (not column.is_number and column.length < 60)


def is_of(column: Column, role: str) -> bool:
    """Whether the name says that a column is of the user or the item."""
    return bool(set(tokens_of(column.name)) & set(USERS[:15] if role == "user" else ITEMS[:-4]))
