# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from hpt_ros.model import ResNet18Config
from hpt_ros.model.encoders import IMAGENET_MEAN, IMAGENET_STD, ResNet18, feature_shape
from hpt_ros.model.small_cnn import SmallCnn, SmallCnnConfig


def torchvision_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of torchvision's resnet18 without its classifier, written out from its definition."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    before = 64
    for layer, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{layer}.{block}"
            shapes[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            shapes[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn1", channels)
            norm(f"{name}.bn2", channels)
            if block == 0 and layer > 1:
                shapes[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    return shapes


def resnet_by_hand(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """ResNet-18 in evaluation mode as plain functions of its weights."""

    def norm(name: str, y: torch.Tensor) -> torch.Tensor:
        scale = w[f"{name}.weight"] / torch.sqrt(w[f"{name}.running_var"] + 1e-5)
        shift = w[f"{name}.bias"] - w[f"{name}.running_mean"] * scale
        return y * scale[:, None, None] + shift[:, None, None]

    x = functional.conv2d(x, w["conv1.weight"], stride=2, padding=3)
    x = functional.max_pool2d(norm("bn1", x).clamp_min(0), 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            y = functional.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
            y = functional.conv2d(norm(f"{name}.bn1", y).clamp_min(0), w[f"{name}.conv2.weight"], padding=1)
            if stride == 2:
                x = norm(
                    f"{name}.downsample.1", functional.conv2d(x, w[f"{name}.downsample.0.weight"], stride=2)
                )
            x = (norm(f"{name}.bn2", y) + x).clamp_min(0)
    return x


def test_when_resnet18_is_built_expect_torchvisions_names_and_shapes():
    assert {
        name: tuple(value.shape) for name, value in ResNet18().state_dict().items()
    } == torchvision_shapes()


def test_when_resnet18_runs_expect_the_published_network():
    network = ResNet18().eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif "bn" in name or "downsample.1" in name:
                value.copy_(torch.randn(value.shape) * 0.2 + 0.5)
    frames = torch.randint(0, 256, (1, 224, 224, 3), dtype=torch.uint8)
    pixels = (frames.numpy() / 255.0 - np.asarray(IMAGENET_MEAN)) / np.asarray(IMAGENET_STD)
    x = torch.as_tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)
    with torch.no_grad():
        cells, expected = network(frames), resnet_by_hand(network.state_dict(), x)
    assert cells.shape == (1, 49, 512)
    torch.testing.assert_close(cells, expected.flatten(2).transpose(1, 2), rtol=1e-4, atol=1e-4)


def test_when_frames_have_another_size_expect_resnet_to_resize_them():
    grey = torch.full((1, 60, 80, 3), 128, dtype=torch.uint8)
    pixels = ResNet18().preprocess(grey)
    assert pixels.shape == (1, 3, 224, 224)
    for channel, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD, strict=True)):
        expected = torch.full((224, 224), (128 / 255 - mean) / std)
        torch.testing.assert_close(pixels[0, channel], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(96, 128), (33, 47)])
def test_when_small_cnn_runs_expect_the_declared_cells(make_config, height, width):
    config = make_config(image_height=height, image_width=width)
    network = SmallCnn(height, width, config.image_encoder.channels)
    cells = network(torch.zeros(2, height, width, 3, dtype=torch.uint8))
    assert tuple(cells.shape[1:]) == (network.cells, network.cell_width) == feature_shape(config)


def test_when_a_spot_moves_expect_small_cnns_cells_to_change_there():
    network = SmallCnn(64, 64, (8, 8, 8)).eval()
    frame = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    spot = frame.clone()
    spot[:, 8:12, 48:52] = 255  # row 1, column 6 of the 8x8 cells
    difference = (network(spot) - network(frame)).norm(dim=-1).reshape(8, 8)
    assert divmod(int(difference.argmax()), 8) == (1, 6)


def test_when_encoders_are_separate_expect_each_view_its_own_weights(make_policy, make_inputs):
    encoder = SmallCnnConfig(channels=(8, 16, 16), trainable=True, shared=False)
    policy = make_policy(image_encoder=encoder)
    image = make_inputs(policy.config)["image"]
    before = policy.encode_images(image)
    with torch.no_grad():
        for parameter in policy.encoders["image"].nets[1].parameters():
            parameter.mul_(1.5)
    after = policy.encode_images(image)
    assert torch.equal(before[:, :, 0], after[:, :, 0])
    assert not torch.allclose(before[:, :, 1], after[:, :, 1])
    # the same picture through two separate encoders differs, at every time step; through a shared one it does not
    same = np.repeat(image[:, :, :1], 2, axis=2)
    separate, shared = policy.encode_images(same), make_policy().encode_images(same)
    assert not torch.allclose(separate[:, :, 0], separate[:, :, 1])
    torch.testing.assert_close(shared[:, :, 0], shared[:, :, 1])


def test_when_shared_encoder_takes_many_frames_expect_each_frame_in_its_place(make_policy, make_inputs):
    policy = make_policy()
    image = make_inputs(policy.config)["image"]
    together = policy.encode_images(image)
    for step in range(3):
        for view in range(2):
            alone = policy.encoders["image"].nets[0](torch.as_tensor(image[:, step, view]))
            torch.testing.assert_close(together[:, step, view], alone, rtol=0, atol=1e-5)


def test_when_encoder_is_frozen_expect_no_gradient_and_no_change_of_statistics(make_policy, make_inputs):
    policy = make_policy(
        image_encoder=ResNet18Config(),
        views=1,
        observation_horizon=1,
        image_height=32,
        image_width=32,
    )
    policy.train()
    before = {name: value.clone() for name, value in policy.encoders.state_dict().items()}
    inputs = make_inputs(policy.config, batch=1)
    policy.loss(inputs, np.zeros((1, 4, 2), np.float32), np.zeros((1, 4), bool)).backward()
    assert all(parameter.grad is None for parameter in policy.part("encoders"))
    assert all(torch.equal(before[name], value) for name, value in policy.encoders.state_dict().items())
    assert any(parameter.grad is not None for parameter in policy.part("stems"))


def test_when_encoder_is_trainable_expect_gradients(make_policy, make_inputs):
    policy = make_policy().train()
    policy.loss(
        make_inputs(policy.config), np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)
    ).backward()
    assert all(parameter.grad is not None for parameter in policy.part("encoders"))
