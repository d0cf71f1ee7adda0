"""CoNet and DARec by their papers' formulas, and the domains that both tell apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn import functional

from pkb.backbones.conet import CoNet
from pkb.backbones.darec import DARec
from pkb.backbones.domains import Domains, DomainSettings
from pkb.batch import MISSING, Field
from pkb.errors import SettingError
from tests.pkb.backbones.check_backbone import SCHEMA
from tests.pkb.backbones.scenario.made import COLUMN, FIRST, in_scenarios, met, moved_to

NONE = replace(SCHEMA, fields=(*SCHEMA.fields[:COLUMN], Field(name="hour", role="context")))


def test_the_first_domains_met_have_a_network_each_and_all_others_the_last() -> None:
    domains = Domains(SCHEMA, DomainSettings(domains=3), "CoNet")
    for scenarios in (1, 2, 4):
        domains.meet(in_scenarios(scenarios))
    rows = in_scenarios(4, 8)
    rows.ids_BF[0, COLUMN] = MISSING
    assert domains.of(rows).tolist() == [2, 1, 2, 2, 0, 1, 2, 2]
    assert Domains(SCHEMA, DomainSettings(domain="category"), "CoNet").column == 2


def test_two_networks_hand_each_other_what_they_see_by_one_matrix_in_both_directions() -> None:
    rows = in_scenarios(2)
    model = met(CoNet, rows, hidden=(6, 5, 4), cross_layers=2)
    a = b = model.table.weight[rows.ids_BF.long()].flatten(1)
    for number in range(3):
        to_a, to_b = model.layers[number]
        if number < 2:
            cross = model.cross[number].weight.T
            a, b = torch.relu(to_a(a) + b @ cross), torch.relu(to_b(b) + a @ cross)
        else:
            a, b = torch.relu(to_a(a)), torch.relu(to_b(b))
    expected = torch.where(rows.ids_BF[:, COLUMN] == FIRST, model.last[0](a)[:, 0], model.last[1](b)[:, 0])
    torch.testing.assert_close(model(rows), expected)
    sparse = met(CoNet, rows, hidden=(6, 5), l1=0.5)
    _, added = sparse.with_auxiliary(rows)
    torch.testing.assert_close(added, 0.5 * sum(layer.weight.abs().sum() for layer in sparse.cross))


def test_the_classifier_learns_the_domain_and_the_bottom_is_pushed_the_other_way() -> None:
    rows = in_scenarios(2)
    model: Any = met(DARec, rows, hidden=(6, 5), tower=4, mu=0.25)
    _, loss = model.with_auxiliary(rows)
    loss.backward()
    reached = {name: p.grad.clone() for name, p in model.named_parameters() if "bottom" in name or "classifier" in name}
    model.zero_grad()
    x = model.table.weight[rows.ids_BF.long()].flatten(1)
    for layer in model.bottom:
        x = layer(x)
    plain = functional.cross_entropy(model.classifier(x), (rows.ids_BF[:, COLUMN] != FIRST).long())
    torch.testing.assert_close(loss, plain)
    plain.backward()
    for name, parameter in model.named_parameters():
        if name in reached:
            sign = -0.25 if "bottom" in name else 1
            torch.testing.assert_close(reached[name], sign * parameter.grad)


@pytest.mark.parametrize("model", [CoNet, DARec])
def test_each_domain_has_a_predictor_of_its_own(model: Any) -> None:
    rows = in_scenarios(2)
    made = met(model, rows, hidden=(8, 4))
    one, other = (made(moved_to(rows, FIRST + scenario)) for scenario in range(2))
    assert not torch.isclose(one, other).any()


@pytest.mark.parametrize("model", [CoNet, DARec])
def test_a_log_that_names_no_domain_is_refused_with_what_to_do(model: Any) -> None:
    with pytest.raises(SettingError, match=r"needs a field that names the domain; set domain to one of user, item, c"):
        model(NONE, model.Settings())
    with pytest.raises(SettingError, match=r"domain=site: is no field; set domain to one of user, item"):
        model(SCHEMA, model.Settings(domain="site"))
    model(NONE, model.Settings(domain="hour"))
    for wrong, message in (({"domains": 1}, "domains=1: must be at least 2"), ({"hidden": ()}, "name at least one")):
        with pytest.raises(SettingError, match=message):
            model.Settings(**wrong)
