"""A contender as a program of `torch.export`: from one tensor for each field and history to click probabilities.

The program holds what a prediction reads and nothing of what only training does. It computes all that can be told
from the values themselves: the ids of numbers and vectors, and what a list's first value is.

Shapes: B rows, L length of a list, W of a vector, H of a history.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram, export

from pkb.backbones.base import FittedBackbone
from pkb.batch import Batch, Schema
from pkb.device import CPU
from pkb.errors import RunError
from pkb.parameters import tables_of
from simulator.contender.contender import Contender
from simulator.contender.settings import CENTER

Columns = dict[
    str, Tensor
]  # category [B] int32, list [B, L] int32, number [B] and vector [B, W] float32, history [B, H]


class Scores(nn.Module):
    """Click probabilities of rows, [B] float32."""

    def __init__(self, contender: Contender) -> None:
        super().__init__()
        self.contender, self.schema = contender, contender.schema
        self.model, self.base = contender.model, contender.base

    def forward(self, columns: Columns) -> Tensor:
        return torch.sigmoid(self.contender.logits(batch_of(columns, self.schema)))


def batch_of(columns: Columns, schema: Schema) -> Batch:
    """Rows of which these are the values."""
    values = torch.stack([columns[name] for name in schema.names_of("category")], dim=1)
    lists = {name: columns[name] for name in schema.names_of("list")}
    numbers = torch.stack([columns[n] for n in schema.names_of("number")], dim=1) if schema.numbers else None
    vectors = {name: columns[name] for name in schema.vectors}
    return Batch(
        row_id=torch.zeros_like(values[:, 0], dtype=torch.int64),
        ids_BF=schema.ids(values, lists, numbers, vectors),
        label=torch.zeros_like(values[:, 0], dtype=torch.float32),
        lists=lists,
        numbers_BN=numbers,
        vectors=vectors,
        histories={history.name: columns[history.name] for history in schema.histories if history.name in columns},
    )


def columns_of(rows: Batch, schema: Schema) -> Columns:
    """The values of rows, in the order of the schema; histories where the rows have them."""
    columns = dict(zip(schema.names, rows.ids_BF.unbind(dim=1), strict=True)) | rows.lists | rows.vectors
    if rows.numbers_BN is not None:
        columns |= dict(zip(schema.names_of("number"), rows.numbers_BN.unbind(dim=1), strict=True))
    return {name: columns[name].contiguous() for name in schema.names} | rows.histories


def export_program(contender: Contender, rows: Batch) -> ExportedProgram:
    """Trace what the contender computes of these rows, two or more; any number of rows may be given to the program.

    The contender is used up. RunError says in one line why it cannot be exported.
    """
    check_exportable(contender)
    _keep_what_predicts(contender)
    scores = Scores(contender).eval().requires_grad_(False)
    columns = columns_of(rows, contender.schema)
    some = Dim("rows", min=1)
    ragged = {*contender.schema.names_of("list"), *rows.histories}
    shapes = {name: {0: some, 1: Dim.AUTO} if name in ragged else {0: some} for name in columns}
    try:
        with torch.no_grad():
            program = export(scores, (columns,), dynamic_shapes=(shapes,), strict=False)
    except Exception as error:  # what tracing meets has no common root
        lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
        what = f"torch.export cannot trace its {contender.recipe.arm.backbone}"
        raise RunError(f"{contender.key}: cannot be exported: {what}: {lines[0][:200]}") from error
    program.example_inputs = None  # torch pickles them; the example beside the program is a safetensors file
    return program


def check_exportable(contender: Contender) -> None:
    """RunError says why a contender is no program of tensors."""
    why = None
    if contender.stopped is not None:
        why = f"it was stopped: {contender.stopped}"
    elif isinstance(contender.model.backbone, FittedBackbone):
        why = f"{contender.recipe.arm.backbone} is fitted as a whole and is no network of tensors"
    elif contender.recipe.arm.source == CENTER:
        why = "it looks knowledge up in a center, which is no part of a program; serve it"
    elif searched := contender.reads.predicting:
        why = f"it reads what {' and '.join(sorted(searched))} finds for each row, which takes a live index; serve it"
    if why is not None:
        raise RunError(f"{contender.key}: cannot be exported: {why}")


def _keep_what_predicts(contender: Contender) -> None:
    """Leave out spare rows, optimiser state, and the parts of a base that only compression reads."""
    contender.device = CPU
    contender.model.cpu()
    modules: list[nn.Module] = [contender.model]
    if contender.base is not None:
        modules.append(contender.base.cpu())
        for part in contender.base.compression_only():
            for tensor in (*part.parameters(), *part.buffers()):
                tensor.data = tensor.new_empty(0)
    for module in modules:
        for table in tables_of(module).values():
            if len(table.weight):
                table.restore(table.rows_in_use())
                table.second_moment = torch.empty(0)
