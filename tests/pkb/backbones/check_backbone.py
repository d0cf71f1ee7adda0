"""What every backbone must hold to, whatever it computes.

Each check takes one case, a backbone class with one plug or none, and fails with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from safetensors.torch import load, save
from torch import Tensor, nn
from torch.nn.functional import pad

from pkb.backbones.base import Backbone, ClickModel, FittedBackbone
from pkb.backbones.popularity import Popularity
from pkb.batch import MISSING, Batch, Field, History, Schema
from pkb.errors import SettingError
from pkb.knowledge import Knowledge, Part
from pkb.parameters import tables_of
from pkb.plug import PLUGS, Sockets, make_plug, sockets_for
from pkb.step import Optimiser, click_loss

SCHEMA = Schema(
    fields=(
        Field(name="user", role="user"),
        Field(name="item", role="item"),
        Field(name="category", role="item"),
        Field(name="hour", role="scenario"),
    ),
    user="user",
    item="item",
    histories=(History(name="items", field="item"), History(name="categories", field="category")),
)
IDS = 60  # ids below are known to the models
HISTORY = 9  # entries of the longest
LIST = 4  # values of the longest
PART = Part(name="vectors", vectors=3, width=5, fields=())  # of the knowledge plugged in
Model = TypeVar("Model", bound=nn.Module)


def make_rows(number: int = 32, *, seed: int = 0, schema: Schema = SCHEMA, apart: int = 0) -> Batch:
    """Rows whose label the item decides; every fourth one has no history, and the others' differ in length.

    Ids of one field are so far apart from those of another; those of histories are not.
    """
    draw = torch.Generator().manual_seed(seed)
    first, single = schema.first_value_id, len(schema.names_of("category"))
    ids = torch.randint(first, IDS, (number, single), generator=draw, dtype=torch.int32)
    ids += apart * torch.arange(single, dtype=torch.int32)
    length = torch.arange(number) % 4 * (HISTORY // 3)
    numbers = None
    if schema.numbers:  # every seventh is missing
        numbers = torch.randn(number, len(schema.numbers), generator=draw)
        numbers.view(-1)[::7] = torch.nan
    lists = {}
    for column, name in enumerate(schema.names_of("list"), start=single):  # every fifth is missing
        values = apart * column + torch.randint(first, IDS, (number, LIST), generator=draw, dtype=torch.int32)
        lists[name] = values * (torch.arange(LIST) < (torch.arange(number) % (LIST + 1))[:, None])
    vectors = {name: torch.randn(number, v.length, generator=draw) for name, v in schema.vectors.items()}
    for values in vectors.values():
        values[::6] = torch.nan
    return Batch(
        row_id=torch.arange(number),
        ids_BF=schema.ids(ids, lists, numbers, vectors),
        lists=lists,
        numbers_BN=numbers,
        vectors=vectors,
        label=(ids[:, schema.item_column] % 2).float(),
        ts=torch.arange(number),
        histories={
            h.name: torch.randint(first, IDS, (number, HISTORY), generator=draw, dtype=torch.int32)
            * (torch.arange(HISTORY) < length[:, None])
            for h in schema.histories
        },
    )


def make_knowledge(number: int = 32) -> Knowledge:
    """Unrelated to anything."""
    draw = torch.Generator().manual_seed(1)
    return {"vectors": torch.randn(number, PART.vectors, PART.width, generator=draw)}


def some_knowledge(knowledge: Knowledge | None, rows: Tensor | slice) -> Knowledge | None:
    """That of these rows."""
    return None if knowledge is None else {name: part[rows] for name, part in knowledge.items()}


@dataclass(frozen=True)
class Case:
    """A backbone and a plug or none; settings that are not named keep their defaults."""

    backbone: type[Backbone]
    plug: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    schema: Schema = SCHEMA

    @property
    def fitted(self) -> bool:
        return issubclass(self.backbone, FittedBackbone)

    @property
    def rows(self) -> Batch:
        """What is fitted wants more rows than a step does, and values that belong to one field, as a log's do."""
        if not self.fitted:
            return make_rows(schema=self.schema)
        return make_rows(600, schema=self.schema, apart=1000)

    @property
    def knowledge(self) -> Knowledge | None:
        return None if self.plug is None else make_knowledge(len(self.rows))

    def make(self, *, seed: int = 0, schema: Schema | None = None) -> ClickModel:
        """A new model, which knows the ids below `IDS` and has met these rows' scenarios."""
        schema = schema or self.schema
        torch.manual_seed(seed)
        sockets = Sockets() if self.plug is None else sockets_for(self.plug, [PART], layer=1)
        backbone = self.backbone(schema, self.backbone.Settings(**self.settings), sockets)
        backbone.grow(IDS, torch.Generator().manual_seed(seed))
        backbone.meet(make_rows(schema=schema), torch.Generator().manual_seed(seed))
        if self.plug is None:
            return ClickModel(backbone)
        shape = {"embedding_width": backbone.embedding_width, "hidden_width": backbone.hidden_width}
        return ClickModel(backbone, make_plug(self.plug, [PART], fields=len(schema.fields), **shape))

    def make_lively(self) -> ClickModel:
        """One whose weights are all far from zero, so that nothing is equal only because it is small."""
        model = self.make()
        if self.fitted:
            train(model, self.rows, self.knowledge, steps=1)
            return model
        return stir(model).eval()


def stir(model: Model) -> Model:
    """Adds noise to every weight but the vector of the missing value, which no step ever moves."""
    draw = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=draw))
        for table in tables_of(model).values():
            if table.of_ids:
                table.weight[MISSING] = 0
    return model


def train(model: ClickModel, rows: Batch, knowledge: Knowledge | None, steps: int) -> None:
    """The step that the simulator takes; a fitted model is fitted, once."""
    torch.manual_seed(3)
    backbone = model.backbone
    if isinstance(backbone, FittedBackbone):
        model.eval()
        backbone.fit(rows, model.plugged(knowledge))
        return
    optimiser = Optimiser(model, learning_rate=0.02, embedding_learning_rate=0.3)
    model.train()
    for _ in range(steps):
        optimiser.step(click_loss(model, rows, knowledge), len(rows))
    model.eval()


def one_finite_logit_a_row(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    logits = model(rows, case.knowledge)
    assert logits.shape == (len(rows),)
    assert logits.dtype == torch.float32
    assert logits.isfinite().all()
    enough = 1 if case.backbone is Popularity else len(rows) // 2  # which scores items, not rows
    assert logits.unique().numel() > enough, "rows that differ get the same score"


def one_row_is_a_batch(case: Case) -> None:
    model, rows = case.make_lively(), make_rows(1, schema=case.schema)
    assert model(rows, None if case.plug is None else make_knowledge(1)).shape == (1,)


def every_parameter_gets_a_finite_gradient(case: Case) -> None:
    model, rows = case.make_lively().train(), case.rows
    click_loss(model, rows, case.knowledge).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, f"{name} has no gradient"
        values = weight.grad.coalesce().values() if weight.grad.is_sparse else weight.grad
        assert values.isfinite().all(), f"the gradient of {name} is not finite"
        assert values.abs().sum() > 0, f"the gradient of {name} is zero"


def training_sees_the_same_logits(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    logits, auxiliary = model.with_auxiliary(rows, case.knowledge)
    torch.testing.assert_close(logits, model(rows, case.knowledge))
    assert auxiliary is None or (auxiliary.isfinite() and auxiliary.dim() == 0)


def rows_may_come_in_any_order(case: Case) -> None:
    model, rows, knowledge = case.make_lively(), case.rows, case.knowledge
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(4))
    shuffled = model(rows.select(order), some_knowledge(knowledge, order))
    torch.testing.assert_close(shuffled, model(rows, knowledge)[order])


def a_score_does_not_depend_on_the_rows_beside_it(case: Case) -> None:
    model, rows, knowledge = case.make_lively(), case.rows, case.knowledge
    some = slice(1, len(rows) // 2)
    alone = model(rows.select(some), some_knowledge(knowledge, some))
    torch.testing.assert_close(alone, model(rows, knowledge)[some])


def padding_changes_nothing(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    longer = replace(
        rows,
        histories={name: pad(ids, (0, 3)) for name, ids in rows.histories.items()},
        lists={name: pad(ids, (0, 2)) for name, ids in rows.lists.items()},
    )
    torch.testing.assert_close(model(longer, case.knowledge), model(rows, case.knowledge))


def a_row_without_past_is_scored(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    empty = replace(rows, histories={name: torch.zeros_like(ids) for name, ids in rows.histories.items()})
    none = replace(rows, histories={name: ids[:, :0] for name, ids in rows.histories.items()})
    assert model(empty, case.knowledge).isfinite().all()
    torch.testing.assert_close(model(none, case.knowledge), model(empty, case.knowledge))


def all_new_values_of_a_field_are_alike(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    scores = []
    for unseen in (IDS, IDS + 10_000):
        ids = rows.ids_BF.clone()
        ids[::2, SCHEMA.item_column] = unseen
        items = rows.histories["items"].clone()
        items[::2, 0] = unseen
        scores.append(model(replace(rows, ids_BF=ids, histories=rows.histories | {"items": items}), case.knowledge))
    assert scores[0].isfinite().all()
    torch.testing.assert_close(scores[0], scores[1])


def missing_values_are_scored(case: Case) -> None:
    rows = case.rows
    assert case.make_lively()(replace(rows, ids_BF=torch.zeros_like(rows.ids_BF)), case.knowledge).isfinite().all()


def it_learns_what_can_be_learnt(case: Case) -> None:
    model, rows = case.make(), case.rows
    before = click_loss(model.eval(), rows, case.knowledge).item()
    train(model, rows, case.knowledge, steps=40)
    after = click_loss(model, rows, case.knowledge).item()
    assert after < 0.5 * before, f"the loss went from {before:.4f} to {after:.4f}"


def what_was_saved_scores_the_same(case: Case) -> None:
    model, rows = case.make(), case.rows
    train(model, rows, case.knowledge, steps=3)
    other = case.make(seed=1).eval()
    assert not torch.allclose(other(rows, case.knowledge), model(rows, case.knowledge))
    other.load_state_dict(load(save({name: value.contiguous() for name, value in model.state_dict().items()})))
    assert torch.equal(other(rows, case.knowledge), model(rows, case.knowledge))


def the_seed_decides_every_draw(case: Case) -> None:
    rows, scores = case.rows, []
    for _ in range(2):
        model = case.make()
        train(model, rows, case.knowledge, steps=3)
        scores.append(model(rows, case.knowledge))
    assert torch.equal(scores[0], scores[1])


def growing_leaves_known_ids_alone(case: Case) -> None:
    model, rows = case.make_lively(), case.rows
    before = model(rows, case.knowledge)
    model.backbone.grow(3 * IDS, torch.Generator().manual_seed(5))
    torch.testing.assert_close(model(rows, case.knowledge), before)


def a_new_plug_leaves_scores_as_they_were(case: Case) -> None:
    model, rows = case.make().eval(), case.rows
    assert torch.equal(model(rows, case.knowledge), model(rows))


def knowledge_reaches_the_score(case: Case) -> None:
    model, rows, knowledge = case.make_lively(), case.rows, make_knowledge(len(case.rows))
    vectors = knowledge["vectors"].requires_grad_()
    scores = model(rows, knowledge)
    assert not torch.isclose(scores, model(rows)).any()
    scores.sum().backward()
    assert vectors.grad is not None
    reached = vectors.grad.abs().sum(dim=(1, 2)) > 0
    assert reached.float().mean() > 0.5, "the gradient to the knowledge is zero in most rows"


def without_histories_it_works_or_says_what_it_needs(case: Case) -> None:
    schema = replace(case.schema, histories=())
    refusal = ""
    try:
        model, rows = case.make(schema=schema).eval(), make_rows(len(case.rows), schema=schema)
        assert model(rows, case.knowledge).isfinite().all()
    except SettingError as error:
        refusal = str(error)
    assert not refusal or (case.backbone.uses_histories and "histor" in refusal)


CHECKS: tuple[Callable[[Case], None], ...] = (
    one_finite_logit_a_row,
    one_row_is_a_batch,
    every_parameter_gets_a_finite_gradient,
    training_sees_the_same_logits,
    rows_may_come_in_any_order,
    a_score_does_not_depend_on_the_rows_beside_it,
    padding_changes_nothing,
    a_row_without_past_is_scored,
    all_new_values_of_a_field_are_alike,
    missing_values_are_scored,
    it_learns_what_can_be_learnt,
    what_was_saved_scores_the_same,
    the_seed_decides_every_draw,
    growing_leaves_known_ids_alone,
    a_new_plug_leaves_scores_as_they_were,
    knowledge_reaches_the_score,
    without_histories_it_works_or_says_what_it_needs,
)
NEED_GRADIENTS = (
    every_parameter_gets_a_finite_gradient,
    a_new_plug_leaves_scores_as_they_were,
    knowledge_reaches_the_score,
)
NEED_A_PLUG = (a_new_plug_leaves_scores_as_they_were, knowledge_reaches_the_score)
MEET_A_PLUG = (  # the others tell of what enters beside knowledge, and tell nothing more where a plug brings some
    one_finite_logit_a_row,
    every_parameter_gets_a_finite_gradient,
    a_score_does_not_depend_on_the_rows_beside_it,
    it_learns_what_can_be_learnt,
    what_was_saved_scores_the_same,
    *NEED_A_PLUG,
)


def cases(backbone: type[Backbone], **settings: Any) -> Iterator[tuple[Case, Callable[[Case], None]]]:
    """Every check that applies to a backbone without a plug, and with each that it takes those that a plug may fail."""
    fitted = issubclass(backbone, FittedBackbone)
    plugs = ("columns",) if fitted else PLUGS
    for plug in (None, *(plugs if backbone.takes_knowledge else ())):
        for check in CHECKS:
            applies = check in MEET_A_PLUG if plug else check not in NEED_A_PLUG
            if applies and not (fitted and check in NEED_GRADIENTS):
                yield Case(backbone, plug, settings), check
