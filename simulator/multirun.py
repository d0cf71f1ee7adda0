"""One run for each combination of values: `--multirun train.learning_rate=1e-3,3e-3`, in Hydra's sweep grammar."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper  # its expansion alone; it launches nothing here
from hydra.errors import HydraException
from rich.console import Console

from pkb.errors import SettingError
from simulator.config.overrides import parse
from simulator.settings import Settings, load


def multirun(file: Path, overrides: Sequence[str], console: Console, address: str | None = None) -> list[Path]:
    """Play every combination and compare them; SettingError, before the first one starts, if one cannot be."""
    experiments = combinations(file, overrides)

    from simulator.report.commands import compare_runs  # these take seconds to import
    from simulator.run import run

    folders = [run(settings, console, address) for settings in experiments]
    if len(folders) > 1:
        compare_runs(folders, console)
    return folders


def combinations(file: Path, overrides: Sequence[str]) -> list[Settings]:
    """The settings of every run, each with a name of its own."""
    experiments = []
    for fixed, chosen in _expanded(overrides):
        settings = load(file, [*fixed, *chosen])
        experiments.append(replace(settings, name=_name(settings.name, chosen)))
    for name, times in Counter(settings.name for settings in experiments).items():
        if times > 1:
            raise SettingError(f"--multirun: {times} runs would be named {name}; let their values differ")
    return experiments


def _expanded(overrides: Sequence[str]) -> list[tuple[list[str], list[str]]]:
    """What all runs share, in the order given, and what is chosen for each; the last swept key changes fastest."""
    parsed = [parse(Settings, text) for text in overrides]
    fixed = [text for text, override in zip(overrides, parsed, strict=True) if not override.is_sweep_override()]
    swept = [override for override in parsed if override.is_sweep_override()]
    try:
        [chosen] = BasicSweeper.split_arguments(swept, max_batch_size=None)
    except HydraException as error:
        raise SettingError(f"--multirun: {str(error).splitlines()[0]}; list the values: key=1,2,3") from None
    return [(fixed, values) for values in chosen]


def _name(name: str, chosen: Sequence[str]) -> str:
    """`<name>-<leaf>_<value>`; a swept leaf that two sections have is told apart by its whole key."""
    pairs = [(key.lstrip("+"), value) for key, _, value in (text.partition("=") for text in chosen)]
    leaves = Counter(key.rpartition(".")[2] for key, _ in pairs)
    for key, value in pairs:
        leaf = key.rpartition(".")[2]
        if key != "name":
            name += f"-{key if leaves[leaf] > 1 else leaf}_{_usable(value)}"
    return name


def _usable(value: str) -> str:
    """A value within the name of a folder."""
    return re.sub(r"[^\w.+-]+", "_", value, flags=re.ASCII).strip("_")
