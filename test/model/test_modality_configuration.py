# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""What a policy's configuration says of its modalities."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model import PolicyConfig, StemConfig
from hpt_ros.model.encoder_config import LanguageConfig


@pytest.mark.parametrize("name", ["depth", "wrench", "tactile", "pointcloud", "state", "image"])
def test_when_a_shape_is_missing_surplus_or_wrong_expect_its_modality(make_config, every_modality, name):
    config = make_config(**every_modality)
    without = {key: shape for key, shape in config.shapes.items() if key != name}
    with pytest.raises(
        HptError, match=rf"shapes has .* while the stems are for .*; give the shape of '{name}'"
    ):
        replace(config, shapes=without)
    stems = tuple(stem for stem in config.stems if stem.modality != name)
    with pytest.raises(HptError, match=rf"take out the shape of '{name}'"):
        replace(config, stems=stems)
    right = config.shapes[name]
    for wrong in ((*right, 2), right[:-1], (*right[:-1], 0), (*right[:-1], -1), (0, *right[1:])):
        with pytest.raises(
            HptError, match=rf"the shape of '{name}' is \[.*\], expected {len(right)} positive numbers"
        ):
            replace(config, shapes={**config.shapes, name: wrong})


def test_a_configuration_of_before_shapes_is_read(make_config, every_modality):
    config = make_config(**every_modality)
    mapping = config.to_mapping()
    del mapping["shapes"]
    mapping |= {
        "state_dim": 3, "views": 2, "image_height": 32, "image_width": 48, "depth_views": 1, "depth_height": 16,
        "depth_width": 24, "wrench_dim": 6, "tactile_arrays": 2, "tactile_values": 5, "clouds": 2, "cloud_points": 7,
    }  # fmt: skip
    assert PolicyConfig.from_mapping(mapping, where="old") == config
    assert PolicyConfig.from_mapping(config.to_mapping(), where="new") == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth_height": 7}, r"shape of 'depth' has 7x24 pixels .* at least 8"),
        ({"tasks": ("a", "a")}, r"tasks \['a', 'a'\] hold an empty text, or one twice"),
        ({"tasks": ("a", "")}, r"hold an empty text"),
    ],
)
def test_when_sizes_do_not_fit_expect_a_sentence(make_config, every_modality, changes, message):
    with pytest.raises(HptError, match=message):
        make_config(**{**every_modality, **changes})


def test_when_tasks_have_no_stem_or_language_is_alone_expect_a_sentence(make_config):
    with refused(
        HptError,
        Code.INVALID,
        subject="tasks",
        value=["image", "state"],
        problem="are given while",
        remedy="add a language stem",
    ):
        make_config(tasks=("a",))
    with refused(HptError, Code.INVALID, subject="the policy's only stem", value="language"):
        make_config(stems=(StemConfig("language"),), state_dim=0, views=0)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: StemConfig("state", missing="zero"), r"missing is 'zero', expected one of refuse, drop"),
        (lambda: StemConfig("state", drop_probability=1.0), r"drop_probability is 1, expected 0 to 0\.9"),
        (
            lambda: LanguageConfig(kind="t6"),
            r"language encoder is 't6', expected one of t5, sentence, none",
        ),
    ],
)
def test_when_a_part_is_wrong_expect_a_sentence(build, message):
    with pytest.raises(HptError, match=message):
        build()


def test_when_every_modality_is_configured_expect_the_configuration_back_from_a_mapping(
    make_config, every_modality
):
    config = make_config(**every_modality, modality_embedding=True)
    assert PolicyConfig.from_mapping(config.to_mapping(), where="test") == config
