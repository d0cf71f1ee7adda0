from __future__ import annotations

from pathlib import Path

import pytest

from pkb.backbones.deepfm import DeepFM
from pkb.errors import SettingError
from pkb.rok import ROK
from simulator.arms import backbone_settings, check_changes, knowledge_settings
from simulator.contender.settings import ArmSettings
from simulator.plays import recipe_of
from simulator.settings import Settings, load, to_yaml
from simulator.stream import ingest
from simulator.stream.settings import SOURCES

CONFIGS = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "one.yaml"
    file.write_text("name: one\narms:\n  finetune: {backbone: deepfm}\n")
    return file


@pytest.mark.parametrize("file", CONFIGS, ids=lambda f: f.stem)
def test_every_shipped_experiment_loads_and_survives_its_resolved_yaml(file: Path, tmp_path: Path) -> None:
    settings = load(file)
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(to_yaml(settings))
    assert load(resolved) == settings


def test_overrides_follow_hydras_grammar(config: Path) -> None:
    settings = load(
        config,
        ["train.batch_size=17", "arms.x={backbone: deepfm, policy: frozen}", "seeds=[1,2]", "~arms.finetune"],
    )
    assert settings.train.batch_size == 17
    assert list(settings.arms) == ["x"]
    assert settings.arms["x"].policy == "frozen"
    assert settings.seeds == [1, 2]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.batchsize=17", "unknown setting 'train.batchsize'; did you mean train.batch_size?"),
        ("trian.batch_size=3", "unknown setting 'trian'; did you mean train?"),
        ("holdout_share=0.2", "unknown setting 'holdout_share'; did you mean stream.holdout_share?"),
        ("backbones.deepfm.widht=3", "did you mean backbones.deepfm.width?"),
        ("arms.finetune.polcy=x", "did you mean arms.finetune.policy?"),
        ("arms.finetune.policy=finetun", "did you mean finetune?"),
        ("arms.finetune.backbone=deepfn", "did you mean deepfm?"),
        ("train.batch_size=abc", "train.batch_size='abc': must be of type int"),
        ("train.batch_size=null", "train.batch_size=null: must be of type int"),
        ("train.ledger=3", "train.ledger=3: must be of type bool"),
        ("train.batch_size=1,2", "add --multirun"),
        ("train.batch_size=range(1,3)", "add --multirun"),
        ("train=3", "train=3: is a section"),
        ("seeds=3", "seeds=3: is a list, write seeds=[3]"),
        ("seeds=[a]", "seeds[0]='a': must be of type int"),
        ("name.x=3", "name is a value, not a section"),
        ("hydra.run.dir=x", "unknown setting 'hydra'"),
        ("train@x=3", "there are no packages here"),
        ("~arms.finetun", "there is no arms.finetun to delete; did you mean arms.finetune?"),
        ("~arms.finetune", "arms: is empty"),
        ("+arms={..: {}}", "arms...: name arms with letters, digits, _, - and . only, and begin with one of the first"),
        ("stream.holdout_share=2", "stream.holdout_share=2.0: must lie between"),
        ("stream.world.drift.shifts=-1", "stream.world.drift.shifts=-1.0: must be at least 0"),
        ("stream.label_delay=soon", "stream.label_delay=soon: write a number"),
        ("train.device=gpu", "train.device=gpu: is not one of auto, cpu, cuda"),
        (
            "train.workers=2000",
            "train.batch_size=0: makes minibatches of 16 rows at the least, fewer than",
        ),
        ("name=a/b", "usable as a folder's name"),
        (
            "arms.finetune={knowledge: edk, options: {patern: 3}}",
            "unknown setting 'arms.finetune.options.patern'; did you mean arms.finetune.options.patterns?",
        ),
        (
            "arms.finetune={knowledge: edk, options: {patterns: x}}",
            "arms.finetune.options.patterns='x': must be of type int",
        ),
        ("knowledge.edk.patterns=0", "knowledge.edk.patterns=0: must be at least 1"),
        ("knowledge.rok.alpha=-1", "knowledge.rok.alpha=-1.0: must lie between 0 and 1"),
        (
            "arms.finetune={backbone: dpg, backbone_options: {rnak: 3}}",
            "unknown setting 'arms.finetune.backbone_options.rnak'; did you mean arms.finetune.backbone_options.rank?",
        ),
        (
            "arms.finetune={backbone: dpg, backbone_options: {rank: 0}}",
            "arms.finetune.backbone_options.rank=0: must be at least 1",
        ),
        (
            "arms.finetune={backbone_options: {hidden: [0]}}",
            "arms.finetune.backbone_options.hidden=(0,): must be at least",
        ),
        ("arms.finetune={backbone_options: {width: 3}}", "the arm itself has a width; write it there"),
        ("arms.finetune={knowledge: rok, options: {alpha: -1}}", "arms.finetune.options.alpha=-1.0: must lie between"),
        ("arms.finetune={knowledge: edk, control: random}", "arms.finetune.control=random: is not one of untrained,"),
        ("arms.finetune={options: {patterns: 3}}", "arms.finetune.options={'patterns': 3}: the arm has no knowledge"),
        ("arms.finetune.control=shuffled", "arms.finetune.control=shuffled: the arm has no knowledge"),
        ("arms.finetune={knowledge: rok, options: {teacher: rin}}", "arms.finetune.options.teacher=rin: is not one of"),
        (
            "arms.finetune={knowledge: rok, policy: ewc, options: {update: both}}",
            "parts of rok learn on",
        ),
        ("arms.finetune={backbone: dert, knowledge: rok, options: {teacher: dert}}", "each search by an encoder"),
        ("arms.finetune={backbone: gbdt, policy: distil}", "adds to the loss of a step, but gbdt takes none"),
        ("arms.finetune={knowledge: retrieved, control: shuffled}", "reads labels when it is used"),
        ("arms.finetune={knowledge: bert4rec, control: shuffled}", "no labels are learned by bert4rec, so that"),
        ("arms.finetune={knowledge: s3rec, control: shuffled}", "no labels are learned by s3rec, so that"),
        (
            "arms.finetune={knowledge: s3rec, plug: hidden, beside: bert4rec, beside_from: 2, control: shuffled}",
            "no labels are learned by s3rec and bert4rec",
        ),
        ("arms.finetune={knowledge: novelty, control: shuffled}", "no labels are learned by novelty, so that"),
        ("arms.finetune={knowledge: novelty, control: untrained}", "nothing is learned by novelty, so that"),
        ("arms.finetune.restart_at=[0]", "arms.finetune.restart_at=[0]: list numbers of periods, each once"),
        ("arms.finetune.restart_at=[-1]", "arms.finetune.restart_at=[-1]: list numbers of periods, each once"),
        ("arms.finetune.restart_at=[3,3]", "arms.finetune.restart_at=[3, 3]: list numbers of periods, each once"),
        ("arms.finetune.restart_at=[5,3]", "arms.finetune.restart_at=[5, 3]: list numbers of periods, each once"),
        ("arms.finetune={policy: frozen, restart_at: [3]}", "restart_at=[3]: policy frozen never goes on from a model"),
        ("arms.finetune={policy: retrain_all, restart_at: [3]}", "policy retrain_all never goes on from a model"),
        ("arms.finetune={policy: retrain_window, restart_at: [3]}", "policy retrain_window never goes on from a model"),
        ("arms.finetune.plug_from=3", "arms.finetune.plug_from=3: the arm has no knowledge for it"),
        ("arms.finetune={plug: hidden, plug_from: 3}", "arms.finetune.plug_from=3: the arm has no knowledge for it"),
        ("arms.finetune={knowledge: keep, plug: hidden, plug_from: 0}", "plug_from=0: must be at least 1"),
        ("arms.finetune={knowledge: keep, plug: hidden, beside: edk}", "beside=edk: say from which period on"),
        ("arms.finetune={knowledge: keep, beside: edk, beside_from: 2}", "plug both in by hidden or gate"),
        (
            "arms.finetune={knowledge: keep, plug: hidden, plug_from: 3, beside: edk, beside_from: 2}",
            "arms.finetune.beside_from=2: must be at least 3",
        ),
        (
            "arms.finetune={backbone: gbdt, knowledge: keep, plug: hidden, beside: novelty, beside_from: 2}",
            "arms.finetune.beside=novelty: gbdt is fitted as a whole",
        ),
        (
            "arms.finetune={backbone: keep, knowledge: keep, plug: weights, plug_from: 3, compress_from: 3}",
            "by plug_from=3 its base has taken in no period",
        ),
        (
            "arms.finetune={knowledge: keep, plug: hidden, beside: rok, beside_from: 2}",
            "arms.finetune.beside=rok: rok learns of more than old rows",
        ),
        ("arms.finetune.compress_from=2", "arms.finetune.compress_from=2: the arm has no knowledge for it"),
        ("arms.finetune={knowledge: keep, compress_from: -1}", "arms.finetune.compress_from=-1: must be at least 0"),
        ("arms.finetune={knowledge: keep, plug: join, plug_from: 3, policy: ewc}", "holds the model that plug join"),
        (
            "arms.finetune={knowledge: keep, plug: weights}",
            "arms.finetune.plug=weights: a base becomes the click model",
        ),
        (
            "arms.finetune={knowledge: keep, plug: weights, plug_from: 3}",
            "deepfm is not the network of keep; choose backbone keep",
        ),
        (
            "arms.finetune={knowledge: edk, plug: weights, plug_from: 3}",
            "deepfm is not the network of edk; no backbone",
        ),
        (
            "arms.finetune={backbone: keep, knowledge: keep, plug: weights, plug_from: 3, restart_at: [4]}",
            "arms.finetune.restart_at=[4]: name no period after plug_from=3 with plug=weights",
        ),
        (
            "arms.finetune={knowledge: keep, plug: gate, plug_from: 3, policy: frozen}",
            "plug_from=3: policy frozen never goes on from a model",
        ),
        (
            "arms.finetune={backbone: gbdt, knowledge: keep, plug: hidden, plug_from: 3}",
            "arms.finetune.plug_from=3: gbdt is fitted as a whole",
        ),
        ("knowledge.keep.hidden=[]", "knowledge.keep.hidden=(): name at least one width"),
        ("arms.finetune={knowledge: keep, options: {alpha: -1}}", "arms.finetune.options.alpha=-1.0: must be at least"),
        ("retrieval.k=0", "retrieval.k=0: must be at least 1"),
        ("retrieval.dense.kind=flt", "retrieval.dense.kind=flt: is not one of flat"),
        ("a b", "write key=value"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_key_and_remedy(config: Path, override: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_within_a_teacher_names_the_section_that_says_so(config: Path) -> None:
    with pytest.raises(SettingError, match=r"^knowledge\.rok\.teacher=rin: is not one of"):
        load(config, ["knowledge.rok.teacher=rin", "arms.finetune.knowledge=rok"])


def test_ewc_refuses_rows_that_change_their_owner(config: Path) -> None:
    with pytest.raises(SettingError, match=r"^arms\.finetune\.policy=ewc: .*train\.evict_after=0"):
        load(config, ["arms.finetune.policy=ewc", "train.evict_after=3"])


def test_an_arm_is_restarted_in_a_stream_and_after_the_periods_that_it_is_tuned_on(config: Path) -> None:
    restart = "arms.finetune.restart_at=[3]"
    with pytest.raises(
        SettingError, match=r"^arms\.finetune\.restart_at=\[3\]: leave it out where stream\.protocol=split"
    ):
        load(config, [restart, "stream.protocol=split"])
    with pytest.raises(SettingError, match=r"^arms\.finetune\.restart_at=\[3\]: arms are tuned on periods before 4"):
        load(config, [restart, "tune.periods=4"])
    settings = load(config, [restart, "tune.periods=3"])
    check_changes(settings, 4)
    with pytest.raises(SettingError, match=r"^arms\.finetune\.restart_at=\[3\]: the log's periods are 0 to 2$"):
        check_changes(settings, 3)


def test_knowledge_is_plugged_in_within_the_stream_and_after_the_periods_that_an_arm_is_tuned_on(config: Path) -> None:
    arm = "arms.finetune={knowledge: keep, plug: hidden, plug_from: 3}"
    with pytest.raises(SettingError, match=r"^arms\.finetune\.plug_from=3: leave it out where stream\.protocol=split"):
        load(config, [arm, "stream.protocol=split"])
    with pytest.raises(SettingError, match=r"^arms\.finetune\.plug_from=3: arms are tuned on periods before 4"):
        load(config, [arm, "tune.periods=4"])
    settings = load(config, [arm, "tune.periods=3"])
    check_changes(settings, 4)
    with pytest.raises(SettingError, match=r"^arms\.finetune\.plug_from=3: the log's periods are 0 to 2$"):
        check_changes(settings, 3)


def test_what_an_arm_asks_of_its_base_stands_in_place_of_the_common_settings(config: Path) -> None:
    arm = "arms.finetune={knowledge: rok, options: {hidden: [8], alpha: 1}}"
    settings = load(config, ["knowledge.rok.projector=7", arm])
    assert knowledge_settings(settings, "finetune") == ROK.Settings(hidden=(8,), alpha=1.0, projector=7)
    assert settings.arms["finetune"] == ArmSettings(knowledge="rok", options={"hidden": [8], "alpha": 1})


def test_what_an_arm_asks_of_its_backbone_stands_in_place_of_the_common_settings(config: Path) -> None:
    arms = "arms={own: {backbone_options: {hidden: [8]}, width: 3}, wide: {width: 5}, common: {}}"
    settings = load(config, ["backbones.deepfm.dropout=0.5", arms])
    models = {name: backbone_settings(settings, name) for name in settings.arms if name != "finetune"}
    assert models == {
        "own": DeepFM.Settings(hidden=(8,), width=3, dropout=0.5),
        "wide": DeepFM.Settings(width=5, dropout=0.5),
        "common": DeepFM.Settings(dropout=0.5),
    }
    assert all(recipe_of(settings, name, 0).backbone == model for name, model in models.items())


def test_settings_check_themselves_however_they_are_made() -> None:
    with pytest.raises(SettingError, match=r"^arms\.x\.backbone=deepfn: .*did you mean deepfm\?"):
        Settings(arms={"x": ArmSettings(backbone="deepfn")})
    with pytest.raises(SettingError, match=r"^layer=0: must be at least 1"):
        ArmSettings(layer=0)


def test_every_source_that_settings_offer_can_be_ingested() -> None:
    assert set(SOURCES) == {*ingest.SOURCES, "world"}
