"""One click model a file. To add one: write its file, add its line to `BACKBONES`."""

from pkb.backbones.base import Backbone
from pkb.backbones.deepfm import DeepFM

BACKBONES: dict[str, type[Backbone]] = {
    "deepfm": DeepFM,
}

__all__ = ["BACKBONES", "Backbone", "DeepFM"]
