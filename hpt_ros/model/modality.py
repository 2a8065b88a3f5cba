# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A modality in a policy: arrays that are checked, and the entries (B, K, D) that its stem reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.modalities import Layout, Modality
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


class Entries(ABC):
    """One kind of input. It holds no weights; those are in the policy, under the names of the published files.

    Several modalities may have the same class (`hpt_ros.modalities.Modality.network`).
    """

    def __init__(self, modality: Modality, config: PolicyConfig) -> None:
        """Take what the modality is, and its sizes from a policy's configuration."""
        self.modality, self.config = modality, config
        self.name, self.names = modality.name, modality.names
        self.in_time = modality.layout is not Layout.TEXT  # whether arrays have an axis T after the batch's

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one step's input."""
        return self.config.shapes[self.name]

    @property
    @abstractmethod
    def inputs(self) -> tuple[Input, ...]:
        """The arrays that it can come as, each one of `names`."""

    @property
    @abstractmethod
    def count(self) -> int:
        """Most entries K of one sample, over the entire observation horizon."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Numbers D in one entry."""

    @property
    def statistic(self) -> tuple[str, int] | None:
        """Name and dimension of the normaliser's feature: the input's last axis; None where nothing is normalised."""
        return (self.name, self.shape[-1]) if self.modality.normalised else None

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
