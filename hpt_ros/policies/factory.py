# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policies that the node can run: a checkpoint, and two baselines that go through the same node and limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from hpt_ros.embodiment import Deployment, Embodiment, deployed_fields, require_deployable
from hpt_ros.errors import Code, HptError
from hpt_ros.policies.baselines import HoldPolicy, RandomPolicy
from hpt_ros.policies.hpt import CheckpointPolicy
from hpt_ros.policies.protocol import ChunkPolicy
from hpt_ros.resources import checkpoint_folder

KINDS = ("checkpoint", "hold", "random")


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
        computed_by: backend, precision and device, as words for a log; empty for a baseline.
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


def deployed_robot(robot: Embodiment, deployment_file: str) -> Embodiment:
    """A robot as a deployment file has it; itself if the name is empty.

    Raises:
        HptError: an unusable file, or one that does not fit the robot.
    """
    if not deployment_file:
        return robot
    return Deployment.load(deployment_file).over(robot, where=f"deployment file {deployment_file!r}")


def load_policy(
    kind: str,
    *,
    checkpoint: str,
    embodiment_file: str,
    device: str = "cpu",
    threads: int = 0,
    seed: int = 0,
    backend: str = "eager",
    precision: str = "float32",
    complete: Callable[[Embodiment], Embodiment] | None = None,
    deployment_file: str = "",
) -> LoadedPolicy:
    """Make the policy that the node's parameters name.

    Args:
        kind: one of `KINDS`.
        checkpoint: folder or shipped name, for "checkpoint".
        embodiment_file: may differ from the checkpoint's in what a deployment may change; needed for the baselines.
        device: torch device.
        threads: of torch on the CPU; 0 leaves torch's choice.
        seed: of the random baseline.
        backend: that computes a checkpoint's policy, of `hpt_ros.model.backends`.
        precision: that it computes in.
        complete: adds the limits that an embodiment file leaves out, which the baselines move within.
        deployment_file: facts of this cell, over the embodiment; empty: none.

    Raises:
        HptError: something is missing, damaged, or of another robot.
    """
    robot = Embodiment.load(embodiment_file) if embodiment_file else None
    if kind == "checkpoint":
        if not checkpoint:
            raise HptError(
                Code.EMPTY, "the parameter checkpoint", expected="a folder",
                remedy="set it, or set policy to hold or random",
            )  # fmt: skip
        folder = checkpoint_folder(checkpoint)
        trained = CheckpointPolicy(folder, device, threads, backend=backend, precision=precision)
        here = trained.embodiment
        if robot is not None:
            here = require_deployable(
                here,
                robot,
                a_name=f"checkpoint {str(folder)!r}",
                b_name=f"embodiment file {embodiment_file!r}",
            )
        here = deployed_robot(here, deployment_file)
        config = trained.config
        return LoadedPolicy(
            trained, here, str(folder), config.observation_horizon, trained.optional, config.tasks,
            trained.computed_by, deployed_fields(trained.embodiment, here), trained.image_sizes,
        )  # fmt: skip
    if robot is None:
        raise HptError(
            Code.MISSING, "the parameter embodiment", kind,
            problem="is empty, but policy is {value}, which needs it", remedy="set it to an embodiment file",
        )  # fmt: skip
    cell = deployed_robot(robot, deployment_file)
    here = complete(cell) if complete else cell
    return replace(load_baseline(kind, here, seed), deployed=deployed_fields(robot, cell))


def load_baseline(kind: str, robot: Embodiment, seed: int = 0) -> LoadedPolicy:
    """Make a baseline of a robot that has all its limits.

    Args:
        kind: "hold" or "random".
        robot: that it drives.
        seed: of the random baseline.
    """
    policy: ChunkPolicy = HoldPolicy(robot) if kind == "hold" else RandomPolicy(robot, seed)
    return LoadedPolicy(policy, robot, "", robot.observation_horizon)
