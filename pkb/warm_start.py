"""A model in use goes on as another one: what has the same name and shape in both keeps its weights and their state."""

from __future__ import annotations

from torch import Tensor

from pkb.parameters import dense_state, tables_of
from pkb.step import Optimiser


def carry_over(former: Optimiser, new: Optimiser) -> None:
    """Give the new module and its optimiser what fits of the former's; the rest stays as it was drawn.

    A layer of which anything does not fit stays so as a whole, its biases too.
    """
    tables, state = tables_of(former.module), dense_state(former.module)
    for name, table in tables_of(new.module).items():
        its = tables.get(name)
        if its is not None and its.width == table.width:
            table.restore(its.rows_in_use())
            table.size_before = its.size_before
    wanted = dense_state(new.module)
    anew = {_layer(name) for name, value in wanted.items() if not _fits(state.get(name), value)}
    fitting = {name: state[name] for name in wanted if _layer(name) not in anew}
    new.module.load_state_dict(fitting, strict=False)
    parameters = dict(former.module.named_parameters())
    for name, parameter in new.module.named_parameters():
        if name in fitting:
            moments = former.adam.state.get(parameters[name], {})
            if moments:
                new.adam.state[parameter] = {kind: value.clone() for kind, value in moments.items()}


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _fits(its: Tensor | None, value: Tensor) -> bool:
    return its is not None and its.shape == value.shape
