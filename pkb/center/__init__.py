"""The General Knowledge Center: what a base knows, cached by version for the many models that read it (KEEP, 5.3)."""

from pkb.center.build import build
from pkb.center.folded import Folded
from pkb.center.keys import category_of
from pkb.center.roster import Roster
from pkb.center.source import Cached
from pkb.center.store import Answer, Center, MissingVersionError
from pkb.center.version import Version

__all__ = ["Answer", "Cached", "Center", "Folded", "MissingVersionError", "Roster", "Version", "build", "category_of"]
