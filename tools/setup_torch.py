# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Which build of torch an environment gets, and where from.

Used by setup_env.py, with any Python 3 of the system and nothing but its standard library.

PyPI's torch for Linux is the CUDA build, with gigabytes of NVIDIA's libraries. PyTorch's own index has builds for CPUs
and for other releases of CUDA, but of the packages that torch needs only some versions. So torch alone comes from such
an index (``--no-deps``), and what it needs from the ordinary one, at our pins.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from setup_machine import SetupError, say

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CHOICES = ("auto", "cpu", "cuda")

# How an NVIDIA GPU shows itself: the driver; WSL 2; a Jetson, by either of its drivers.
GPU_SIGNS = (
    "proc/driver/nvidia",
    "dev/nvidiactl",
    "dev/dxg",
    "dev/nvhost-ctrl",
    "dev/nvhost-gpu",
    "dev/nvgpu",
)

# Sizes of an entire environment, measured: docs/installation.md.
SIZES = {"cpu": "2.1 GB", "cuda": "6 GB"}


@dataclass(frozen=True)
class TorchSource:
    """Where torch comes from.

    Attributes:
        index: URL of a package index; None for the ordinary one.
        optional: whether the ordinary index serves where this one has nothing, or is out of reach.
        reason: why, as text for the user.
    """

    index: str | None
    optional: bool
    reason: str


def read_choice(environment: Mapping[str, str]) -> tuple[str, str]:
    """What the user asked for, empty where nothing: HPT_TORCH and HPT_TORCH_INDEX."""
    return environment.get("HPT_TORCH", ""), environment.get("HPT_TORCH_INDEX", "")


def gpu_seen(root: Path = Path("/")) -> bool:
    """Whether this machine shows an NVIDIA GPU, its driver's tool included."""
    return any((root / sign).exists() for sign in GPU_SIGNS) or shutil.which("nvidia-smi") is not None


def choose(environment: Mapping[str, str], *, gpu: bool, before: str) -> TorchSource:
    """Choose where torch comes from.

    Args:
        environment: HPT_TORCH_INDEX, an index of the user's own; HPT_TORCH, one of `CHOICES`.
        gpu: whether an NVIDIA GPU was seen.
        before: the index that torch was taken from last time, "pypi" for the ordinary one, "" if there is none yet.
            "auto" keeps it, so that an environment does not change with a GPU that comes and goes.

    Raises:
        SetupError: HPT_TORCH is none of the choices, or contradicts HPT_TORCH_INDEX.
    """
    choice, index = read_choice(environment)
    choice = choice or "auto"
    if choice not in CHOICES:
        raise SetupError(f"HPT_TORCH={choice} is unknown: use one of {', '.join(CHOICES)}")
    if index and choice != "auto":
        raise SetupError(
            f"HPT_TORCH={choice} and HPT_TORCH_INDEX={index} both choose the build of torch: set one of them"
        )
    if index:
        return TorchSource(index, False, "as HPT_TORCH_INDEX says")
    if choice == "cpu":
        return TorchSource(CPU_INDEX, False, "as HPT_TORCH=cpu says")
    if choice == "cuda":
        return TorchSource(None, False, "as HPT_TORCH=cuda says")
    if before:
        return TorchSource(None if before == "pypi" else before, False, "as before")
    if gpu:
        return TorchSource(None, False, "an NVIDIA GPU was seen")
    return TorchSource(
        CPU_INDEX, True, "no NVIDIA GPU was seen; HPT_TORCH=cuda takes the CUDA build all the same"
    )


def install(source: TorchSource, package: str, pip_install: Callable[..., None], *, anew: bool) -> str:
    """Install a package of torch's family without what it needs, if it comes from an index of its own.

    Args:
        source: where from.
        package: "torch" or "torchvision", which must be of one build.
        pip_install: called as ``pip_install(*arguments, what=sentence)``.
        anew: whether to replace a build of the same version.

    Returns:
        The index it came from; "pypi" if nothing was done here and the ordinary index is to serve.

    Raises:
        SetupError: the index has none that fits, or is out of reach.
    """
    again = ["--force-reinstall"] if anew else []
    if source.index is None:
        if anew:
            pip_install("--no-deps", *again, package, what=f"installing {package}")
        return "pypi"
    arguments = ["--no-deps", *again, "--index-url", source.index, package]
    if source.optional:
        arguments = ["--retries", "0", "--timeout", "20", *arguments]
    try:
        pip_install(*arguments, what=f"installing {package} from {source.index}", quiet=source.optional)
    except SetupError:
        if not source.optional:
            raise
        say(
            f"      no CPU build of {package} from {source.index} (see the log): taking what the ordinary index has, "
            f"on x86-64 the CUDA build: about {SIZES['cuda']} in all"
        )
        return "pypi"
    return source.index


def announce(source: TorchSource, free_bytes: int) -> str:
    """One line before the download: which build, why, and the sizes."""
    cpu, cuda, free = SIZES["cpu"], SIZES["cuda"], f"{free_bytes / 1e9:.0f} GB are free"
    if source.index is None:
        return f"PyPI's torch, on x86-64 the CUDA build ({source.reason}): about {cuda} in all; {free}"
    if source.index == CPU_INDEX:
        return f"torch for CPUs ({source.reason}): about {cpu} in all instead of {cuda}; {free}"
    return (
        f"torch from {source.index} ({source.reason}): about {cpu} in all for CPUs, {cuda} with CUDA; {free}"
    )
