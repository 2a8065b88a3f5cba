"""The policies that the node can run: a checkpoint, and two baselines that go through the same node and limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment import Embodiment, require_match
from hpt_ros.errors import HptError
from hpt_ros.nodes.inference import ChunkPolicy, Observation
from hpt_ros.resources import checkpoint_folder

KINDS = ("checkpoint", "hold", "random")

# The random baseline's speed, as part of the velocity limits: it moves visibly within an episode. Our choice.
RANDOM_SPEED = 0.2


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy and what belongs to it.

    Attributes:
        policy: what the worker calls.
        embodiment: of the robot that it drives.
        checkpoint: its folder; empty for a baseline.
        horizon: observation ticks that it wants.
    """

    policy: ChunkPolicy
    embodiment: Embodiment
    checkpoint: str
    horizon: int


def position_indices(embodiment: Embodiment) -> NDArray[np.intp]:
    """Where in the state vector the measured position of each commanded joint stands, (action dim,).

    Raises:
        HptError: a commanded joint is not observed, so the node could not know where the robot is.
    """
    names = embodiment.state_names
    for name in embodiment.action.names:
        if f"{name}.position" not in names:
            raise HptError(
                f"embodiment {embodiment.name!r} commands joint {name!r} but no stream has its position; add a "
                "JointState stream with field position for every commanded joint"
            )
    return np.array([names.index(f"{name}.position") for name in embodiment.action.names], dtype=np.intp)


@dataclass
class HoldPolicy:
    """The do-nothing baseline: stay where the newest observation saw the robot."""

    embodiment: Embodiment
    _index: NDArray[np.intp] = field(init=False)

    def __post_init__(self) -> None:
        self._index = position_indices(self.embodiment)

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The measured pose, repeated."""
        pose = observation.inputs["state"][0, -1, self._index].astype(np.float64)
        chunk: NDArray[Any] = np.tile(pose, (self.embodiment.action.horizon, 1))
        return chunk

    def reset(self) -> None:
        """Nothing is remembered."""


@dataclass
class RandomPolicy:
    """The random baseline: each chunk goes from the measured pose at a random constant velocity."""

    embodiment: Embodiment
    seed: int = 0
    _index: NDArray[np.intp] = field(init=False)
    _random: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self._index = position_indices(self.embodiment)
        self._random = np.random.default_rng(self.seed)

    def predict(self, observation: Observation) -> NDArray[Any]:
        """A straight line within the position limits."""
        robot = self.embodiment
        pose = observation.inputs["state"][0, -1, self._index].astype(np.float64)
        fastest = RANDOM_SPEED * robot.max_velocity
        velocity = self._random.uniform(-fastest, fastest)
        times_s = robot.dt_s * np.arange(robot.action.horizon)
        chunk: NDArray[Any] = np.clip(pose + times_s[:, None] * velocity, robot.lower, robot.upper)
        return chunk

    def reset(self) -> None:
        """Nothing is remembered; the random numbers go on, so that episodes differ."""


class CheckpointPolicy:
    """A trained policy from a checkpoint folder."""

    def __init__(self, folder: Path, device: str, threads: int) -> None:
        """Load strictly and run once, so that the first real inference is as quick as the others.

        Raises:
            HptError: the folder is no checkpoint, is damaged, or the device is not there.
        """
        # torch takes seconds to import; the baselines do without.
        import torch

        from hpt_ros.model.checkpoint import load_checkpoint

        if threads:
            torch.set_num_threads(threads)
        checkpoint = load_checkpoint(folder)
        self.embodiment = Embodiment.loads(
            checkpoint.embodiment_yaml, where=f"the embodiment of checkpoint {str(folder)!r}"
        )
        try:
            self._policy = checkpoint.policy.to(torch.device(device)).eval()
        except (RuntimeError, AssertionError) as error:
            words = " ".join(str(error).split())[:200]
            raise HptError(
                f"the parameter device is {device!r}, which torch cannot use here ({words}); use 'cpu' or a device "
                "that this machine has"
            ) from error
        self.config = checkpoint.config
        self._check()
        self.predict(self._example())

    def predict(self, observation: Observation) -> NDArray[Any]:
        """The policy's chunk, float32 (horizon, action dim)."""
        inputs = {name: observation.inputs[name] for name in self.config.modalities}
        chunk: NDArray[Any] = self._policy.predict(inputs)[0].to("cpu").numpy()
        return chunk

    def reset(self) -> None:
        """Nothing is remembered between observations."""

    def _check(self) -> None:
        robot, config = self.embodiment, self.config
        for what, ours, theirs in (
            ("name", config.embodiment, robot.name),
            ("action dimension", config.action_dim, robot.action.dim),
            ("state dimension", config.state_dim, len(robot.state_names)),
            ("action horizon", config.action_horizon, robot.action.horizon),
            ("observation horizon", config.observation_horizon, robot.observation_horizon),
        ):
            if "state" not in config.modalities and what == "state dimension":
                continue
            if ours != theirs:
                raise HptError(
                    f"the checkpoint's config.yaml has {what} {ours!r} but its embodiment.yaml has {theirs!r}; the "
                    "folder was mixed from two checkpoints, copy it again"
                )

    def _example(self) -> Observation:
        config = self.config
        steps, views = config.observation_horizon, config.views
        inputs: dict[str, NDArray[Any]] = {}
        if "image" in config.modalities:
            inputs["image"] = np.zeros(
                (1, steps, views, config.image_height, config.image_width, 3), np.uint8
            )
        if "state" in config.modalities:
            inputs["state"] = np.zeros((1, steps, config.state_dim), np.float32)
        return Observation(0, inputs)


def load_policy(
    kind: str, *, checkpoint: str, embodiment_file: str, device: str, threads: int, seed: int
) -> LoadedPolicy:
    """Make the policy that the node's parameters name.

    Args:
        kind: one of `KINDS`.
        checkpoint: folder or shipped name, for "checkpoint".
        embodiment_file: must match the checkpoint's if given; needed for the baselines.
        device: torch device.
        threads: of torch on the CPU; 0 leaves torch's choice.
        seed: of the random baseline.

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
        trained = CheckpointPolicy(folder, device, threads)
        if robot is not None:
            require_match(
                trained.embodiment, robot,
                a_name=f"checkpoint {str(folder)!r}", b_name=f"embodiment file {embodiment_file!r}",
            )  # fmt: skip
        return LoadedPolicy(trained, trained.embodiment, str(folder), trained.config.observation_horizon)
    if robot is None:
        raise HptError(
            f"the parameter embodiment is empty, but policy is {kind!r}, which needs it; set it to an embodiment file"
        )
    policy: ChunkPolicy = HoldPolicy(robot) if kind == "hold" else RandomPolicy(robot, seed)
    return LoadedPolicy(policy, robot, "", robot.observation_horizon)
