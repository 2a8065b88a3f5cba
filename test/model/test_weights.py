# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    Policy,
    ResNet18Config,
    StemConfig,
    TrunkConfig,
    export_trunk,
    load_image_encoder,
    load_model,
    load_trunk,
    save_checkpoint,
)
from hpt_ros.model.trunk import Trunk


@pytest.fixture
def trunk_file(tmp_path, reference):
    """A trunk.pth as published: the sub-dict under ``trunk.`` of a model.pth."""
    stored = torch.load(reference("tiny_mlp").weights, weights_only=True)
    path = tmp_path / "trunk.pth"
    torch.save({n.removeprefix("trunk."): v for n, v in stored.items() if n.startswith("trunk.")}, path)
    return path


def tiny_trunk(make_policy, **changes):
    return make_policy(trunk=TrunkConfig(**({"width": 64, "depth": 4, "heads": 8} | changes)))


def test_when_trunk_is_loaded_expect_the_built_policy_to_hold_the_files_numbers(make_policy, trunk_file):
    policy = tiny_trunk(make_policy)
    report = load_trunk(policy, trunk_file)
    stored = torch.load(trunk_file, weights_only=True)
    built = {n: v for n, v in policy.state_dict().items() if n.startswith("trunk.")}
    assert built.keys() == {f"trunk.{name}" for name in stored}
    assert all(torch.equal(built[f"trunk.{name}"], value) for name, value in stored.items())
    assert (report.tensors, report.parameters) == (
        len(stored),
        sum(value.numel() for value in stored.values()),
    )
    assert report.parameters == policy.parts()["trunk"]
    assert report.sha256 == hashlib.sha256(trunk_file.read_bytes()).hexdigest()
    assert "200,448 numbers" in str(report)


def test_when_trunk_is_loaded_expect_its_output_and_not_a_random_one(make_policy, trunk_file):
    first, second = tiny_trunk(make_policy), tiny_trunk(make_policy)
    x = torch.randn(1, 5, 64)
    assert not torch.allclose(first.trunk["trunk"](x), second.trunk["trunk"](x))
    load_trunk(first, trunk_file)
    load_trunk(second, trunk_file)
    assert torch.equal(first.trunk["trunk"](x), second.trunk["trunk"](x))


def test_when_trunk_comes_from_model_pth_safetensors_or_a_folder_expect_the_same(
    make_policy, trunk_file, reference
):
    tensors = torch.load(trunk_file, weights_only=True)
    save_file(tensors, trunk_file.with_suffix(".safetensors"))
    sources = (
        trunk_file,
        trunk_file.with_suffix(".safetensors"),
        trunk_file.parent,
        reference("tiny_mlp").weights,
    )
    for source in sources:
        policy = tiny_trunk(make_policy)
        load_trunk(policy, source)
        assert torch.equal(
            policy.trunk["trunk"].blocks[3].mlp.fc2.weight, tensors["trunk.blocks.3.mlp.fc2.weight"]
        )


def test_when_trunk_comes_from_our_checkpoint_expect_its_numbers(make_policy, tmp_path):
    source, target = make_policy(), make_policy()
    save_checkpoint(tmp_path / "c", source, embodiment_yaml="", stats={}, card="")
    load_trunk(target, tmp_path / "c")
    for one, other in zip(source.trunk.parameters(), target.trunk.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 3}, r"has width 64, depth 4 and 8 heads, but the policy's has width 64, depth 3"),
        ({"width": 32}, r"has width 64.*but the policy's has width 32"),
    ],
)
def test_when_trunk_has_another_size_expect_both_sizes(make_policy, trunk_file, changes, message):
    policy = tiny_trunk(make_policy, **changes)
    before = policy.trunk["trunk"].blocks[0].norm_1.weight.clone()
    with pytest.raises(HptError, match=message):
        load_trunk(policy, trunk_file)
    assert torch.equal(before, policy.trunk["trunk"].blocks[0].norm_1.weight)


def test_when_a_published_size_is_loaded_with_other_heads_expect_a_sentence(make_policy, tmp_path):
    torch.save(
        {f"trunk.{n}": v for n, v in Trunk(TrunkConfig.named("small")).state_dict().items()},
        tmp_path / "t.pth",
    )
    policy = make_policy(trunk=replace(TrunkConfig.named("small"), heads=4))
    with refused(
        HptError,
        Code.INVALID,
        problem="8 heads (the size 'small'), but the policy's has",
        remedy="t the policy's",
    ):
        load_trunk(policy, tmp_path / "t.pth")


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda t: t.pop("trunk.blocks.2.norm_1.bias"), r"lacks 1 tensors \(blocks\.2\.norm_1\.bias\)"),
        (lambda t: t.update({"trunk.extra": torch.zeros(1)}), r"has 1 tensors too many \(extra\)"),
        (
            lambda t: t.update({"trunk.blocks.1.mlp.fc1.bias": torch.zeros(3)}),
            r"fc1\.bias' is \(3,\), expected \(256,\)",
        ),
        (
            lambda t: t.update({"trunk.blocks.0.norm_1.bias": torch.zeros(64, dtype=torch.int64)}),
            r"norm_1\.bias' is int64, expected float32",
        ),
        (
            lambda t: t["trunk.blocks.0.norm_1.bias"].fill_(torch.nan),
            r"norm_1\.bias' that are no finite numbers",
        ),
    ],
)
def test_when_a_tensor_is_wrong_expect_its_name(make_policy, trunk_file, alter, message):
    tensors = torch.load(trunk_file, weights_only=True)
    alter(tensors)
    torch.save(tensors, trunk_file)
    with pytest.raises(HptError, match=message):
        load_trunk(tiny_trunk(make_policy), trunk_file)


def test_when_model_is_loaded_expect_every_tensor_and_the_modality_tokens_kept(reference):
    case = reference("tiny_mlp")
    policy = Policy(case.config)
    report = load_model(policy, case.weights)
    stored = torch.load(case.weights, weights_only=True)
    built = policy.state_dict()
    assert built.keys() == stored.keys()
    assert all(torch.equal(built[name], value) for name, value in stored.items())
    assert "modalities_tokens.image" in built
    assert report.tensors == len(stored)


def test_when_modality_tokens_change_expect_no_change_of_the_output(reference):
    case = reference("tiny_mlp")
    policy = Policy(case.config)
    load_model(policy, case.weights)
    before = policy.eval().predict(case.inputs())
    for parameter in policy.modalities_tokens.values():
        parameter.data.add_(1.0)
    assert torch.equal(before, policy.predict(case.inputs()))


def test_when_model_is_of_another_embodiment_expect_both_names(reference):
    case = reference("tiny_mlp")
    with refused(
        HptError,
        Code.MISMATCH,
        value="feed_dog",
        problem="is for arm, but the policy is for",
        remedy="the policy",
    ):
        load_model(Policy(replace(case.config, embodiment="feed_dog")), case.weights)


def test_when_model_lacks_the_encoder_expect_it_named_or_left_out_on_request(reference):
    case = reference("tiny_mlp")
    encoder = ResNet18Config()
    shapes = {**case.config.shapes, "image": (2, 224, 224, 3)}
    policy = Policy(replace(case.config, image_encoder=encoder, shapes=shapes))
    with refused(HptError, Code.MISMATCH, problem="tensors (encoders.image.nets.0.conv1.weight"):
        load_model(policy, case.weights)
    report = load_model(policy, case.weights, without=("encoders",))
    assert report.tensors == len(torch.load(case.weights, weights_only=True))


def test_when_imagenet_weights_are_loaded_expect_every_view_and_the_classifier_reported(
    make_policy, tmp_path
):
    encoder = ResNet18Config(shared=False)
    policy = make_policy(image_encoder=encoder)
    stored = {name: torch.randn(v.shape) for name, v in policy.encoders["image"].nets[0].state_dict().items()}
    stored = {
        name: value for name, value in stored.items() if not name.endswith("num_batches_tracked")
    }  # an old file
    torch.save(
        {**stored, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)},
        tmp_path / "resnet18.pth",
    )
    report = load_image_encoder(policy, tmp_path / "resnet18.pth")
    for net in policy.encoders["image"].nets:
        assert all(torch.equal(net.state_dict()[name], value) for name, value in stored.items())
    assert report.tensors == 2 * len(stored)
    assert "left out: fc.weight, fc.bias" in str(report)


def test_when_policy_has_no_resnet_expect_a_sentence(make_policy, trunk_file):
    with refused(
        HptError,
        Code.INVALID,
        subject="the policy's image encoder",
        value="small_cnn",
        problem="but ImageNet weights need 'resnet18",
        remedy="image encoder",
    ):
        load_image_encoder(make_policy(), trunk_file)


def test_when_imagenet_weights_lie_in_a_folder_beside_a_depth_encoder_expect_them_loaded_and_depth_untouched(
    make_policy, tmp_path
):
    stems = (StemConfig("image"), StemConfig("depth"), StemConfig("state"))
    policy = make_policy(
        image_encoder=ResNet18Config(),
        stems=stems, depth_views=1, depth_height=16, depth_width=24,
    )  # fmt: skip
    before = [value.clone() for value in policy.encoders["depth"].parameters()]
    stored = {n: torch.randn(v.shape) for n, v in policy.encoders["image"].nets[0].named_parameters()}
    stored |= {
        n: torch.rand(v.shape) for n, v in policy.encoders["image"].nets[0].named_buffers() if "running" in n
    }
    save_file(stored, tmp_path / "model.safetensors")
    report = load_image_encoder(policy, tmp_path)
    assert report.file.endswith("model.safetensors")
    assert all(torch.equal(policy.encoders["image"].nets[0].state_dict()[n], v) for n, v in stored.items())
    assert all(torch.equal(a, b) for a, b in zip(before, policy.encoders["depth"].parameters(), strict=True))


def test_when_a_policy_has_no_image_encoder_expect_a_sentence(make_policy, trunk_file):
    stems = (StemConfig("depth"), StemConfig("state"))
    sizes = {"depth_views": 1, "depth_height": 16, "depth_width": 24}
    policy = make_policy(stems=stems, views=0, image_height=0, image_width=0, **sizes)
    with refused(
        HptError,
        Code.INVALID,
        subject="the policy's image encoder",
        value="small_cnn",
        problem="but ImageNet weights need 'resnet18",
    ):
        load_image_encoder(policy, trunk_file)


def test_when_a_trunk_comes_from_a_whole_model_expect_what_was_left_out_to_be_said(make_policy, reference):
    report = load_trunk(tiny_trunk(make_policy), reference("tiny_mlp").weights)
    assert report.left_out == ("stems", "heads", "normalizer", "modalities_tokens")
    assert "left out: stems, heads, normalizer, modalities_tokens" in str(report)


def test_when_a_policy_has_no_trunk_expect_none_exported(make_policy, tmp_path):
    policy = make_policy(trunk=TrunkConfig(width=32, depth=0, heads=4))
    with refused(HptError, Code.MISSING, subject="the policy", problem="has no trunk (trunk.depth is 0)"):
        export_trunk(policy, tmp_path / "trunk.pth")


# --- files -----------------------------------------------------------------------------------------------------------


class RunsCode:
    def __reduce__(self):
        return (os.system, ("touch pickle_ran_code",))


def test_when_a_pickle_holds_code_expect_it_refused_and_not_run(make_policy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.pth").write_bytes(pickle.dumps({"trunk.blocks.0": RunsCode()}, protocol=2))
    torch.save({"trunk.blocks.0": RunsCode()}, "evil2.pth")
    for name in ("evil.pth", "evil2.pth"):
        with refused(HptError, Code.DAMAGED, problem="cannot be read"):
            load_trunk(make_policy(), name)
    assert not Path("pickle_ran_code").exists()


def test_a_text_file_as_weights_is_told_without_what_torch_advises(make_policy, tmp_path):
    path = tmp_path / "mixture.yaml"
    path.write_text("datasets:\n- path: arm\n")
    with refused(HptError, Code.DAMAGED, problem="cannot be read") as caught:
        load_trunk(tiny_trunk(make_policy), path)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["trunk.pth", "trunk.safetensors"])
@pytest.mark.parametrize("kept", [0, 7, 1000, -100])
def test_when_a_file_is_cut_short_expect_a_sentence(make_policy, trunk_file, name, kept):
    save_file(torch.load(trunk_file, weights_only=True), trunk_file.with_name("trunk.safetensors"))
    path = trunk_file.with_name(name)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(HptError, match=rf"{name}' \(\d+ bytes\) cannot be read"):
        load_trunk(tiny_trunk(make_policy), path)


def test_when_nothing_is_there_expect_a_sentence(make_policy, tmp_path):
    policy = make_policy()
    torch.save({"weights": [1, 2]}, tmp_path / "list.pth")
    torch.save({"conv.weight": torch.zeros(1)}, tmp_path / "other.pth")
    (tmp_path / "empty").mkdir()
    (tmp_path / "run/best").mkdir(parents=True)
    (tmp_path / "run/best/model.safetensors").touch()
    for source, message in (
        (tmp_path / "no.pth", r"no\.pth' does not exist"),
        (tmp_path / "empty", r"empty' holds none of trunk\.pth"),
        (tmp_path / "run", r"run' is a training run; give its checkpoint, '.*best'"),
        (tmp_path / "list.pth", r"no flat mapping of names to tensors"),
        (tmp_path / "other.pth", r"holds no HPT trunk.*it has conv\.weight"),
        ("https://example.org/trunk.pth", r"neither a path nor hf://"),
        ("hf://liruiw", r"not of the form hf://user/repo"),
        ("hf://liruiw/hpt-base/../x", r"not of the form hf://user/repo"),
    ):
        with pytest.raises(HptError, match=message):
            load_trunk(policy, source)


HUB_SCRIPT = """
import sys
from hpt_ros.errors import HptError
from hpt_ros.model.weight_files import resolve
assert "huggingface_hub" not in sys.modules
print(resolve("hf://liruiw/hpt-base"))
try:
    resolve("hf://liruiw/hpt-base/other.pth")
except HptError as error:
    print(error)
"""


def test_when_a_hub_address_is_named_expect_the_hubs_cache_to_be_read(trunk_file, tmp_path):
    pytest.importorskip("huggingface_hub", reason="the optional package huggingface_hub is not installed")
    repo = tmp_path / "hub" / "models--liruiw--hpt-base"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    snapshot = repo / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    trunk_file.rename(snapshot / "trunk.pth")
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUB_SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    path, sentence = done.stdout.strip().splitlines()
    assert path == str(snapshot / "trunk.pth")
    assert "'other.pth' cannot be fetched from 'liruiw/hpt-base'" in sentence
