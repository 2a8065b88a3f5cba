# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Success of a policy against what differs from its demonstrations, latency and lost images, in lock step.

    benchmarks/robustness.py --scenes 20 --out docs/outcomes/robustness
    benchmarks/robustness.py --table --out docs/outcomes/robustness

One file of outcomes for each condition; what is there already is not run again, so that it goes on where it ended and
more scenes may be added. The table is made of the files alone. All conditions run the same scenes.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Final

from hpt_ros import __version__
from hpt_ros.control import ControlConfig
from hpt_ros.control.config import QueueConfig, SafetyConfig
from hpt_ros.evaluation.outcomes import Outcomes, Provenance, read_outcomes, resumed, write_outcomes
from hpt_ros.evaluation.rollout import Episode, Rollout, RolloutConfig
from hpt_ros.evaluation.statistics import success_interval
from hpt_ros.model.weight_files import sha256_of
from hpt_ros.policies.loading import LoadedPolicy
from hpt_ros.resources import checkpoint_folder
from hpt_ros.runtime.policy_config import PolicyChoice
from hpt_ros.sim.environment import make_environment
from hpt_ros.sim.transport import PERFECT, Transport
from hpt_ros.sim.variation import STANDARD, with_settings

FIRST_SEED: Final = 3000
WIDER: Final = 50.0  # times the velocity and acceleration limits: as good as none
# No fade from chunk to chunk, and no chunk is refused for its jump.
BARE: Final = ControlConfig(queue=QueueConfig(fade_s=0.0), safety=SafetyConfig(jump_reach_s=0.0))


@dataclass(frozen=True, slots=True)
class Condition:
    """What is different.

    Attributes:
        what: for people.
        vary: settings of the scenes.
        images: what happens to images on their way.
        inference_s: what an inference takes.
        compensates: chunks are timed by their observation.
        safe: with limits and fade.
    """

    what: str
    vary: tuple[str, ...] = ()
    images: Transport = PERFECT
    inference_s: float = 0.05
    compensates: bool = True
    safe: bool = True


def _latency(inference_s: float) -> list[Condition]:
    text = f"an inference takes {1000 * inference_s:.0f} ms"
    return [
        Condition(text, inference_s=inference_s),
        Condition(f"{text}, no latency compensation", inference_s=inference_s, compensates=False),
        Condition(f"{text}, no limits, no fade", inference_s=inference_s, safe=False),
    ]


LOST: Final = Transport(lost=0.1)
CONDITIONS: Final = {
    "standard": Condition("nothing: scenes as demonstrated, an inference takes 50 ms"),
    "bare": Condition("no limits, no fade", safe=False),
    **{
        f"camera_{shift}mm": Condition(f"cameras off by {shift} mm", (f"camera_shift_m={shift / 1000}",))
        for shift in (10, 30, 60)
    },
    "camera_turn": Condition("cameras turned by 0.05 rad", ("camera_shift_rad=0.05",)),
    "light": Condition(
        "light moved by up to 0.8 m, 60 % brighter or dimmer", ("light_m=0.8", "light_ratio=0.6")
    ),
    "colours": Condition("colours differ (0.4)", ("colours=0.4",)),
    "distractors": Condition("6 distractors", ("distractors=6",)),
    "noise": Condition("noise of 4 % in every pixel", ("image_noise=0.04",)),
    **{
        f"latency_{ms}ms{suffix}": condition
        for ms in (0, 100, 200, 300)
        for suffix, condition in zip(("", "_uncompensated", "_bare"), _latency(ms / 1000), strict=True)
        if ms or not suffix
    },
    "lost": Condition("10 % of the images are lost", images=LOST),
    "lost_uncompensated": Condition(
        "10 % of the images are lost, no latency compensation", images=LOST, compensates=False
    ),
    "lost_bare": Condition("10 % of the images are lost, no limits, no fade", images=LOST, safe=False),
}


def unlimited(loaded: LoadedPolicy) -> LoadedPolicy:
    """Return a policy whose robot may move as fast as it likes."""
    action = loaded.embodiment.action
    limits = tuple(
        replace(limit, velocity=WIDER * limit.velocity, acceleration=WIDER * limit.acceleration)
        for limit in action.limits
        if limit.velocity is not None and limit.acceleration is not None
    )
    return replace(loaded, embodiment=replace(loaded.embodiment, action=replace(action, limits=limits)))


@dataclass(slots=True)
class Bench:
    """Runs conditions of one checkpoint in one environment."""

    checkpoint: str
    environment: str
    out: Path
    scenes: int

    def run(self, name: str, condition: Condition) -> None:
        """Run what is missing of a condition."""
        folder = checkpoint_folder(self.checkpoint)
        variation = with_settings(STANDARD, condition.vary)
        environment = make_environment(self.environment, condition.images, variation=variation)
        arm = self.checkpoint + ("" if condition.compensates else ", no latency compensation")
        provenance = Provenance(
            environment=environment.name,
            environment_version=environment.version,
            mujoco_version=version("mujoco"),
            policy=arm + ("" if condition.safe else ", no limits, no fade"),
            checkpoint_sha256=sha256_of(folder / "model.safetensors"),
            inference_s=condition.inference_s,
            time_limit_s=environment.time_limit_s,
            image_delay_s=condition.images.delay_s,
            image_jitter_s=condition.images.jitter_s,
            image_lost=condition.images.lost,
            variation=str(variation),
            transports="",
            hpt_ros_version=__version__,
        )
        path = self.out / f"{name}.parquet"
        known = {episode.seed: episode for episode in resumed(path, provenance)}
        loaded = PolicyChoice(checkpoint=str(folder), threads=1, backend="eager").load()
        config = RolloutConfig(
            condition.inference_s,
            ControlConfig() if condition.safe else BARE,
            compensates=condition.compensates,
        )
        rollout = Rollout(loaded if condition.safe else unlimited(loaded), environment, config)
        try:
            for seed in range(FIRST_SEED, FIRST_SEED + self.scenes):
                if seed in known:
                    continue
                known[seed] = rollout.episode(seed)
                write_outcomes(path, Outcomes(provenance, tuple(known.values())))
        finally:
            rollout.close()
            environment.close()


def row(condition: Condition, episodes: tuple[Episode, ...]) -> str:
    """Return a condition's row of the table."""
    successes = sum(episode.success for episode in episodes)
    found = success_interval(successes, len(episodes))
    faults = sum(bool(episode.fault) for episode in episodes)
    holds = sum(episode.holds for episode in episodes)
    jerk = sorted(episode.peak_jerk for episode in episodes)[len(episodes) // 2]
    return (
        f"| {condition.what} | {successes} of {len(episodes)} | {100 * found.lower:.0f} to {100 * found.upper:.0f} | "
        f"{faults} | {holds} | {jerk:.0f} |"
    )


def table(out: Path) -> str:
    """Return the table of the files that there are, as Markdown."""
    lines = [
        "| what is different | success | 95 % interval, % | faults | holds | peak jerk, median, rad/s^3 |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, condition in CONDITIONS.items():
        path = out / f"{name}.parquet"
        if path.exists():
            lines.append(row(condition, read_outcomes(path).episodes))
    return "\n".join(lines)


def main() -> int:
    """Run what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--checkpoint", default="feed_dog", metavar="NAME_OR_DIR")
    parser.add_argument("--env", default="feed_dog", metavar="NAME")
    parser.add_argument("--scenes", type=int, default=20, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="for the files of outcomes")
    parser.add_argument("--only", nargs="*", choices=CONDITIONS, metavar="CONDITION", help="these alone")
    parser.add_argument("--table", action="store_true", help="run nothing")
    arguments = parser.parse_args()
    if not arguments.table:
        arguments.out.mkdir(parents=True, exist_ok=True)
        bench = Bench(arguments.checkpoint, arguments.env, arguments.out, arguments.scenes)
        wanted = arguments.only or list(CONDITIONS)
        for number, name in enumerate(wanted, 1):
            start_s = time.monotonic()
            bench.run(name, CONDITIONS[name])
            print(f"{number} of {len(wanted)}: {name}, {time.monotonic() - start_s:.0f} s", file=sys.stderr)
    print(table(arguments.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
