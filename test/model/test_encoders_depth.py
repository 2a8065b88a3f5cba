# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.model import PolicyConfig, StemConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.depth_encoder import DepthEncoder, depth_feature_shape
from hpt_ros.model.encoder_config import DepthEncoderConfig
from hpt_ros.model.small_cnn import SmallCnn


@pytest.fixture
def make_encoder(make_config):
    """A depth encoder of pictures of 32x48 pixels."""

    def make(height: int = 32, width: int = 48, far_m: float = 2.0) -> tuple[PolicyConfig, DepthEncoder]:
        config = make_config(
            stems=tuple(StemConfig(modality) for modality in ("image", "state", "depth")),
            depth_views=2,
            depth_height=height,
            depth_width=width,
            depth_encoder=DepthEncoderConfig(channels=(8, 16, 16), far_m=far_m),
        )
        return config, DepthEncoder(config)

    return make


@pytest.mark.parametrize(("height", "width"), [(32, 48), (33, 47), (64, 40)])
def test_when_depth_is_encoded_expect_the_declared_cells(make_encoder, height, width):
    config, encoder = make_encoder(height, width)
    cells = encoder(torch.randint(0, 5000, (2, 3, 2, height, width)).to(torch.uint16))
    assert cells.dtype == torch.float32
    assert tuple(cells.shape) == (2, 3, 2, *depth_feature_shape(config))


def test_when_depth_is_encoded_expect_each_picture_in_its_place(make_encoder):
    _, encoder = make_encoder()
    depth = torch.randint(0, 5000, (2, 3, 2, 32, 48)).to(torch.uint16)
    together = encoder(depth)
    for batch, step, view in ((0, 0, 1), (1, 2, 0)):
        alone = encoder(depth[batch, step, view][None, None, None])
        torch.testing.assert_close(together[batch, step, view], alone[0, 0, 0], rtol=0, atol=1e-5)


def planes_of(encoder: DepthEncoder, millimetres: int) -> torch.Tensor:
    """The two channels that the network gets from a picture of one distance."""
    seen: list[torch.Tensor] = []
    hook = encoder.net.blocks.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder(torch.full((1, 1, 1, 32, 48), millimetres, dtype=torch.uint16))
    hook.remove()
    return seen[0][0, :2]


@pytest.mark.parametrize(
    ("millimetres", "distance", "measured"),
    [
        (0, 0.0, 0.0),
        (1, 0.0005, 1.0),
        (500, 0.25, 1.0),
        (2000, 1.0, 1.0),
        (2001, 1.0, 1.0),
        (65535, 1.0, 1.0),
    ],
)
def test_when_a_distance_is_encoded_expect_it_over_far_and_whether_it_was_measured(
    make_encoder, millimetres, distance, measured
):
    planes = planes_of(make_encoder(far_m=2.0)[1], millimetres)
    torch.testing.assert_close(planes[0], torch.full((32, 48), distance))
    torch.testing.assert_close(planes[1], torch.full((32, 48), measured))


def test_when_nothing_was_measured_expect_other_features_than_for_a_short_distance(make_encoder):
    _, encoder = make_encoder()
    nothing, near = (torch.full((1, 1, 1, 32, 48), mm, dtype=torch.uint16) for mm in (0, 1))
    assert not torch.allclose(encoder(nothing), encoder(near), atol=1e-3)


def test_when_depth_is_trained_expect_gradients_and_smallcnns_names(make_encoder):
    _, encoder = make_encoder()
    encoder.train()(torch.full((1, 1, 1, 32, 48), 700, dtype=torch.uint16)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    names = SmallCnn(32, 48, (8, 16, 16), planes=2).state_dict().keys()
    assert list(encoder.state_dict()) == [f"net.{name}" for name in names]


def test_when_depth_channels_do_not_fit_groups_expect_an_error():
    with refused(
        ConfigError,
        Code.OUT_OF_RANGE,
        subject="the depth encoder's channels [12]",
        problem="must be one or more multiples of 8",
    ):
        DepthEncoderConfig(channels=(12,))
