# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The part of a recipe that says what policy is built, before a robot is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import ACTIONS, LANGUAGE, MODALITIES, Layout
from hpt_ros.model.config import POOLINGS, PolicyConfig, StemConfig, TrunkConfig
from hpt_ros.model.encoder_config import (
    DepthEncoderConfig,
    ImageEncoderConfig,
    LanguageConfig,
    ResNet18Config,
)
from hpt_ros.model.head_config import HeadConfig, MlpHeadConfig
from hpt_ros.structured import field


class RecipeError(HptError):
    """A recipe contradicts itself or does not fit the embodiment."""


@dataclass(frozen=True, slots=True)
class PolicyRecipe:
    """The policy's structure; its sizes in and out come from the embodiment."""

    stems: tuple[StemConfig, ...] = field("one stem per modality, in the order of their tokens")
    trunk: TrunkConfig = field("the transformer", default=TrunkConfig())
    image_encoder: ImageEncoderConfig = field("the network before the image stem", default=ResNet18Config())
    depth_encoder: DepthEncoderConfig = field(
        "the network before the depth stem", default=DepthEncoderConfig()
    )
    language: LanguageConfig = field("what embeds the tasks' texts, once", default=LanguageConfig())
    modality_embedding: bool = field(
        "add a learnable vector per modality to its tokens, as the paper says; published weights were trained without",
        default=True,
    )
    pooling: str = field(
        "how the trunk's tokens become features; see the policy's configuration",
        default="mean",
        choices=POOLINGS,
    )
    head: HeadConfig = field("the action head", default=MlpHeadConfig())
    horizon_masking: bool = field(
        "in training keep only the last h of T observations, h random in 1..T", default=True
    )
    shared: tuple[str, ...] = field(
        "of several embodiments: what they share besides the trunk, as 'encoder image' or 'stem image'",
        default=(),
    )
    optional: tuple[str, ...] = field(
        "of several embodiments: modalities whose stem is left out of the policies of robots without such a stream",
        default=(),
    )

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities in the order of their tokens."""
        return tuple(stem.modality for stem in self.stems)

    def with_streams_of(self, embodiment: Embodiment) -> PolicyRecipe:
        """The recipe without the stems of `optional` modalities that a robot has no stream of."""
        there = {stream.modality for stream in embodiment.streams} | {ACTIONS, LANGUAGE}
        lacking = set(self.optional) - there
        return replace(self, stems=tuple(stem for stem in self.stems if stem.modality not in lacking))

    def for_embodiment(self, embodiment: Embodiment, tasks: Sequence[str] = ()) -> PolicyConfig:
        """The entire configuration of a policy of this robot.

        Args:
            embodiment: the robot; it must have streams for every stem.
            tasks: texts whose embeddings the policy will hold; used with a language stem only.

        Raises:
            RecipeError: a stem without a stream, or streams of one modality of different sizes.
            EmbodimentError: a stem for past actions, and a commanded joint whose position is not observed.
        """
        mode = embodiment.action.mode
        as_held = embodiment.space.predicted_as_held
        if ACTIONS in self.modalities or not as_held:
            # What stands in for the command before the first one, and what actions are relative to.
            embodiment.space.states.require()
        if ACTIONS in self.modalities and not as_held:
            has, remedy = f"action.mode {mode!r}", ", or set the mode to absolute"
            if mode == "absolute":
                has, remedy = "continuous joints, whose predictions are relative,", ""
            raise RecipeError(
                Code.CONFLICT, "the recipe", embodiment.name,
                problem=f"has a stem for past actions, which are absolute, but embodiment {{value}} has {has} and one "
                "normaliser for both", remedy=f"take the stem out{remedy}",
            )  # fmt: skip
        return PolicyConfig(
            embodiment=embodiment.name,
            action_dim=embodiment.action.dim,
            action_horizon=embodiment.action.horizon,
            observation_horizon=embodiment.observation_horizon,
            shapes=self._shapes(embodiment),
            tasks=tuple(tasks) if LANGUAGE in self.modalities else (),
            trunk=self.trunk,
            stems=self.stems,
            image_encoder=self.image_encoder,
            depth_encoder=self.depth_encoder,
            language=self.language,
            modality_embedding=self.modality_embedding,
            pooling=self.pooling,
            head=self.head,
            horizon_masking=self.horizon_masking,
        )

    def _shapes(self, embodiment: Embodiment) -> dict[str, tuple[int, ...]]:
        """The shape of one step's input of each modality that there is a stem for and that has streams."""
        shapes = {}
        for name in self.modalities:
            modality, streams = MODALITIES[name], embodiment.streams_of(name)
            if modality.layout not in (Layout.JOINED, Layout.STACKED):
                continue
            if not streams:
                there = dict.fromkeys(stream.modality for stream in embodiment.streams)
                raise RecipeError(
                    Code.MISSING, "the recipe", name,
                    problem=f"has a stem for {{value}}, but embodiment {embodiment.name!r} has streams for "
                    f"{', '.join(there)} only", remedy="take the stem out, or add such a stream and record again",
                )  # fmt: skip
            shapes[name] = modality.shape(streams)
        return shapes
