# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One policy of many embodiments: a trunk that all share; per embodiment stems, head, normaliser and encoders.

`MultiPolicy.single(name)` is the `Policy` that a robot runs: the same object that was trained, so the same numbers.
What else embodiments share is named as `Policy.parts` names it: "encoder image", "stem image", "modality tokens".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES
from hpt_ros.model.config import PolicyConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.policy import Policy
from hpt_ros.model.weights import check_strictly
from hpt_ros.structured import field

TOKENS = "modality tokens"
SHAREABLE = (
    *(f"encoder {modality}" for modality in MODALITIES),
    *(f"stem {modality}" for modality in MODALITIES),
    TOKENS,
)


@dataclass(frozen=True, slots=True)
class MultiPolicyConfig:
    """The policies of some embodiments round one trunk."""

    policies: dict[str, PolicyConfig] = field("embodiment to its policy; all name the same trunk")
    shared: tuple[str, ...] = field(
        "what embodiments share besides the trunk, as 'encoder image', 'stem image' or 'modality tokens'",
        default=(),
    )

    def __post_init__(self) -> None:
        if not self.policies:
            raise ConfigError(
                Code.MISSING, "the policy", problem="has no embodiment", expected="at least one",
                remedy="name one",
            )  # fmt: skip
        first, *others = self.policies.values()
        for name, config in self.policies.items():
            if config.embodiment != name:
                raise ConfigError(
                    Code.MISMATCH, f"the policy of {name!r}", config.embodiment,
                    problem="is for the embodiment {value}", remedy="name both the same",
                )  # fmt: skip
        for config in others:
            if config.trunk != first.trunk:
                raise ConfigError(
                    Code.INVALID, f"the trunk of {config.embodiment!r}", first.embodiment,
                    problem=f"is {config.trunk}, but that of {{value}} is {first.trunk}",
                    remedy="embodiments share one trunk, so give all the same",
                )  # fmt: skip
        for part in self.shared:
            if part not in SHAREABLE:
                raise ConfigError(Code.UNKNOWN, "shared", part, problem="names {value}", known=SHAREABLE)

    def only(self, name: str) -> PolicyConfig:
        """The policy of one embodiment.

        Raises:
            ConfigError: there is none of that name.
        """
        if name not in self.policies:
            raise ConfigError(
                Code.UNKNOWN, "the embodiment", name, known=self.policies, remedy="name one of these",
            )  # fmt: skip
        return self.policies[name]

    def tensor_name(self, embodiment: str, key: str) -> str:
        """Name in the weight file of the tensor that `embodiment`'s policy calls `key`.

        Of one embodiment it is `key`. Of several, names that say the embodiment (as published files have it) and the
        trunk's stay as they are; what would be alike in two policies gets the embodiment's name, unless it is shared.
        """
        part, _, rest = key.partition(".")
        if len(self.policies) == 1 or part in ("trunk", "heads", "normalizer", "action_tokens", "poolings"):
            return key
        if part == "stems":
            modality, dot, inner = rest.removeprefix(f"{embodiment}_").partition(".")
            return f"stems.{modality}{dot}{inner}" if f"stem {modality}" in self.shared else key
        if part == "language":
            return f"{part}.{embodiment}.{rest}"
        shared = TOKENS if part == "modalities_tokens" else f"encoder {rest.partition('.')[0]}"
        return key if shared in self.shared else f"{part}.{embodiment}_{rest}"


class MultiPolicy(nn.Module):
    """Policies of several embodiments round one trunk."""

    def __init__(self, config: MultiPolicyConfig) -> None:
        """Build the policies with random weights and no statistics.

        Raises:
            ConfigError: a part is to be shared that no two embodiments have, or that differs between them.
        """
        super().__init__()
        self.config = config
        trunk: nn.ModuleDict | None = None
        self.policies = nn.ModuleDict()
        for name, policy_config in config.policies.items():
            policy = Policy(policy_config, trunk)
            self.policies[name] = policy
            trunk = policy.trunk
        for part in config.shared:
            self._share(part)

    @classmethod
    def of(cls, policy: Policy) -> MultiPolicy:
        """One embodiment's policy as a policy of many; nothing is copied."""
        multi = cls.__new__(cls)
        nn.Module.__init__(multi)
        name = policy.config.embodiment
        multi.config = MultiPolicyConfig({name: policy.config})
        multi.policies = nn.ModuleDict({name: policy})
        return multi.train(policy.training)

    @property
    def names(self) -> tuple[str, ...]:
        """The embodiments."""
        return tuple(self.config.policies)

    @property
    def trunk(self) -> nn.ModuleDict:
        """The trunk that all embodiments share."""
        return self.single(self.names[0]).trunk

    def single(self, name: str) -> Policy:
        """The policy of one embodiment, which shares its weights with this one.

        Raises:
            ConfigError: there is none of that name.
        """
        self.config.only(name)
        policy = self.policies[name]
        assert isinstance(policy, Policy)
        return policy

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor once, by its name in the weight file."""
        return {
            self.config.tensor_name(name, key): value
            for name in self.names
            for key, value in self.single(name).state_dict().items()
        }

    def load_tensors(self, tensors: Mapping[str, Tensor], *, what: str, file: Path) -> None:
        """Copy what `tensors` returned into this policy, strictly.

        Raises:
            WeightsError: a name or shape differs, or a value is no finite number.
        """
        check_strictly(self.tensors(), tensors, what=what, file=file)
        for name in self.names:
            policy = self.single(name)
            own = {key: self.config.tensor_name(name, key) for key in policy.state_dict()}
            there = {key: tensors[stored] for key, stored in own.items() if stored in tensors}
            policy.load_state_dict({**policy.state_dict(), **there}, strict=True)

    def require_ready(self) -> None:
        """Raise HptError unless every policy has its statistics and the embeddings of its tasks."""
        for name in self.names:
            self.single(name).require_ready()

    def _share(self, part: str) -> None:
        """Let all embodiments that have `part` use the weights of the first."""
        found = {name: module for name in self.names if (module := self._part(name, part)) is not None}
        if len(found) < 2:
            raise ConfigError(
                Code.OUT_OF_RANGE, "shared", part,
                problem=f"names {{value}}, but {', '.join(found) or 'none'} of the embodiments "
                f"{', '.join(self.names)} has it", remedy="share what two or more have",
            )  # fmt: skip
        if part == TOKENS:  # embodiments differ in their modalities: the first that has one brings its token
            brought: dict[str, nn.Parameter] = {}
            for name in found:
                tokens = self.single(name).modalities_tokens
                for modality in tokens:
                    tokens[modality] = brought.setdefault(modality, tokens[modality])
            return
        first, *others = found
        for name in others:
            module = found[name]
            shapes = [
                {key: value.shape for key, value in m.state_dict().items()} for m in (found[first], module)
            ]
            if shapes[0] != shapes[1] or type(found[first]) is not type(module):
                key = next(
                    (k for k in {**shapes[0], **shapes[1]} if shapes[0].get(k) != shapes[1].get(k)),
                    "its kind",
                )
                raise ConfigError(
                    Code.INVALID, "shared", part,
                    problem=f"names {{value}}, but {first!r} and {name!r} differ in it ({key})",
                    remedy="give both the same configuration, or take it out of shared",
                )  # fmt: skip
            _tie(found[first], module)

    def _part(self, name: str, part: str) -> nn.Module | None:
        return find_part(self.single(name), part)


def find_part(policy: Policy, part: str) -> nn.Module | None:
    """Return the module of `policy` that a name of `SHAREABLE` means; None if it has none."""
    if part == TOKENS:
        return policy.modalities_tokens
    kind, _, modality = part.partition(" ")
    modules = policy.encoders if kind == "encoder" else policy.stems
    key = modality if kind == "encoder" else f"{policy.config.embodiment}_{modality}"
    return dict(modules.items()).get(key)


def _tie(source: nn.Module, target: nn.Module) -> None:
    """Let `target` use the weights of `source`, of equal structure.

    Complete modules are put in its place where nothing in them depends on the embodiment; buffers that are no weights
    (position tables, which depend on an image's size) stay its own.
    """
    for key, parameter in source.named_parameters(recurse=False):
        setattr(target, key, parameter)
    for key, child in source.named_children():
        if any(module._non_persistent_buffers_set for module in child.modules()):
            _tie(child, target.get_submodule(key))
        else:
            setattr(target, key, child)


def load_into(
    policy: Policy, config: MultiPolicyConfig, tensors: Mapping[str, Tensor], *, file: Path
) -> None:
    """Copy one embodiment's tensors out of those of a policy of many, strictly, without building the others.

    Raises:
        WeightsError: one is missing, of another shape, or no finite number.
    """
    name = policy.config.embodiment
    own = {key: config.tensor_name(name, key) for key in policy.state_dict()}
    others = {
        stored for stored in tensors if len(config.policies) > 1 and stored not in own.values()
    }  # their names are checked when all are loaded
    with torch.no_grad():
        check_strictly(
            {own[key]: value for key, value in policy.state_dict().items()},
            {stored: value for stored, value in tensors.items() if stored not in others},
            what="the policy of config.yaml",
            file=file,
        )
        there = {key: tensors[stored] for key, stored in own.items() if stored in tensors}
        policy.load_state_dict({**policy.state_dict(), **there}, strict=True)
