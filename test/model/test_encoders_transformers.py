# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Image encoders of transformers, with the real library: a tiny random DINOv2 stands for the published one."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.refused import refused
from torch.nn import functional

from hpt_ros.errors import Code
from hpt_ros.extras import MissingExtraError
from hpt_ros.model import (
    Policy,
    TransformersConfig,
    load_checkpoint,
    save_checkpoint,
)
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoder_config import EncoderArchitecture
from hpt_ros.model.encoders import feature_shape
from hpt_ros.model.pretrained import LibraryEncoder, complete_image_encoder
from hpt_ros.model.pretrained_weights import load_library_encoder
from hpt_ros.model.weight_files import WeightsError

transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=transformers")

# As facebook/dinov2-small's preprocessor_config.json, but smaller.
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PREPROCESSOR: dict[str, Any] = {
    "crop_size": {"height": 42, "width": 42},
    "do_center_crop": True,
    "do_resize": True,
    "image_mean": MEAN,
    "image_std": STD,
    "resample": 3,
    "size": {"shortest_edge": 48},
}


def save_model(folder: Path, model, preprocessor=PREPROCESSOR) -> Path:
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def tiny_dinov2(**changes):
    torch.manual_seed(3)
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 56,
        "patch_size": 14,
    }
    return transformers.Dinov2Model(transformers.Dinov2Config(**sizes | changes)).eval()


def assert_same(net, folder: Path) -> None:
    """The library itself reads the same weights from the folder; names in files and in memory may differ."""
    expected = transformers.AutoModel.from_pretrained(folder).state_dict()
    actual = net.network.state_dict()
    assert actual.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in actual.items())


@pytest.fixture
def folder(tmp_path) -> Path:
    return save_model(tmp_path / "dinov2", tiny_dinov2())


@pytest.fixture
def encoder_policy(make_policy):
    """A policy with an encoder of transformers, random weights."""

    def make(model: Path | str, **changes) -> Policy:
        encoder = TransformersConfig(model=str(model), **changes)
        return make_policy(image_encoder=complete_image_encoder(encoder))

    return make


def test_when_a_model_is_named_expect_what_rebuilds_it(folder, make_config):
    config = make_config(image_encoder=TransformersConfig(model=str(folder)))
    with refused(
        ConfigError,
        Code.MISSING,
        subject="the image encoder 'transformers'",
        problem="names the model",
        remedy="image_encoder",
    ):
        feature_shape(config)
    completed = replace(config, image_encoder=complete_image_encoder(config.image_encoder))
    architecture = completed.image_encoder.architecture
    assert (architecture.name, architecture.layout, architecture.side_px) == ("dinov2", "tokens", 42)
    assert (architecture.cells, architecture.cell_width, architecture.skipped_tokens) == (9, 16, 1)
    assert feature_shape(completed) == (9, 16)
    assert complete_image_encoder(completed.image_encoder) == completed.image_encoder
    assert type(completed).from_mapping(completed.to_mapping(), where="config.yaml") == completed


def test_when_frames_are_encoded_expect_the_patch_tokens_of_the_library_itself(folder, encoder_policy):
    policy = encoder_policy(folder)
    report = load_library_encoder(policy, folder)
    assert (report.tensors, report.left_out) == (len(load_file(folder / "model.safetensors")), ())
    images = np.random.default_rng(0).integers(0, 256, (1, 3, 2, 32, 48, 3), dtype=np.uint8)
    features = policy.encode_images(images)
    assert tuple(features.shape) == (1, 3, 2, 9, 16)
    frame = torch.as_tensor(images[0, 1, 1]).permute(2, 0, 1)[None].float() / 255
    pixels = functional.interpolate(frame, (42, 42), mode="bicubic", antialias=True).clamp(0, 1)
    pixels = (pixels - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    with torch.no_grad():
        tokens = transformers.AutoModel.from_pretrained(folder)(pixel_values=pixels).last_hidden_state
    torch.testing.assert_close(features[0, 1, 1], tokens[0, 1:], rtol=1e-4, atol=1e-5)


def test_when_frames_are_resized_expect_what_pillow_makes_of_them(folder, encoder_policy):
    image = pytest.importorskip("PIL.Image")
    policy = encoder_policy(folder)
    row, column = np.mgrid[0:96, 0:128]
    frame = np.stack((row * 2, column * 2 - 20, 60 + (row // 8 + column // 8) % 2 * 120), axis=-1).clip(
        0, 255
    )
    frame = frame.astype(np.uint8)
    expected = np.asarray(image.fromarray(frame).resize((42, 42), image.Resampling.BICUBIC)) / 255
    expected = (expected - MEAN) / STD
    (net,) = policy.encoders["image"].nets
    pixels = net.preprocess(torch.as_tensor(frame)[None])[0].permute(1, 2, 0).numpy()
    assert np.abs(pixels - expected).max() < 2.5 / 255 / min(STD)  # Pillow rounds to a byte twice


def test_when_a_checkpoint_is_loaded_expect_no_hub_and_no_folder_needed(
    folder, encoder_policy, make_inputs, tmp_path
):
    policy = encoder_policy(folder)
    load_library_encoder(policy, folder)
    inputs = make_inputs(policy.config)
    expected = policy.predict(inputs)
    save_checkpoint(tmp_path / "checkpoint", policy, embodiment_yaml="name: arm\n", stats={}, card="")
    for path in folder.iterdir():
        path.unlink()
    assert torch.equal(load_checkpoint(tmp_path / "checkpoint").policy.predict(inputs), expected)


@pytest.mark.parametrize("trainable", [False, True])
def test_when_trained_expect_gradients_only_if_trainable(folder, encoder_policy, make_inputs, trainable):
    policy = encoder_policy(folder, trainable=trainable).train()
    inputs = make_inputs(policy.config)
    policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    with_gradient = {name for name, p in policy.encoders.named_parameters() if p.grad is not None}
    everything = {name for name, _ in policy.encoders.named_parameters()}
    unused = {"image.nets.0.network.embeddings.mask_token"}  # of DINOv2's own training
    assert with_gradient == (everything - unused if trainable else set())
    assert policy.encoders["image"].nets[0].network.training == trainable


def test_when_encoders_are_separate_expect_weights_for_each_view(folder, encoder_policy):
    policy = encoder_policy(folder, shared=False)
    report = load_library_encoder(policy, folder)
    tensors = load_file(folder / "model.safetensors")
    assert report.tensors == 2 * len(tensors)
    assert report.parameters == sum(p.numel() for p in policy.part("encoders"))
    for net in policy.encoders["image"].nets:
        assert_same(net, folder)


def test_when_the_file_is_of_a_classifier_expect_its_encoder_alone(folder, encoder_policy, tmp_path):
    tensors = load_file(folder / "model.safetensors")
    named = {f"dinov2.{name}": value for name, value in tensors.items()} | {
        "classifier.weight": torch.ones(5, 32)
    }
    file = tmp_path / "classifier.safetensors"
    save_file(named, file)
    policy = encoder_policy(folder)
    report = load_library_encoder(policy, file)
    assert report.left_out == ("classifier.weight",)
    assert_same(policy.encoders["image"].nets[0], folder)


def change(tensors, problem):
    if problem == "missing":
        del tensors["layernorm.weight"]
    elif problem == "too many":
        tensors["encoder.layer.2.norm1.weight"] = torch.ones(16)
    elif problem == "shape":
        tensors["layernorm.weight"] = torch.ones(17)
    elif problem == "not finite":
        tensors["layernorm.weight"][3] = torch.nan
    else:
        tensors = {f"other.{name}": value for name, value in tensors.items()}
    return tensors


@pytest.mark.parametrize(
    ("problem", "sentence"),
    [
        ("missing", r"does not fit the image encoder 'dinov2': it lacks 1 tensors \(layernorm\.weight\)"),
        ("too many", r"it has too many, 1 tensors \(encoder\.layer\.2\.norm1\.weight\)"),
        ("shape", r"it has, of another shape, 1 tensors \(layernorm\.weight\)"),
        ("not finite", r"holds values in 'layernorm\.weight' that are no finite numbers"),
        ("names", r"it lacks 43 tensors .* and has too many, 43 tensors"),
    ],
)
def test_when_the_file_does_not_fit_expect_what_differs_and_nothing_loaded(
    folder, encoder_policy, tmp_path, problem, sentence
):
    policy = encoder_policy(folder)
    before = {name: value.clone() for name, value in policy.encoders.state_dict().items()}
    file = tmp_path / "changed.safetensors"
    save_file(change(load_file(folder / "model.safetensors"), problem), file)
    with pytest.raises(WeightsError, match=sentence):
        load_library_encoder(policy, file)
    assert all(torch.equal(value, before[name]) for name, value in policy.encoders.state_dict().items())


def test_when_the_encoder_is_ours_expect_no_library_weights(make_policy, folder):
    with refused(
        WeightsError,
        Code.INVALID,
        subject="the policy's image encoder",
        value="small_cnn",
        problem="but weights of timm or transformers need",
        remedy="image encoder",
    ):
        load_library_encoder(make_policy(), folder)


@pytest.mark.parametrize(
    ("make_model", "layout", "cells", "width", "skipped"),
    [
        (
            lambda: transformers.Dinov2WithRegistersModel(
                transformers.Dinov2WithRegistersConfig(
                    hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14
                )
            ),
            *("tokens", 9, 16, 5),
        ),
        (
            lambda: transformers.ViTModel(
                transformers.ViTConfig(
                    hidden_size=16,
                    num_hidden_layers=1,
                    num_attention_heads=2,
                    intermediate_size=32,
                    image_size=42,
                    patch_size=14,
                )
            ),
            *("tokens", 9, 16, 1),
        ),
        (
            lambda: transformers.ResNetModel(
                transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])
            ),
            *("channels_first", 36, 16, 0),
        ),
    ],
    ids=["registers", "vit", "resnet"],
)
def test_when_models_differ_expect_their_cells(
    tmp_path, encoder_policy, make_inputs, make_model, layout, cells, width, skipped
):
    folder = save_model(tmp_path / "model", make_model().eval())
    policy = encoder_policy(folder)
    report = load_library_encoder(policy, folder)
    architecture = policy.config.image_encoder.architecture
    assert (architecture.layout, architecture.skipped_tokens) == (layout, skipped)
    assert feature_shape(policy.config) == (cells, width)
    inputs = make_inputs(policy.config)
    features = policy.encode_images(inputs["image"])
    assert tuple(features.shape) == (2, 3, 2, cells, width)
    assert all("pooler" in name for name in report.left_out)  # ViT's reads the class token
    library = transformers.AutoModel.from_pretrained(folder)
    (net,) = policy.encoders["image"].nets
    with torch.no_grad():
        out = library(pixel_values=net.preprocess(torch.as_tensor(inputs["image"][0, 0]))).last_hidden_state
    expected = out[:, skipped:] if layout == "tokens" else out.flatten(2).transpose(1, 2)
    torch.testing.assert_close(features[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_when_a_side_is_given_expect_fewer_cells_or_the_models_own_words(folder, encoder_policy, tmp_path):
    assert feature_shape(encoder_policy(folder, side_px=28).config) == (4, 16)
    vit = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=42, patch_size=14
    )
    other = save_model(tmp_path / "vit", transformers.ViTModel(vit))
    with refused(
        ConfigError,
        Code.UNSUPPORTED,
        problem="cannot take frames of 28x28 pixels",
        remedy="set image_encoder.side_px to a size",
    ):
        encoder_policy(other, side_px=28)


def test_when_the_folder_is_not_a_model_expect_the_reason(encoder_policy, folder, tmp_path):
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"cannot be made from the model .*preprocessor_config\.json"):
        encoder_policy(folder)
    with pytest.raises(
        ConfigError, match=r"cannot be made from the model .*give a folder that holds the model"
    ):
        encoder_policy(tmp_path)


def test_when_the_model_also_reads_text_expect_it_refused(encoder_policy, tmp_path):
    tiny = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config=tiny, vision_config=tiny | {"image_size": 42, "patch_size": 14}
    )
    config.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    with refused(ConfigError, Code.INVALID, value="clip", expected="one of images alone"):
        encoder_policy(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"resample": 1}, "42x42 pixels, 1 interpolation"),
        ({"image_mean": None}, "mean None"),
        ({"crop_size": {"height": 42, "width": 56}}, "42x56 pixels"),
    ],
)
def test_when_the_preparation_is_unknown_expect_it_refused(tmp_path, encoder_policy, changes, sentence):
    folder = save_model(tmp_path / "m", tiny_dinov2(), PREPROCESSOR | changes)
    with pytest.raises(ConfigError, match=rf"wants frames of .*{sentence}.*a square, bicubic or bilinear"):
        encoder_policy(folder)


def test_when_a_repository_brings_code_expect_it_never_run(folder, encoder_policy, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "made_up", "auto_map": {"AutoConfig": "trap.Trap", "AutoModel": "trap.Trap"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass\n")
    with pytest.raises(ConfigError, match="cannot be made from the model"):
        encoder_policy(folder)
    assert not (tmp_path / "sprung").exists()


def test_when_weights_are_a_pickle_that_runs_code_expect_it_refused(folder, encoder_policy, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    policy = encoder_policy(folder)
    torch.save({"layernorm.weight": Trap()}, tmp_path / "pytorch_model.bin")
    with refused(WeightsError, Code.DAMAGED, problem="cannot be read"):
        load_library_encoder(policy, tmp_path)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"arguments": "[1]"}, r"arguments '\[1\]' are no JSON mapping \(they are a list\)"),
        ({"arguments": "{"}, r"are no JSON mapping"),
        ({"name": "dinov99"}, r"cannot build the image encoder 'dinov99' .*install the version"),
        (
            {"arguments": '{"hidden_size": 16, "num_attention_heads": 2, "patch_size": 0}'},
            r"transformers [\d.]+ cannot build the image encoder 'dinov2'",
        ),
    ],
)
def test_when_a_checkpoint_names_what_cannot_be_built_expect_an_error(
    folder, encoder_policy, changes, sentence
):
    architecture = encoder_policy(folder).config.image_encoder.architecture
    with pytest.raises(ConfigError, match=sentence):
        LibraryEncoder("transformers", replace(architecture, **changes))


def test_when_values_are_not_three_expect_an_error(folder, encoder_policy):
    architecture: EncoderArchitecture = encoder_policy(folder).config.image_encoder.architecture
    with refused(
        ConfigError,
        Code.WRONG_SHAPE,
        subject="the encoder 'dinov2'",
        value=[0.485, 0.456, 0.406],
        problem="the std [1.0]",
        expected="three numbers each",
    ):
        replace(architecture, std=(1.0,))


def test_when_transformers_is_absent_expect_what_installs_it(monkeypatch, folder):
    monkeypatch.setitem(sys.modules, "transformers", None)
    config = TransformersConfig(model=str(folder))
    with refused(
        MissingExtraError,
        Code.NOT_INSTALLED,
        subject="the image encoder 'transformers'",
        value="transformers",
        problem="needs the package",
        remedy="transformers",
    ):
        complete_image_encoder(config)
