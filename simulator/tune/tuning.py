"""Equal tuning: before a run begins, every arm gets the same number of trials on the first periods.

Ray Tune starts trials, as many at once as there are cores, of each arm one after the other: so what a trial tries
depends on the earlier ones of its arm alone. A trial is written down when it has ended (`record.tuning`), and nothing
else is asked by a tuning that goes on after a kill: it ends with the same choice.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import faiss
import ray
import torch
from ray import tune
from ray.exceptions import RayError
from ray.tune.search import Searcher

from pkb.errors import Error, RunError, SettingError
from simulator.cluster.groups import cause_of
from simulator.loop.commons import Commons
from simulator.loop.play import Play
from simulator.loop.shared_files import SharedFiles
from simulator.record.layout import RunFolder
from simulator.record.tuning import Trial, Tuning, Values, read_tuning, write_tuning
from simulator.stream.log import Log
from simulator.stream.replay import replay
from simulator.tune.sampling import suggest
from simulator.tune.settings import TuneSettings
from simulator.tune.space import space_of, values_of
from simulator.tune.trial import named, play_trial

Tell = Callable[[str], None]


def tuned(settings: TuneSettings, play: Play, log: Log, run: RunFolder, tell: Tell) -> dict[str, Values]:
    """Find the values of each arm's best trial, with the play's first seed; RunError says what stopped one."""
    first = log.first(settings.periods)
    # A trial's predictions are all that is asked of it: nothing after the last one, few holdouts.
    play = replace(
        play,
        recipes=tuple(recipe for recipe in play.recipes if recipe.seed == play.recipes[0].seed),
        train=replace(play.train, ledger=False),
        measure=replace(play.measure, holdout_periods=1),
        learns_last=False,
    )
    search = Search(settings, play, first, run, tell)
    if search.left:
        tell(f"tuning on the first {settings.periods} periods: {search.left} trials to play")
        try:
            ray.get(_provide.remote(play, first, run.trials))
        except RayError as error:
            raise cause_of(error, "reading the first periods") from error
        _fit(search, play, first, run.trials)
    shutil.rmtree(run.trials.path, ignore_errors=True)
    return {recipe.name: search.tuning.chosen(recipe.name).values for recipe in play.recipes}


class Search(Searcher):
    """Tells Ray Tune what to try next, and writes down what came of it."""

    def __init__(self, settings: TuneSettings, play: Play, first: Log, run: RunFolder, tell: Tell) -> None:
        super().__init__(metric="auc", mode="max")
        self.run, self.tell = run, tell
        self.recipes = {recipe.name: recipe for recipe in play.recipes}
        self.spaces = {recipe.name: space_of(recipe, play, first) for recipe in play.recipes}
        before = read_tuning(run)
        self.tuning = before or Tuning(periods=settings.periods, trials=settings.trials, ended=[])
        self.playing: dict[str, Trial] = {}  # by Ray Tune's name of a trial
        self.deaths, self.most_deaths = 0, play.train.max_failures
        self.failed, self.reason = False, ""

    @property
    def left(self) -> int:
        """Count the trials that have not begun."""
        return sum(self._left(arm) for arm in self.recipes)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # FINISHED is text
        """Give a trial of the arm with the fewest so far; None while all that is left waits for one that is played."""
        if self.failed or not (self.left or self.playing):
            return str(Searcher.FINISHED)
        busy = {trial.arm for trial in self.playing.values()}
        free = [arm for arm in self.recipes if arm not in busy and self._left(arm)]
        if not free:
            return None
        arm = min(free, key=lambda arm: len(self.tuning.of(arm)))
        ended, recipe, space = self.tuning.of(arm), self.recipes[arm], self.spaces[arm]
        values = suggest(space, ended, recipe.seed) if ended else values_of(recipe, space)
        trial = Trial(arm=arm, number=len(ended), values=values, auc=None, reason=None, seconds=0.0)
        self.playing[trial_id] = trial
        return {"arm": arm, "number": trial.number, "values": values}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Write down what a trial came to; one whose process died is suggested again."""
        trial = self.playing.pop(trial_id)
        if error or not result:
            self.deaths += 1
            self.failed = self.deaths > self.most_deaths
            return
        if result["error"]:
            self.failed, self.reason = True, result["error"]
            return
        trial = replace(trial, auc=result["auc"], reason=result["reason"], seconds=result["seconds"])
        order = list(self.recipes)
        ended = sorted([*self.tuning.ended, trial], key=lambda each: (order.index(each.arm), each.number))
        self.tuning = replace(self.tuning, ended=ended)
        write_tuning(self.run, self.tuning)
        self.run.trials.drop(named(self.recipes[trial.arm], trial.number).key)
        came_to = f"AUC {trial.auc:.4f}" if trial.auc is not None else f"no AUC: {trial.reason}"
        self.tell(f"tuning {trial.arm}: trial {trial.number + 1} of {self._trials(trial.arm)}, {came_to}")

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Nothing: a trial has one result."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: all that is known stands in `tuning.json`, and no pickle is ever loaded."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, for the same reason."""
        return {}

    def _trials(self, arm: str) -> int:
        """Count the trials of an arm; where there is nothing to tune, the first is all."""
        return self.tuning.trials if self.spaces[arm] else 1

    def _left(self, arm: str) -> int:
        playing = sum(trial.arm == arm for trial in self.playing.values())
        return self._trials(arm) - len(self.tuning.of(arm)) - playing


class Player(tune.Trainable):
    """Plays trials in a process of its own, one after the other."""

    def setup(  # type: ignore[override]  # `with_parameters` gives the rest
        self, config: dict[str, Any], *, play: Play, first: Log, run: RunFolder
    ) -> None:
        torch.set_num_threads(1)
        faiss.omp_set_num_threads(1)
        torch.use_deterministic_algorithms(True)
        self.play, self.first, self.run = play, first, run

    def step(self) -> dict[str, Any]:
        """Play one whole trial."""
        arm, number, values = (self.config[name] for name in ("arm", "number", "values"))
        since = time.perf_counter()
        try:
            value = play_trial(self.play, arm, number, values, self.first, self.run)
        except Error as error:  # to try it again would end the same
            return {"done": True, "auc": None, "error": str(error)}
        seconds = time.perf_counter() - since
        return {"done": True, "auc": value.value, "reason": value.reason, "seconds": seconds, "error": None}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        return True


@ray.remote(num_cpus=0)
def _provide(play: Play, first: Log, run: RunFolder) -> None:
    """Write the shared files of the first periods once, for all trials."""
    SharedFiles(run, len(first.schema.fields)).clear()
    commons = Commons(play, first, run)
    for period, rows in replay(first, histories=commons.histories):
        commons.provide_period(period, rows)


def _fit(search: Search, play: Play, first: Log, run: RunFolder) -> None:
    """Let Ray Tune play what is left."""
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # the new one prints where it was told to be silent
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # with it an interrupted tuning would end as if it were done
    has_gpu = ray.cluster_resources().get("GPU", 0) >= 1
    if play.train.device == "cuda" and not has_gpu:
        raise SettingError("train.device=cuda: Ray knows of no GPU; write cpu or auto")
    storage = run.path / "tune"
    shutil.rmtree(storage, ignore_errors=True)
    player = tune.with_parameters(Player, play=play, first=first, run=run)
    results = tune.Tuner(
        tune.with_resources(player, {"CPU": 1, "GPU": int(has_gpu and play.train.device != "cpu")}),
        tune_config=tune.TuneConfig(search_alg=search, num_samples=-1, reuse_actors=True),
        run_config=tune.RunConfig(
            name="trials",
            storage_path=str(storage),
            # What dies while it is made ready for another trial Ray Tune would not start again; the search does.
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=0,
        ),
    ).fit()
    if search.failed:
        raise RunError(search.reason) if search.reason else cause_of(results.errors[-1], "a trial")
