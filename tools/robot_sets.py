# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Make small datasets of different robots and a mixture of them, for trying `hpt pretrain` and `hpt finetune --trunk`.

    python tools/robot_sets.py OUT [--episodes 12] [--sets arm tool base sawyer wrist]

| set | robot | sees | commands |
| --- | --- | --- | --- |
| arm | the simulator's arm (`feed_dog`) | two cameras, 7 joints | joint positions |
| tool | the same arm, commanded by the pose of its scoop | a smaller camera, the scoop's pose | poses (PoseStamped) |
| base | a mobile base that drives to a red square | the floor ahead, its speeds | velocities (Twist) |
| sawyer | Meta-World's Sawyer, reach; where metaworld is installed | a camera, its hand | hand positions |
| wrist | the arm, its wrist camera alone; for finetuning, not in the mixture | 7 joints | joint positions |

Each demonstration is scripted and every episode starts otherwise; nothing here measures how good a policy is.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from hpt_ros.dataset import DatasetWriter
from hpt_ros.embodiment import Embodiment
from hpt_ros.mujoco_engine import mujoco
from hpt_ros.resources import config_file

Tick = dict[str, NDArray[Any]]
CONTROL_S, DT_S = 0.02, 0.1

HEAD = """
format: hpt_ros/embodiment/1
name: {name}
description: {description}
tick_hz: 10.0
observation_horizon: 2
streams:
"""
CAMERA = """
  - {{name: {name}, modality: image, topic: {name}/image_raw, type: sensor_msgs/msg/Image, rate_hz: 10.0,
     tolerance_s: 0.15, image: {{height: {height}, width: {width}}}}}
"""
TOOL = """
  - {name: tcp, modality: state, topic: tool_pose, type: geometry_msgs/msg/PoseStamped, rate_hz: 100.0,
     tolerance_s: 0.1, unit: m}
action:
  rate_hz: 50.0
  horizon: 8
  outputs:
    - {name: tool, topic: tool_target, type: geometry_msgs/msg/PoseStamped, kind: cartesian_pose, unit: m,
       rotation: rotation_6d, frame_id: base, pose: tcp, rotation_limit: {velocity: 2.0, acceleration: 10.0}}
  limits:
    - {name: tool.x, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 5.0}
    - {name: tool.y, lower: -1.0, upper: 1.0, velocity: 1.0, acceleration: 5.0}
    - {name: tool.z, lower: 0.0, upper: 1.2, velocity: 1.0, acceleration: 5.0}
"""
BASE = """
  - {name: odometry, modality: state, topic: odom, type: nav_msgs/msg/Odometry, rate_hz: 50.0, tolerance_s: 0.1,
     fields: [twist], unit: m/s}
action:
  rate_hz: 50.0
  horizon: 6
  outputs:
    - {name: base, topic: cmd_vel, type: geometry_msgs/msg/Twist, kind: base_velocity,
       names: [vx, wz], unit: m/s, tolerance_s: 0.5}
  limits:
    - {name: base.vx, velocity: 0.5, acceleration: 5.0}
    - {name: base.wz, velocity: 1.5, acceleration: 15.0}
"""
SAWYER = """
  - {name: hand, modality: state, topic: hand, type: std_msgs/msg/Float64MultiArray, rate_hz: 80.0, tolerance_s: 0.1,
     length: 4, unit: m}
action:
  topic: hand_target
  type: std_msgs/msg/Float64MultiArray
  names: [x, y, z, gripper]
  unit: m
  rate_hz: 20.0
  horizon: 8
  limits:
    - {name: x, lower: -0.6, upper: 0.6, velocity: 1.0, acceleration: 10.0}
    - {name: y, lower: 0.2, upper: 1.1, velocity: 1.0, acceleration: 10.0}
    - {name: z, lower: 0.0, upper: 0.6, velocity: 1.0, acceleration: 10.0}
    - {name: gripper, lower: -1.0, upper: 1.0, velocity: 20.0, acceleration: 400.0}
"""


def build_simulated_arm() -> Embodiment:
    """The robot of the demo."""
    return Embodiment.load(config_file("embodiments/feed_dog.yaml"))


def text_of(name: str, description: str, cameras: dict[str, tuple[int, int]], rest: str) -> Embodiment:
    """An embodiment with cameras of some heights and widths."""
    streams = "".join(CAMERA.format(name=c, height=h, width=w) for c, (h, w) in cameras.items())
    return Embodiment.loads(HEAD.format(name=name, description=description) + streams + rest)


def wrist_arm() -> Embodiment:
    """The demo's robot without its front camera, with another horizon."""
    data = yaml.safe_load(config_file("embodiments/feed_dog.yaml").read_text(encoding="utf-8"))
    data |= {"name": "feed_dog_wrist", "description": "simulated arm, wrist camera", "observation_horizon": 2}
    data["streams"] = [stream for stream in data["streams"] if stream["name"] != "front"]
    data["action"]["horizon"] = 8
    return Embodiment.loads(yaml.safe_dump(data))


def demonstrate_feeding(seed: int, cameras: dict[str, tuple[int, int]], *, poses: bool) -> Iterator[Tick]:
    """A demonstration of the demo's task, in lock step; joints, or poses of the scoop."""
    from hpt_ros.sim.physics import Renderer
    from hpt_ros.sim.tasks.feed_dog.scene import FeedDogScene
    from hpt_ros.sim.tasks.feed_dog.teleoperator import SCOOP, ScriptedTeleoperator

    def observe(joints_rad: NDArray[np.float64]) -> NDArray[np.float64]:
        if not poses:
            return joints_rad
        pose = SCOOP.pose(joints_rad)
        return np.concatenate([pose[:3, 3], pose[:3, 0], pose[:3, 1]])  # rotation_6d: the first two columns

    size = next(iter(cameras.values()))
    if size not in _scenes:  # a scene and its GL context are made once
        scene = FeedDogScene(CONTROL_S)
        _scenes[size] = scene, Renderer(scene.physics, *size)
    environment, renderer = _scenes[size]
    environment.reset(seed)
    teleoperator = ScriptedTeleoperator(
        environment.task.bowl_xy_m, environment.physics.joint_positions_rad, seed=seed
    )
    while not teleoperator.is_done(environment.time_s):
        now_s = environment.time_s
        yield {
            **{f"observation.images.{name}": renderer.render(name) for name in cameras},
            "observation.state": observe(environment.physics.joint_positions_rad),
            "action": observe(teleoperator.target(now_s + DT_S)),
        }
        for step in range(round(DT_S / CONTROL_S)):
            environment.step(teleoperator.target(now_s + (step + 1) * CONTROL_S))


_scenes: dict[Any, Any] = {}  # by what they are of, with their renderers


def drive_base(seed: int) -> Iterator[Tick]:
    """A base that turns to a square and drives there; its picture is the floor ahead, 2 m square, from above."""
    rng = np.random.default_rng(seed)
    x, y, heading, speed, turn = 0.0, 0.0, 0.0, 0.0, 0.0
    goal = rng.uniform(0.6, 1.8) * np.array([1.0, rng.uniform(-0.8, 0.8)])
    for _ in range(60):
        ahead = Rotation.from_euler("z", -heading).apply([goal[0] - x, goal[1] - y, 0.0])[:2]
        picture = np.full((64, 64, 3), 60, np.uint8)
        row, column = 63 - round(ahead[0] / 2.0 * 63), 32 - round(ahead[1] / 2.0 * 63)
        picture[max(row - 3, 0) : max(row + 3, 0), max(column - 3, 0) : max(column + 3, 0)] = (220, 40, 30)
        angle = math.atan2(ahead[1], ahead[0])
        wanted = np.array(
            [
                min(0.5, 0.5 * np.hypot(*ahead)) * max(math.cos(angle), 0.0),
                float(np.clip(2.0 * angle, -1.5, 1.5)),
            ]
        )
        yield {
            "observation.images.ahead": picture,
            "observation.state": np.array([speed, 0.0, 0.0, 0.0, 0.0, turn]),
            "action": wanted,
        }
        if np.hypot(*ahead) < 0.05:
            return
        speed, turn = 0.5 * speed + 0.5 * wanted[0], 0.5 * turn + 0.5 * wanted[1]
        heading += turn * DT_S
        x, y = x + speed * math.cos(heading) * DT_S, y + speed * math.sin(heading) * DT_S


def demonstrate_reach(seed: int) -> Iterator[Tick]:
    """A demonstration of Meta-World's expert at its task reach, four of its steps a tick (20 Hz in its 80)."""
    from metaworld.policies import SawyerReachV3Policy

    from hpt_ros.sim.suites.metaworld.environment import make_sawyer

    if "sawyer" not in _scenes:
        environment = make_sawyer("reach", "the set sawyer")
        _scenes["sawyer"] = environment, mujoco.Renderer(environment.model, 96, 128)
    environment, renderer = _scenes["sawyer"]
    environment.seed(seed)
    observed, _ = environment.reset()
    # The expert knows where the goal is; a policy must see it, so the state is the hand and the gripper alone.
    expert = SawyerReachV3Policy()
    for _ in range(40):
        renderer.update_scene(environment.data, "corner4")
        tick = {
            "observation.images.corner": renderer.render()[::-1, ::-1].copy(),
            "observation.state": observed[:4].copy(),
        }
        observed[-3:] = environment._target_pos
        action = np.clip(expert.get_action(observed), -1.0, 1.0)
        for _ in range(4):
            observed, _, _, _, info = environment.step(action)
        yield {**tick, "action": np.append(environment.data.mocap_pos[0], action[3])}
        if info["success"]:
            return


Make = Callable[[int], Iterator[Tick]]


def sets() -> dict[str, tuple[Embodiment, str, Make]]:
    """Name to robot, task and how an episode is made from its seed."""
    both, front, wrist = ({"front": (96, 128), "wrist": (96, 128)}, {"front": (64, 64)}, {"wrist": (96, 128)})
    feed = "scoop kibble from the bin and pour it into the dog's bowl"
    return {
        "arm": (build_simulated_arm(), feed, lambda seed: demonstrate_feeding(seed, both, poses=False)),
        "tool": (
            text_of("feed_dog_tool", "simulated arm, commanded by poses of its scoop", front, TOOL),
            feed,
            lambda seed: demonstrate_feeding(1000 + seed, front, poses=True),
        ),
        "base": (
            text_of("base", "mobile base", {"ahead": (64, 64)}, BASE),
            "drive to the red square",
            drive_base,
        ),
        "sawyer": (
            text_of("sawyer", "Meta-World's Sawyer", {"corner": (96, 128)}, SAWYER),
            "reach the goal",
            demonstrate_reach,
        ),
        "wrist": (wrist_arm(), feed, lambda seed: demonstrate_feeding(2000 + seed, wrist, poses=False)),
    }


def main() -> None:
    """Write the sets that are not there yet, and the mixture of all but `wrist`."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="folder for the datasets and mixture.yaml")
    parser.add_argument("--episodes", type=int, default=12, help="of each set")
    parser.add_argument(
        "--sets", nargs="+", choices=tuple(sets()), default=tuple(sets()), help="which to make"
    )
    args = parser.parse_args()
    for name in args.sets:
        robot, task, make = sets()[name]
        if name == "sawyer" and importlib.util.find_spec("metaworld") is None:
            print("sawyer: left out, since the package metaworld is not installed")
            continue
        if (args.out / name).exists():
            print(f"{name}: there already")
            continue
        ticks = 0
        with DatasetWriter(args.out / name, robot) as writer:
            for seed in range(args.episodes):
                episode = writer.episode(task)
                for tick in make(seed):
                    episode.add(tick)
                    ticks += 1
                writer.append(episode.finish())
            writer.finish()
        print(f"{name}: {args.episodes} episodes, {ticks} ticks of {robot.name}")
    there = [name for name in sets() if name != "wrist" and (args.out / name).is_dir()]
    if not there:
        return
    entries = [{"path": name, "licence": "Apache-2.0"} for name in there]
    (args.out / "mixture.yaml").write_text(
        yaml.safe_dump({"datasets": entries}, sort_keys=False), encoding="utf-8"
    )
    print(f"wrote {args.out / 'mixture.yaml'}: {', '.join(there)}")


if __name__ == "__main__":
    main()
