from __future__ import annotations

from pathlib import Path

import pytest

from pkb.errors import SettingError
from simulator.settings import SOURCES
from simulator.settings_file import load, to_yaml
from simulator.stream import ingest

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
        ("train.batch_size=abc", "must be of type int"),
        ("train.batch_size=1,2", "asks for a sweep"),
        ("train=3", "train=3: is a section"),
        ("~arms.finetun", "did you mean arms.finetune?"),
        ("stream.holdout_share=2", "must lie between"),
        ("name=a/b", "usable as a folder's name"),
        (
            "arms.finetune={knowledge: edk, options: {patern: 3}}",
            "arms.finetune.options.patern: is not a setting of edk",
        ),
        ("arms.finetune={knowledge: edk, options: {patterns: x}}", "must be of type int"),
        ("arms.finetune={knowledge: edk, control: random}", "is not one of untrained, shuffled"),
        ("arms.finetune={options: {patterns: 3}}", "has no knowledge for options"),
        ("arms.finetune={knowledge: rok, options: {teacher: rin}}", "did you mean rim?"),
        ("retrieval.k=0", "retrieval.k=0: must be at least 1"),
        ("retrieval.dense.kind=flt", "must be of type"),
        ("a b", "write key=value"),
    ],
)
def test_a_wrong_override_is_one_line_that_names_key_and_remedy(config: Path, override: str, message: str) -> None:
    with pytest.raises(SettingError) as caught:
        load(config, [override])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"absent\.yaml: No such file"):
        load(tmp_path / "absent.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1,\nb: }")
    with pytest.raises(SettingError, match=r"broken\.yaml: not readable as YAML"):
        load(broken)


def test_every_source_that_settings_offer_can_be_ingested() -> None:
    assert set(SOURCES) == {*ingest.SOURCES, "world"}


def test_yaml_tags_execute_nothing(tmp_path: Path) -> None:
    file = tmp_path / "evil.yaml"
    file.write_text(f"name: !!python/object/apply:os.system ['touch {tmp_path}/done']\n")
    with pytest.raises(SettingError, match="not readable as YAML"):
        load(file)
    assert not (tmp_path / "done").exists()
