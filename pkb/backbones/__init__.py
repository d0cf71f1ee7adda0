"""One click model a file. To add one: write its file, add its line to `BACKBONES`."""

from pkb.backbones.autoint import AutoInt
from pkb.backbones.base import Backbone
from pkb.backbones.can import CAN
from pkb.backbones.dcn import DCN
from pkb.backbones.dcnv2 import DCNv2
from pkb.backbones.deepfm import DeepFM
from pkb.backbones.dien import DIEN
from pkb.backbones.din import DIN
from pkb.backbones.dnn import DNN
from pkb.backbones.fate import FATE
from pkb.backbones.fm import FM
from pkb.backbones.gbdt import GBDT
from pkb.backbones.hpmn import HPMN
from pkb.backbones.logistic import Logistic
from pkb.backbones.lr import LR
from pkb.backbones.mimn import MIMN
from pkb.backbones.pnn import PNN
from pkb.backbones.popularity import Popularity
from pkb.backbones.xdeepfm import XDeepFM

BACKBONES: dict[str, type[Backbone]] = {
    "lr": LR,
    "fm": FM,
    "dnn": DNN,
    "deepfm": DeepFM,
    "dcn": DCN,
    "dcnv2": DCNv2,
    "pnn": PNN,
    "xdeepfm": XDeepFM,
    "autoint": AutoInt,
    "din": DIN,
    "dien": DIEN,
    "hpmn": HPMN,
    "mimn": MIMN,
    "can": CAN,
    "fate": FATE,
    "gbdt": GBDT,
    "popularity": Popularity,
    "logistic": Logistic,
}

__all__ = ["BACKBONES", "Backbone"]
