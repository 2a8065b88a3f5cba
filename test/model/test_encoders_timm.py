# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image encoders of timm, with the real library; skipped where it is not installed (`make setup EXTRAS=timm`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hpt_ros.model import Policy, TimmConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.pretrained import LibraryEncoder, complete_image_encoder
from hpt_ros.model.pretrained_weights import load_library_encoder
from hpt_ros.model.weight_files import WeightsError

timm = pytest.importorskip("timm", reason="timm is not installed: make setup EXTRAS=timm")

VIT = "test_vit"  # timm's own tiny networks, for tests


@pytest.fixture
def encoder_policy(make_policy):
    """A policy with an encoder of timm, random weights."""

    def make(model: Path | str, **changes) -> Policy:
        encoder = TimmConfig(model=str(model), **changes)
        return make_policy(image_encoder=complete_image_encoder(encoder))

    return make


def published(name: str, file: Path, **changes) -> torch.nn.Module:
    """A whole model with its classifier, saved as published files are."""
    torch.manual_seed(4)
    model = timm.create_model(name, pretrained=False, **changes).eval()
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    return model


@pytest.mark.parametrize(
    ("name", "layout", "skipped"),
    [(VIT, "tokens", 1), ("test_vit2", "tokens", 1), ("test_resnet", "channels_first", 0)],
)
def test_when_models_differ_expect_the_cells_of_the_library_itself(
    tmp_path, encoder_policy, make_inputs, name, layout, skipped
):
    model = published(name, tmp_path / "model.safetensors")
    policy = encoder_policy(name)
    report = load_library_encoder(policy, tmp_path)
    (net,) = policy.encoders["image"].nets
    assert isinstance(net, LibraryEncoder)
    assert net.architecture.layout == layout
    classifier = model.pretrained_cfg["classifier"]
    assert set(report.left_out) == {f"{classifier}.weight", f"{classifier}.bias"}
    inputs = make_inputs(policy.config)
    features = policy.encode_images(inputs["image"])
    assert tuple(features.shape) == (2, 3, 2, *feature_shape(policy.config))
    with torch.no_grad():
        out = model.forward_features(net.preprocess(torch.as_tensor(inputs["image"][0, 0])))
    prefix = getattr(model, "num_prefix_tokens", 0)
    assert net.architecture.skipped_tokens == prefix >= min(skipped, prefix)
    expected = out[:, prefix:] if layout == "tokens" else out.flatten(2).transpose(1, 2)
    torch.testing.assert_close(features[0, 0], expected, rtol=1e-4, atol=1e-5)
    assert policy.predict(inputs).shape == (2, 4, 2)


def test_when_swin_puts_channels_last_expect_cells_row_by_row(encoder_policy):
    policy = encoder_policy("swin_tiny_patch4_window7_224", side_px=224)
    architecture = policy.config.image_encoder.architecture
    assert (architecture.layout, architecture.cells, architecture.cell_width) == ("channels_last", 49, 768)
    (net,) = policy.encoders["image"].nets
    frames = torch.randint(0, 256, (1, 32, 48, 3), dtype=torch.uint8)
    with torch.no_grad():
        grid = net.network.forward_features(net.preprocess(frames))
        cells = net.eval()(frames)
    torch.testing.assert_close(cells[0, 7 * 2 + 5], grid[0, 2, 5])


def test_when_dinov2_is_named_with_a_side_expect_its_patches(encoder_policy):
    policy = encoder_policy("vit_small_patch14_dinov2.lvd142m", side_px=56)
    architecture = policy.config.image_encoder.architecture
    assert architecture.name == "vit_small_patch14_dinov2"
    assert (architecture.cells, architecture.cell_width, architecture.skipped_tokens) == (16, 384, 1)
    assert feature_shape(policy.config) == (16, 384)


def test_when_the_side_differs_from_the_files_expect_timm_to_fit_its_positions(tmp_path, encoder_policy):
    published(VIT, tmp_path / "model.safetensors")
    policy = encoder_policy(VIT, side_px=96)
    report = load_library_encoder(policy, tmp_path)
    expected = timm.create_model(
        VIT,
        pretrained=True,
        pretrained_cfg_overlay={"state_dict": load_file(tmp_path / "model.safetensors")},
        img_size=96,
    ).state_dict()
    (net,) = policy.encoders["image"].nets
    assert report.tensors == len(net.network.state_dict())
    assert all(torch.equal(value, expected[name]) for name, value in net.network.state_dict().items())


def test_when_the_model_is_a_folder_expect_its_architecture(tmp_path, encoder_policy):
    model = timm.create_model(VIT, pretrained=False, img_size=64, depth=2)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    policy = encoder_policy(tmp_path)
    report = load_library_encoder(policy, tmp_path)
    architecture = policy.config.image_encoder.architecture
    assert (architecture.name, architecture.side_px) == (VIT, 64)
    (net,) = policy.encoders["image"].nets
    expected = model.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in net.network.state_dict().items())
    assert report.file.endswith("model.safetensors")


@pytest.mark.parametrize("trainable", [False, True])
def test_when_trained_expect_gradients_only_if_trainable(encoder_policy, make_inputs, trainable):
    policy = encoder_policy("test_resnet", trainable=trainable, shared=False).train()
    before = {name: value.clone() for name, value in policy.encoders.state_dict().items()}
    inputs = make_inputs(policy.config)
    policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    assert len(policy.encoders["image"].nets) == 2
    assert all((p.grad is not None) == trainable for p in policy.part("encoders"))
    same = all(torch.equal(value, before[name]) for name, value in policy.encoders.state_dict().items())
    assert same != trainable  # BatchNorm's statistics move only where the encoder is trained


@pytest.mark.parametrize("problem", ["missing", "too many", "shape"])
def test_when_the_file_does_not_fit_expect_what_differs_and_nothing_loaded(tmp_path, encoder_policy, problem):
    file = tmp_path / "model.safetensors"
    published(VIT, file)
    tensors = load_file(file)
    sentence = r"lacks 1 tensors \(norm\.weight\)"
    if problem == "missing":
        del tensors["norm.weight"]
    elif problem == "too many":
        tensors["blocks.99.norm1.weight"] = torch.ones(2)
        sentence = r"has 1 tensors too many \(blocks\.99\.norm1\.weight\)"
    else:
        tensors["norm.weight"] = torch.ones(3)
        sentence = r"'norm\.weight' is \(3,\), but"
    save_file(tensors, file)
    policy = encoder_policy(VIT)
    before = {name: value.clone() for name, value in policy.encoders.state_dict().items()}
    with pytest.raises(WeightsError, match=rf"does not fit the image encoder 'test_vit': .*{sentence}"):
        load_library_encoder(policy, file)
    assert all(torch.equal(value, before[name]) for name, value in policy.encoders.state_dict().items())


def test_when_the_name_is_unknown_expect_the_librarys_words(encoder_policy):
    with pytest.raises(ConfigError, match=r"'timm' cannot be made from the model 'vit_nano': Unknown model"):
        encoder_policy("vit_nano")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("hf-hub:somebody/something", "{}"), ("vit_nano", "{}"), (VIT, '{"checkpoint_path": "/tmp/x.pth"}')],
)
def test_when_a_checkpoint_would_fetch_something_expect_it_refused(encoder_policy, name, arguments):
    architecture = encoder_policy(VIT).config.image_encoder.architecture
    with pytest.raises(
        ConfigError, match=r"cannot build the image encoder .*unknown, or with arguments that fetch"
    ):
        LibraryEncoder("timm", replace(architecture, name=name, arguments=arguments))
