# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Under which conditions a policy is evaluated, and what they make of a policy and an environment: a job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from hpt_ros import __version__
from hpt_ros.devices import DEFAULT_DEVICE
from hpt_ros.evaluation import INFERENCE_S
from hpt_ros.evaluation.evaluate import Job
from hpt_ros.evaluation.outcomes import LOCK_STEP, Provenance
from hpt_ros.evaluation.rollout import RolloutConfig
from hpt_ros.model.checkpoint_folder import WEIGHTS, locate
from hpt_ros.model.weight_files import sha256_of
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.environment import ENVIRONMENTS, Environment, make_environment, require_varies
from hpt_ros.sim.transport import Transport, as_settings, transports_of
from hpt_ros.sim.variation import Variation, level_of, restrict, with_settings
from hpt_ros.structured import field


@dataclass(frozen=True, slots=True)
class Contender:
    """A policy that is evaluated.

    Attributes:
        name: for people.
        choice: what is loaded.
        runner: who runs in place of the policy, as of `Job`.
        sha256: of the checkpoint's weights; empty for a policy without.
    """

    name: str
    choice: PolicyChoice
    runner: str = ""
    sha256: str = ""

    @classmethod
    def of_checkpoint(cls, folder: Path, name: str = "", device: str = DEFAULT_DEVICE) -> Contender:
        """Return that of a checkpoint's folder, or of the folder of one robot in it.

        Args:
            folder: of the checkpoint.
            name: for people; empty: the folder's.
            device: of the network.
        """
        # One thread a process: two collapse when anything else runs. Eager: a few hundred steps of a small network.
        choice = PolicyChoice(checkpoint=str(folder), device=device, threads=1, backend="eager")
        return cls(name or folder.name, choice, sha256=sha256_of(locate(folder)[0] / WEIGHTS))


@dataclass(frozen=True, slots=True)
class Conditions:
    """What scenes are like, and what policy and messages take."""

    inference_s: float = field(
        "time of an inference on the environment's clock", default=INFERENCE_S, unit="s", minimum=0.0
    )
    image_delay_s: float = field(
        "shortest time from a camera's exposure to the image's arrival", default=0.0, unit="s", minimum=0.0
    )
    image_jitter_s: float = field(
        "mean of a random time on top, drawn for each image", default=0.0, unit="s", minimum=0.0
    )
    image_lost: float = field("ratio of all images that never arrive", default=0.0, minimum=0.0, maximum=1.0)
    difficulty: str = field(
        "how far scenes differ: standard, varied, hard or extreme, or 0 to 3", default="standard"
    )
    vary: tuple[str, ...] = field("single things of the difficulty, as KEY=VALUE", default=())
    transport: tuple[str, ...] = field(
        "what happens to one stream's messages, as STREAM.KEY=VALUE", default=()
    )
    time_limit_s: float | None = field("of an episode, instead of the environment's", default=None, unit="s")

    def variation(self, environment: str) -> Variation:
        """Return how far scenes of an environment differ.

        Raises:
            HptError: there is no such level or thing, or a value cannot be.
        """
        return variation_of(environment, self.difficulty, self.vary)

    @contextmanager
    def make(self, environment: str) -> Iterator[Environment]:
        """Make the environment of a name as scenes have it, and free it at the end.

        Raises:
            HptError: no such environment, or it cannot be so.
        """
        variation, transports = self.variation(environment), transports_of(self.transport)
        found = make_environment(environment, variation=variation, transports=transports)
        try:
            yield found
        finally:
            found.close()

    def job(self, contender: Contender, environment: str, clock: str = LOCK_STEP) -> tuple[Job, Provenance]:
        """Return what is run in the environment of a name, and what its outcomes are made by.

        Args:
            contender: the policy.
            environment: a name.
            clock: as of `Provenance`; in real time an inference takes what it takes.

        Raises:
            HptError: no such environment, or a number that makes no sense.
        """
        with self.make(environment) as found:
            return self.job_in(found, contender, environment, clock)

    def job_in(
        self, made: Environment, contender: Contender, environment: str, clock: str = LOCK_STEP
    ) -> tuple[Job, Provenance]:
        """Return the same where the environment is made already."""
        inference_s = self.inference_s if clock == LOCK_STEP else 0.0
        config = RolloutConfig(inference_s=inference_s, time_limit_s=self.time_limit_s)
        images = Transport(self.image_delay_s, self.image_jitter_s, self.image_lost)
        variation, transports = self.variation(environment), transports_of(self.transport)
        provenance = Provenance(
            environment=made.name,
            environment_version=made.version,
            mujoco_version=version("mujoco"),
            policy=contender.name,
            checkpoint_sha256=contender.sha256,
            inference_s=inference_s,
            time_limit_s=made.time_limit_s if self.time_limit_s is None else self.time_limit_s,
            image_delay_s=images.delay_s,
            image_jitter_s=images.jitter_s,
            image_lost=images.lost,
            variation=str(variation),
            transports=as_settings(transports),
            hpt_ros_version=__version__,
            clock=clock,
        )
        job = Job(
            environment, contender.choice, contender.runner, images, variation=variation, transports=transports,
            config=config,
        )  # fmt: skip
        return job, provenance


def variation_of(environment: str, difficulty: str, vary: tuple[str, ...]) -> Variation:
    """Return how far scenes of an environment differ.

    Raises:
        HptError: there is no such level or thing, or a value cannot be.
    """
    kind = ENVIRONMENTS[environment]
    variation = with_settings(restrict(level_of(difficulty), kind.varies), vary)
    require_varies(kind, variation)
    return variation
