# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What an environment is: a robot, its surroundings and a task, with time as an argument; and those that there are.

An environment stands where a robot's drivers and controllers stand: it sends messages on topics and takes messages on
topics, with the fields that ROS messages have. So the code that reads a robot reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.registry import Registry, load_location
from hpt_ros.sim.messages import Sample
from hpt_ros.sim.suites.aloha import tasks as aloha
from hpt_ros.sim.suites.fetch import tasks as fetch
from hpt_ros.sim.suites.libero import tasks as libero
from hpt_ros.sim.suites.metaworld import tasks as metaworld
from hpt_ros.sim.suites.so101 import tasks as so101
from hpt_ros.sim.transport import PERFECT, Transport
from hpt_ros.sim.variation import NAMES, STANDARD, Variation


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the task stands.

    Attributes:
        success: it is done.
        progress: ratio of it that is done, 0 to 1.
        detail: one sentence for people.
    """

    success: bool
    progress: float
    detail: str


class Environment(Protocol):
    """One robot at one task. One thread uses it.

    Attributes:
        name: by which it is found.
        version: changes with whatever changes outcomes; results of different versions are not compared.
        embodiment: the robot.
        instruction: what the robot is to do, in the language that a person would use; tells tasks of one robot apart.
        time_limit_s: an episode that has not succeeded by then has failed.
    """

    name: str
    version: str
    embodiment: Embodiment
    instruction: str
    time_limit_s: float

    @property
    def now_ns(self) -> int:
        """Simulated time; it never goes back, also not at a reset."""
        ...

    def reset(self, seed: int) -> None:
        """Begin an episode: the same seed begins the same one, whatever happened before."""
        ...

    def command(self, topic: str, message: Any) -> None:
        """Take a command now.

        Raises:
            HptError: the robot's controller refuses it; the robot goes on with what it was commanded before.
        """
        ...

    def advance(self, until_ns: int) -> Sequence[Sample]:
        """Let time run until then; returns the messages that arrived meanwhile, in order of arrival."""
        ...

    def outcome(self) -> Outcome:
        """Return how the task stands now."""
        ...

    def render(self, height: int, width: int) -> npt.NDArray[np.uint8]:
        """Return an image for people of what happens now, (height, width, 3) RGB."""
        ...

    def close(self) -> None:
        """Free what it holds; idempotent."""
        ...


class Expert(Protocol):
    """Who solves one episode, knowing what no camera shows, and commands the robot as a teleoperator does."""

    def action(self, time_ns: int) -> npt.NDArray[np.float64]:
        """Return the action that the robot is to reach at a time, one command period after the environment's present.

        It is asked once every command period, and may look at everything as it is now.

        Args:
            time_ns: on the environment's clock.

        Returns:
            (dim,) absolute, of the embodiment's action.
        """
        ...


@runtime_checkable
class HasExpert(Protocol):
    """An environment that can be solved by who knows what no camera shows."""

    embodiment: Embodiment

    def expert(self) -> Expert:
        """Begin to solve the episode from where everything is now."""
        ...


@runtime_checkable
class HasTool(Protocol):
    """An environment whose robot is commanded by its joints, and has a tool that a person can move."""

    def tool_jacobian(self, joints: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the tool's Jacobian (6, n) at joint positions (n,): linear over angular, in the frame of the base.

        The joints are the action's without its grippers, in its order.
        """
        ...


@runtime_checkable
class Selects(Protocol):
    """An environment that need not make what nobody reads: rendering a camera costs more than all else."""

    def select(self, topics: Collection[str]) -> None:
        """Send only what is measured on these topics from now on; before the first call, on all."""
        ...


@runtime_checkable
class Counts(Protocol):
    """An environment that says what became of its commands."""

    def counters(self) -> Mapping[str, int]:
        """Return counts since it was made, by name; all but "accepted" are of what should not happen."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedExpert:
    """An expert that looks once, when it begins.

    Attributes:
        plan: seconds since then to the action (dim,).
        start_ns: when it began, on the environment's clock.
    """

    plan: Callable[[float], npt.NDArray[np.float64]]
    start_ns: int

    def action(self, time_ns: int) -> npt.NDArray[np.float64]:
        """Return where the plan is then."""
        return self.plan((time_ns - self.start_ns) / 1e9)


@dataclass(frozen=True, slots=True)
class EnvironmentKind:
    """An environment that can be made.

    Attributes:
        name: by which it is found.
        make: makes it, or its location as "module:name", which is imported when it is made; called with `images` and
            `disturbance_rad` of `make_environment`, with `variation` and `transports` where they are not the standard,
            and with the options.
        options: what makes it one of several that are made alike.
        varies: names of what it varies, of `hpt_ros.sim.variation.Variation`.
        transports: it lets the messages of each stream be late, irregular or lost.
    """

    name: str
    make: Callable[..., Environment] | str
    options: Mapping[str, Any] = field(default_factory=dict)
    varies: frozenset[str] = frozenset()
    transports: bool = False


def _table(name: str, class_: str, *, without: Sequence[str] = ()) -> EnvironmentKind:
    """Describe an environment of `hpt_ros.sim.tasks`, which varies all there is but for some."""
    return EnvironmentKind(
        name, f"hpt_ros.sim.tasks.{class_}", varies=frozenset(NAMES) - set(without), transports=True
    )


def _suite(suite: str, class_: str, tasks: Iterable[str]) -> list[EnvironmentKind]:
    """Describe the tasks of `hpt_ros.sim.suites`."""
    location = f"hpt_ros.sim.suites.{suite}.environment:{class_}"
    return [EnvironmentKind(f"{suite}/{task}", location, {"task": task}) for task in tasks]


ENVIRONMENTS: Registry[EnvironmentKind] = Registry(
    "environment",
    "hpt_ros.environments",
    EnvironmentKind,
    {
        kind.name: kind
        for kind in (
            _table("feed_dog", "feed_dog.environment:FeedDogEnvironment"),
            _table("sweep_leftovers", "sweep_leftovers.environment:SweepLeftoversEnvironment"),
            _table("fill_water", "fill_water.environment:FillWaterEnvironment", without=["orientation_rad"]),
            _table(
                "switch_insertion",
                "switch_insertion.environment:SwitchInsertionEnvironment",
                without=["objects"],
            ),
            _table("feed_dog_ur5e", "feed_dog.environment:FeedDogUr5eEnvironment"),
            _table("sweep_leftovers_ur5e", "sweep_leftovers.environment:SweepLeftoversUr5eEnvironment"),
            _table(
                "fill_water_ur5e",
                "fill_water.environment:FillWaterUr5eEnvironment",
                without=["orientation_rad"],
            ),
            _table(
                "switch_insertion_ur5e",
                "switch_insertion.environment:SwitchInsertionUr5eEnvironment",
                without=["objects"],
            ),
            *_suite("metaworld", "MetaWorldEnvironment", metaworld.INSTRUCTIONS),
            *_suite("fetch", "FetchEnvironment", fetch.INSTRUCTIONS),
            *_suite("so101", "So101Environment", so101.INSTRUCTIONS),
            *_suite("aloha", "AlohaEnvironment", aloha.INSTRUCTIONS),
            *_suite("libero", "LiberoEnvironment", libero.INSTRUCTIONS),
        )
    },
)


def require_varies(kind: EnvironmentKind, variation: Variation) -> None:
    """Check that an environment varies what is to vary.

    Raises:
        HptError: it does not.
    """
    for thing in variation.changed:
        if thing not in kind.varies:
            raise HptError(
                Code.UNSUPPORTED, f"the environment {kind.name!r}", thing, problem="does not vary {value}",
                expected=f"one of {', '.join(sorted(kind.varies)) or 'nothing'}", remedy="leave it at its standard",
            )  # fmt: skip


def make_environment(
    name: str,
    images: Transport = PERFECT,
    *,
    disturbance_rad: float = 0.0,
    variation: Variation = STANDARD,
    transports: Mapping[str, Transport] | None = None,
) -> Environment:
    """Make the environment of a name.

    Args:
        name: one of `ENVIRONMENTS`.
        images: what happens to the messages of all its cameras.
        disturbance_rad: standard deviation of smooth offsets between commanded and executed joint targets.
        variation: how far scenes differ.
        transports: what happens to the messages of streams, by their name.

    Raises:
        HptError: there is none of that name, it cannot be made here, or it does not vary what is to vary.
    """
    kind = ENVIRONMENTS[name]
    settings: dict[str, Any] = {"images": images, "disturbance_rad": disturbance_rad}
    require_varies(kind, variation)
    if variation.changed:
        settings["variation"] = variation
    if transports:
        if not kind.transports:
            raise HptError(
                Code.UNSUPPORTED, f"the environment {name!r}", ", ".join(transports),
                problem="has no transport for single streams such as {value}", remedy="choose that of all images",
            )  # fmt: skip
        settings["transports"] = transports
    made: Environment = load_location(kind.make)(**kind.options, **settings)
    return made
