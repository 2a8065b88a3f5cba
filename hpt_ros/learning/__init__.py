"""Learning: dataset reader, frame cache, samples, augmentation, recipe and the training loop."""

from __future__ import annotations

from hpt_ros.learning.augment import AugmentConfig
from hpt_ros.learning.cache import FrameCache, open_cache
from hpt_ros.learning.dataset import Dataset, DatasetError, Episode, open_dataset
from hpt_ros.learning.recipe import PolicyRecipe, Recipe, RecipeError, load_recipe, read_recipe
from hpt_ros.learning.reporter import Reporter, Silent
from hpt_ros.learning.samples import Split, Windows, split_episodes
from hpt_ros.learning.start import Start
from hpt_ros.learning.state import saved_recipe
from hpt_ros.learning.train import Result, action_error, train

__all__ = [
    "AugmentConfig",
    "Dataset",
    "DatasetError",
    "Episode",
    "FrameCache",
    "PolicyRecipe",
    "Recipe",
    "RecipeError",
    "Reporter",
    "Result",
    "Silent",
    "Split",
    "Start",
    "Windows",
    "action_error",
    "load_recipe",
    "open_cache",
    "open_dataset",
    "read_recipe",
    "saved_recipe",
    "split_episodes",
    "train",
]
