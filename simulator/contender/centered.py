"""An arm whose knowledge comes from a center of its own: what its base takes in is told from the next version on."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file

from pkb.batch import Batch, Schema
from pkb.center import Cached, Center, Roster, build, category_of
from pkb.center.keys import ids_of, keys_of
from pkb.center.manifest import ROSTER
from pkb.center.writing import folder_of, rewind
from pkb.device import Device
from pkb.errors import RunError
from pkb.knowledge import Knowledge, Part
from pkb.parameters import tables_of
from pkb.ranks import Ranks
from pkb.source import Live, Source
from simulator.contender.settings import CenterSettings


class Centered:
    """Answers from the version of the latest period that the base has taken in, never from the base itself.

    The number of a version is that of the period. It is written for whoever trains (`write_to`, then `publish`), or
    read alone (`read_from`).
    """

    def __init__(
        self, live: Live, schema: Schema, settings: CenterSettings, device: Device, evict_after: int = 0
    ) -> None:
        """Who leaves the base, unseen in `evict_after` periods, leaves the roster; nobody does if that is 0."""
        category = category_of(schema, settings.category, live.parts)
        keys_of(live.parts, schema, category)  # a base whose knowledge no center can hold is better told of now
        self.live, self.schema, self.settings, self.device = live, schema, settings, device
        self.evict_after = evict_after
        self.roster = Roster(schema, category)
        self.folder: Path | None = None
        self.cached: Cached | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        return self.live.parts

    @property
    def built_until(self) -> int | None:
        return None if self.cached is None else self.cached.built_until

    def knowledge(self, batch: Batch) -> Knowledge | None:
        """Look up what is known of each row; None before there is any version."""
        if self.cached is None and self.live.compressed_through >= 0:
            raise RunError("an arm with source: center was not told where its versions lie")
        return None if self.cached is None else self.cached.knowledge(batch)

    def knowledge_with_gradient(self, batch: Batch) -> Knowledge | None:
        """Answer the same: nothing of it learns."""
        return self.knowledge(batch)

    @property
    def nbytes(self) -> int:
        """Bytes of the roster, and of the keys and values of the version that is read."""
        return self.roster.nbytes + (0 if self.cached is None else self.cached.version.manifest.bytes)

    def read_from(self, center: Path) -> None:
        """Answer from the version that the model was trained with; MissingVersionError names those that there are."""
        if self.live.compressed_through >= 0:
            self.cached = Cached(Center(center).version(self.live.compressed_through), self.schema)

    def write_to(self, center: Path, ranks: Ranks) -> None:
        """Go on in a center, from the version that the model was trained with; later ones are to be built again."""
        self.folder, version = center, self.live.compressed_through
        if ranks.first:
            rewind(center, version)
        ranks.wait()
        self.read_from(center)
        if self.cached is not None:
            held = load_file(folder_of(center, version) / ROSTER)
            self.roster = Roster.from_tensors(self.schema, self.roster.category, held)

    def publish(self, rows: Batch, ranks: Ranks, fresh: int) -> None:
        """Write what the base knows, now that it has taken in these rows, and answer from that.

        `fresh` versions have come since the last commit, this one among them. The one before stays, however few are to
        be kept: the checkpoint at hand is of a model that was trained with it.
        """
        assert self.folder is not None
        version, until = self.live.compressed_through, self.live.built_until
        self.roster.add(rows.to("cpu"), version)
        if self.evict_after:
            self.roster.prune(tables_of(self.live.base).values(), since=version + 1 - self.evict_after)
        if ranks.first:
            keep = max(self.settings.versions, 1 + fresh)
            build(self.live.base, self.roster, self.folder, version, built_until=until, keep=keep, device=self.device)
        ranks.wait()
        self.read_from(self.folder)


def publish(source: Source | None, rows: Batch, now: Batch, ranks: Ranks, *, fresh: int = 1) -> dict[str, float]:
    """Let a center, if that is the source, have a version with these rows; what it holds, and what all pairs would.

    `center_entries` are N_u + N_i + N_uc, `center_of_all_pairs` N_u x N_i (KEEP, section 5.2.2). `center_has_<key>` is
    the share of the present period's rows whose key has an entry.
    """
    if not isinstance(source, Centered):
        return {}
    source.publish(rows, ranks, fresh)
    assert source.cached is not None
    version, built = source.cached.version, source.cached.version.manifest
    known = version.known(*ids_of(now, source.schema, built.category))
    return {
        "center_entries": float(sum(built.entries.values())),
        "center_of_all_pairs": float(built.of_all_pairs),
        "center_bytes": float(built.bytes),
        "center_seconds": built.seconds,
        **{f"center_has_{key}": float(known_B.mean()) for key, known_B in known.items() if len(known_B)},
    }
