# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a policy is loaded from, and what belongs to it once it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hpt_ros.devices import DEFAULT_DEVICE
from hpt_ros.embodiment import Deployment, Embodiment, list_deployed_fields
from hpt_ros.errors import Code, HptError
from hpt_ros.policies.protocol import ChunkPolicy


@dataclass(frozen=True, kw_only=True)
class PolicySettings:
    """What the node's parameters say of a policy, whatever kind it is.

    Attributes:
        checkpoint: folder or shipped name, for "checkpoint".
        embodiment_file: may differ from the checkpoint's in what a deployment may change; needed by policies that bring
            no embodiment.
        device: as `hpt_ros.devices.choose_device` takes it.
        threads: of torch on the CPU; 0 leaves torch's choice.
        seed: of what is drawn at random.
        backend: that computes a checkpoint's policy, of `hpt_ros.model.backends`.
        precision: that it computes in.
        complete: adds the limits that an embodiment file leaves out, for policies that move within them.
        deployment_file: facts of this cell, over the embodiment; empty: none.
    """

    checkpoint: str = ""
    embodiment_file: str = ""
    device: str = DEFAULT_DEVICE
    threads: int = 0
    seed: int = 0
    backend: str = "eager"
    precision: str = "float32"
    complete: Callable[[Embodiment], Embodiment] | None = None
    deployment_file: str = ""

    @property
    def embodiment(self) -> Embodiment | None:
        """The embodiment file's content; None if none is named."""
        return Embodiment.load(self.embodiment_file) if self.embodiment_file else None


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy and what belongs to it.

    Attributes:
        policy: what the worker calls.
        embodiment: of the robot that it drives.
        checkpoint: its folder; empty for a baseline.
        horizon: observation ticks that it wants.
        optional: modalities that it can do without.
        tasks: texts that it knows; empty: it takes any, or heeds none.
        computed_by: backend, precision and device, as text for a log; empty for a baseline.
        deployed: what this cell changes of the embodiment that the policy was made with, a line each.
        image_sizes: camera's stream name to the sizes (height, width) that its images had in the training data, before
            they were resized; none if that is not known.
    """

    policy: ChunkPolicy
    embodiment: Embodiment
    checkpoint: str
    horizon: int
    optional: frozenset[str] = frozenset()
    tasks: tuple[str, ...] = ()
    computed_by: str = ""
    deployed: tuple[str, ...] = ()
    image_sizes: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)

    def close(self) -> None:
        """Release what the policy holds, if it holds anything. May be called twice."""
        close = getattr(self.policy, "close", None)
        if close is not None:
            close()


@dataclass(frozen=True, kw_only=True)
class PolicyKind:
    """A policy that the node can run. Adding one: a file beside this one and its line in `POLICIES`.

    Attributes:
        name: as the node's parameter `policy` says it.
        load: makes the policy of the settings; raises HptError where something is missing, damaged or of
            another robot.
        make: makes it for a robot that has all its limits; None of a policy that brings its robot.
    """

    name: str
    load: Callable[[PolicySettings], LoadedPolicy]
    make: Callable[[Embodiment, PolicySettings], ChunkPolicy] | None = None


def of_embodiment(name: str, make: Callable[[Embodiment, PolicySettings], ChunkPolicy]) -> PolicyKind:
    """Return the kind of a policy that is made for the robot of an embodiment file, in this cell, with all its limits.

    Args:
        name: of the kind.
        make: the policy of the robot and the settings.
    """

    def load(settings: PolicySettings) -> LoadedPolicy:
        robot = settings.embodiment
        if robot is None:
            raise HptError(
                Code.MISSING, "the parameter embodiment", name,
                problem="is empty, but policy is {value}, which needs it", remedy="set it to an embodiment file",
            )  # fmt: skip
        cell = load_deployed_robot(robot, settings.deployment_file)
        here = settings.complete(cell) if settings.complete else cell
        return LoadedPolicy(
            make(here, settings),
            here,
            "",
            here.observation_horizon,
            deployed=list_deployed_fields(robot, cell),
        )

    return PolicyKind(name=name, load=load, make=make)


def load_deployed_robot(robot: Embodiment, deployment_file: str) -> Embodiment:
    """A robot as a deployment file has it; itself if the name is empty.

    Raises:
        HptError: an unusable file, or one that does not fit the robot.
    """
    if not deployment_file:
        return robot
    return Deployment.load(deployment_file).over(robot, where=f"deployment file {deployment_file!r}")
