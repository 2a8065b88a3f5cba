# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    DecoderHeadConfig,
    EfficientNetConfig,
    HeadConfig,
    ImageEncoderConfig,
    MlpHeadConfig,
    PolicyConfig,
    ResNet18Config,
    StemConfig,
    TimmConfig,
    TrunkConfig,
)
from hpt_ros.model.config import POOLINGS, TRUNK_SIZES, with_current_keys
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.conv_head import ConvHeadConfig
from hpt_ros.model.diffusion import DiffusionHeadConfig
from hpt_ros.model.encoder_config import IMAGE_ENCODERS
from hpt_ros.model.encoders import Network
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.head_config import HEADS, HeadKind
from hpt_ros.model.heads import Head, MlpHead
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.model.policy import Policy
from hpt_ros.model.pooling import Pooling
from hpt_ros.model.small_cnn import SmallCnnConfig
from hpt_ros.model.trunk import Trunk
from hpt_ros.registry import load_location
from hpt_ros.structured import read_dataclass, to_mapping


@dataclass(frozen=True, slots=True)
class TwinConfig(MlpHeadConfig):
    """A head that is added by its line."""

    kind: ClassVar[str] = "twin"


def head(mapping):
    return read_dataclass(HeadConfig, mapping, where="head")


def encoder(mapping):
    return read_dataclass(ImageEncoderConfig, mapping, where="image_encoder")


# The paper's table; also what the published weights hold.
@pytest.mark.parametrize(
    ("size", "parameters"),
    [
        ("small", 3_176_448),
        ("base", 12_644_352),
        ("large", 50_454_528),
        ("xlarge", 226_861_056),
        ("huge", 1_007_861_760),
    ],
)
def test_when_a_published_size_is_built_expect_its_parameters(size, parameters):
    import torch

    config = TrunkConfig.named(size)
    with torch.device("meta"):
        trunk = Trunk(config)
    assert sum(parameter.numel() for parameter in trunk.parameters()) == parameters
    assert config.parameters == parameters


def test_when_trunk_is_built_expect_drop_path_to_rise_linearly():
    rates = [
        block.drop_path for block in Trunk(TrunkConfig(width=16, depth=5, heads=2, drop_path=0.2)).blocks
    ]
    assert rates == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])


def test_when_config_goes_through_a_mapping_expect_the_same(make_config):
    config = make_config(
        pooling="no-op", head=DecoderHeadConfig(), stems=(StemConfig("image"), StemConfig("state"))
    )
    assert PolicyConfig.from_mapping(config.to_mapping(), where="test") == config


def test_when_size_is_misspelt_expect_a_suggestion():
    with refused(
        HptError,
        Code.UNKNOWN,
        subject="'bse'",
        value="bse",
        problem="is no trunk size",
        remedy="did you mean 'base",
    ):
        TrunkConfig.named("bse")


def test_when_a_key_is_misspelt_expect_its_place(make_config):
    mapping = make_config().to_mapping()
    mapping["trunk"]["dept"] = 3
    with pytest.raises(HptError, match=r"recipe.*'trunk'.*'dept'.*did you mean 'depth'"):
        PolicyConfig.from_mapping(mapping, where="recipe")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"state_dim": 0},
            r"shapes has image while the stems are for image, state; give the shape of 'state'",
        ),
        ({"views": 0}, r"shapes has state while the stems are for image, state; give the shape of 'image'"),
        ({"image_height": 8}, r"shape of 'image' has 8x48 pixels.*at least 32"),
        ({"pooling": "median"}, r"is 'median', expected one of mean, max"),
        (
            {"pooling": "no-op"},
            r"MLP head reads one feature or one token per step, but pooling 'no-op' gives all tokens",
        ),
        (
            {"head": DecoderHeadConfig()},
            r"decoder head reads one token per step or all tokens, but pooling 'mean' gives",
        ),
        (
            {"head": ConvHeadConfig()},
            r"convolution head reads one token per step, but pooling 'mean' .* set pooling to action_token,",
        ),
        (
            {"pooling": "no-op", "head": FlowHeadConfig()},
            r"flow matching head reads one feature or one token per step, but pooling 'no-op'",
        ),
        ({"embodiment": "my.arm"}, r"'my\.arm' cannot be part of a weight's name"),
        ({"action_horizon": 0}, r"action_horizon is 0, expected at least 1"),
        ({"stems": (StemConfig("state"), StemConfig("state"))}, r"name each modality once"),
        ({"stems": ()}, r"one or more different modalities"),
    ],
)
def test_when_parts_do_not_fit_expect_a_sentence(make_config, changes, message):
    with pytest.raises(HptError, match=message):
        make_config(**changes)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TrunkConfig(width=30, depth=1, heads=4), r"width 30, depth 1 and 4 heads cannot be built"),
        (lambda: TrunkConfig(width=32, depth=1, heads=0), r"0 heads cannot be built"),
        (lambda: StemConfig("touch"), r"modality 'touch', expected one of image, depth, tactile"),
        (lambda: StemConfig("image", widths=()), r"stem of 'image' has no hidden width"),
        (lambda: encoder({"kind": "resnet81"}), r"is 'resnet81'.*did you mean 'resnet18'"),
        (lambda: encoder({"kind": "none"}), r"lacks the key 'cells' \(cells of a precomputed"),
        (lambda: encoder({"kind": "timm"}), r"lacks the key 'model' \(the model's name"),
        (
            lambda: encoder({"cells": 49}),
            r"unknown key 'cells' for the kind 'resnet18'; known keys are shared, trainable",
        ),
        (lambda: SmallCnnConfig(channels=(12,)), r"channels \[12\].*multiples of 8"),
        (lambda: head({"kind": "gm"}), r"key 'kind' is 'gm', expected one of mlp, conv.*did you mean 'gmm'"),
        (
            lambda: head({"kind": "flow", "modes": 3}),
            r"unknown key 'modes' for the kind 'flow'; known keys are flow_noise, heads, flow_width",
        ),
        (lambda: head({"kind": 3}), r"key 'kind' is 3 \(int\), expected one of mlp"),
        (lambda: TimmConfig(model=""), r"'timm', model is empty.*give image_encoder.model"),
        (lambda: MlpHeadConfig(widths=()), r"MLP head has no hidden width"),
        (lambda: GmmHeadConfig(widths=()), r"Gaussian mixture head has no hidden width"),
        (lambda: ConvHeadConfig(kernel=4), r"kernel is 4, expected an odd number"),
        (lambda: FlowHeadConfig(flow_width=20), r"width 20 and 8 heads cannot be built"),
        (
            lambda: FlowHeadConfig(flow_noise="nought"),
            r"flow_noise is 'nought', expected one of fixed, zero",
        ),
        (lambda: MlpHeadConfig(dropout=1.0), r"dropout is 1, expected 0 to below 1"),
    ],
)
def test_when_a_part_is_wrong_expect_a_sentence(build, message):
    with pytest.raises(HptError, match=message):
        build()


def test_when_parts_are_counted_expect_their_sum_to_be_the_policy(make_policy):
    policy: Policy = make_policy(pooling="action_token")
    parts = policy.parts()
    assert sum(parts.values()) == sum(parameter.numel() for parameter in policy.parameters())
    assert parts["trunk"] == TrunkConfig(width=32, depth=2, heads=4).parameters
    assert set(TRUNK_SIZES) == {"small", "base", "large", "xlarge", "huge"}


# --- registries ------------------------------------------------------------------------------------------------------


def test_when_kinds_are_listed_expect_each_to_name_a_class_that_is_there():
    for head in HEADS.values():
        assert issubclass(load_location(head.location), Head)
    for pooling in POOLINGS.values():
        assert issubclass(load_location(pooling.location), Pooling)
    for name, encoder in IMAGE_ENCODERS.items():
        assert encoder.config.kind == name
        assert name == "none" or isinstance(load_location(encoder.location), Network)


@pytest.mark.parametrize("pooling", list(POOLINGS))
@pytest.mark.parametrize("head", list(HEADS))
def test_when_a_head_cannot_read_what_a_pooling_gives_expect_it_refused_with_those_that_fit(
    make_config, head, pooling
):
    if POOLINGS[pooling].gives in HEADS[head].reads:
        assert make_config(head=HEADS[head].config(), pooling=pooling).pooling == pooling
        return
    with pytest.raises(ConfigError, match=rf"but pooling '{pooling}' gives .*; set pooling to ") as refused:
        make_config(head=HEADS[head].config(), pooling=pooling)
    for name, kind in POOLINGS.items():
        named = name in str(refused.value).partition("set pooling to")[2]
        assert named == (kind.gives in HEADS[head].reads)


def test_when_a_head_is_added_by_its_line_expect_a_policy_with_it(make_policy, make_inputs, monkeypatch):
    monkeypatch.setitem(HEADS.own, "twin", HeadKind("twin", HEADS["mlp"].location, TwinConfig))
    policy = make_policy(head=head({"kind": "twin", "widths": [8, 4]}))
    assert isinstance(policy.head, MlpHead)
    assert policy.predict(make_inputs(policy.config)).shape[1:] == (4, 2)


# --- stored by earlier versions, which wrote the keys of all kinds ----------------------------------------------------

ALL_HEADS = {
    "widths": [24, 16], "tanh": False, "hidden_width": 512, "heads": 4, "head_width": 64, "dropout": 0.2,
    "projection": True, "kernel": 3, "modes": 5, "min_std": 1e-4, "flow_width": 32, "flow_depth": 3,
    "flow_steps": 10, "flow_noise": "zero", "diffusion_widths": [64, 128], "diffusion_train_steps": 100,
    "diffusion_steps": 10,
}  # fmt: skip
ALL_ENCODERS = {
    "shared": False, "trainable": True, "model": "", "channels": [8, 8], "efficientnet": {"stage": 3},
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mlp", MlpHeadConfig(widths=(24, 16), tanh=False, dropout=0.2)),
        ("conv", ConvHeadConfig(widths=(24, 16), tanh=False)),
        ("decoder", DecoderHeadConfig(heads=4, dropout=0.2)),
        ("gmm", GmmHeadConfig(widths=(24, 16), dropout=0.2)),
        ("flow", FlowHeadConfig(heads=4, flow_width=32, flow_noise="zero")),
        ("diffusion", DiffusionHeadConfig(flow_noise="zero")),
    ],
)
def test_when_a_stored_head_has_the_keys_of_all_kinds_expect_its_own(kind, expected):
    assert head(with_current_keys({"head": {"kind": kind, **ALL_HEADS}})["head"]) == expected


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("resnet18", ResNet18Config(shared=False, trainable=True)),
        ("small_cnn", SmallCnnConfig(shared=False, trainable=True, channels=(8, 8))),
        ("efficientnet_lite0", EfficientNetConfig(shared=False, trainable=True, stage=3)),
    ],
)
def test_when_a_stored_encoder_has_the_keys_of_all_kinds_expect_its_own(kind, expected):
    stored = {"image_encoder": {"kind": kind, **ALL_ENCODERS}}
    assert encoder(with_current_keys(stored)["image_encoder"]) == expected


def test_when_a_stored_key_is_of_no_kind_expect_it_refused():
    with pytest.raises(HptError, match=r"unknown key 'width' for the kind 'mlp'.*did you mean 'widths'"):
        head(with_current_keys({"head": {"kind": "mlp", "width": [3]}})["head"])


@pytest.mark.parametrize("name", list(HEADS))
def test_when_a_head_goes_through_a_mapping_expect_its_kind_and_own_keys_only(name):
    config = HEADS[name].config()
    mapping = to_mapping(config)
    assert next(iter(mapping.items())) == ("kind", name)
    assert head(mapping) == config


def test_when_stored_keys_had_other_names_expect_todays():
    stored = {"stems": [{"modality": "state", "drop_share": 0.2}], "share": ["encoder image"]}
    assert with_current_keys(stored) == {
        "stems": [{"modality": "state", "drop_probability": 0.2}],
        "shared": ["encoder image"],
    }
