"""Contenders on disk: safetensors, with a manifest of hashes; nothing in a checkpoint can execute.

settings.yaml, schema.json     what built the contenders
<arm>-<seed>.safetensors       weights, tables and optimiser state
contenders.json                what is known of each: trained through, built until, stopped
manifest.json                  the SHA-256 of every other file
<arm>-<seed>-index/            after the last period, of a contender that searches by its own encoder
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pkb.batch import Schema
from pkb.errors import CheckpointError
from simulator.arms import Contender
from simulator.files import write_text
from simulator.settings import Settings
from simulator.settings_file import load, to_yaml
from simulator.train.ranks import Ranks
from simulator.train.steps import Steps, tables_of

FACTS = ("trained_through", "built_until", "compressed_through", "knowledge_built_until", "stopped")


def save_contenders(folder: Path, contenders: list[Contender], settings: Settings, schema: Schema) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "settings.yaml", to_yaml(settings))
    write_text(folder / "schema.json", schema.to_json())
    facts = {c.key: {name: getattr(c, name) for name in FACTS} for c in contenders}
    write_text(folder / "contenders.json", json.dumps(facts, indent=1))
    for contender in contenders:
        save_file(_state_of(contender), folder / f"{contender.key}.safetensors")
    hashes = {f.name: _sha256(f) for f in sorted(folder.iterdir()) if f.name != "manifest.json"}
    write_text(folder / "manifest.json", json.dumps(hashes, indent=1))


def load_contenders(folder: Path, ranks: Ranks | None = None) -> list[Contender]:
    """All contenders of a checkpoint; CheckpointError if a file is missing or not the one that was written."""
    _verify(folder, None)
    facts = json.loads((folder / "contenders.json").read_text())
    return [_load(folder, arm, seed, ranks or Ranks()) for arm, seed in (key.rsplit("-", 1) for key in facts)]


def load_contender(folder: Path, arm: str, seed: int) -> Contender:
    """One contender, ready to predict."""
    _verify(folder, f"{arm}-{seed}.safetensors")
    return _load(folder, arm, str(seed), Ranks())


def checkpoint_bytes(folder: Path, contender: Contender) -> int:
    return (folder / f"{contender.key}.safetensors").stat().st_size


def _load(folder: Path, arm: str, seed: str, ranks: Ranks) -> Contender:
    settings = load(folder / "settings.yaml")
    schema = Schema.from_json((folder / "schema.json").read_text())
    contender = Contender(arm, int(seed), settings, schema, ranks)
    for name, value in json.loads((folder / "contenders.json").read_text())[contender.key].items():
        setattr(contender, name, value)
    try:
        state = load_file(folder / f"{contender.key}.safetensors")
        _restore(contender, state)
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{folder}: {contender.key} does not fit its settings: {error}") from None
    return contender


def _verify(folder: Path, only: str | None) -> None:
    try:
        hashes = json.loads((folder / "manifest.json").read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(f"{folder}: no readable manifest.json: {error}") from None
    for name, expected in hashes.items():
        if only is None or not name.endswith(".safetensors") or name == only:
            file = folder / name
            if not file.is_file() or _sha256(file) != expected:
                raise CheckpointError(
                    f"{file}: missing or damaged (its hash differs from the manifest); restore the run"
                )


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parts(contender: Contender) -> dict[str, tuple[nn.Module, Steps]]:
    parts: dict[str, tuple[nn.Module, Steps]] = {"model": (contender.model, contender.model_steps)}
    if contender.knowledge is not None and contender.knowledge_steps is not None:
        parts["knowledge"] = (contender.knowledge, contender.knowledge_steps)
    return parts


def _state_of(contender: Contender) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for part, (module, steps) in _parts(contender).items():
        tables = tables_of(module)
        for name, table in tables.items():
            for kind, rows in table.rows_in_use().items():
                state[f"{part}.table.{name}.{kind}"] = rows.clone()
        for name, value in _dense_state(module).items():
            state[f"{part}.dense.{name}"] = value.clone()
        for index, parameter in enumerate(steps.dense):
            for kind, value in steps.adam.state.get(parameter, {}).items():
                state[f"{part}.adam.{index}.{kind}"] = value.clone()
    for name, value in contender.policy.state().items():
        state[f"policy.{name}"] = value.clone()
    return state


def _restore(contender: Contender, state: dict[str, Tensor]) -> None:
    for part, (module, steps) in _parts(contender).items():
        for name, table in tables_of(module).items():
            prefix = f"{part}.table.{name}."
            table.restore({k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)})
        dense = {name: state[f"{part}.dense.{name}"] for name in _dense_state(module)}
        module.load_state_dict(dense, strict=False)  # all but the tables, which are restored above
        for key, value in state.items():
            if key.startswith(f"{part}.adam."):
                index, kind = key.removeprefix(f"{part}.adam.").split(".")
                steps.adam.state[steps.dense[int(index)]][kind] = value
    kept = {k.removeprefix("policy."): v for k, v in state.items() if k.startswith("policy.")}
    if kept:
        contender.policy.restore(kept)


def _dense_state(module: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers outside the embedding tables, detached, by name."""
    inside = tuple(f"{name}." for name in tables_of(module))
    return {k: v for k, v in module.state_dict().items() if not k.startswith(inside)} if inside else module.state_dict()
