from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from pkb.bases import KNOWLEDGE_BASES
from pkb.batch import Batch
from pkb.embedding import EmbeddingTable
from pkb.errors import SettingError
from pkb.rok import ROK
from pkb.rok.rok import choose_neighbours, contrastive_loss, effective_rank, spread
from tests.pkb.backbones.check_backbone import stir
from tests.pkb.rok.teaching import (
    FIELDS,
    NEIGHBOURS,
    SCHEMA,
    SIZE,
    SMALL,
    OpenBook,
    base,
    compress,
    without_neighbours,
    world,
)


def lively(settings: ROK.Settings = SMALL) -> ROK:
    """In evaluation mode, its weights far from zero."""
    return stir(base(settings)).eval()


def teacher_of(rok: ROK) -> OpenBook:
    assert isinstance(rok.teacher, OpenBook)
    return rok.teacher


def has_gradient(part: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.to_dense().any()) for p in part.parameters())


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))


def test_the_imitation_loss_is_eq_3_to_8_row_by_row() -> None:
    rok, batch = lively(), world(23)
    z: list[list[float]] = rok.knowledge(batch)["aggregate"].flatten(1).tolist()
    r = rok.teacher.aggregated(batch).flatten(1).tolist()
    near = batch.neighbours["book"]
    imitation, contrast = 0.0, 0.0
    for row in range(len(batch)):
        imitation += sum((a - b) ** 2 for a, b in zip(z[row], r[row], strict=True)) / len(z[row])
        if near.present_BK[row, 0]:
            neighbour = replace(batch, ids_BF=near.ids_BKF[:, 0]).select(slice(row, row + 1))
            zs = rok.knowledge(neighbour)["aggregate"].flatten()
            px, ps = rok.projector(torch.tensor(z[row])).tolist(), rok.projector(zs).tolist()
            contrast -= 0.5 * cosine(px, zs.tolist()) + 0.5 * cosine(ps, z[row])
    losses = rok.compression_losses(batch, "imitation")
    assert losses["imitation"].item() == pytest.approx(imitation / 23, rel=1e-4)
    assert losses["contrast"].item() == pytest.approx(contrast / 23, rel=1e-4)
    assert losses["total"].item() == pytest.approx((0.7 * imitation + 0.3 * contrast) / 23, rel=1e-4)


def test_the_contrast_of_vectors_in_line_is_minus_one_and_of_opposite_ones_is_one() -> None:
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(contrastive_loss(x, 3 * x, 2 * x, x), -torch.ones(5))
    torch.testing.assert_close(contrastive_loss(x, -x, -x, x), torch.ones(5))


def test_no_gradient_of_the_contrast_reaches_what_is_agreed_with() -> None:
    px, zs, ps, zx = torch.randn(4, 5, 7, generator=torch.Generator().manual_seed(0)).unbind()
    for tensor in (px, zs, ps, zx):
        tensor.requires_grad_()
    contrastive_loss(px, zs, ps, zx).sum().backward()
    assert zs.grad is zx.grad is None
    assert px.grad is not None
    assert ps.grad is not None


def test_the_gradient_of_the_contrast_to_the_base_comes_through_the_projector_alone() -> None:
    rok = lively(replace(SMALL, alpha=1.0))
    first_weight, *_ = rok.projector.parameters()
    nn.init.zeros_(first_weight)  # nothing passes any more; the cosine itself still depends on z
    rok.compression_losses(world(20), "imitation")["contrast"].backward()
    assert has_gradient(rok.projector)
    assert not has_gradient(rok.encoder)
    assert not has_gradient(rok.table)


def test_without_weight_on_it_the_contrast_moves_nothing() -> None:
    rok, batch = lively(replace(SMALL, alpha=0.0)), world(20)
    losses = rok.compression_losses(batch, "imitation")
    assert torch.equal(losses["total"], losses["imitation"])
    losses["total"].backward()
    assert not has_gradient(rok.projector)
    assert has_gradient(rok.encoder)


def test_with_all_weight_on_the_contrast_the_teacher_does_not_matter() -> None:
    rok, batch = lively(replace(SMALL, alpha=1.0)), world(20)
    before = rok.compression_losses(batch, "imitation")
    stir(rok.teacher)
    after = rok.compression_losses(batch, "imitation")
    assert torch.equal(before["total"], after["total"])
    assert not torch.equal(before["imitation"], after["imitation"])


def test_embeddings_are_half_as_wide_as_the_teachers_and_knowledge_has_the_shape_of_its_reading() -> None:
    rok, batch = base(), world(6)
    assert rok.table.width == rok.teacher.embedding_width // 2 == 2
    knowledge = rok.knowledge(batch)
    assert (
        knowledge["aggregate"].shape
        == rok.teacher.aggregated(batch).shape
        == (6, rok.aggregate.vectors, rok.aggregate.width)
    )
    assert knowledge["features"].shape == (6, FIELDS, rok.parts[1].width)
    assert not knowledge["aggregate"].requires_grad


def test_knowledge_needs_no_neighbours() -> None:
    rok, batch = lively(), world(8)
    alone = rok.knowledge(replace(batch, neighbours={}))
    assert torch.equal(alone["aggregate"], rok.knowledge(batch)["aggregate"])


def test_imitation_learns_what_the_teacher_reads_and_says_so_of_rows_it_never_saw() -> None:
    rok, fresh = base(replace(SMALL, alpha=0.05)), world(200, seed=1)
    before = rok.health(fresh)["imitation_r2"]
    compress(rok, world(1000), "imitation", epochs=12)
    after = rok.health(fresh)["imitation_r2"]
    assert before < 0.1
    assert after > 0.8


def test_the_contrast_brings_rows_and_their_nearest_neighbours_together() -> None:
    batch, contrast = world(1000), {}
    for alpha in (0.0, 0.9):
        rok = base(replace(SMALL, alpha=alpha))
        compress(rok, batch, "imitation", epochs=3)
        z = rok.knowledge(batch)["aggregate"].flatten(1)
        rows, ids = choose_neighbours(batch.neighbours["book"], "nearest")
        zs = rok.knowledge(replace(batch.select(rows), ids_BF=ids))["aggregate"].flatten(1)
        contrast[alpha] = torch.cosine_similarity(z[rows], zs).mean().item()
    assert contrast[0.9] > contrast[0.0] + 0.3


def test_the_teacher_learns_the_label_in_its_own_stage_and_nothing_else_moves() -> None:
    rok, batch = base(), world(1000)
    own = {name: p.clone() for name, p in rok.named_parameters() if not name.startswith("teacher")}
    history = compress(rok, batch, "teacher", epochs=20)
    assert sum(history[-10:]) < 0.6 * sum(history[:10])
    assert all(torch.equal(p, own[name]) for name, p in rok.named_parameters() if name in own)


def test_the_teachers_loss_is_its_cross_entropy_and_what_it_adds() -> None:
    rok, batch = lively(), world(30)
    losses = rok.compression_losses(batch, "teacher")
    p = torch.sigmoid(rok.teacher(batch))
    cross_entropy = -(batch.label * p.log() + (1 - batch.label) * (1 - p).log()).mean()
    torch.testing.assert_close(losses["cross_entropy"], cross_entropy)
    torch.testing.assert_close(losses["total"], cross_entropy + 0.1 * teacher_of(rok).head.weight.square().mean())


def test_the_teacher_is_frozen_while_it_is_imitated() -> None:
    rok, batch = base(), world(300)
    teacher = {name: p.clone() for name, p in rok.teacher.named_parameters()}
    own = [p.clone() for p in rok.encoder.parameters()]
    compress(rok, batch, "imitation", epochs=2)
    assert all(torch.equal(p, teacher[name]) for name, p in rok.teacher.named_parameters())
    assert all(p.grad is None for p in rok.teacher.parameters())
    assert not any(torch.equal(p, before) for p, before in zip(rok.encoder.parameters(), own, strict=True))


def test_the_teacher_reads_without_dropout_while_it_is_imitated_and_its_mode_is_left_as_it_was() -> None:
    rok, batch = base().eval(), world(20)
    rok.teacher.train()
    first, second = (rok.compression_losses(batch, "imitation")["imitation"] for _ in range(2))
    assert torch.equal(first, second)
    assert teacher_of(rok).dropout.training


def test_rows_without_neighbours_take_no_part_in_the_contrast() -> None:
    rok, batch = lively(), world(20)
    found = batch.neighbours["book"].present_BK.any(dim=1)
    assert 0 < found.sum() < 20
    whole = rok.compression_losses(batch, "imitation")
    some = rok.compression_losses(batch.select(found), "imitation")
    torch.testing.assert_close(whole["contrast"] * 20, some["contrast"] * int(found.sum()))


@pytest.mark.parametrize("positive", ["nearest", "random"])
@pytest.mark.parametrize("places", [NEIGHBOURS, 0])
def test_where_nothing_was_found_at_all_only_imitation_is_left(positive: str, places: int) -> None:
    rok = lively(replace(SMALL, positive=positive))
    losses = rok.compression_losses(without_neighbours(world(20), places=places), "imitation")
    assert losses["contrast"] == 0
    torch.testing.assert_close(losses["total"], 0.7 * losses["imitation"])
    losses["total"].backward()
    assert all(p.grad is None or p.grad.to_dense().isfinite().all() for p in rok.parameters())


def test_the_parts_of_a_minibatch_add_up_to_it() -> None:
    rok, batch = lively(), world(30)
    whole = rok.compression_losses(batch, "imitation")["total"]
    parts = [rok.compression_losses(part, "imitation")["total"] * len(part) / 30 for part in batch.minibatches(11)]
    torch.testing.assert_close(torch.stack(parts).sum(), whole)


def test_the_nearest_neighbour_is_the_first_and_a_random_one_is_any_that_was_found() -> None:
    near = world(400).neighbours["book"]
    rows, ids = choose_neighbours(near, "nearest")
    assert torch.equal(ids, near.ids_BKF[rows, 0])
    torch.manual_seed(0)
    rows, ids = choose_neighbours(near, "random")
    same = (near.ids_BKF[rows] == ids[:, None]).all(dim=2)
    assert (same & near.present_BK[rows]).any(dim=1).all()
    full = near.present_BK[rows].all(dim=1)
    assert same[full].float().mean(dim=0).min() > 0.1, "some place is never drawn"


@pytest.mark.parametrize(
    ("update", "learning"), [("fixed", set()), ("encoder", {"encoder"}), ("both", {"table", "encoder"})]
)
def test_gradients_of_use_reach_exactly_what_learns_on(update: str, learning: set[str]) -> None:
    rok, batch = lively(replace(SMALL, update=update)).train(), world(20)
    knowledge = rok.knowledge_with_gradient(batch)
    assert rok.training
    assert torch.equal(knowledge["aggregate"], rok.knowledge(batch)["aggregate"])
    assert knowledge["features"].requires_grad == ("table" in learning)
    loss = knowledge["aggregate"].square().sum() + knowledge["features"].square().sum()
    if learning:
        loss.backward()
    assert {name for name, part in rok.named_children() if has_gradient(part)} == learning
    assert [id(part) for part in rok.learns_on()] == [id(getattr(rok, name)) for name in sorted(learning)[::-1]]


def test_what_serves_compression_alone_has_no_part_in_knowledge_and_everything_else_has() -> None:
    rok, batch = lively(replace(SMALL, update="both")), world(50)
    before = rok.knowledge(batch)["aggregate"]
    for part in rok.compression_only():
        stir(part)
    assert torch.equal(rok.knowledge(batch)["aggregate"], before)
    rok.knowledge_with_gradient(batch)["aggregate"].sum().backward()
    alone = {id(p) for part in rok.compression_only() for p in part.parameters()}
    for name, p in rok.named_parameters():
        assert (p.grad is None) == (id(p) in alone), name


def test_an_encoder_that_says_the_same_of_every_row_shows_as_collapse() -> None:
    rok, batch = base(), world(300)
    compress(rok, batch, "imitation", epochs=16)
    healthy = rok.health(batch)
    dimensions = rok.aggregate.vectors * rok.aggregate.width
    assert healthy["knowledge_std"] > 0.6 / math.sqrt(dimensions)
    assert healthy["knowledge_rank"] > 0.5 * dimensions
    *_, weight, _bias = rok.encoder.parameters()
    nn.init.zeros_(weight)
    collapsed = rok.health(batch)
    assert collapsed["knowledge_std"] == pytest.approx(0, abs=1e-9)
    assert collapsed["knowledge_rank"] == pytest.approx(1)
    assert collapsed["imitation_r2"] <= 0


def test_the_figures_of_collapse_are_known_for_known_vectors() -> None:
    draw = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, 16, generator=draw)
    assert spread(noise) == pytest.approx(1 / 4, rel=0.02)
    assert effective_rank(noise) == pytest.approx(16, rel=0.01)
    line = torch.randn(50, 1, generator=draw).double() * torch.randn(1, 16, generator=draw).double()
    assert effective_rank(line) == pytest.approx(1, abs=1e-5)
    plane: Tensor = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])  # singular values as 3 to 1
    assert effective_rank(plane) == pytest.approx(math.exp(0.25 * math.log(4) + 0.75 * math.log(4 / 3)))


def test_r2_is_one_less_the_share_left_over_and_missing_where_there_is_nothing_to_explain() -> None:
    rok, batch = lively(), world(40)
    z = rok.knowledge(batch)["aggregate"].flatten(1)
    r = rok.teacher.aggregated(batch).flatten(1)
    expected = 1 - (z - r).square().sum() / (r - r.mean(dim=0)).square().sum()
    assert rok.health(batch)["imitation_r2"] == pytest.approx(expected.item(), rel=1e-4)
    same: Batch = batch.select(torch.zeros(40, dtype=torch.long))
    assert "imitation_r2" not in rok.health(same)


def test_growing_makes_room_in_the_base_and_in_its_teacher() -> None:
    rok, batch = lively(), world(20)
    before = rok.knowledge(batch)["aggregate"]
    rok.grow(3 * SIZE, torch.Generator().manual_seed(1))
    sizes = [module.size for module in rok.modules() if isinstance(module, EmbeddingTable)]
    assert sizes == [3 * SIZE, 3 * SIZE]
    assert torch.equal(rok.knowledge(batch)["aggregate"], before)


def test_the_group_holds_every_dense_parameter_once_and_no_table() -> None:
    rok = base()
    (group,) = rok.parameter_groups(0.5)
    dense = [id(p) for name, p in rok.named_parameters() if name not in ("table.weight", "teacher.table.weight")]
    assert sorted(id(p) for p in group["params"]) == sorted(dense)
    assert group["lr"] == 0.5


def test_ids_never_seen_share_the_knowledge_of_their_fields_new_value() -> None:
    rok, batch = lively(), world(2)
    ids = batch.ids_BF.clone()
    ids[1] = ids[0]
    ids[0, 2], ids[1, 2] = SIZE + 5, SIZE + 999
    knowledge = rok.knowledge(replace(batch, ids_BF=ids))["aggregate"]
    assert knowledge.isfinite().all()
    torch.testing.assert_close(knowledge[0], knowledge[1])


def test_a_stored_base_has_the_same_knowledge() -> None:
    rok, batch = base(), world(100)
    compress(rok, batch, "imitation", epochs=1)
    stored = save({name: v.contiguous() for name, v in rok.state_dict().items() if ".weight" in name or "bias" in name})
    other = base(seed=1)
    other.load_state_dict(load(stored), strict=False)
    assert torch.equal(other.knowledge(batch)["aggregate"], rok.knowledge(batch)["aggregate"])


@pytest.mark.parametrize("positive", ["nearest", "random"])
def test_the_seed_decides_everything(positive: str) -> None:
    settings = replace(SMALL, positive=positive)

    def history(seed: int) -> list[float]:
        rok = base(settings, seed=seed)
        return [loss for stage in ROK.stages for loss in compress(rok, world(300), stage, epochs=1)]

    assert history(3) == history(3)
    assert history(3) != history(4)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"alpha": 1.1}, "alpha=1.1"),
        ({"projector": 0}, "projector=0"),
        ({"hidden": (8, 0)}, r"hidden=\(8, 0\)"),
        ({"positive": "next"}, "positive=next"),
        ({"update": "all"}, "update=all"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        replace(SMALL, **wrong)  # type: ignore[arg-type]


def test_rok_is_found_by_its_name_and_wants_a_teacher_whose_neighbours_it_reads() -> None:
    assert KNOWLEDGE_BASES["rok"] is ROK
    assert [name for name, cls in KNOWLEDGE_BASES.items() if cls.taught] == ["rok", "retrieved"]
    assert ROK(SCHEMA, ROK.Settings(), OpenBook(SCHEMA, OpenBook.Settings())).retriever == "book"
