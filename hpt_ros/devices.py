# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The device that a network is computed on, chosen in one place for training, evaluation and the robot."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass

from hpt_ros.errors import Code, HptError

AUTO = "auto"
DEFAULT_DEVICE = AUTO
DEVICE_HELP = "auto (cuda if there is one, else cpu), cpu, cuda or cuda:N"


@dataclass(frozen=True, slots=True)
class ChosenDevice:
    """A device that this machine has."""

    name: str  # as PyTorch takes it: cpu, cuda, cuda:1
    reason: str  # why it was chosen, for people

    def __str__(self) -> str:
        return f"device: {self.name} ({self.reason})"


def choose_device(name: str = DEFAULT_DEVICE, *, subject: str = "--device") -> ChosenDevice:
    """Find the device of a name; "auto" is a CUDA device if PyTorch sees one, else the CPU.

    Args:
        name: "auto", "cpu", "cuda" or "cuda:N". A device that is named and not there is an error, never a quiet change.
        subject: what named it, for errors.

    Raises:
        HptError: unknown, or not there.
    """
    import torch  # takes seconds

    count = torch.cuda.device_count()
    if name == AUTO:
        if count and torch.cuda.is_available():
            return ChosenDevice("cuda", f"auto: {torch.cuda.get_device_name(0)}")
        return ChosenDevice("cpu", f"auto: PyTorch {torch.__version__} sees no CUDA device")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise HptError(Code.INVALID, subject, name, expected="auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise HptError(Code.INVALID, subject, name, expected="auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= count:
        raise HptError(
            Code.UNAVAILABLE, subject, name,
            problem=f"is {{value}}, but PyTorch {torch.__version__} sees {count} CUDA devices",
            remedy="install a CUDA build of PyTorch, or choose cpu or auto",
        )  # fmt: skip
    return ChosenDevice(name, "as named")


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether memory ran out: of Python, NumPy, the system, a GPU, or PyTorch on the CPU, without its own class.

    What was raised while another error was handled, as by something that was closed, counts as that one.
    """
    if error is None:
        return False
    torch = sys.modules.get("torch")
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    if isinstance(error, RuntimeError) and names(
        error, "DefaultCPUAllocator", "Cannot allocate memory", "CUBLAS_STATUS_ALLOC_FAILED"
    ):
        return True
    return is_out_of_memory(error.__context__)


def names(error: BaseException, *words: str) -> bool:
    """Whether one of the words is in what a library's error was made with, where it has no class for it."""
    return any(isinstance(text, str) and word in text for text in error.args for word in words)


def usable_cores() -> int:
    """Return how many cores this process may use; a container or a cpuset may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0))
