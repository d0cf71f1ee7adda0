"""A training loop of one's own: what 8,000 old rows tell helps a model that learns 2,000 recent ones alone."""

import torch

from pkb.backbones.base import make_click_model
from pkb.backbones.deepfm import DeepFM
from pkb.batch import Batch, Field, Schema
from pkb.edk import EDK
from pkb.step import Optimiser, click_loss

torch.manual_seed(0)
schema = Schema(fields=(Field(name="user", role="user"), Field(name="item", role="item")), user="user", item="item")
users, items, first = 200, 300, schema.first_value_id  # ids below `first` stand for missing and for new values
user, item = torch.randint(users, (12_000,)), torch.randint(items, (12_000,))
taste = torch.randn(users, 1) + torch.randn(items)  # log-odds of a click
rows = Batch(
    row_id=torch.arange(len(user)),
    ids_BF=torch.stack([first + user, first + users + item], dim=1).int(),
    label=torch.bernoulli(torch.sigmoid(taste[user, item])),
)
old, recent, new = rows.select(slice(8000)), rows.select(slice(8000, 10_000)), rows.select(slice(10_000, None))

base = EDK(schema, EDK.Settings(patterns=4))
base.grow(old.end_of_ids, torch.Generator().manual_seed(0))
optimiser = Optimiser(base, base.parameter_groups(1e-3))
for minibatch in (m for _ in range(10) for m in old.minibatches(256, torch.randperm(len(old)))):
    optimiser.step(base.compression_losses(minibatch, "compress")["total"], len(minibatch))
base.standardise(old)

for name, parts in (("without knowledge", ()), ("with knowledge", base.parts)):
    model = make_click_model(DeepFM, schema, parts=parts, plug="fields")
    model.backbone.grow(recent.end_of_ids, torch.Generator().manual_seed(0))
    optimiser = Optimiser(model)
    for minibatch in (m for _ in range(5) for m in recent.minibatches(256, torch.randperm(len(recent)))):
        loss = click_loss(model, minibatch, base.knowledge(minibatch) if parts else None)
        optimiser.step(loss, len(minibatch))
    score = model.eval()(new, base.knowledge(new) if parts else None)
    clicked, not_clicked = score[new.label == 1], score[new.label == 0]
    print(f"AUC {name}: {(clicked[:, None] > not_clicked).float().mean():.4f}")
