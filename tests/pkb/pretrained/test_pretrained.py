"""What is learned of click sequences before any label counts, and that a click model goes on from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from pkb.backbones.pretrained import BERT4RecNetwork, S3RecNetwork, SequenceNetwork
from pkb.batch import MISSING, Batch, Schema
from pkb.errors import SettingError
from pkb.pretrained.base import Pretrained
from pkb.pretrained.bert4rec import BERT4Rec
from pkb.pretrained.encoder import EncoderSettings, SequenceEncoder, told_apart
from pkb.pretrained.s3rec import S3Rec
from tests.pkb.backbones.check_backbone import IDS, SCHEMA, make_rows
from tests.pkb.base_case import compress

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL: dict[str, float] = {"width": 8, "layers": 1, "passes": 1, "negatives": 8}
FIRST = SCHEMA.first_value_id
BASES = [BERT4Rec, S3Rec]


def base(kind: type[Pretrained], schema: Schema = SCHEMA, **settings: float) -> Pretrained:
    torch.manual_seed(0)
    made = kind(schema, kind.Settings(**SMALL | settings))
    made.grow(IDS, torch.Generator().manual_seed(0))
    return made


def walks(number: int = 300) -> Batch:
    """Users who go through ten items in a circle, each from a start of their own; the category tells odd from even."""
    rows = make_rows(number)
    start, step = torch.arange(number)[:, None] * 7, torch.arange(6)
    items = FIRST + (start + step) % 10
    rows.ids_BF[:, 0] = FIRST + torch.arange(number, dtype=torch.int32)
    return replace(rows, histories={"items": items.int(), "categories": (FIRST + 20 + items % 2).int()})


def test_what_is_true_is_told_from_the_others_by_a_softmax_in_which_the_same_does_not_count() -> None:
    said, true, others = torch.randn(3, 4), torch.randn(3, 4), torch.randn(2, 4)
    same = torch.tensor([[False, False], [True, False], [True, True]])
    loss = told_apart(said, true, others, same)
    for row in range(3):
        scores = [said[row] @ true[row], *(said[row] @ others[k] for k in range(2) if not same[row, k])]
        torch.testing.assert_close(loss[row], -torch.log_softmax(torch.stack(scores), dim=0)[0])


def test_places_are_counted_from_the_newest_so_that_nothing_but_behaviours_counts() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(EncoderSettings(width=8, positions=4)).eval()
    x = torch.randn(1, 3, 8)
    alone = encoder(x, torch.ones(1, 3, dtype=torch.bool))
    padded = torch.cat([torch.randn(1, 2, 8), x, torch.randn(1, 1, 8)], dim=1)
    present = torch.tensor([[False, False, True, True, True, False]])
    among = encoder(padded, present)
    torch.testing.assert_close(among[:, 0], alone[:, 0])
    torch.testing.assert_close(among[:, 3:6], alone[:, 1:])
    assert not torch.allclose(encoder(x.flip(1), present[:, 2:5])[:, 0], alone[:, 0]), "the order counts"


@pytest.mark.parametrize("kind", BASES)
def test_of_a_users_rows_the_longest_history_counts_once(kind: type[Pretrained]) -> None:
    rows = make_rows(12)
    rows.ids_BF[:, 0] = FIRST + torch.arange(12, dtype=torch.int32) // 3
    chosen = base(kind).of_users(rows)
    length = {int(r): int((h > 0).sum()) for r, h in zip(rows.row_id, rows.histories["items"], strict=True)}
    for user in range(4):
        [row] = [int(r) for r in chosen.row_id if int(r) // 3 == user]
        assert length[row] == max(length[3 * user + i] for i in range(3))


def test_rows_without_a_user_are_not_taken_for_one_user() -> None:
    rows = walks(6)
    rows.ids_BF[:, 0] = torch.tensor([MISSING, FIRST, MISSING, FIRST, MISSING, FIRST + 1])
    assert sorted(base(BERT4Rec).of_users(rows).row_id.tolist()) == [0, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", BASES)
def test_the_newest_click_is_taken_away_and_the_hidden_ones_are_not_seen(kind: type[Pretrained]) -> None:
    made, rows = base(kind, masked=0.5).eval(), walks(8)
    puzzle = made.puzzle(rows)
    assert (puzzle.newest_BH.sum(dim=1) == 1).all()
    assert puzzle.newest_BH[:, 5].all()
    assert not (puzzle.newest_BH & puzzle.present_BH).any()
    assert puzzle.hidden_BH.any()
    said = made.encode(rows, puzzle.present_BH, puzzle.hidden_BH)
    gone = puzzle.hidden_BH | puzzle.newest_BH
    others = {name: torch.where(gone, FIRST + 15, ids) for name, ids in rows.histories.items()}
    again = made.encode(replace(rows, histories=others), puzzle.present_BH, puzzle.hidden_BH)
    torch.testing.assert_close(puzzle.said(again), puzzle.said(said))


@pytest.mark.parametrize("kind", BASES)
def test_pre_training_learns_what_comes_next_without_a_label(kind: type[Pretrained]) -> None:
    made, rows = base(kind, negatives=32), walks()
    name = "cloze" if kind is BERT4Rec else "mip"

    def loss() -> float:
        torch.manual_seed(4)
        return float(made.eval().compression_losses(rows, "pass_1")[name].detach())

    before = loss()
    compress(made, rows, steps=120)
    assert loss() < 0.85 * before  # all items are as frequent: who guesses by that alone gains nothing
    unlabelled = replace(rows, label=1 - rows.label)
    torch.manual_seed(4)
    told = made.compression_losses(unlabelled, "pass_1")[name].detach()
    assert float(told) == loss()


@pytest.mark.parametrize("kind", BASES)
def test_rows_of_users_without_a_past_teach_nothing(kind: type[Pretrained]) -> None:
    made, rows = base(kind), walks(8)
    before = {name: value.clone() for name, value in made.state_dict().items()}
    compress(made, replace(rows, histories={n: torch.full_like(h, MISSING) for n, h in rows.histories.items()}))
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_attributes_are_the_other_histories_and_a_log_of_items_alone_goes_without() -> None:
    assert set(base(S3Rec).compression_losses(walks(16), "pass_1")) == {"total", "mip", "map", "aap", "sp"}
    alone = base(S3Rec, schema=replace(SCHEMA, histories=SCHEMA.histories[:1]))
    assert set(alone.compression_losses(walks(16), "pass_1")) == {"total", "mip", "sp"}
    with pytest.raises(SettingError, match=r"^S3Rec reads users' click sequences, and the log has no history: name"):
        base(S3Rec, schema=replace(SCHEMA, histories=()))


@pytest.mark.parametrize(("kind", "model"), [(BERT4Rec, BERT4RecNetwork), (S3Rec, S3RecNetwork)])
def test_a_click_model_goes_on_from_the_base(kind: type[Pretrained], model: type[SequenceNetwork]) -> None:
    made, rows = base(kind), walks(32)
    compress(made, rows, steps=3)
    tuned = model(SCHEMA, model.Settings(width=8, layers=1, hidden=(8,)))
    tower = {name: value.clone() for name, value in tuned.tower.state_dict().items()}
    tuned.table.renew(rows.unique_ids()[::2], now=0, keep=5, generator=torch.Generator())  # it had rows of its own
    tuned.go_on_from(made)
    assert all(torch.equal(value, tower[name]) for name, value in tuned.tower.state_dict().items())
    assert all(torch.equal(v, made.encoder.state_dict()[n]) for n, v in tuned.encoder.state_dict().items())
    assert torch.equal(tuned.table.weight, made.table.weight[: made.table.size])
    assert tuned.eval()(rows).isfinite().all()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"heads": 3}, "heads=3: must divide width=8"),
        ({"passes": 0}, "passes=0: must be at least 1"),
        ({"masked": 1.0}, r"masked=1\.0: must be at least 0 and below 1"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        base(BERT4Rec, **wrong)
