"""Schema and batch: the one value that flows through the whole house.

Ids are global over all fields, given in order of first appearance:
    0            missing: a null in a field, padding in a history; reads a zero vector
    1 .. F       "new to the model", one for each field of the schema
    F+1 ..       bins of the fields that are numbers, if there are any (`pkb.numbers`); rows of those that are vectors
                 (`pkb.vectors`); values

Whoever reads ids alone reads of a list its first value, of a number its bin, of a vector whether it is there.

Shapes: B rows, F fields, V of them single categories, N numbers, L length of a list, W of a vector, H of a history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, Self, get_args

import torch
from torch import Tensor
from torch.nn import functional

from pkb.errors import DataError
from pkb.numbers import Number, ids_of
from pkb.vectors import Vector, firsts_of, presence_of

MISSING = 0
Role = Literal["user", "item", "context", "scenario"]
KINDS = ("category", "list", "number", "vector")  # in the order in which a schema has its fields
POOLINGS = ("mean", "sum")


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column and its role; it is one category unless it is a list of them, a number or a vector."""

    name: str
    role: Role
    pooling: str | None = None  # of a list: what is read are the mean or the sum of its values' vectors
    number: Number | None = None
    vector: Vector | None = None

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise DataError(f"field {self.name}: role {self.role!r} is none of {', '.join(get_args(Role))}")
        if self.pooling is not None and self.pooling not in POOLINGS:
            raise DataError(f"field {self.name}: pooling {self.pooling!r} is none of {', '.join(POOLINGS)}")
        if sum(told is not None for told in (self.pooling, self.number, self.vector)) > 1:
            raise DataError(f"field {self.name}: is one of a list, a number and a vector, not two of them")

    @property
    def kind(self) -> str:
        """One of KINDS."""
        told = (None, self.pooling, self.number, self.vector)
        return next((kind for kind, what in zip(KINDS, told, strict=True) if what is not None), KINDS[0])


@dataclass(frozen=True, kw_only=True)
class History:
    """A behaviour history: a list column that holds values of `field`, oldest first."""

    name: str
    field: str


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The ordered fields of a log, kind by kind as in KINDS, and which of them identify the user and the item."""

    fields: tuple[Field, ...]
    user: str
    item: str
    histories: tuple[History, ...] = ()
    labels: tuple[str, ...] = ("click",)  # the first is what models predict
    has_request: bool = False
    has_p_true: bool = False
    has_weight: bool = False
    has_label_time: bool = False  # whether a label is known from a time of its own on

    def __post_init__(self) -> None:
        names = [f.name for f in self.fields]
        columns = [*names, *(h.name for h in self.histories), *self.labels]
        twice = {c for c in columns if columns.count(c) > 1}
        if twice:
            raise DataError(f"schema: column {sorted(twice)[0]} is named twice")
        for what, name in [
            ("user", self.user),
            ("item", self.item),
            *(("history field", h.field) for h in self.histories),
        ]:
            if name not in names:
                raise DataError(f"schema: {what} {name!r} is not among the fields {', '.join(names)}")
            if (kind := self.fields[names.index(name)].kind) != "category":
                raise DataError(f"schema: {what} {name!r} is a {kind}; make it a categorical field")
        kinds = [KINDS.index(f.kind) for f in self.fields]
        if kinds != sorted(kinds):
            raise DataError(f"schema: {', '.join(names)} must stand in the order of their kinds: {', '.join(KINDS)}")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.fields)

    def names_of(self, *kinds: str) -> tuple[str, ...]:
        """The fields of these kinds."""
        return tuple(f.name for f in self.fields if f.kind in kinds)

    @property
    def numbers(self) -> tuple[Number, ...]:
        return tuple(f.number for f in self.fields if f.number is not None)

    @property
    def vectors(self) -> dict[str, Vector]:
        return {f.name: f.vector for f in self.fields if f.vector is not None}

    def number_ids(self, numbers_BN: Tensor) -> Tensor:
        """The ids of numbers, by the bins that hold them, [B, N] int32."""
        return ids_of(self.numbers, numbers_BN, len(self.fields))

    def ids(
        self, values_BV: Tensor, lists: Mapping[str, Tensor], numbers_BN: Tensor | None, vectors: Mapping[str, Tensor]
    ) -> Tensor:
        """The ids of whole rows, [B, F] int32, from the ids of single categories and a batch's other columns."""
        columns = [values_BV]
        columns += [functional.pad(lists[name], (0, 1))[:, :1] for name in self.names_of("list")]
        if numbers_BN is not None:
            columns.append(self.number_ids(numbers_BN))
        firsts = firsts_of(self.vectors.values(), 1 + len(self.fields) + sum(number.ids for number in self.numbers))
        columns += [presence_of(vectors[name], first) for name, first in zip(self.vectors, firsts, strict=True)]
        return torch.cat(columns, dim=1) if len(columns) > 1 else values_BV

    @property
    def of_item(self) -> list[str]:
        """The fields that describe the item, itself among them."""
        return [f.name for f in self.fields if f.role == "item" or f.name == self.item]

    @property
    def scenario(self) -> str | None:
        """The field that names the scenario, the first of that role (where it is crossed of others, they follow)."""
        return next((f.name for f in self.fields if f.role == "scenario"), None)

    @property
    def first_value_id(self) -> int:
        """The smallest id of a categorical value: below are those that are there from the start."""
        of_numbers = sum(number.ids for number in self.numbers)
        return 1 + len(self.fields) + of_numbers + sum(vector.ids for vector in self.vectors.values())

    @property
    def user_column(self) -> int:
        return self.names.index(self.user)

    @property
    def item_column(self) -> int:
        return self.names.index(self.item)

    def to_json(self) -> str:
        raw = asdict(self)
        raw["fields"] = [{key: told for key, told in f.items() if told is not None} for f in raw["fields"]]
        for late in ("has_weight", "has_label_time"):
            if not raw[late]:
                del raw[late]
        return json.dumps(raw, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Self:
        raw = json.loads(text)
        return cls(
            fields=tuple(_field(f) for f in raw.pop("fields")),
            histories=tuple(History(**h) for h in raw.pop("histories")),
            labels=tuple(raw.pop("labels")),
            **raw,
        )


def _field(raw: dict[str, Any]) -> Field:
    if "number" in raw:
        raw = raw | {"number": Number(**raw["number"] | {"knots": tuple(raw["number"]["knots"])})}
    if "vector" in raw:
        raw = raw | {"vector": Vector(**raw["vector"])}
    return Field(**raw)


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """K older rows found for each of B rows, best first; behind the last one found, all is missing."""

    ids_BKF: Tensor  # [B, K, F] int32
    label_BK: Tensor  # [B, K] float32, of the first label
    age_BK: Tensor  # [B, K] int32, seconds from the neighbour to the row
    present_BK: Tensor  # [B, K] bool
    idf_BF: Tensor | None = None  # [B, F] float32, of the row's own values among what was searched; UBR alone reads it


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B impressions, column by column; any number of rows, from a minibatch to a whole period."""

    row_id: Tensor  # [B] int64, unique in the log
    ids_BF: Tensor  # [B, F] int32
    label: Tensor  # [B] float32, 0 or 1
    lists: dict[str, Tensor] = field(default_factory=dict)  # each [B, L] int32, MISSING behind the last
    numbers_BN: Tensor | None = None  # [B, N] float32, NaN where missing
    vectors: dict[str, Tensor] = field(default_factory=dict)  # each [B, W] float32, all NaN where missing
    ts: Tensor | None = None  # [B] int64, seconds; None where time plays no part, as in serving
    label_ts: Tensor | None = None  # [B] int64, the second from which on the label is known, if it has one of its own
    further_labels: dict[str, Tensor] = field(default_factory=dict)  # cart, ...: [B] float32 each, NaN where unknown
    histories: dict[str, Tensor] = field(default_factory=dict)  # each [B, H] int32, MISSING behind the last
    request: Tensor | None = None  # [B] int64
    weight: Tensor | None = None  # [B] float32, in the loss; None where all rows are worth the same
    p_true: Tensor | None = None  # [B] float64, a synthetic world's click probability
    neighbours: dict[str, Neighbours] = field(default_factory=dict)  # by the retriever that found them

    def __len__(self) -> int:
        return self.row_id.shape[0]

    @property
    def nbytes(self) -> int:
        """Memory of all columns."""
        return _nbytes(self)

    @property
    def end_of_ids(self) -> int:
        """No id of these rows is as large; 0 without rows."""
        columns = [self.ids_BF, *self.lists.values(), *self.histories.values()]
        return max((int(ids.max()) + 1 for ids in columns if ids.numel()), default=0)

    def unique_ids(self) -> Tensor:
        """The ids of these rows and of their neighbours, each once, ascending."""
        own = (self.ids_BF, *self.lists.values(), *self.histories.values())
        near = (n.ids_BKF for n in self.neighbours.values())
        ids = torch.cat([ids.flatten().unique() for ids in (*own, *near)])
        unique: Tensor = ids.unique()
        return unique

    def select(self, rows: Tensor | slice) -> Self:
        """The rows of a boolean mask, an index tensor or a slice (a slice is a view)."""
        selected: Self = every_column([self], lambda columns: columns[0][rows])
        return selected

    def to(self, device: str) -> Self:
        """Move every column to a device."""
        moved: Self = every_column([self], lambda columns: columns[0].to(device))
        return moved

    def minibatches(self, size: int, order: Tensor | None = None) -> Iterator[Self]:
        """Cut into minibatches of `size` rows (the last may be shorter), of the rows of `order` alone if given."""
        rows = len(self) if order is None else len(order)
        for start in range(0, rows, size):
            stop = min(start + size, rows)
            yield self.select(slice(start, stop) if order is None else order[start:stop])


def concatenate(batches: Sequence[Batch]) -> Batch:
    """The rows of all `batches` in their order; lists and histories are padded to the longest."""
    lists, histories = _padded([b.lists for b in batches]), _padded([b.histories for b in batches])
    even = [replace(b, lists=lists[i], histories=histories[i]) for i, b in enumerate(batches)]
    joined: Batch = every_column(even, torch.cat)
    return joined


def _padded(columns: Sequence[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The same columns of several batches, all as wide as the widest."""
    most = {name: max(of[name].shape[1] for of in columns) for name in columns[0]}
    return [{name: functional.pad(of[name], (0, n - of[name].shape[1])) for name, n in most.items()} for of in columns]


def _nbytes(value: Any) -> int:
    """Count the bytes of a column, or of what holds columns."""
    if value is None or isinstance(value, Tensor):
        return 0 if value is None else value.nbytes
    inside = value.values() if isinstance(value, dict) else [getattr(value, f.name) for f in fields(value)]
    return sum(_nbytes(part) for part in inside)


def every_column(values: Sequence[Any], change: Callable[[list[Tensor]], Tensor]) -> Any:
    """`change` of the same column of all `values`, for every column; a batch, what it holds, or a column itself."""
    first = values[0]
    if first is None or isinstance(first, Tensor):
        return None if first is None else change(list(values))
    if isinstance(first, dict):
        return {name: every_column([v[name] for v in values], change) for name in first}
    return replace(first, **{f.name: every_column([getattr(v, f.name) for v in values], change) for f in fields(first)})
