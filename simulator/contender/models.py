"""The click models that an arm can be: those that read a row alone, and those that read its neighbours too."""

from pkb.backbones import BACKBONES
from pkb.backbones.base import Backbone
from retrieval.models import RETRIEVAL_MODELS

MODELS: dict[str, type[Backbone]] = BACKBONES | RETRIEVAL_MODELS
