# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a modality is to a policy: arrays that are checked, and the entries (B, K, D) that its stem reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.inputs import Input, InputError, Inputs, check_array, check_horizon
from hpt_ros.model.normaliser import Normaliser
from hpt_ros.model.positions import position_table
from hpt_ros.model.tasks import TaskTable


class Parts(Protocol):
    """What a modality uses of its policy."""

    encoders: nn.ModuleDict
    language: TaskTable | None

    @property
    def normaliser(self) -> Normaliser:
        """The normaliser of the policy's embodiment."""
        ...


class Modality(ABC):
    """One kind of input. It holds no weights; those are in the policy, under the names of the published files.

    A new modality is a subclass here, its name and its sizes in `hpt_ros.model.config`, and its stream in the
    embodiment file.
    """

    name: ClassVar[str]
    names: ClassVar[tuple[str, ...]]  # of the inputs that it comes as; the first that is there is taken
    in_time: ClassVar[bool] = True  # whether arrays have an axis T after the batch's

    def __init__(self, config: PolicyConfig) -> None:
        """Take the sizes from a policy's configuration."""
        self.config = config

    @property
    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """The arrays that it can come as, each one of `names`."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Most entries K of one sample, over the whole observation horizon."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers D in one entry."""

    @property
    def statistic(self) -> tuple[str, int] | None:
        """Name and dimension of the normaliser's feature; None where nothing is normalised."""
        return None

    def encoder(self) -> nn.Module | None:
        """Build the network before the stem, with random weights; None where there is none."""
        return None

    def positions(self) -> Tensor:
        """Return what is added to the entries (K, D), so that the stem can tell them apart.

        The first rows belong to the oldest observation that is there: a shorter horizon reads a shorter table.
        """
        return position_table(self.count, self.width)

    def find(self, inputs: Inputs) -> str | None:
        """Return the name under which it is among the inputs; None if it is missing and that is permitted.

        Raises:
            InputError: it is missing, and its stem's rule is to refuse.
        """
        given = next((spec.name for spec in self.inputs if spec.name in inputs), None)
        if given is None and self.name not in self.config.optional_modalities:
            raise InputError(
                Code.MISSING, f"the input {self.inputs[-1].name!r}", list(inputs),
                problem="is missing, got {value}",
                remedy="pass every modality of the policy, or train one whose stem has missing: drop",
            )  # fmt: skip
        return given

    def check(self, name: str, inputs: Inputs, parts: Parts, device: torch.device) -> dict[str, Tensor]:
        """Return the input `name` as a tensor that `entries` takes, or raise InputError."""
        (spec,) = (spec for spec in self.inputs if spec.name == name)
        array = check_array(spec, inputs[name], device)
        if self.in_time:
            check_horizon(self.config, name, array)
        return {name: array}

    @abstractmethod
    def entries(self, arrays: Mapping[str, Tensor], parts: Parts) -> Tensor:
        """Return entries (B, K, D) of checked arrays; nothing here may depend on the values (it is exported)."""
