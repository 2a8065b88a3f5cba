# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What "auto" takes: the quickest of several backends, measured on the policy itself, on this machine.

Each candidate is built, compared with eager on the same random inputs, and timed over a few steps of one tick. One that
cannot be built or that differs is left out, with its reason.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hpt_ros.errors import Code
from hpt_ros.model.backends.backend import Backend, BackendError, example_arrays, example_frame
from hpt_ros.model.backends.eager import EagerBackend
from hpt_ros.model.noise import NoiseHead
from hpt_ros.model.policy import Policy

# No candidate is begun after this; one takes seconds to build, on a busy machine up to half a minute.
BUDGET_S = 20.0
# Steps that are timed of a candidate: the fastest counts, since whatever else runs only ever adds time.
STEPS = 10
STEPS_S = 1.0
# Largest difference from eager, of actions within [-1, 1] and of features as a ratio of the largest one: sums in
# another order over up to 32 blocks, the 8 bits of bfloat16's mantissa, and int8's dynamic ranges. Measured ones are in
# docs/performance.md.
TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "int8": 1e-1}
INPUT_SEED = 0
ACTION = "action"


@dataclass(frozen=True, slots=True)
class Selection:
    """What was measured, and what was taken.

    Attributes:
        backend: the quickest.
        steps_s: fastest step of each candidate that fits, in seconds.
        left_out: the reason of each that does not.
    """

    backend: Backend
    steps_s: Mapping[str, float]
    left_out: Mapping[str, str]

    def __str__(self) -> str:
        measured = ", ".join(f"{name} {step_s * 1e3:.1f}" for name, step_s in self.steps_s.items())
        parts = [
            f"measured, ms a step: {measured}",
            *(f"no {name}: {why}" for name, why in self.left_out.items()),
        ]
        return "; ".join(parts)


def select_backend(
    policy: Policy,
    precision: str,
    candidates: Mapping[str, Callable[[], Backend]],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Selection:
    """Build and time each candidate, in their order, and return the quickest.

    Args:
        policy: in evaluation mode, with statistics, on its device.
        precision: that the candidates compute in, for the tolerance.
        candidates: what builds each, by name; warm when built.
        clock: seconds from anywhere.

    Raises:
        BackendError: none is left; the sentence gives the reasons.
    """
    start_s = clock()
    frames, arrays = _random_inputs(policy)
    expected = _step(EagerBackend(policy, "eager", precision="float32"), frames, arrays)
    best: Backend | None = None
    steps_s: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name, build in candidates.items():
        if clock() - start_s > BUDGET_S:
            left_out[name] = f"the {BUDGET_S:g} s for measuring were over"
            continue
        try:
            backend = build()
            difference = _difference(policy, expected, _step(backend, frames, arrays))
        except Exception as error:  # libraries raise what they like
            left_out[name] = " ".join(str(error).split())[:300]
            continue
        if not difference <= TOLERANCE[precision]:  # also of NaN
            left_out[name] = (
                f"differs from eager by {difference:.2g}, at most {TOLERANCE[precision]:g} was expected"
            )
            continue
        steps_s[name] = _fastest_s(lambda backend=backend: _step(backend, frames, arrays), clock)  # type: ignore[misc]
        if best is None or steps_s[name] < steps_s[best.name]:
            best = backend
    if best is None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        raise BackendError(
            Code.UNSUPPORTED, f"this policy in {precision} on {str(policy.device)!r}",
            problem=f"can be computed by no backend ({reasons})",
            remedy="choose another precision or device",
        )  # fmt: skip
    return Selection(best, steps_s, left_out)


def _random_inputs(policy: Policy) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return frames of one tick for each encoder, and arrays of a window, whose features `_step` sets."""
    generator = torch.Generator().manual_seed(INPUT_SEED)
    frames = {name: example_frame(policy, name) for name in policy.encoders}
    for frame in frames.values():
        most = 256 if frame.dtype == torch.uint8 else 5000  # mm of depth
        frame.copy_(torch.randint(0, most, frame.shape, generator=generator))
    arrays = example_arrays(policy)
    for array in arrays.values():
        array.copy_(torch.randn(array.shape, generator=generator))
    return frames, arrays


@torch.inference_mode()
def _step(backend: Backend, frames: Mapping[str, Tensor], arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Encode the frames, take their features for every tick, and act; on the CPU, which waits for a GPU."""
    results: dict[str, Tensor] = {}
    for name, frame in frames.items():
        features = backend.encode(name, frame)
        arrays[backend.policy.modalities[name].names[0]].copy_(features)
        results[name] = features.to("cpu", copy=True)
    return {**results, ACTION: backend.act(arrays).to("cpu", copy=True)}


def _difference(policy: Policy, expected: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> float:
    """Return the largest difference; of actions that are drawn anew each time there is none to be had."""
    scale = policy.normaliser[ACTION].get_buffer("scale").to("cpu")  # to [-1, 1]
    differences = []
    for name, wanted in expected.items():
        if name != ACTION:
            ratio = (given[name] - wanted).abs().max() / wanted.abs().max().clamp(min=1.0)
            differences.append(float(ratio))
        elif not (isinstance(policy.head, NoiseHead) and policy.head.draws):
            differences.append(float(((given[name] - wanted) * scale).abs().max()))
    return max(differences, key=lambda value: math.inf if math.isnan(value) else value, default=0.0)


def _fastest_s(step: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return the duration of the fastest of a few steps."""
    start_s = now_s = clock()
    fastest_s = math.inf
    for _ in range(STEPS):
        before_s = now_s
        step()
        now_s = clock()
        fastest_s = min(fastest_s, now_s - before_s)
        if now_s - start_s > STEPS_S:
            break
    return fastest_s
