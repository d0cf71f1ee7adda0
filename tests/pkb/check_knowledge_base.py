"""What every knowledge base must hold to, whatever it knows: `check_knowledge_base(cls)`.

Each check takes one case, a class with its settings and its teacher if it has one, and fails with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pkb.knowledge import KnowledgeBase
from pkb.rok import Teacher
from tests.pkb import checks_of_compression as compression
from tests.pkb import checks_of_use as use
from tests.pkb.base_case import Case

CHECKS: tuple[Callable[[Case], None], ...] = (
    compression.settings_are_frozen_and_have_defaults,
    use.knowledge_has_the_parts_that_are_declared,
    use.one_row_is_a_batch,
    use.rows_that_differ_are_told_apart,
    use.a_part_depends_on_its_fields_alone,
    use.neighbours_count_if_and_only_if_it_searches,
    use.histories_are_read_only_if_it_says_so,
    use.it_is_frozen_while_it_is_used,
    use.rows_may_come_in_any_order,
    use.the_rows_beside_one_do_not_matter,
    use.all_new_values_of_a_field_are_alike,
    compression.missing_values_are_known_and_compressed,
    compression.what_was_saved_knows_the_same,
    compression.the_seed_decides_every_draw,
    compression.growing_leaves_known_ids_alone,
    compression.values_that_came_get_rows_of_their_own,
    compression.values_long_unseen_give_up_their_rows,
    use.knowledge_is_on_the_common_scale,
    compression.every_dense_parameter_is_in_one_group_and_no_table_in_any,
    compression.a_label_that_the_log_lacks_is_named,
    use.gradients_of_use_reach_what_learns_on_and_nothing_else,
    use.what_serves_compression_alone_has_no_part_in_knowledge,
    use.a_source_is_dated_and_knows_nothing_before_compression,
    compression.figures_of_health_are_finite,
    compression.compression_lowers_the_loss_of_each_stage,
    compression.a_compressed_base_knows_other_things_than_an_untrained_one,
    compression.labels_count_if_and_only_if_it_says_so,
    compression.labels_that_it_does_not_learn_leave_its_losses_alone,
)
NEED_STAGES = (  # a base without stages learns nothing from rows
    compression.compression_lowers_the_loss_of_each_stage,
    compression.a_compressed_base_knows_other_things_than_an_untrained_one,
    compression.labels_that_it_does_not_learn_leave_its_losses_alone,
)


def cases(
    base: type[KnowledgeBase],
    teacher: type[Teacher] | None = None,
    teaching: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Iterator[tuple[Case, Callable[[Case], None]]]:
    """List every check that applies to a base."""
    case = Case(base=base, settings=settings, teacher=teacher, teaching=teaching or {})
    yield from ((case, check) for check in CHECKS if base.stages or check not in NEED_STAGES)


def check_knowledge_base(base: type[KnowledgeBase], teacher: type[Teacher] | None = None, **settings: Any) -> None:
    """Make every check that applies: the whole test of a base."""
    for case, check in cases(base, teacher, **settings):
        check(case)
