"""The knowledge bases by name. To add one: write its file or folder, add its line here."""

from pkb.edk import EDK
from pkb.keep import KEEP
from pkb.knowledge import KnowledgeBase
from pkb.novelty import Novelty
from pkb.pretrained.bert4rec import BERT4Rec
from pkb.pretrained.s3rec import S3Rec
from pkb.rok import ROK
from pkb.rok.retrieved import Retrieved

KNOWLEDGE_BASES: dict[str, type[KnowledgeBase]] = {
    "edk": EDK,
    "rok": ROK,
    "keep": KEEP,
    "bert4rec": BERT4Rec,
    "s3rec": S3Rec,
    "retrieved": Retrieved,
    "novelty": Novelty,
}
