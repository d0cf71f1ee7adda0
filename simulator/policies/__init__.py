"""How a backbone meets a new period. To add a policy: write its file, add its line to `POLICIES`."""

from simulator.policies.base import Policy
from simulator.policies.distil import Distil
from simulator.policies.ewc import Ewc
from simulator.policies.plain import FineTune, Frozen, RetrainAll, RetrainWindow
from simulator.policies.replay import Replay

POLICIES: dict[str, type[Policy]] = {
    "frozen": Frozen,
    "finetune": FineTune,
    "retrain_window": RetrainWindow,
    "retrain_all": RetrainAll,
    "replay": Replay,
    "distil": Distil,
    "ewc": Ewc,
}

__all__ = ["POLICIES", "Policy"]
