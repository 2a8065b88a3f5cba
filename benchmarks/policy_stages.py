# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Where the time of a step goes, backend 'eager', float32: ``.venv/bin/python benchmarks/policy_stages.py``.

The stages of ResNet-18 run in order, then what acts, as in a step; each row is the median over the steps, beside the
multiplications and additions of the network.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from policy_step import HEIGHT, WIDTH, gflops, machine, make_policy, matrix_products
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from hpt_ros.model import Policy
from hpt_ros.model.backends.backend import example_arrays
from hpt_ros.model.backends.eager import EagerBackend
from hpt_ros.model.encoders import ImageEncoder, ResNet18

WARM_UP_STEPS = 5


def measure(policy: Policy, steps: int) -> dict[str, float]:
    """Return the median time of each stage, in ms."""
    backend = EagerBackend(policy, "eager", precision="float32")
    net = _net(policy)
    frame = torch.randint(0, 256, (policy.config.views, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    arrays = example_arrays(policy)
    times: defaultdict[str, list[float]] = defaultdict(list)

    def time_stage(name: str, stage: Callable[[], Tensor]) -> Tensor:
        start_s = time.perf_counter()
        result = stage()
        times[name].append(time.perf_counter() - start_s)
        return result

    with torch.inference_mode():
        for _ in range(steps + WARM_UP_STEPS):
            x = time_stage("resize and normalise", lambda: net.preprocess(frame))
            x = time_stage("conv1", lambda x=x: functional.relu(net.bn1(net.conv1(x))))  # type: ignore[misc]
            x = time_stage("max pooling", lambda x=x: functional.max_pool2d(x, 3, 2, 1))  # type: ignore[misc]
            for index, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4), start=1):
                x = time_stage(f"layer{index}", lambda x=x, layer=layer: layer(x))  # type: ignore[misc]
            time_stage("stems, trunk, head", lambda: backend.act(arrays))
    return {name: float(np.median(values[WARM_UP_STEPS:])) * 1e3 for name, values in times.items()}


def count(policy: Policy) -> dict[str, float]:
    """Return the multiplications and additions of each stage that has some, in thousands of millions."""
    net, views = _net(policy), policy.config.views
    found: dict[str, float] = {}

    def count_operations(name: str, stage: Callable[[], Tensor]) -> Tensor:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            result = stage()
        found[name] = counter.get_total_flops() / 1e9
        return result

    x = count_operations("conv1", lambda: net.conv1(torch.zeros(views, 3, 224, 224)))
    x = functional.max_pool2d(x, 3, 2, 1)
    for index, layer in enumerate((net.layer1, net.layer2, net.layer3, net.layer4), start=1):
        x = count_operations(f"layer{index}", lambda x=x, layer=layer: layer(x))  # type: ignore[misc]
    count_operations("stems, trunk, head", lambda: policy.act(example_arrays(policy)))
    return found


def _net(policy: Policy) -> ResNet18:
    encoder = policy.encoders["image"]
    assert isinstance(encoder, ImageEncoder)
    (net,) = encoder.nets
    assert isinstance(net, ResNet18)
    return net


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--size", default="base")
    parser.add_argument("--views", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    args = parser.parse_args()
    policy = make_policy(args.size, args.views)
    times, gflop = measure(policy, args.steps), count(policy)
    rates = {
        library: max(gflops(product) for _ in range(20))
        for library, product in matrix_products("float32", "cpu").items()
    }
    library = max(rates, key=lambda library: rates[library])
    rate = rates[library]
    title = f"{args.size}, {args.views} views, {machine()}, matrix product {rate:.0f} GFLOP/s by {library}"
    table = Table(title=title, box=box.MARKDOWN)
    table.add_column("stage")
    for column in ("ms", "GFLOP", "of the matrix rate"):
        table.add_column(column, justify="right")
    for name, ms in [*times.items(), ("sum", sum(times.values()))]:
        work = gflop.get(name, 0.0) if name != "sum" else sum(gflop.values())
        fraction = (f"{work:.2f}", f"{work / rate * 1e3 / ms:.0%}") if work else ("", "")
        table.add_row(name, f"{ms:.1f}", *fraction)
    Console(width=120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
