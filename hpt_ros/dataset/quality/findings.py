# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What may be wrong with a dataset: the checks with their bounds and remedies, and a report of findings."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from hpt_ros.dataset.quality.measure import DimensionQuality, EpisodeQuality

# An episode that stands still for more than half its time teaches mostly to stand still.
IDLE_RATIO = 0.5
# A start or end this long without motion is worth trimming; a person needs about a second to press a button.
IDLE_EDGE_S = 2.0
# Unchanged that long while the arm moves: several frame times of any camera, so no single late image.
FROZEN_S = 0.5
# One dark image may be a flicker; a tenth of an episode is not.
DARK_RATIO = 0.1
# A peak above the limit means that the policy learns commands which the robot's limiter will cut.
OVER_LIMIT = 1.0
# Jerk ratio 1: from full acceleration one way to full the other within one tick, which no arm follows smoothly.
OVER_JERK = 1.0
# Mean difference of state and command at rest, as a fraction of the range: 1 % is 3.6 degrees of a full turn, more
# than a position controller's error.
OFFSET_RATIO = 0.01
# Two real runs never agree to a ten-thousandth of the range in every value; encoders alone differ by more.
DUPLICATE_RATIO = 1e-4
# Robust z-score (0.6745 (x - median) / MAD) of an outlier: Iglewicz and Hoaglin recommend 3.5; 5 keeps the rare but
# honest demonstration quiet. The MAD is at least this fraction of the median, so that equal episodes are no trap.
OUTLIER_Z, MAD_FLOOR = 5.0, 0.02
OUTLIER_EPISODES = 8  # fewer give no spread to speak of
# A recording that lost a twentieth of its ticks has a fault that more recordings will have too.
DROPPED_RATIO = 0.05
# A sample older than one tick belongs to the observation before; two views further apart than half a tick show two
# different moments.
OLD_TICKS, APART_TICKS = 1.0, 0.5
# A standard deviation below this fraction of the range (of 1 where there is none) is no variance at all.
ZERO_RATIO = 1e-5


# error: teaches what is wrong; warning: costs quality; note: a person should look.
SEVERITIES = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: the check's key, the episode (-1: the dataset), the view or dimension, and a text."""

    check: str
    episode: int
    subject: str
    text: str


@dataclass(frozen=True, slots=True)
class Check:
    """What is looked for, what to do when it is found, and how bad it is (one of `SEVERITIES`)."""

    title: str
    remedy: str
    severity: str


CHECKS: dict[str, Check] = {
    "frozen": Check(
        "frozen images or sensors",
        "Check the sensor's driver and cable; leave these episodes out and record them again.",
        "error",
    ),
    "dark": Check("dark images", "Check lens cap, light and exposure; record these episodes again.", "error"),
    "bright": Check(
        "overexposed images", "Lower the exposure or fix it by hand; record these again.", "warning"
    ),
    "blind": Check(
        "depth without distances",
        "Check the depth camera's range, exposure and projector; record these episodes again.",
        "error",
    ),
    "dropped": Check(
        "ticks lost in the recording",
        "See which stream was late or missing with hpt inspect on the bag; fix its rate, network or tolerance_s.",
        "warning",
    ),
    "resized": Check(
        "size of the images changed",
        "Keep one profile of the camera while recording; leave these episodes out if the view is another.",
        "warning",
    ),
    "clock": Check(
        "clocks that disagree",
        "Synchronise the machines' clocks (chrony), or convert again with --time or --ignore-arrival.",
        "error",
    ),
    "wrapped": Check(
        "angles that jump by a turn",
        "Add continuous: true to the joint's limit in the embodiment file, and convert again.",
        "error",
    ),
    "skew": Check(
        "streams out of step",
        "Run that sensor faster, stamp at exposure, or synchronise the machines' clocks; then record again.",
        "error",
    ),
    "idle": Check(
        "mostly idle",
        "Leave these episodes out, or start the recording just before the motion and stop after it.",
        "warning",
    ),
    "idle_edge": Check(
        "long rest at start or end",
        "Start and stop the recorder nearer to the motion, or cut the bag with markers.",
        "note",
    ),
    "velocity": Check(
        "command faster than the limit",
        "Teleoperate more slowly, or correct the velocity limit in the embodiment file if the robot allows more.",
        "warning",
    ),
    "jerk": Check(
        "jerky command",
        "Look for dropped commands or jumps of the teleoperation device; filter it or record again.",
        "warning",
    ),
    "smoothness": Check(
        "less smooth than the others",
        "Look at these episodes: tremor, collisions or hesitation; leave them out or record them again.",
        "note",
    ),
    "chatter": Check(
        "gripper chatter",
        "Look for a bouncing button or a threshold without hysteresis in the teleoperation; record these again.",
        "warning",
    ),
    "limit": Check(
        "position limit touched",
        "Keep away from the limits while recording, or correct them in the embodiment file.",
        "warning",
    ),
    "offset": Check(
        "state and command differ at rest",
        "Check joint order, sign, unit and calibration: state and command should mean the same.",
        "error",
    ),
    "duplicate": Check(
        "duplicate episodes", "Leave one of each pair out: copies count twice in training.", "warning"
    ),
    "outlier": Check(
        "unlike the others", "Look at these episodes; leave them out if the task went differently.", "note"
    ),
    "constant": Check(
        "dimension that never changes",
        "Take it out of the embodiment file, or check that the driver fills it; it teaches nothing.",
        "warning",
    ),
}


@dataclass(frozen=True, slots=True)
class Quality:
    """A report on a dataset."""

    robot: str
    tick_hz: float
    episodes: list[EpisodeQuality]
    dimensions: list[DimensionQuality]
    findings: list[Finding]
    not_assessed: dict[str, str]  # key of a check to why it could find nothing

    def of(self, check: str) -> list[Finding]:
        """Return the findings of one check."""
        return [finding for finding in self.findings if finding.check == check]

    def count(self, severity: str) -> int:
        """Count the findings of one severity."""
        return sum(CHECKS[finding.check].severity == severity for finding in self.findings)

    def keep(self) -> list[int]:
        """Return the episodes without an error of their own, to keep."""
        bad = {finding.episode for finding in self.findings if CHECKS[finding.check].severity == "error"}
        return [entry.index for entry in self.episodes if entry.index not in bad]

    def passes(self, least: float) -> bool:
        """Return whether at least this fraction of the episodes, and the dataset as a whole, have no error."""
        of_all = any(
            finding.episode < 0 and CHECKS[finding.check].severity == "error" for finding in self.findings
        )
        return not of_all and len(self.keep()) >= least * len(self.episodes)

    def as_mapping(self) -> dict[str, Any]:
        """Return plain values, for JSON, with the checks and their remedies."""
        return {
            **dataclasses.asdict(self),
            "checks": {key: dataclasses.asdict(check) for key, check in CHECKS.items()},
        }
