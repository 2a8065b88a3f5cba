# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError
from hpt_ros.learning import load_recipe
from hpt_ros.learning.recipe import read_recipe, recipe_mapping
from hpt_ros.modalities import MODALITIES
from hpt_ros.model import Policy, ResNet18Config, TrunkConfig
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.resources import config_file

from .conftest import make_recipe
from .many import EMBODIMENT as MANY
from .many import TASKS

SHIPPED = ("feed_dog", "hpt_base")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_build_a_policy_of_the_demos_robot(name: str) -> None:
    recipe = load_recipe(config_file(f"recipes/{name}.yaml"))
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    policy = Policy(recipe.policy.for_embodiment(robot))
    assert sum(policy.parts().values()) == sum(parameter.numel() for parameter in policy.parameters())


def test_the_recipe_of_all_modalities_builds_a_policy_of_a_robot_that_has_them() -> None:
    recipe = load_recipe(config_file("recipes/multimodal.yaml"))
    config = recipe.policy.for_embodiment(Embodiment.loads(MANY), TASKS)
    assert set(config.modalities) == set(MODALITIES)
    assert config.optional_modalities == ("depth", "wrench", "tactile", "pointcloud")
    assert Policy(config).part("stems")


def test_the_base_recipe_is_what_was_published() -> None:
    recipe = load_recipe(config_file("recipes/hpt_base.yaml"))
    assert recipe.policy.trunk == TrunkConfig.named("base")
    assert (recipe.iterations, recipe.batch_size, recipe.lr) == (20_000, 256, 5e-6)
    assert recipe.policy.image_encoder.kind == "resnet18"
    assert not recipe.policy.image_encoder.trainable
    assert not recipe.policy.modality_embedding  # the released code never adds it


def test_a_trunk_trained_here_gets_a_modality_embedding_by_default() -> None:
    recipe = load_recipe(config_file("recipes/feed_dog.yaml"))
    robot = Embodiment.load(config_file("embodiments/feed_dog.yaml"))
    config = recipe.policy.for_embodiment(robot)
    assert config.modality_embedding
    assert all(token.requires_grad for token in Policy(config).modalities_tokens.values())


def test_a_recipe_survives_the_way_through_plain_values() -> None:
    recipe = make_recipe(freeze_trunk=True)
    assert read_recipe(recipe_mapping(recipe), where="test") == recipe


def test_overrides_change_single_keys() -> None:
    recipe = load_recipe(
        config_file("recipes/feed_dog.yaml"),
        [
            "lr=1e-3",
            "policy.trunk.depth=1",
            "policy.stems.1.tokens=3",
            "precision=bfloat16",
            "augment.shift_px=0",
        ],
        iterations=50,
        batch_size=4,
    )
    assert (recipe.lr, recipe.policy.trunk.depth, recipe.policy.stems[1].tokens) == (1e-3, 1, 3)
    assert (recipe.precision, recipe.augment.shift_px, recipe.iterations, recipe.batch_size) == (
        "bfloat16",
        0,
        50,
        4,
    )
    assert recipe.warmup_iterations <= 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("lr", "key=value was expected"),
        ("lr=fast", "'lr' is 'fast'"),
        ("learning_rate=1", "unknown key 'learning_rate'"),
        ("policy.trunk.depht=2", "unknown key 'depht'.*did you mean 'depth'"),
        ("policy.stems.7.tokens=2", "no item of a list of 2"),
        ("lr.x=2", "'lr' is no mapping"),
        ("policy=[", "not valid YAML"),
        ("warmup_iterations=1000000", "warmup_iterations 1000000, expected fewer"),
        ("batch_size=0", "'batch_size' is 0"),
    ],
)
def test_when_an_override_is_wrong_expect_one_sentence(override: str, message: str) -> None:
    with pytest.raises(HptError, match=message):
        load_recipe(config_file("recipes/feed_dog.yaml"), [override])


def test_when_the_file_is_missing_expect_its_name(tmp_path: Path) -> None:
    with pytest.raises(HptError, match=r"nothing\.yaml' does not exist"):
        load_recipe(tmp_path / "nothing.yaml")


def test_when_a_change_is_wrong_expect_it_beside_the_file() -> None:
    path = config_file("recipes/feed_dog.yaml")
    with pytest.raises(
        HptError, match=r"feed_dog\.yaml' with --set lrr=1, --iterations 5 has the unknown key 'lrr'"
    ):
        load_recipe(path, ["lrr=1"], iterations=5)
    with pytest.raises(HptError, match=r"with --batch-size 0, key 'batch_size' is 0"):
        load_recipe(path, batch_size=0)


def test_when_the_kind_is_overridden_expect_the_others_keys_gone() -> None:
    changes = ["policy.head.kind=flow", "policy.head.flow_depth=2", "policy.image_encoder.kind=resnet18"]
    policy = load_recipe(config_file("recipes/feed_dog.yaml"), changes).policy
    assert policy.head == FlowHeadConfig(flow_depth=2)
    assert policy.image_encoder == ResNet18Config(shared=False, trainable=True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "policy.head.flow_depth=2",
            r"unknown key 'flow_depth' for the kind 'mlp'; known keys are widths, tanh",
        ),
        ("policy.head.kind=flwo", r"'flwo', expected one of mlp.*did you mean 'flow'"),
        ("policy.image_encoder.kind=timm", r"lacks the key 'model'"),
    ],
)
def test_when_a_key_is_of_another_kind_expect_the_kinds_own(override: str, message: str) -> None:
    with pytest.raises(HptError, match=message):
        load_recipe(config_file("recipes/feed_dog.yaml"), [override])
