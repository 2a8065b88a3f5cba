# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The processes of one run, as torchrun starts them; without torchrun there is one."""

from __future__ import annotations

import itertools
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from hpt_ros.devices import choose_device, names
from hpt_ros.errors import Code, HptError

# Of the first process alone: converting bags, decoding and encoding a mixture.
LONGEST_WORK = timedelta(days=30)
# For the first process's error, before another one says its own.
FIRST_SPEAKS = timedelta(seconds=10)
OTHERS_HEAR = timedelta(seconds=5)
ERROR_KEY = "what the first process has failed of"
# In the texts of PyTorch's errors (which are RuntimeErrors) when another process is not there any more.
LOST = (
    "gloo/",
    "Gloo",
    "NCCL",
    "Broken pipe",
    "Connection reset",
    "Connection closed",
    "recvValue failed",
    "TCPStore",
)


class ProcessesError(HptError):
    """The processes cannot share the work."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the run."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    reason: str = "as named"  # why it is that device
    store: Any = None  # where the processes find each other
    _waits: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Return when all processes have come here."""
        if self.world > 1:
            distributed.barrier()

    def wait_for_first(self) -> None:
        """Return when the first process has come here, however long that takes: `wait` gives up after half an hour."""
        if self.world > 1:
            key = f"the first process has come here {next(self._waits)}"
            if self.first:
                self.store.set(key, "")
            else:
                self.store.wait([key], LONGEST_WORK)

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum of the processes' tensors, the same in all of them."""
        if self.world > 1:
            values = values.to(self.device)
            distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether it is true in one of the processes."""
        return flag if self.world == 1 else bool(self.sum(torch.tensor(float(flag))) > 0)

    def require_divided(self, batch_size: int) -> None:
        """Raise ProcessesError unless every process gets as many samples of a batch."""
        if batch_size % self.world:
            raise ProcessesError(
                Code.MISMATCH, "batch_size", batch_size, expected=f"a multiple of the {self.world} processes",
                remedy="change it with --batch-size, or start another number of processes with torchrun",
            )  # fmt: skip


@contextmanager
def processes(name: str) -> Iterator[Processes]:
    """Join the processes that torchrun started, by nccl on CUDA (each its own GPU) and gloo on the CPU.

    Args:
        name: of the device, see `choose_device`.

    An error that all of them have is left to the first one to say: the others then end in silence.

    Raises:
        HptError: no such device, fewer GPUs than processes on this machine, or another process has ended meanwhile.
    """
    chosen = choose_device(name)
    device, reason = chosen.name, chosen.reason
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 or "RANK" not in os.environ:
        yield Processes(device=device, reason=reason)
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        number, count = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= count:
            raise ProcessesError(
                Code.MISMATCH, "--device", device,
                problem=f"is {{value}}, but PyTorch sees {count} GPUs for process {number + 1} of this machine",
                remedy=f"start {count} processes with --nproc-per-node, or choose --device cpu",
            )  # fmt: skip
        device = f"cuda:{number}"
        torch.cuda.set_device(device)
    # Of weights of one token; it costs nothing that could be measured.
    warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides", UserWarning)
    rank, store = int(os.environ["RANK"]), _store(world)
    distributed.init_process_group("nccl" if cuda else "gloo", store=store, rank=rank, world_size=world)
    try:
        yield Processes(rank, world, device, reason, store)
    except HptError as error:
        if _is_said(str(error), rank, world, store):
            raise SystemExit(2) from error
        raise
    except RuntimeError as error:
        if not names(error, *LOST):
            raise
        raise ProcessesError(
            Code.UNAVAILABLE, f"process {rank + 1} of the {world} of the run", problem="has lost another one",
            remedy="see above what ended that one (if nothing is said, it was killed: memory may be short); start "
            "again with --resume, or let torchrun do so with --max-restarts",
        ) from error  # fmt: skip
    finally:
        distributed.destroy_process_group()


def _is_said(error: str, rank: int, world: int, store: Any) -> bool:
    """Whether the first process says this very error; the first one leaves word of it, and may be the store."""
    try:
        if rank == 0:
            store.set(ERROR_KEY, error)
            store.wait([f"{ERROR_KEY}, {other}" for other in range(1, world)], OTHERS_HEAR)
            return False
        store.wait([ERROR_KEY], FIRST_SPEAKS)
        said = bool(store.get(ERROR_KEY).decode() == error)
        store.set(f"{ERROR_KEY}, {rank}", "")
        return said
    except RuntimeError:  # another one has no error, or has gone
        return False


def _store(world: int) -> Any:
    """Where the processes find each other.

    torchrun's own store outlives its workers (PyTorch 2.13, --standalone): restarted ones would read the addresses of
    dead ones there and wait for them for ever, so each start has a part of it for itself.
    """
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    master = not agent and os.environ["RANK"] == "0"
    store = distributed.TCPStore(  # type: ignore[attr-defined]
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        world,
        is_master=master,
        multi_tenant=not agent,
    )
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"start {start}", store)  # type: ignore[attr-defined]


def is_restarted() -> bool:
    """Whether torchrun started this process again after one of the run's had died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
