from __future__ import annotations

import torch

from pkb.rok.retrieved import Retrieved
from tests.pkb.rok.teaching import SCHEMA, SIZE, OpenBook, world


def test_the_knowledge_is_what_its_teacher_reads_and_learning_it_is_the_teachers_lesson() -> None:
    torch.manual_seed(0)
    teacher = OpenBook(SCHEMA, OpenBook.Settings())
    base = Retrieved(SCHEMA, Retrieved.Settings(), teacher)
    base.grow(SIZE, torch.Generator().manual_seed(0))
    batch = world(23)
    assert base.searches
    assert base.retriever == "book"
    base.eval()
    assert torch.equal(base.knowledge(batch)["aggregate"], teacher.aggregated(batch))
    logits, auxiliary = teacher.with_auxiliary(batch)
    assert auxiliary is not None
    expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.label) + auxiliary
    base.eval()
    assert torch.equal(base.compression_losses(batch, "teacher")["total"], expected)
