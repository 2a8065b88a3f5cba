# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""ROS parameters of the recorder, and the robot, cell and folder that they name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hpt_ros.embodiment import Deployment, Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.nodes.recorder.controls import JoyConfig
from hpt_ros.structured import field

# An episode ends, complete, when there is less room than this: its index and metadata need some.
KEEP_FREE_MB = 200


@dataclass(frozen=True, slots=True)
class RecorderParameters:
    """ROS parameters of the node."""

    embodiment: str = field("path of the robot's embodiment file", default="")
    deployment: str = field("path of a deployment file with the facts of this cell; empty: none", default="")
    out_dir: str = field("folder that bags go to; made if it is not there", default="")
    keep_free_mb: int = field(
        "an episode ends when less than this is free on its disk", default=KEEP_FREE_MB, unit="MiB",
        minimum=0, maximum=1 << 40,
    )  # fmt: skip
    extra_topics: tuple[str, ...] = field("further topics to record, of whatever type they have", default=())
    all_topics: bool = field(
        "record every topic that is published, and decide later; the embodiment file may be left out then",
        default=False,
    )
    operator: str = field("who teleoperates; stored in each bag", default="")
    joy_topic: str = field("topic of the joystick, sensor_msgs/Joy", default="joy")
    joy: JoyConfig = field("buttons of the joystick", default=JoyConfig())


@dataclass(frozen=True, slots=True)
class Site:
    """What is recorded, and where to.

    Attributes:
        embodiment: the robot; None: every topic is recorded.
        deployment: facts of this cell; None: as the embodiment has them.
        here: the robot with these facts.
        out_dir: folder that bags go to; it is there.
    """

    embodiment: Embodiment | None
    deployment: Deployment | None
    here: Embodiment | None
    out_dir: Path


def open_site(
    config: RecorderParameters, embodiment: Embodiment | None, deployment: Deployment | None
) -> Site:
    """Read the files that the parameters name, where they are not given, and make the folder.

    Raises:
        HptError: no embodiment, a file that cannot be read, or a folder that cannot be made.
    """
    if embodiment is None and not config.embodiment and not config.all_topics:
        raise HptError(
            Code.EMPTY, "the recorder's parameter 'embodiment'",
            remedy="set it to the path of an embodiment file, or all_topics to record every topic",
        )  # fmt: skip
    if not config.out_dir:
        raise HptError(
            Code.EMPTY, "the recorder's parameter 'out_dir'", remedy="set it to the folder that bags go to"
        )
    if embodiment is None and config.embodiment:
        embodiment = Embodiment.load(config.embodiment)
    if deployment is None and config.deployment:
        deployment = Deployment.load(config.deployment)
    here = embodiment
    if deployment is not None:
        if embodiment is None:
            raise HptError(
                Code.INVALID, "a deployment file", problem="is given and no embodiment file",
                remedy="give the one that it is for, or neither",
            )  # fmt: skip
        here = deployment.over(embodiment)
    out_dir = Path(config.out_dir).expanduser()
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HptError(
            Code.UNWRITABLE, f"the folder {str(out_dir)!r}", problem="cannot be made",
            remedy="give another one", cause=error,
        ) from error  # fmt: skip
    return Site(embodiment, deployment, here, out_dir)
