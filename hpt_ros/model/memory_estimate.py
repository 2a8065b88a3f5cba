# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Memory that a policy takes: its weights, and the most activations that are alive at once during a step.

Activations are counted, not measured: every tensor that an operation returns, from when it is made until nothing holds
it any more. What kernels use inside and what an allocator keeps come on top. Counting needs no memory itself on the
`meta` device, so that it works for any size.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.inputs import INTEGERS
from hpt_ros.model.modalities import Pictures
from hpt_ros.model.policy import Policy

MEBIBYTE = 1 << 20


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own lacks annotations
    """Counts the bytes of the storages that operations made and that are still alive, and the most there were."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = 0
        self.peak = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        before = {
            id(leaf.untyped_storage()) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        }
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                if id(storage) not in before and id(storage) not in self._seen:
                    self._seen.add(id(storage))
                    size = storage.nbytes()
                    self.live += size
                    self.peak = max(self.peak, self.live)
                    weakref.finalize(storage, self._free, id(storage), size)
        return result

    def _free(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.live -= size


def peak_bytes(call: Callable[[], object]) -> int:
    """Return the most bytes of tensors alive at once that `call` makes; those made before do not count."""
    counter = _LiveBytes()
    with torch.inference_mode(), counter:
        call()
    return counter.peak


def training_peak_bytes(call: Callable[[], object], device: str) -> int:
    """Return the most bytes of tensors alive at once that `call` makes, gradients included; measured on a GPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    counter = _LiveBytes()
    with counter:
        call()
    return counter.peak


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes that a policy takes, at batch 1 and in float32."""

    weights: int  # parameters and buffers that are stored
    encoders: Mapping[str, int]  # peak of encoding one tick's pictures, per modality
    step: int  # peak from features and vectors to a chunk of actions


def estimate_memory(policy: Policy) -> MemoryEstimate:
    """Count the memory of a policy by running it once on zeros, on its device (which may be `meta`)."""
    training = policy.training
    policy.eval()
    try:
        return MemoryEstimate(
            weights=sum(value.numel() * value.element_size() for value in policy.state_dict().values()),
            encoders={name: peak_bytes(partial(_encode, policy, name)) for name in policy.encoders},
            step=peak_bytes(partial(policy.act, _step_inputs(policy))),
        )
    finally:
        policy.train(training)


def estimate_config_memory(config: PolicyConfig) -> MemoryEstimate:
    """Count the memory of a policy that is never built in memory."""
    with torch.device("meta"):
        return estimate_memory(Policy(config).to("meta"))  # a fixed draw of noise is made on the CPU


def _encode(policy: Policy, name: str) -> Tensor:
    modality = policy.modalities[name]
    assert isinstance(modality, Pictures)
    dtype = INTEGERS[modality.dtype]
    pictures = torch.zeros((1, 1, *modality.frame), dtype=dtype, device=policy.device)
    encoded: Tensor = policy.encoders[name](pictures)
    return encoded


def _step_inputs(policy: Policy) -> dict[str, Tensor]:
    """Return zeros as `Policy.act` takes them, pictures as features."""
    arrays: dict[str, Tensor] = {}
    for modality in policy.modalities.values():
        spec = next(spec for spec in modality.inputs if spec.dtype == "float")
        lead = (1, policy.config.observation_horizon) if modality.in_time else (1,)
        arrays[spec.name] = torch.zeros((*lead, *spec.tail), device=policy.device)
    return arrays
