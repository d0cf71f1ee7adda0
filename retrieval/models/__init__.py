"""One click model that reads neighbours a file. To add one: write its file, add its line to `RETRIEVAL_MODELS`."""

from pkb.rok.teacher import Teacher
from retrieval.models.dert import DERT
from retrieval.models.pet import PET
from retrieval.models.rim import RIM
from retrieval.models.sim import SIMHard, SIMSoft
from retrieval.models.ubr import UBR

RETRIEVAL_MODELS: dict[str, type[Teacher]] = {
    "rim": RIM,
    "dert": DERT,
    "pet": PET,
    "sim_hard": SIMHard,
    "sim_soft": SIMSoft,
    "ubr": UBR,
}

__all__ = ["RETRIEVAL_MODELS"]
