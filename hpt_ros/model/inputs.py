# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Checks of what is passed into a policy; each error names what was expected and what came."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from hpt_ros.errors import Code, HptError
from hpt_ros.model.config import PolicyConfig

if TYPE_CHECKING:
    from hpt_ros.model.modality import Entries, Parts

Array: TypeAlias = Tensor | npt.NDArray[np.generic]
Inputs: TypeAlias = Mapping[str, Array | Sequence[Array] | Sequence[str]]

INTEGERS: Mapping[str, torch.dtype] = {"uint8": torch.uint8, "uint16": torch.uint16, "int64": torch.int64}


class InputError(HptError):
    """An array does not fit the policy."""


@dataclass(frozen=True, slots=True)
class Input:
    """One array that a policy reads: its name, its dtype, and its shape after the axes of batch and time."""

    name: str
    dtype: str  # "float" (of any precision), or one of INTEGERS
    tail: tuple[int, ...]
    axes: tuple[str, ...] = ("B", "T")


def check_inputs(
    modalities: Mapping[str, Entries],
    known: Sequence[str],
    inputs: Inputs,
    parts: Parts,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return the inputs as tensors on `device`, in a new dict, or raise.

    Args:
        modalities: those that the policy reads.
        known: names of the inputs of every modality there is.
        inputs: as for `Policy`.
        parts: of the policy, for what a modality looks up (embeddings of tasks).
        device: where the tensors go.

    Raises:
        InputError: a missing or unknown modality, a wrong dtype or shape, differing batch sizes or horizons, a value
            that is no finite number.
    """
    for name in inputs:
        if name not in known:
            raise InputError(Code.UNKNOWN, "the input", name, known=known)
    arrays: dict[str, Tensor] = {}
    timed: dict[str, Tensor] = {}
    read: list[str] = []
    for modality in modalities.values():
        given = modality.find(inputs)
        if given is None:
            continue
        found = modality.check(given, inputs, parts, device)
        read.append(given)
        arrays |= found
        if modality.in_time:
            timed |= found
    surplus = [name for name in inputs if name not in read]
    if surplus:
        raise InputError(
            Code.UNEXPECTED, f"the input {surplus[0]!r}",
            problem=f"was passed, but the policy reads {', '.join(read)}",
            remedy="leave it out or use a policy trained with it",
        )  # fmt: skip
    if not timed:
        raise InputError(
            Code.MISSING, f"the inputs {list(inputs)}",
            problem="hold no observation: every modality that changes with time is missing",
            remedy=f"pass at least one of {', '.join(m.name for m in modalities.values() if m.in_time)}",
        )  # fmt: skip
    _check_sizes(arrays, timed)
    return arrays


def _check_sizes(arrays: Mapping[str, Tensor], timed: Mapping[str, Tensor]) -> None:
    first, *others = timed
    for name in others:
        if timed[name].shape[:2] != timed[first].shape[:2]:
            raise InputError(
                Code.WRONG_SHAPE, "the inputs", first,
                problem=f"differ in (batch, observations): {{value}} has {tuple(timed[first].shape[:2])}, "
                f"{name!r} has {tuple(timed[name].shape[:2])}", remedy="pass equally many",
            )  # fmt: skip
    for name, array in arrays.items():
        if array.shape[0] != timed[first].shape[0]:
            raise InputError(
                Code.WRONG_SHAPE, "the inputs", first,
                problem=f"differ in batch: {{value}} has {timed[first].shape[0]} samples, {name!r} has "
                f"{array.shape[0]}", remedy="pass equally many",
            )  # fmt: skip


def check_targets(
    config: PolicyConfig, action: Array, is_pad: Array, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return the action chunk as float32 and the mask of real steps as bool, or raise."""
    spec = Input("action", "float", (config.action_horizon, config.action_dim), axes=("B",))
    target, pad = check_array(spec, action, device), torch.as_tensor(is_pad, device=device)
    if pad.dtype != torch.bool or tuple(pad.shape) != tuple(target.shape[:2]):
        raise InputError(
            Code.WRONG_SHAPE, "is_pad", tuple(pad.shape),
            problem=f"is {str(pad.dtype).removeprefix('torch.')} {{value}}",
            expected=f"bool {tuple(target.shape[:2])}",
            remedy="say for each step of the action whether it is padding",
        )  # fmt: skip
    if bool(pad.all()):
        raise InputError(
            Code.INVALID, "every step of the action chunk", problem="is padding, so that there is no loss",
            remedy="drop such samples",
        )  # fmt: skip
    return target, ~pad


def check_array(spec: Input, value: object, device: torch.device) -> Tensor:
    """Return the array as a tensor on `device` (floats as float32), or raise."""
    if isinstance(value, Tensor):
        array = value.to(device)
    elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        try:
            array = torch.as_tensor(value, device=device)
        except (TypeError, ValueError) as error:  # big-endian, or a view that runs backwards
            raise InputError(
                Code.UNSUPPORTED, repr(spec.name),
                problem=f"is an array of {value.dtype} that torch cannot read",
                remedy="pass a copy in the machine's byte order, as numpy.array(..., order='C') makes it",
                cause=error,
            ) from error  # fmt: skip
    else:
        kind = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"
        raise InputError(
            Code.WRONG_TYPE, repr(spec.name), problem=f"is {kind}", expected="a numpy array or a tensor of numbers",
            remedy="pass one",
        )  # fmt: skip
    floating = spec.dtype == "float"
    fits = array.is_floating_point() if floating else array.dtype == INTEGERS[spec.dtype]
    start = len(spec.axes)
    if not fits or array.ndim != start + len(spec.tail) or tuple(array.shape[start:]) != spec.tail:
        shape = ", ".join((*spec.axes, *map(str, spec.tail))) + ("," if start + len(spec.tail) == 1 else "")
        raise InputError(
            Code.WRONG_SHAPE, repr(spec.name), tuple(array.shape),
            problem=f"is {str(array.dtype).removeprefix('torch.')} {{value}}",
            expected=f"{spec.dtype} ({shape})", remedy="shape it as the policy's embodiment says",
        )  # fmt: skip
    if array.shape[0] == 0:
        raise InputError(
            Code.EMPTY, repr(spec.name), problem="has an empty batch", remedy="pass at least one sample"
        )
    if floating and not bool(torch.isfinite(array).all()):
        bad = (~torch.isfinite(array)).nonzero()[0].tolist()
        raise InputError(
            Code.NOT_FINITE, repr(spec.name), problem=f"holds {array[tuple(bad)].item()} at index {bad}",
            expected="finite numbers", remedy="correct or drop the sample",
        )  # fmt: skip
    return array.to(torch.float32) if floating else array


def check_horizon(config: PolicyConfig, name: str, array: Tensor) -> None:
    """Raise unless the array (B, T, ...) has as many steps in time as the policy takes."""
    steps, horizon = array.shape[1], config.observation_horizon
    fewest = 1 if config.horizon_masking else horizon
    if not fewest <= steps <= horizon:
        expected = f"{fewest} to {horizon}" if fewest < horizon else f"{horizon}"
        raise InputError(
            Code.INVALID, repr(name),
            problem=f"has {steps} observations in time, but the policy's observation horizon needs {expected}",
            remedy="pass the newest ones",
        )  # fmt: skip
