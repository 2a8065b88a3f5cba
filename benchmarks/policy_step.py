"""One policy step, camera picture in to action out, against a plain transcription of HPT, side by side in one run.

``.venv/bin/python benchmarks/policy_step.py [--sizes small base large] [--views 1 2] [--steps 30]``

Both encode each new picture once and keep the features of past frames; both have the same weights and must give the
same actions. They take turns step by step, so that a noisy machine slows both. The ratio is of medians.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque

import numpy as np
import torch
from plain_hpt import PlainHpt
from rich.console import Console
from rich.table import Table
from torch import Tensor

from hpt_ros.model import ImageEncoderConfig, Policy, PolicyConfig, Statistics, TrunkConfig

HORIZON, CHUNK, JOINTS, HEIGHT, WIDTH = 4, 8, 7, 480, 640
SAME = (
    1e-3  # largest difference of actions within [-1, 1]: float32 sums in another order over up to 32 blocks
)


class OurStep:
    """The policy as a rollout uses it."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.past: deque[Tensor] = deque(maxlen=HORIZON)
        self.states: deque[Tensor] = deque(maxlen=HORIZON)

    def step(self, images: np.ndarray, state: np.ndarray) -> Tensor:
        """Return the chunk (CHUNK, JOINTS) after one more observation."""
        with torch.inference_mode():
            self.past.append(self.policy.encode_images(images[None, None])[0, 0])
        self.states.append(torch.from_numpy(state))
        while len(self.past) < HORIZON:
            self.past.appendleft(self.past[0])
            self.states.appendleft(self.states[0])
        features, states = torch.stack(tuple(self.past))[None], torch.stack(tuple(self.states))[None]
        return self.policy.predict({"image_features": features, "state": states})[0]


def make_policy(size: str, views: int) -> Policy:
    """A policy with random weights, made so that its actions depend on its inputs."""
    torch.manual_seed(0)
    config = PolicyConfig(
        embodiment="arm", action_dim=JOINTS, action_horizon=CHUNK, observation_horizon=HORIZON, state_dim=JOINTS,
        views=views, image_height=HEIGHT, image_width=WIDTH, trunk=TrunkConfig.named(size),
        image_encoder=ImageEncoderConfig(kind="resnet18"),
    )  # fmt: skip
    policy = Policy(config).eval()
    samples = np.random.default_rng(0).uniform(-1.0, 1.0, (100, JOINTS))
    policy.set_statistics({"state": Statistics.of(samples), "action": Statistics.of(samples)})
    return policy


def compare(size: str, views: int, steps: int) -> tuple[list[float], list[float], float]:
    """Seconds of our steps and of the plain ones, and the largest difference between their actions."""
    policy = make_policy(size, views)
    ours, plain = OurStep(policy), PlainHpt(policy)
    random = np.random.default_rng(1)
    seconds: tuple[list[float], list[float]] = ([], [])
    difference = 0.0
    for step in range(steps + 3):
        images = random.integers(0, 256, (views, HEIGHT, WIDTH, 3), dtype=np.uint8)
        state = random.uniform(-1.0, 1.0, JOINTS).astype(np.float32)
        actions = []
        for act, spent in zip((ours.step, plain.step), seconds, strict=True):
            start_s = time.perf_counter()
            actions.append(act(images, state))
            if step >= 3:  # the first steps warm up
                spent.append(time.perf_counter() - start_s)
        difference = max(difference, float((actions[0] - actions[1]).abs().max()))
    return *seconds, difference


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["small", "base", "large"])
    parser.add_argument("--views", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    table = Table(
        title=f"policy step, {WIDTH}x{HEIGHT} pictures, horizon {HORIZON}, CPU, {args.threads} threads, float32",
        caption="ms: median / 99th percentile",
    )
    for column in ("trunk", "views", "plain, ms", "ours, ms", "times faster", "largest difference"):
        table.add_column(column, justify="right")
    for size in args.sizes:
        for views in args.views:
            ours, plain, difference = compare(size, views, args.steps)
            if difference > SAME:
                print(f"policy_step.py: error: the actions differ by {difference:g}", file=sys.stderr)
                return 1
            cells = [f"{np.median(v) * 1e3:.0f} / {np.percentile(v, 99) * 1e3:.0f}" for v in (plain, ours)]
            ratio = f"{np.median(plain) / np.median(ours):.2f}"
            table.add_row(size, str(views), *cells, ratio, f"{difference:.0e}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
