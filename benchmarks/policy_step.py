# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One policy step, camera picture in to action out, of each backend against a plain transcription of HPT.

``.venv/bin/python benchmarks/policy_step.py [--sizes small base large xlarge] [--views 1 2] [--backends eager ...]
[--rows FILE]``

Both encode each new picture once and keep the features of past frames; both have the same weights and must give the
same actions (in float32). They take turns step by step, so that a noisy machine slows both; the ratio is of medians.
The limit is the best rate that any library here reaches with a matrix product: PyTorch's own, oneDNN's (a 1x1
convolution), NumPy's and OpenVINO's. Each row runs in a process of its own, whose memory is measured. With ``--rows``
each is retained in a file when it is done, and none that is there is measured again: the entire table may be made in
parts, and an interruption loses one row.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from plain_hpt import PlainHpt
from rich import box
from rich.console import Console
from rich.table import Table
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from hpt_ros.errors import HptError
from hpt_ros.model import Policy, PolicyConfig, ResNet18Config, Statistics, TrunkConfig
from hpt_ros.model.backends.backend import example_arrays
from hpt_ros.model.backends.openvino import compile_graph
from hpt_ros.model.inference_session import InferenceSession

HORIZON, CHUNK, JOINTS, HEIGHT, WIDTH = 4, 8, 7, 480, 640
WARM_UP_STEPS = HORIZON
# Largest difference of float32 actions within [-1, 1]: sums in another order over up to 32 blocks.
SAME = 1e-3
BACKENDS = (
    "eager", "compile", "compile:bfloat16", "onnxruntime", "onnxruntime:int8", "openvino", "openvino:bfloat16",
)  # fmt: skip
CUDA_BACKENDS = ("eager", "cuda_graph", "cuda_graph:bfloat16")
MATRIX = 1024  # side of the matrices by which the machine's rate is measured


@dataclass(frozen=True)
class Row:
    """What is measured of one size, number of views and backend; times in milliseconds."""

    size: str
    views: int
    backend: str
    plain_ms: float
    plain_p99_ms: float
    ours_ms: float
    ours_p99_ms: float
    mean_error: float  # of the actions, within [-1, 1], against the plain ones
    max_error: float
    load_s: float
    memory_mb: float
    gflop: float
    rate_gflops: float  # of the fastest library's matrix product, in the row's precision
    library: str  # that reached it


def make_policy(size: str, views: int) -> Policy:
    """A policy with random weights, made so that its actions depend on its inputs."""
    torch.manual_seed(0)
    config = PolicyConfig(
        embodiment="arm", action_dim=JOINTS, action_horizon=CHUNK, observation_horizon=HORIZON,
        shapes={"state": (JOINTS,), "image": (views, HEIGHT, WIDTH, 3)}, trunk=TrunkConfig.of_size(size),
        image_encoder=ResNet18Config(),
    )  # fmt: skip
    policy = Policy(config).eval()
    samples = np.random.default_rng(0).uniform(-1.0, 1.0, (100, JOINTS))
    policy.set_statistics({"state": Statistics.of(samples), "action": Statistics.of(samples)})
    return policy


def measure(size: str, views: int, backend: str, steps: int, device: str) -> Row:
    """Run one row in this process."""
    name, _, precision = backend.partition(":")
    precision = precision or "float32"
    policy = make_policy(size, views).to(device)
    gflop = count_gflop(policy)
    gc.collect()
    before_mb, start_s = memory_mb(device), time.perf_counter()
    ours = InferenceSession(policy, backend=name, precision=precision)
    load_s = time.perf_counter() - start_s
    random = np.random.default_rng(1)
    images = [random.integers(0, 256, (views, HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(HORIZON)]
    states = random.uniform(-1.0, 1.0, (steps + WARM_UP_STEPS, JOINTS)).astype(np.float32)
    run(ours, images, states, 0)
    memory = memory_mb(device) - before_mb
    ours.reset()
    plain = PlainHpt(policy)
    ours_s, plain_s, errors = [], [], []
    products = matrix_products(precision, device)
    rates = dict.fromkeys(products, 0.0)
    for step in range(steps + WARM_UP_STEPS):
        start_s = time.perf_counter()
        chunk = run(ours, images, states, step)
        middle_s = time.perf_counter()
        wanted = plain.step(images[step % HORIZON], states[step]).cpu().numpy()
        end_s = time.perf_counter()
        if step >= WARM_UP_STEPS:
            ours_s.append(middle_s - start_s)
            plain_s.append(end_s - middle_s)
            errors.append(np.abs(chunk - wanted))
        for library, product in products.items():
            rates[library] = max(rates[library], gflops(product))
    plain_ms, ours_ms = np.array(plain_s) * 1e3, np.array(ours_s) * 1e3
    fastest = max(rates, key=lambda library: rates[library])
    return Row(
        size, views, backend,
        float(np.median(plain_ms)), float(np.percentile(plain_ms, 99)),
        float(np.median(ours_ms)), float(np.percentile(ours_ms, 99)),
        float(np.mean(errors)), float(np.max(errors)), load_s, memory, gflop,
        rates[fastest], fastest,
    )  # fmt: skip


def run(rollout: InferenceSession, images: list[np.ndarray], states: np.ndarray, step: int) -> np.ndarray:
    """Return the chunk after one more observation."""
    keys = [max(tick, 0) for tick in range(step - HORIZON + 1, step + 1)]
    frames = [images[key % HORIZON] for key in keys]
    chunk: np.ndarray = rollout.predict({"image": frames, "state": states[keys][None]}, keys)
    return chunk


def count_gflop(policy: Policy) -> float:
    """Count the multiplications and additions of one step as it is written down, in thousands of millions."""
    counter = FlopCounterMode(display=False)
    images = torch.zeros(1, 1, policy.config.views, HEIGHT, WIDTH, 3, dtype=torch.uint8, device=policy.device)
    with torch.no_grad(), counter:
        policy.encode_images(images)
        policy.act(example_arrays(policy))
    return float(counter.get_total_flops()) / 1e9


def matrix_products(precision: str, device: str) -> dict[str, Callable[[], object]]:
    """Return what multiplies two square matrices, by library; int8 rows take float32, in which their encoders are."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    a, b = (torch.ones(MATRIX, MATRIX, dtype=dtype, device=device) for _ in range(2))
    pixels, kernels = a[:, :, None, None].contiguous(memory_format=torch.channels_last), b[:, :, None, None]
    found: dict[str, Callable[[], object]] = {
        "torch": lambda: (a @ b)[0, 0].item(),  # which waits for a GPU
        "onednn" if device == "cpu" else "cudnn": lambda: functional.conv2d(pixels, kernels)[0, 0].cpu(),
    }
    if device != "cpu":
        return found
    if dtype == torch.float32:  # NumPy has no bfloat16
        found["numpy"] = lambda: a.numpy() @ b.numpy()
    layer = torch.nn.Linear(MATRIX, MATRIX, bias=False)
    wide = a.float()
    graph = compile_graph(layer, (wide,), "bfloat16" if precision == "bfloat16" else "float32")
    found["openvino"] = lambda: graph((wide,))
    return found


def gflops(product: Callable[[], object]) -> float:
    """Time one product."""
    start_s = time.perf_counter()
    product()
    return 2.0 * MATRIX**3 / (time.perf_counter() - start_s) / 1e9


def machine() -> str:
    """Name the CPU, for the table's title."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def memory_mb(device: str) -> float:
    """The process's resident memory, or on a GPU what torch has reserved there."""
    if device != "cpu":
        return torch.cuda.memory_reserved() / 1e6
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def table_of(rows: list[Row], title: str) -> Table:
    """Lay the rows out."""
    table = Table(title=title, box=box.MARKDOWN)
    for column in ("trunk", "views", "backend"):
        table.add_column(column)
    for column in (
        "plain, ms", "ours, ms", "times faster", "action error, mean / max", "load, s", "memory, MB", "of the limit",
    ):  # fmt: skip
        table.add_column(column, justify="right")
    for row in rows:
        limit_ms = row.gflop / row.rate_gflops * 1e3
        table.add_row(
            row.size, str(row.views), row.backend.replace(":", " "),
            f"{row.plain_ms:.0f} / {row.plain_p99_ms:.0f}", f"{row.ours_ms:.1f} / {row.ours_p99_ms:.0f}",
            f"{row.plain_ms / row.ours_ms:.2f}", f"{row.mean_error:.0e} / {row.max_error:.0e}",
            f"{row.load_s:.1f}", f"{row.memory_mb:.0f}", f"{limit_ms / row.ours_ms:.0%}",
        )  # fmt: skip
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="+", default=["small", "base", "large", "xlarge"])
    parser.add_argument("--views", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--backends", nargs="+", help="name or name:precision; all by default")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--rows", type=Path, help="file of rows: what is measured is added, what is there is not measured"
    )
    parser.add_argument("--row", help=argparse.SUPPRESS)  # what a process of its own is to measure
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.row:
        try:
            row = measure(**json.loads(args.row), steps=args.steps, device=args.device)
        except HptError as error:
            print(f"policy_step.py: error: {error}", file=sys.stderr)
            return 2
        print(json.dumps(asdict(row)))
        return 0
    known = args.rows.read_text().splitlines() if args.rows and args.rows.exists() else []
    rows = [Row(**json.loads(line)) for line in known]
    there = {(row.size, row.views, row.backend) for row in rows}
    backends = args.backends or (BACKENDS if args.device == "cpu" else CUDA_BACKENDS)
    for size in args.sizes:
        for views in args.views:
            for backend in backends:
                if (size, views, backend) in there:
                    continue
                given = json.dumps({"size": size, "views": views, "backend": backend})
                command = [sys.executable, __file__, "--row", given, "--device", args.device]
                command += ["--steps", str(args.steps), "--threads", str(args.threads)]
                # NumPy's library takes its threads from there.
                environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(args.threads)}
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, text=True, check=False, env=environment
                )
                if done.returncode:
                    return done.returncode
                row = Row(**json.loads(done.stdout.splitlines()[-1]))
                rows.append(row)
                if args.rows:
                    with args.rows.open("a") as file:
                        file.write(done.stdout.splitlines()[-1] + "\n")
                print(
                    f"{row.size} {row.views} {row.backend}: {row.plain_ms / row.ours_ms:.2f}", file=sys.stderr
                )
                if ":" not in backend and row.max_error > SAME:
                    print(
                        f"policy_step.py: error: {backend} differs from plain by {row.max_error:g}, at most {SAME:g} "
                        "was expected",
                        file=sys.stderr,
                    )
                    return 1
    best = max(rows, key=lambda row: (":" not in row.backend, row.rate_gflops))
    title = (
        f"policy step, {WIDTH}x{HEIGHT} images, horizon {HORIZON}, {args.device}, {args.threads} threads, {machine()}, "
        f"float32 matrix product {best.rate_gflops:.0f} GFLOP/s by {best.library}"
    )
    Console(width=160).print(table_of(rows, title))
    return 0


if __name__ == "__main__":
    sys.exit(main())
