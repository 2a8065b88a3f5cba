# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Learning: frame cache, samples, augmentation, recipe and the training loop."""

from __future__ import annotations

from hpt_ros.learning.augment import AugmentConfig
from hpt_ros.learning.batch_source import BatchSource, open_batch_source
from hpt_ros.learning.cache import FrameCache, open_cache, open_feature_cache
from hpt_ros.learning.initial_weights import InitialWeights
from hpt_ros.learning.policy_recipe import PolicyRecipe, RecipeError
from hpt_ros.learning.recipe import Recipe, load_recipe, read_recipe
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.resume_state import load_saved_recipe
from hpt_ros.learning.samples import Batch, Split, Windows, gather, split_episodes
from hpt_ros.learning.train import Result, train

__all__ = [
    "AugmentConfig",
    "Batch",
    "BatchSource",
    "FrameCache",
    "InitialWeights",
    "PolicyRecipe",
    "Recipe",
    "RecipeError",
    "Reporter",
    "Result",
    "Silent",
    "Split",
    "Windows",
    "gather",
    "load_recipe",
    "load_saved_recipe",
    "open_batch_source",
    "open_cache",
    "open_feature_cache",
    "read_recipe",
    "split_episodes",
    "train",
]
