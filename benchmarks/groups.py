"""What groups of workers are worth: the same run in one group and in several, in turns.

python -m benchmarks.groups CONFIG [--repeats 3] [--batch 256 1024] [key=value ...]

Each variant plays the whole stream, unserved, in a folder of its own that is removed again. What counts is the time
from the first period's arrival to the last commit: starting Ray, the groups and the replay is left out, and printed
beside it. Variants take turns, so that a slow moment of the machine does not fall on one of them alone.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from simulator.record.costs import read_costs
from simulator.record.experiment import key_of, read_experiment
from simulator.record.layout import RunFolder

VARIANTS = {
    "one group, two threads": ["train.groups=1", "train.threads=2"],
    "one group, one thread": ["train.groups=1", "train.threads=1"],
    "auto": ["train.groups=auto"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[256, 1024])
    given, rest = parser.parse_known_args()
    for batch in given.batch:
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in VARIANTS}
        for repeat in range(given.repeats):
            for name, settings in VARIANTS.items():
                sizes = [f"train.batch_size={batch}", f"compress.batch_size={batch}"]
                seconds[name].append(timed(given.config, [*given.overrides, *rest, *sizes, *settings]))
                played, whole = seconds[name][-1]
                say(f"batch {batch}, repeat {repeat}, {name}: {played:.1f} s, whole command {whole:.1f} s")
        best = {name: median(played for played, _ in taken) for name, taken in seconds.items()}
        for name, taken in seconds.items():
            whole = median(each for _, each in taken)
            ratios = ", ".join(f"{best[other] / best[name]:.2f} times {other}" for other in VARIANTS if other != name)
            say(f"batch {batch}, {name}: median {best[name]:.1f} s ({ratios}); whole command {whole:.1f} s")


def timed(config: str, overrides: list[str]) -> tuple[float, float]:
    """Play one run; seconds from its first period to its last commit, and of the whole command."""
    with tempfile.TemporaryDirectory() as aside:
        places = [f"runs={aside}", "name=timed", "serve.enabled=false", "measure.bootstrap=0"]
        since = time.perf_counter()
        words = [sys.executable, "-m", "simulator", "run", config, *overrides, *places]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        whole = time.perf_counter() - since
        if done.returncode:
            sys.exit(done.stdout[-1000:] + done.stderr[-2000:])
        [folder] = [path for path in Path(aside).iterdir() if path.is_dir()]
        played = played_seconds(RunFolder(folder))
        shutil.rmtree(folder)
    return played, whole


def played_seconds(run: RunFolder) -> float:
    """Seconds from the first period's start, in whichever group began first, to the last commit."""
    keys = read_experiment(run).keys
    [first, *_] = read_costs(run, keys)
    began = min(
        run.costs(0, key_of(arm.who)).stat().st_mtime - arm.wall_seconds + arm.gap_seconds for arm in first.arms
    )
    return max(run.committed_file(key).stat().st_mtime for key in keys) - began


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
