"""The knowledge bases by name. To add one: write its file or folder, add its line here."""

from pkb.edk import EDK
from pkb.keep import KEEP
from pkb.knowledge import KnowledgeBase
from pkb.novelty import Novelty
from pkb.rok import ROK
from pkb.rok.retrieved import Retrieved

KNOWLEDGE_BASES: dict[str, type[KnowledgeBase]] = {
    "edk": EDK,
    "rok": ROK,
    "keep": KEEP,
    "retrieved": Retrieved,
    "novelty": Novelty,
}
