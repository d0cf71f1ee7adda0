"""By what knowledge is looked up: a user, an item, or a user with an item's category (KEEP, section 5.2).

    user    a part that no field of the item decides: K_u, N_u entries
    item    a part that the item's fields alone decide: K_i, N_i entries
    pair    a part that both decide: K_uc, N_uc entries; of the item's fields it reads the category alone

A user's histories count as the user's: a version holds what they were when it was built. A part that is a product of
both (eq. 6) is kept as its factors.

Shapes: B rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pkb.batch import Batch, Schema
from pkb.errors import SettingError
from pkb.knowledge import Part

Key = Literal["user", "item", "pair"]
KEYS: tuple[Key, ...] = ("user", "item", "pair")
FACTORS: tuple[Key, Key] = ("user", "item")  # of a product
Ids = NDArray[np.int64]


def category_of(schema: Schema, name: str | None = None, parts: Sequence[Part] = ()) -> str:
    """Choose the field that is an item's category.

    The one named, else the one that knowledge of a pair reads of the item, else one with `cat` in its name, else the
    last one. SettingError where the one named is not among the categorical fields of the item.
    """
    fields = [field for field in schema.of_item if field in schema.names_of("category")]
    if name is not None and name not in fields:
        raise SettingError(f"category={name}: is no categorical field of the item; they are {', '.join(fields)}")
    read = [field for part in parts if (field := _one_field(part, schema)) in fields]
    alike = [field for field in fields if field != schema.item and "cat" in field.lower()]
    return name or [*read, *alike, *fields[:0:-1], *fields][0]


def _one_field(part: Part, schema: Schema) -> str | None:
    """The one field of the item that a pair's knowledge is decided by, if it is one."""
    decide = {*part.fields}
    of_pair = decide & {*schema.of_item}
    return next(iter(of_pair)) if len(of_pair) == 1 and decide - of_pair and schema.item not in of_pair else None


def keys_of(parts: Sequence[Part], schema: Schema, category: str) -> dict[str, Key]:
    """Say by what each part is looked up, and the factors of each that is a product; SettingError if one cannot be."""
    keys: dict[str, Key] = {}
    for part in parts:
        if part.factors is None:
            keys[part.name] = _key_of(part, schema, category)
        else:
            keys |= dict(zip(part.factors, FACTORS, strict=True))
    return keys


def _key_of(part: Part, schema: Schema, category: str) -> Key:
    items = {*schema.of_item}
    users = {f.name for f in schema.fields if f.role == "user"} | {schema.user, *(h.name for h in schema.histories)}
    decide = {*part.fields}
    if strange := sorted(decide - items - users):
        raise SettingError(
            f"knowledge {part.name}: is decided by {strange[0]}, which is neither the user's nor the item's; a center "
            "holds it by user, item and category alone: use source: live"
        )
    if (read := _one_field(part, schema)) not in (None, category):
        raise SettingError(f"category={category}: knowledge {part.name} reads {read} in its place; name that one")
    if not decide & items:
        return "user"
    return "pair" if decide & users else "item"


def pairs_of(user_B: Ids, category_B: Ids) -> Ids:
    """One number for each user and category; ids have 31 bits."""
    return (user_B << 32) | category_B


def ids_of(batch: Batch, schema: Schema, category: str) -> tuple[Ids, Ids, Ids]:
    """The ids of user, item and category of rows, [B] each."""
    ids_BF, names = batch.ids_BF.cpu().numpy(), schema.names
    user_B, item_B, category_B = (
        ids_BF[:, names.index(n)].astype(np.int64) for n in (schema.user, schema.item, category)
    )
    return user_B, item_B, category_B
