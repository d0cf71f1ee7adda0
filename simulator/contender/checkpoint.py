"""A contender on disk: safetensors, with a manifest of hashes; nothing in a checkpoint can execute.

contender.json      what makes the contender, and how far it is: trained through, built until, stopped
schema.json         the log's schema
state.safetensors   weights, tables and optimiser state
manifest.json       the SHA-256 of the others
index/              after the last period, of a contender that searches by its own encoder
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pkb.batch import Schema
from pkb.errors import CheckpointError
from pkb.parameters import dense_state, tables_of
from pkb.ranks import Ranks
from pkb.step import Optimiser
from simulator.contender.contender import Contender
from simulator.contender.plugging import plug_in
from simulator.contender.recipe import Recipe
from simulator.record.files import write_text

PROGRESS = ("trained_through", "built_until", "known", "plugged", "passes_at_first", "stopped", "next_period")
FILES = ("contender.json", "schema.json", "state.safetensors")


def save_contender(folder: Path, contender: Contender, period: int) -> int:
    """Write a contender as it is after a period; returns the bytes of its weights and optimiser state."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {"recipe": json.loads(contender.recipe.to_json()), "progress": _progress(contender, period)}
    write_text(folder / "contender.json", json.dumps(about, indent=1))
    write_text(folder / "schema.json", contender.schema.to_json())
    state = folder / "state.safetensors"
    save_file(_state_of(contender), state)
    with state.open("rb") as stream:
        os.fsync(stream.fileno())
    write_text(folder / "manifest.json", json.dumps({name: _sha256(folder / name) for name in FILES}, indent=1))
    return state.stat().st_size


def load_contender(folder: Path, ranks: Ranks | None = None, *, learns: bool = True) -> Contender:
    """Load a contender, ready to go on, or if it `learns` no more without its optimisers' state.

    CheckpointError if a file is missing or not the one that was written.
    """
    verify(folder)
    try:
        about = json.loads((folder / "contender.json").read_text(encoding="utf-8"))
        recipe = Recipe.from_json(json.dumps(about["recipe"]))
        contender = Contender(recipe, Schema.from_json((folder / "schema.json").read_text(encoding="utf-8")), ranks)
        state = load_file(folder / "state.safetensors")
        if not learns:
            state = {name: value for name, value in state.items() if name.split(".")[1] != "adam"}
        _restore(contender, state, about["progress"])
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"{folder}: does not fit what makes it: {error}") from None
    return contender


def verify(folder: Path) -> None:
    """Raise CheckpointError if a file of a contender's checkpoint is missing or not the one that was written."""
    remedy = f"restore it, or delete {folder.parent} to play this contender from the start"
    try:
        hashes: dict[str, str] = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        what = "missing" if isinstance(error, FileNotFoundError) else f"not readable: {error}"
        raise CheckpointError(f"{folder / 'manifest.json'}: {what}; {remedy}") from None
    for name in FILES:
        file = folder / name
        if not file.is_file() or _sha256(file) != hashes.get(name):
            raise CheckpointError(f"{file}: missing or damaged (its hash differs from the manifest); {remedy}")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _progress(contender: Contender, period: int) -> dict[str, Any]:
    source = contender.source
    return {
        "trained_through": contender.trained_through,
        "built_until": contender.built_until,
        "known": contender.known,
        "plugged": contender.plugged,
        "passes_at_first": contender.passes_at_first,
        "compressed_through": contender.compressed_through,
        "knowledge_built_until": None if source is None else source.built_until,
        "stopped": contender.stopped,
        "next_period": period + 1,
    }


def _parts(contender: Contender) -> dict[str, tuple[nn.Module, Optimiser]]:
    parts: dict[str, tuple[nn.Module, Optimiser]] = {"model": (contender.model, contender.model_optimiser)}
    if contender.base is not None:
        parts["knowledge"] = (contender.base, contender.base_optimiser)
    return parts


def _state_of(contender: Contender) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for part, (module, optimiser) in _parts(contender).items():
        for name, table in tables_of(module).items():
            for kind, rows in table.rows_in_use().items():
                state[f"{part}.table.{name}.{kind}"] = rows.clone()
        for name, value in dense_state(module).items():
            state[f"{part}.dense.{name}"] = value.clone()
        for index, parameter in enumerate(optimiser.dense):
            for kind, value in optimiser.adam.state.get(parameter, {}).items():
                state[f"{part}.adam.{index}.{kind}"] = value.clone()
    for name, value in contender.policy.state().items():
        state[f"policy.{name}"] = value.clone()
    return state


def _restore(contender: Contender, state: dict[str, Tensor], progress: dict[str, Any]) -> None:
    if progress["plugged"] and not contender.plugged:
        plug_in(contender)
    for part, (module, optimiser) in _parts(contender).items():
        for name, table in tables_of(module).items():
            prefix = f"{part}.table.{name}."
            table.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        dense = {name: state[f"{part}.dense.{name}"] for name in dense_state(module)}
        module.load_state_dict(dense, strict=False)  # all but the tables, which are restored above
        for key, value in state.items():
            if key.startswith(f"{part}.adam."):
                index, kind = key.removeprefix(f"{part}.adam.").split(".")
                parameter = optimiser.dense[int(index)]
                optimiser.adam.state[parameter][kind] = value.to(parameter.device)
    kept = {k.removeprefix("policy."): v for k, v in state.items() if k.startswith("policy.")}
    if kept:
        contender.policy.restore(kept)
    contender.resume(**{name: progress[name] for name in PROGRESS})
    if contender.live is not None:
        contender.live.resume(progress["compressed_through"], progress["knowledge_built_until"])
