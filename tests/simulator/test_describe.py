"""What a run notes of its settings is all that measuring and reporting need of them."""

from __future__ import annotations

from dataclasses import replace

from simulator.contender.settings import ArmSettings
from simulator.describe import describe
from simulator.measure.opponents import controls, references
from simulator.settings import Settings
from simulator.stream.settings import StreamSettings

ROK = ArmSettings(knowledge="rok", width=8, options={"alpha": 0.5})
ARMS = {
    "finetune": ArmSettings(),
    "rok": ROK,
    "untrained": replace(ROK, control="untrained"),
    "novelty": ArmSettings(knowledge="novelty"),
    "warm": ArmSettings(knowledge="keep", plug="hidden", plug_from=3),
    "warm_untrained": ArmSettings(knowledge="keep", plug="hidden", plug_from=3, control="untrained"),
    "later_untrained": ArmSettings(knowledge="keep", plug="hidden", plug_from=4, control="untrained"),
}


def test_what_only_the_registries_know_is_resolved() -> None:
    told = describe(Settings(name="one", seeds=[3, 1], arms=ARMS, stream=StreamSettings(utc_offset_hours=8)), "eleme")
    assert (told.name, told.data, told.seeds, told.utc_offset_hours) == ("one", "eleme", [3, 1], 8)
    assert list(told.arms) == list(ARMS)
    assert [name for name, arm in told.arms.items() if arm.base_is_control] == ["novelty"]
    assert "imitation" in told.arms["rok"].remedies["knowledge_rank"]
    assert told.arms["novelty"].remedies == told.arms["finetune"].remedies == {}


def test_features_that_tell_places_are_noted() -> None:
    stream = StreamSettings(features={"age": "age(item_id)", "place": "position", "size": "list_size"})
    assert describe(Settings(arms=ARMS, stream=stream), "eleme").of_lists == ["place", "size"]


def test_who_is_held_against_whom_needs_nothing_else() -> None:
    told = describe(Settings(arms=ARMS), "eleme")
    assert references(told) == dict.fromkeys([name for name in ARMS if name != "finetune"], "finetune")
    assert controls(told) == {
        "rok": ["untrained", "novelty"],
        "novelty": [],
        "warm": ["novelty", "warm_untrained"],
    }
