# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Weights, gradients and the optimiser's state spread over the processes of a run, for trunks that fill a GPU.

What is frozen stays whole in every process. The averaged weights are spread too, and gathered into a whole policy when
they are validated and saved.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from hpt_ros.errors import Code, HptError
from hpt_ros.learning.distributed import Processes
from hpt_ros.model import MultiPolicy
from hpt_ros.model.trunk import Trunk

FOLDER = "train_state-"  # followed by the step


class ShardError(HptError):
    """The parts of a training state cannot be written or read."""


class Sharded:
    """A policy whose weights are spread over the processes, and the average of them."""

    def __init__(
        self, losses: nn.Module, policy: MultiPolicy, average: MultiPolicy, processes: Processes
    ) -> None:
        """Spread the weights of `losses`, whose forward pass is the policy's; before, all processes have the same."""
        self._policy, self._average, self._processes = policy, average, processes
        mesh = init_device_mesh(torch.device(processes.device).type, (processes.world,))
        gather = {parameter for parameter in losses.parameters() if not parameter.requires_grad}
        for (
            parameter
        ) in losses.parameters():  # fully_shard takes no channels-last weights, as convolutions have here
            parameter.data = parameter.data.contiguous()
        trunk = policy.trunk["trunk"]
        assert isinstance(trunk, Trunk)
        for block in trunk.blocks:
            fully_shard(block, mesh=mesh, ignored_params=gather)
        fully_shard(losses, mesh=mesh, ignored_params=gather)
        self._shards = {
            name: parameter.detach().clone()
            for name, parameter in policy.named_parameters()
            if isinstance(parameter, DTensor)
        }

    @torch.no_grad()
    def move_average(self, decay: float) -> None:
        """Move the averaged weights towards the policy's."""
        for name, parameter in self._policy.named_parameters():
            if name in self._shards:
                _local(self._shards[name]).lerp_(_local(parameter), 1.0 - decay)

    @torch.no_grad()
    def gather(self) -> None:
        """Bring the averaged weights together in the average of every process; what is frozen is the policy's."""
        own = dict(self._average.named_parameters())
        for name, parameter in self._policy.named_parameters():
            shard = self._shards.get(name)
            own[name].copy_(parameter if shard is None else shard.full_tensor())  # type: ignore[attr-defined]
        for a, b in zip(self._average.buffers(), self._policy.buffers(), strict=True):
            a.copy_(b)

    def save(self, out: Path, optimiser: torch.optim.Optimizer, step: int) -> tuple[str, dict[str, Any]]:
        """Write the shards; return their folder's name, and the rest of the optimiser's state.

        All processes call it. The folder counts only once a training state names it.

        Raises:
            ShardError: in all processes, if one cannot write its part; nothing of the folder stays.
        """
        state = optimiser.state_dict()
        folder = f"{FOLDER}{step:09d}"
        if self._processes.first:
            shutil.rmtree(out / folder, ignore_errors=True)
        self._processes.wait()
        try:
            save(self._tensors(state["state"]), checkpoint_id=out / folder)
        except (
            CheckpointException
        ) as error:  # no Exception: it would end the process with a trace for each of all
            if self._processes.first:
                shutil.rmtree(out / folder, ignore_errors=True)
            raise ShardError(
                Code.UNWRITABLE, f"the folder {str(out / folder)!r}", cause=_cause_of(error),
                remedy="make room and resume the run",
            ) from error  # fmt: skip
        return folder, {"param_groups": state["param_groups"], "with state": list(state["state"])}

    def load(self, folder: Path, optimiser: torch.optim.Optimizer, rest: Mapping[str, Any]) -> None:
        """Restore what `save` wrote and returned; the number of processes may be another.

        Raises:
            ShardError: a part is missing or damaged.
        """
        parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
        state: dict[int, dict[str, Tensor]] = {
            number: {
                "step": torch.zeros(()),
                "exp_avg": torch.zeros_like(parameters[number]),
                "exp_avg_sq": torch.zeros_like(parameters[number]),
            }
            for number in rest["with state"]
        }
        try:
            load(self._tensors(state), checkpoint_id=folder)
        except CheckpointException as error:
            raise ShardError(
                Code.DAMAGED, f"the folder {str(folder)!r}", problem="cannot be read", cause=_cause_of(error),
                remedy=f"copy the whole run again, or start another with --init {str(folder.parent / 'last')!r}",
            ) from error  # fmt: skip
        if self._processes.first:  # what a process that was killed while it wrote left there
            for other in folder.parent.glob(f"{FOLDER}*"):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
        optimiser.load_state_dict({"state": state, "param_groups": rest["param_groups"]})
        self.gather()

    def _tensors(self, state: Mapping[int, Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """All that is spread, by name, and the buffers; loading fills these very tensors."""
        return {
            **{f"policy.{name}": value.detach() for name, value in self._policy.tensors().items()},
            **{f"average.{name}": value for name, value in self._shards.items()},
            **{f"optimiser.{n}.{key}": value for n, entry in state.items() for key, value in entry.items()},
        }


def _cause_of(error: CheckpointException) -> BaseException:
    """What the first of the processes that failed had to say."""
    cause, _ = error.failures[min(error.failures)]
    return cause


def gather(tensor: Tensor) -> Tensor:
    """The tensor itself, put together where it is spread; all processes call it then."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _local(tensor: Tensor) -> Tensor:
    assert isinstance(tensor, DTensor)
    return tensor.to_local()
