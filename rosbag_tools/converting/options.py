# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What the caller of a conversion may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from hpt_ros.dataset.conversion_report import ACTION_SOURCES
from hpt_ros.dataset.depth_codes import DEPTH_STORAGE
from hpt_ros.embodiment import Deployment
from hpt_ros.errors import Code
from rosbag_tools.converting.leader_arm import Leader
from rosbag_tools.converting.segmentation import REST_KEPT_S
from rosbag_tools.converting.timing import Timing
from rosbag_tools.errors import BagError


@dataclass(frozen=True)
class Options:
    """What the caller may choose.

    Attributes:
        task: task text for every episode; empty to use what the language stream says, else what the recorder wrote,
            else the embodiment's.
        keep_failures: also convert episodes marked as failure.
        skip_bad: leave bags out that cannot be converted, and report them, instead of stopping.
        recover: use bags that were cut short as far as they go.
        workers: processes on this machine.
        ray: address of a Ray cluster to convert on instead, see `rosbag_tools.converting.ray_pool`; empty for none.
        resume: keep finished bags beside the dataset's location until it is complete, and use those that are there.
        overwrite: replace the dataset that is there.
        append: add to the dataset that is there, if there is one, what it does not have yet.
        action_source: what the actions are, see `ACTION_SOURCES`.
        leader: the leader arm, for that source.
        measured: outputs whose actions are the next measured positions, beside commands of the others.
        longest_rest_s: rests longer than this are cut out, and split the episode; infinite to keep all.
        namespace: that the embodiment's relative topics lie in; None finds it in each bag.
        deployment: of the cell, for bags that do not carry it.
        beside: bags of the same session as the one that is converted, such as of cameras and arm.
        episodes: numbers of those to keep, as they come without it; None for all.
        timing: what says when messages were measured, where it is not what the embodiment file states.
        depth: how depth is stored, one of `DEPTH_STORAGE`; None: as the dataset that is appended to, else the first.
    """

    task: str = ""
    keep_failures: bool = False
    skip_bad: bool = False
    recover: bool = False
    workers: int = 1
    ray: str = ""
    resume: bool = False
    overwrite: bool = False
    append: bool = False
    action_source: str = "command"
    leader: Leader | None = None
    measured: frozenset[str] = frozenset()
    longest_rest_s: float = math.inf
    namespace: str | None = None
    deployment: Deployment | None = None
    beside: tuple[str, ...] = ()
    episodes: tuple[int, ...] | None = None
    timing: Timing = field(default_factory=Timing)
    depth: str | None = None

    @property
    def optional(self) -> frozenset[str]:
        """Modalities that a bag need not have."""
        return frozenset({"language"}) if self.task else frozenset()

    def __post_init__(self) -> None:
        if self.overwrite and self.append:
            raise BagError(
                Code.CONFLICT, "a dataset", problem="cannot be both replaced and appended to",
                remedy="leave --overwrite or --append out",
            )  # fmt: skip
        if self.depth is not None and self.depth not in DEPTH_STORAGE:
            raise BagError(
                Code.UNKNOWN, "depth", self.depth, problem="is to be stored as {value}", known=DEPTH_STORAGE
            )
        if self.action_source not in ACTION_SOURCES:
            raise BagError(Code.UNKNOWN, "the action source", self.action_source, known=ACTION_SOURCES)
        if self.leader is None and self.action_source == "leader":
            raise BagError(
                Code.MISSING, "the action source", self.action_source,
                problem="is {value} without a leader arm's topic", remedy="name it with --leader-topic",
            )  # fmt: skip
        if self.leader is not None and self.action_source != "leader":
            raise BagError(
                Code.CONFLICT, "the action source", self.action_source,
                problem=f"is {{value}} but a leader arm on {self.leader.topic!r} was named",
                remedy="take --actions leader",
            )  # fmt: skip
        if self.measured and self.action_source != "command":
            raise BagError(
                Code.CONFLICT, "--measured", sorted(self.measured),
                problem=f"names {', '.join(sorted(self.measured))}, but the action source is {self.action_source!r}",
                remedy="leave --measured out, or take --actions command",
            )  # fmt: skip
        if not self.longest_rest_s >= 2 * REST_KEPT_S:
            raise BagError(
                Code.OUT_OF_RANGE, "the longest rest", self.longest_rest_s, problem="is {value} s",
                expected=f"at least {2 * REST_KEPT_S:g} s, of which half stays on either side", remedy="raise it",
            )  # fmt: skip
