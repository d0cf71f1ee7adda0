"""One click model a file, those of many scenarios in `scenario/`. To add one: its file, and its line in `BACKBONES`."""

from pkb.backbones.autoint import AutoInt
from pkb.backbones.base import Backbone
from pkb.backbones.can import CAN
from pkb.backbones.conet import CoNet
from pkb.backbones.darec import DARec
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
from pkb.backbones.keep import KEEPNetwork
from pkb.backbones.logistic import Logistic
from pkb.backbones.lr import LR
from pkb.backbones.mimn import MIMN
from pkb.backbones.pnn import PNN
from pkb.backbones.popularity import Popularity
from pkb.backbones.pretrained import BERT4RecNetwork, S3RecNetwork
from pkb.backbones.scenario.adasparse import AdaSparse
from pkb.backbones.scenario.apg import APG
from pkb.backbones.scenario.midpg import DPG, MIDPG
from pkb.backbones.scenario.pepnet import PEPNet
from pkb.backbones.scenario.per_scenario import DNNPerScenario
from pkb.backbones.scenario.ple import PLE
from pkb.backbones.scenario.star import STAR
from pkb.backbones.scenario.without import DNNWithoutScenario
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
    "keep": KEEPNetwork,
    "bert4rec": BERT4RecNetwork,
    "s3rec": S3RecNetwork,
    "conet": CoNet,
    "darec": DARec,
    "dnn_without_scenario": DNNWithoutScenario,
    "dnn_per_scenario": DNNPerScenario,
    "star": STAR,
    "ple": PLE,
    "pepnet": PEPNet,
    "midpg": MIDPG,
    "dpg": DPG,
    "apg": APG,
    "adasparse": AdaSparse,
    "gbdt": GBDT,
    "popularity": Popularity,
    "logistic": Logistic,
}

__all__ = ["BACKBONES", "Backbone"]
