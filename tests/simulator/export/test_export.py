"""An exported arm scores without this project what the arm scores itself."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from pkb.batch import Batch
from pkb.errors import RunError, SettingError
from simulator.contender.checkpoint import load_contender
from simulator.contender.contender import Contender
from simulator.contender.settings import ArmSettings
from simulator.export.program import check_exportable, columns_of, export_program
from simulator.played import export
from simulator.plays import recipe_of
from simulator.record.layout import RunFolder
from tests.pkb.backbones.check_backbone import IDS, make_rows
from tests.pkb.test_kinds_contract import OF_EVERY_KIND
from tests.simulator.played_run import played_run
from tests.simulator.tiny import tiny_settings

SHOWN = (Path(__file__).parents[3] / "docs" / "export.md").read_text()
WITHOUT_US = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pkb", "retrieval", "simulator"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
"""


def exported_to(folder: Path, run: Path, arm: str) -> Path:
    return export(run, arm, None, folder, Console(quiet=True))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return played_run(tmp_path_factory.mktemp("played")).run.path


@pytest.fixture(scope="module")
def exported(run: Path) -> Path:
    return exported_to(run.parent / "exported", run, "finetune")


def test_what_the_docs_show_scores_raw_values_in_a_process_without_this_project(exported: Path, tmp_path: Path) -> None:
    [shown] = re.findall(r"```python\n(.*?)```", SHOWN, re.DOTALL)
    script = tmp_path / "score.py"
    script.write_text(WITHOUT_US + shown + "\nprint(probability.tolist())\n")
    done = subprocess.run(
        [sys.executable, "-I", str(script), str(exported)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(json.loads(done.stdout)) == 8


def test_the_example_holds_what_the_arm_itself_says(exported: Path, run: Path) -> None:
    example = load_file(exported / "example.safetensors")
    contender = load_contender(RunFolder(run).checkpoint("finetune-0", 1))
    ids = torch.stack([example[name] for name in contender.schema.names], dim=1)
    rows = Batch(row_id=torch.arange(len(ids)), ids_BF=ids, label=torch.zeros(len(ids)))
    assert example["probability"].tolist() == contender.predict(rows).tolist()
    assert example["probability"].unique().numel() > 4


def test_nothing_in_the_archive_is_pickled_and_every_file_has_its_hash(exported: Path) -> None:
    with zipfile.ZipFile(exported / "program.pt2") as archive:
        assert archive.read("program/data/sample_inputs/model.pt") == b""
        configs = [json.loads(archive.read(name)) for name in archive.namelist() if name.endswith("_config.json")]
    assert not any(entry["use_pickle"] for config in configs for entry in config["config"].values())
    listed = json.loads((exported / "export.json").read_text())["sha256"]
    assert {file.name for file in exported.iterdir()} == {*listed, "export.json"}


def test_a_text_that_is_not_there_reads_the_row_for_new_values(exported: Path, run: Path) -> None:
    takes = json.loads((exported / "export.json").read_text())["takes"]
    example = load_file(exported / "example.safetensors")
    expected = example.pop("probability")
    score = torch.export.load(exported / "program.pt2").module()
    contender = load_contender(RunFolder(run).checkpoint("finetune-0", 1))
    unknown = {**example, "item": torch.full_like(example["item"], takes["item"]["id_of_unknown_text"])}
    ids = torch.stack([example["user"], torch.full_like(example["item"], 10**6), example["hour"]], dim=1)
    rows = Batch(row_id=torch.arange(len(ids)), ids_BF=ids, label=torch.zeros(len(ids)))
    torch.testing.assert_close(score(unknown), torch.from_numpy(contender.predict(rows)), rtol=0, atol=1e-6)
    assert not torch.allclose(score(unknown), expected, atol=1e-4)


def test_a_folder_that_is_there_stays_and_nothing_half_written_is_left(exported: Path, run: Path) -> None:
    before = sorted(file.name for file in exported.parent.iterdir())
    with pytest.raises(RunError, match="is there already; remove it"):
        exported_to(exported, run, "finetune")
    with pytest.raises(RunError, match=r"popularity-0: cannot be exported: popularity is fitted as a whole"):
        exported_to(exported.parent / "other", run, "popularity")
    with pytest.raises(SettingError, match=r"arm=finetun: is not one of .*did you mean finetune"):
        exported_to(exported.parent / "other", run, "finetun")
    assert sorted(file.name for file in exported.parent.iterdir()) == before


def contender_for(arm: ArmSettings, rows: Batch) -> Contender:
    """A contender of fields of every kind that has grown to these rows, whose plug says something, too."""
    settings = tiny_settings(Path("none"), arms={"arm": arm})
    contender = Contender(recipe_of(settings, "arm", 0), OF_EVERY_KIND)
    draw = torch.Generator().manual_seed(0)
    contender.model.backbone.grow(IDS, draw)
    contender.model.backbone.meet(rows, draw)
    with torch.no_grad():
        for weight in contender.model.parameters():
            weight.add_(0.05 * torch.randn(weight.shape, generator=draw))  # more, and rounding would show
    if contender.base is not None and contender.live is not None:
        contender.base.grow(IDS, draw)
        contender.live.compressed(0, 1)
    with torch.no_grad():
        contender.model.prior -= contender.logits(rows).median()  # else all are as good as certain
    return contender


@pytest.mark.parametrize(
    "arm",
    [
        ArmSettings(backbone="deepfm", knowledge="edk"),
        ArmSettings(backbone="din", knowledge="keep", plug="hidden"),
        ArmSettings(backbone="dcn", knowledge="rok", plug="fields+join"),
    ],
    ids=lambda arm: f"{arm.backbone}-{arm.knowledge}",
)
@pytest.mark.usefixtures("one_thread")
def test_a_program_takes_any_number_of_rows_and_fields_of_every_kind(arm: ArmSettings) -> None:
    rows = make_rows(40, schema=OF_EVERY_KIND)
    contender = contender_for(arm, rows)
    if not contender.recipe.reads_histories:
        rows = replace(rows, histories={})
    expected = torch.from_numpy(contender.predict(rows))
    score = export_program(contender, rows.select(slice(8))).module()
    for some in (slice(0, 40), slice(3, 4)):
        got = score(columns_of(rows.select(some), OF_EVERY_KIND))
        torch.testing.assert_close(got, expected[some], rtol=0, atol=1e-6)
    assert expected.std() > 0.002


@pytest.mark.parametrize(
    ("arm", "told"),
    [
        (ArmSettings(backbone="rim"), "it reads what field_match finds for each row, which takes a live index"),
        (ArmSettings(knowledge="keep", plug="hidden", source="center"), "it looks knowledge up in a center"),
    ],
    ids=["searches", "center"],
)
def test_what_a_program_cannot_hold_is_refused(arm: ArmSettings, told: str) -> None:
    settings = tiny_settings(Path("none"), arms={"arm": arm})
    contender = Contender(recipe_of(settings, "arm", 0), OF_EVERY_KIND)
    with pytest.raises(RunError, match=rf"^arm-0: cannot be exported: {told}"):
        check_exportable(contender)
