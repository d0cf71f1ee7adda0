"""An exported arm: a folder that another team's server can score with, without this project.

    program.pt2           the program of `torch.export` (`simulator.export.program`)
    export.json           what it is, what the program takes, and the SHA-256 of the other files
    vocabulary.parquet    id, field and text of every value that the model may know
    example.safetensors   some rows of the log as the program takes them, and their `probability`
    example.json          the same rows in raw values

Nothing in it executes when it is read by these formats' own readers. `torch.export.load` itself falls back to pickle
for an archive that holds one, which this one does not: the program is JSON, each weight is raw bytes, and the example,
which torch would have pickled, stands beside it.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from safetensors.torch import save_file
from torch.export import ExportedProgram, save

from pkb.batch import Batch, Schema
from pkb.errors import RunError
from simulator.contender.checkpoint import load_contender
from simulator.export.program import Columns, check_exportable, columns_of, export_program
from simulator.record.experiment import ArmAndSeed, key_of
from simulator.record.files import becoming
from simulator.record.layout import RunFolder
from simulator.stream.log import Log, Period
from simulator.stream.raw_values import VOCABULARY, raw_values

ROWS = 8  # of the example
TOLERANCE = 1e-6  # between the program's probabilities and the contender's own
LABEL = "probability"


def export_arm(run: RunFolder, log: Log, who: ArmAndSeed, folder: Path) -> Path:
    """Write an arm as it is after its last committed period; RunError where it cannot be, or the folder is there."""
    if folder.exists():
        raise RunError(f"{folder}: is there already; remove it, or name another one with --output")
    committed = run.committed(key_of(who))
    if committed < 0:
        raise RunError(f"{run}: {key_of(who)} has committed no period yet, so there is nothing to export")
    contender = load_contender(run.checkpoint(key_of(who), committed))
    check_exportable(contender)
    period, schema = log.periods[committed], contender.schema
    rows = log.read(period, histories=contender.recipe.reads_histories).select(slice(ROWS))
    expected = torch.from_numpy(contender.predict(rows))
    trained_through = contender.trained_through
    program = export_program(contender, rows)
    columns = columns_of(rows, schema)
    beyond = float((program.module()(columns) - expected).abs().max())
    if not beyond <= TOLERANCE:
        raise RunError(f"{key_of(who)}: the program's probabilities differ from its own by {beyond:.2g}; not exported")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with becoming(folder) as aside:
        save(program, aside / "program.pt2")
        _check_unpickled(aside / "program.pt2")
        _write_vocabulary(log, period, aside / VOCABULARY)
        save_file({**columns, LABEL: expected}, aside / "example.safetensors")
        raw = raw_values(rows, schema, log.folder)
        _write_json(aside / "example.json", {"rows": {name: raw[name] for name in columns}, LABEL: expected.tolist()})
        about = {
            "arm": who[0],
            "seed": who[1],
            "run": run.name,
            "log": log.manifest.name,
            "trained_through": trained_through,
            "torch": torch.__version__,
            "takes": _takes(program, columns, schema, rows),
            "gives": f"{LABEL} of a click, [B] float32",
            "sha256": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(aside.iterdir())},
        }
        _write_json(aside / "export.json", about)
    return folder


def _takes(program: ExportedProgram, columns: Columns, schema: Schema, rows: Batch) -> dict[str, Any]:
    """What stands in each tensor; of ids also which field's texts name them, and the id of a text that is not there."""
    values_of = {f.name: f.name for f in schema.fields if f.kind in ("category", "list")}
    values_of |= {history.name: history.field for history in schema.histories}
    kinds = {f.name: f.kind for f in schema.fields} | dict.fromkeys(rows.histories, "history")
    inputs = [node.meta["val"] for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
    takes: dict[str, dict[str, Any]] = {}
    for (name, column), traced in zip(columns.items(), inputs, strict=True):
        shape = ["B", *(size if isinstance(size, int) else "any" for size in traced.shape[1:])]
        takes[name] = {"kind": kinds[name], "shape": shape, "type": str(column.dtype).removeprefix("torch.")}
        if field := values_of.get(name):
            takes[name] |= {"texts_of": field, "id_of_unknown_text": 1 + schema.names.index(field), "id_of_missing": 0}
    return takes


def _write_vocabulary(log: Log, period: Period, file: Path) -> None:
    known = pc.field("id") < period.vocabulary_size
    pq.write_table(pq.read_table(log.folder / VOCABULARY, filters=known, partitioning=None), file, compression="zstd")


def _check_unpickled(file: Path) -> None:
    """RunError if a reader would have to unpickle anything, as another version of torch may write the same program."""
    with zipfile.ZipFile(file) as archive:
        for record in archive.infolist():
            _, _, name = record.filename.partition("/")
            payload = json.loads(archive.read(record))["config"] if name.endswith("_config.json") else {}
            if any(entry["use_pickle"] for entry in payload.values()) or (name.endswith(".pt") and record.file_size):
                raise RunError(f"torch {torch.__version__} pickles {name} in a program; export with another version")


def _write_json(file: Path, content: dict[str, Any]) -> None:
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")
