"""KEEP: what a model learns of all logs, extracted and plugged into the models that serve (Zhang et al., 2022)."""

from pkb.keep.keep import KEEP

__all__ = ["KEEP"]
