# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A folder of recorded demonstrations that an interrupted `hpt collect` goes on with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hpt_ros.atomic import write_text
from hpt_ros.errors import Code, HptError

if TYPE_CHECKING:
    from hpt_ros.evaluation.rollout import EpisodeResult, Runner

MANIFEST: Final = ".collection.json"  # hidden, so that a shell's `bags/*` are bags alone
FORMAT: Final = "hpt_ros/collection/1"


@dataclass(frozen=True, slots=True)
class Collection:
    """Bags of one kind of demonstrations.

    Attributes:
        folder: that they are in.
        made_by: what every one of them depends on.
    """

    folder: Path
    made_by: Mapping[str, str]

    def begin(self) -> None:
        """Make the folder, or go on in it; bags that were cut short are removed.

        Raises:
            HptError: it holds something else, or demonstrations made in another way, or cannot be written.
        """
        manifest = self.folder / MANIFEST
        wanted = {"format": FORMAT, **self.made_by}
        try:
            if manifest.is_file():
                self._require_same(json.loads(manifest.read_text(encoding="utf-8")), wanted)
                return
        except (OSError, ValueError) as error:
            raise HptError(
                Code.UNREADABLE, repr(str(manifest)), cause=error, remedy="give an empty folder"
            ) from error
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise HptError(
                Code.EXISTS, "--out", str(self.folder), problem="is {value}, which holds something already",
                remedy="give an empty folder, or one of an interrupted 'hpt collect'",
            )  # fmt: skip
        try:
            write_text(manifest, json.dumps(wanted, indent=2) + "\n")
        except OSError as error:
            raise HptError(
                Code.UNWRITABLE, "--out", str(self.folder), problem="is {value}, but the folder cannot be made",
                remedy="give another place", cause=error,
            ) from error  # fmt: skip

    def read_recorded(self, environment: str) -> dict[int, bool]:
        """Return which scenes of an environment are there: seed to success.

        Raises:
            BagError: one cannot be read.
        """
        from rosbag_tools import bag_schema
        from rosbag_tools.reading.bag_files import METADATA
        from rosbag_tools.reading.reader import Bag

        found, stem = {}, bag_stem(environment)
        for path in sorted(self.folder.glob(f"{stem}_*")):
            seed = path.name.removeprefix(f"{stem}_")
            if not seed.isdecimal():
                continue
            if not (path / METADATA).is_file():  # its process was killed
                shutil.rmtree(path)
                continue
            with Bag.open(path) as bag:
                found[int(seed)] = bag.custom.get(bag_schema.KEY_OUTCOME) == "success"
        return found

    def _require_same(self, there: Mapping[str, str], here: Mapping[str, str]) -> None:
        for name, value in here.items():
            if there.get(name) != value:
                raise HptError(
                    Code.MISMATCH, f"{name} of the demonstrations in {str(self.folder)!r}", there.get(name),
                    expected=f"{value!r}, as asked for now", remedy="name another folder",
                )  # fmt: skip


def open_seeds(recorded: Mapping[int, bool], first: int, wanted: int) -> list[int]:
    """Return the scenes to record next, so that it does not matter when a recording was interrupted.

    A recording is complete when the scenes from the first one on, without a gap, have as many successes as are wanted
    and the last one is a success. Scenes that are open may all succeed, so no more are recorded than that.

    Args:
        recorded: seed to success of those that are there.
        first: seed.
        wanted: successes.
    """
    found: list[int] = []
    seed, hoped = first, 0
    while hoped < wanted:
        if seed not in recorded:
            found.append(seed)
        hoped += recorded.get(seed, True)
        seed += 1
    return found


def record(runner: Runner, seed: int, *, folder: Path, operator: str) -> EpisodeResult:
    """Run an episode and write its bag."""
    from rosbag_tools import bag_schema
    from rosbag_tools.recording.topic_log import TopicLog

    log = TopicLog(runner.robot)
    episode = runner.episode(seed, tap=log)
    name = f"{bag_stem(runner.environment.name)}_{seed:08d}"
    metadata = {
        bag_schema.KEY_EPISODE: name,
        bag_schema.KEY_TASK: runner.environment.instruction,
        bag_schema.KEY_OPERATOR: operator,
        bag_schema.KEY_OUTCOME: "success" if episode.success else "failure",
        bag_schema.KEY_NOTE: episode.fault or episode.detail,
    }
    log.write(folder, name, metadata)
    return episode


def bag_stem(environment: str) -> str:
    """Return what the names of an environment's bags begin with."""
    return environment.replace("/", ".")
