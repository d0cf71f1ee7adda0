"""EDK: essential and disentangled knowledge of old logs, held by a small network (Du et al.)."""

from pkb.edk.edk import EDK

__all__ = ["EDK"]
