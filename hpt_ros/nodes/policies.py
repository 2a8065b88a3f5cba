# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The policies that the node can run: a checkpoint, and two baselines that go through the same node and limits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.control import Kinematics
from hpt_ros.embodiment import Deployment, Embodiment, deployed_fields, require_deployable
from hpt_ros.embodiment.kinds import VELOCITIES
from hpt_ros.errors import HptError
from hpt_ros.nodes.inference import ChunkPolicy, Observation
from hpt_ros.resources import checkpoint_folder

KINDS = ("checkpoint", "hold", "random")

# The random baseline's speed, as part of the velocity limits: it moves visibly within an episode. Our choice.
RANDOM_SPEED = 0.2
# What the hold baseline takes for lag, sag and noise rather than for a move by hand, rad or m or units. Our choice.
NEARBY = 0.05


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
    """

    policy: ChunkPolicy
    embodiment: Embodiment
    checkpoint: str
    horizon: int
    optional: frozenset[str] = frozenset()
    tasks: tuple[str, ...] = ()
    computed_by: str = ""
    deployed: tuple[str, ...] = ()

    def close(self) -> None:
        """Let go of what the policy holds, if it holds anything. May be called twice."""
        close = getattr(self.policy, "close", None)
        if close is not None:
            close()


@dataclass
class HoldPolicy:
    """The do-nothing baseline: stay where the robot was seen.

    An arm that sags is seen a little below what it was told, each time again, so what is held changes only where the
    robot is further than `NEARBY` from it: somebody moved it.
    """

    embodiment: Embodiment
    _held: NDArray[Any] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.embodiment.space.require_measured()

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The held pose, repeated."""
        pose = self.embodiment.space.holding(observation.inputs["state"][0, -1])
        if self._held is None or np.abs(pose - self._held).max() > NEARBY:
            self._held = pose
        chunk: NDArray[Any] = np.tile(self._held, (self.embodiment.action.horizon, 1))
        return chunk

    def reset(self) -> None:
        """Hold where the robot is seen next."""
        self._held = None


@dataclass
class RandomPolicy:
    """The random baseline: each chunk goes from the measured pose at a random constant velocity."""

    embodiment: Embodiment
    seed: int = 0
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.embodiment.space.require_measured()
        self._speed = RANDOM_SPEED * self.embodiment.max_velocity
        self._random = np.random.default_rng(self.seed)

    def predict(self, observation: Observation) -> NDArray[Any]:
        """A straight line within the position limits."""
        robot = self.embodiment
        pose = robot.space.holding(observation.inputs["state"][0, -1])
        velocity = self._random.uniform(-self._speed, self._speed)
        times_s = robot.dt_s * np.arange(robot.action.horizon)
        line = pose + times_s[:, None] * velocity
        chunk: NDArray[Any] = np.where(robot.space.angles, line, np.clip(line, robot.lower, robot.upper))
        for part in robot.space.parts:
            if part.output.kind in VELOCITIES:  # a velocity itself
                slowest, fastest = (RANDOM_SPEED * bound[part.action] for bound in (robot.lower, robot.upper))
                chunk[:, part.action] = self._random.uniform(slowest, fastest)
        return chunk

    def reset(self) -> None:
        """Nothing is remembered; the random numbers go on, so that episodes differ."""


class CheckpointPolicy:
    """A trained policy from a checkpoint folder; each picture is encoded once, ahead where there is time."""

    def __init__(
        self,
        folder: Path,
        device: str,
        threads: int,
        *,
        backend: str = "eager",
        precision: str = "float32",
    ) -> None:
        """Load strictly and run once, so that the first real inference is as quick as the others.

        Raises:
            HptError: the folder is no checkpoint, is damaged, or cannot be run by the backend or on the device.
        """
        # torch takes seconds to import; the baselines do without.
        import torch

        from hpt_ros.model.checkpoint import load_checkpoint
        from hpt_ros.model.rollout import Rollout
        from hpt_ros.nodes.agreement import require_agreement

        checkpoint = load_checkpoint(folder)
        self.embodiment = Embodiment.loads(
            checkpoint.embodiment_yaml, where=f"the embodiment of checkpoint {str(folder)!r}"
        )
        self.config = checkpoint.config
        require_agreement(self.config, self.embodiment)
        try:
            policy = checkpoint.policy.to(torch.device(device)).eval()
        except (RuntimeError, AssertionError) as error:
            words = " ".join(str(error).split())[:200]
            raise HptError(
                f"the parameter device is {device!r}, which torch cannot use here ({words}); use 'cpu' or a device "
                "that this machine has"
            ) from error
        self._rollout = Rollout(policy, backend=backend, precision=precision, threads=threads)
        computing = self._rollout.backend
        measured = f" ({computing.selection})" if computing.selection else ""
        self.computed_by = f", computed by the backend {computing.name} in {precision} on {device}{measured}"

    @property
    def optional(self) -> frozenset[str]:
        """Modalities that may be missing, and those that the policy never looks at."""
        unseen = {stream.modality for stream in self.embodiment.streams} - set(self.config.modalities)
        return frozenset({*self.config.optional_modalities, *unseen})

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The policy's chunk, (horizon, action dim), absolute whatever the mode it was trained in."""
        inputs: dict[str, Any] = {
            name: observation.inputs[name] for name in self.config.modalities if name in observation.inputs
        }
        if "language" in self.config.modalities and observation.task:
            inputs["task"] = [observation.task]
        # Ticks without keys are like no other.
        keys: Sequence[Hashable] = observation.keys or [
            object() for _ in range(self.config.observation_horizon)
        ]
        chunk: NDArray[Any] = self._rollout.predict(inputs, keys)
        space = self.embodiment.space
        if space.predicted_as_held:
            return chunk
        absolute: NDArray[Any] = space.from_mode(chunk[None], observation.inputs["state"][:, -1])[0]
        return absolute

    def observe(self, observation: Observation) -> None:
        """Encode the pictures of one tick, whose chunk, or a later one, will want them."""
        (key,) = observation.keys
        self._rollout.observe(observation.inputs, key)

    def reset(self) -> None:
        """Forget the pictures of the episode before."""
        self._rollout.reset()


def described(robot: Embodiment, robot_description: str) -> tuple[Embodiment, Kinematics | None]:
    """A robot with the limits that its embodiment file leaves out, and where its links are, from a URDF.

    Args:
        robot: as its embodiment file has it.
        robot_description: URDF; empty: the robot itself, and None.

    Raises:
        HptError: no URDF of this robot, one that contradicts the file, or a limit that neither has.
    """
    if not robot_description:
        return robot, None
    # MuJoCo, which reads the URDF, takes a while to import.
    from hpt_ros.nodes.kinematics import commanded_joints, read_urdf, require_limits, with_limits

    urdf = read_urdf(robot_description, commanded_joints(robot))
    require_limits(robot, urdf)
    return with_limits(robot, urdf), urdf.kinematics


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
    robot_description: str = "",
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
        robot_description: URDF with the limits that an embodiment file leaves out, which the baselines move within.
        deployment_file: facts of this cell, over the embodiment; empty: none.

    Raises:
        HptError: something is missing, damaged, or of another robot.
    """
    robot = Embodiment.load(embodiment_file) if embodiment_file else None
    if kind == "checkpoint":
        if not checkpoint:
            raise HptError(
                "the parameter checkpoint is empty, but a folder was expected; set it, or set policy to hold or random"
            )
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
            trained.computed_by, deployed_fields(trained.embodiment, here),
        )  # fmt: skip
    if robot is None:
        raise HptError(
            f"the parameter embodiment is empty, but policy is {kind!r}, which needs it; set it to an embodiment file"
        )
    cell = deployed_robot(robot, deployment_file)
    here, _ = described(cell, robot_description)
    policy: ChunkPolicy = HoldPolicy(here) if kind == "hold" else RandomPolicy(here, seed)
    return LoadedPolicy(policy, here, "", here.observation_horizon, deployed=deployed_fields(robot, cell))
