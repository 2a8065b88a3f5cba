# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""One policy of many embodiments, and its checkpoint."""

from __future__ import annotations

import copy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    MultiPolicy,
    MultiPolicyConfig,
    Policy,
    ResNet18Config,
    RobotFiles,
    Statistics,
    StemConfig,
    TrunkConfig,
    load_checkpoint,
    load_image_encoder,
    load_multi_checkpoint,
    load_trunk,
    save_checkpoint,
    save_multi_checkpoint,
)
from hpt_ros.model.checkpoint_folder import read_config
from hpt_ros.model.parts_of_checkpoint import load_shared_parts
from hpt_ros.model.small_cnn import SmallCnnConfig
from hpt_ros.model.verifying import statistics_in
from hpt_ros.model.weight_files import read_tensors
from hpt_ros.resources import embodiment_file

FORMAT_1 = Path(__file__).parents[1] / "data" / "checkpoint_format_1"
SHARED = ("encoder image", "stem image", "modality tokens")


@pytest.fixture
def make_multi(make_config, every_modality):
    """Three robots: two with cameras of different sizes, one with every modality and a head of its own."""

    def make(parts=(), **changes):
        configs = (
            make_config(embodiment="arm", **changes),
            make_config(
                embodiment="leg", action_dim=5, state_dim=4, views=1, image_height=48, image_width=32
            ),
            make_config(embodiment="all", **every_modality),
        )
        if "stem image" in parts:  # of one size: that of the robot with every modality
            image = every_modality["stems"][0]
            configs = tuple(replace(config, stems=(image, *config.stems[1:])) for config in configs)
        policy = MultiPolicy(MultiPolicyConfig({config.embodiment: config for config in configs}, parts))
        rng = np.random.default_rng(5)
        for name in policy.names:
            single = policy.single(name)
            single.set_statistics(
                {
                    key: Statistics.of(rng.normal(size=(20, dim)))
                    for key, dim in single.statistics_needed.items()
                }
            )
            if single.language is not None:
                single.set_task_embeddings(torch.randn(single.language.embeddings.shape))
        return policy.eval()

    return make


def save(folder, policy):
    robots = {
        name: RobotFiles(f"name: {name}\n", {"samples": index}) for index, name in enumerate(policy.names)
    }
    return save_multi_checkpoint(
        folder, policy, robots, card="# Many\n", metrics={"step": 2}, training={"seed": 1}
    )


def test_the_image_encoder_of_a_checkpoint_goes_to_a_robot_with_other_cameras(
    make_multi, make_policy, tmp_path
):
    parts = ("encoder image",)
    save(tmp_path / "many", make_multi(parts))
    policy = make_policy(views=1, image_height=40, image_width=64)
    report = load_image_encoder(policy, tmp_path / "many")
    theirs = load_checkpoint(tmp_path / "many" / "embodiments" / "leg").policy.encoders["image"].state_dict()
    own = policy.encoders["image"].state_dict()
    assert own.keys() == theirs.keys()
    assert all(torch.equal(own[name], theirs[name]) for name in own)
    assert str(report).startswith(f"loaded image encoder (x1): {len(own)} tensors")
    other = make_policy(image_encoder=SmallCnnConfig(trainable=True, channels=(8, 8)))
    with refused(
        HptError, Code.MISMATCH, subject="the image encoder of checkpoint", problem="the policy's has [8, 8]"
    ):
        load_image_encoder(other, tmp_path / "many")


def test_what_robots_of_a_checkpoint_share_goes_to_another_robot(
    make_multi, make_policy, every_modality, tmp_path
):
    save(tmp_path / "many", make_multi(SHARED))
    image, *_ = every_modality["stems"]
    policy = make_policy(views=1, image_height=40, image_width=64, stems=(image, StemConfig("state")))
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    reports = load_shared_parts(policy, tmp_path / "many")
    theirs = load_checkpoint(tmp_path / "many" / "embodiments" / "leg").policy.state_dict()
    robot = policy.config.embodiment
    own = policy.state_dict()
    loaded = {name for name, value in own.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in loaded} == {"encoders", "stems", "modalities_tokens"}
    assert all(torch.equal(own[name], theirs[name.replace(f"{robot}_", "leg_")]) for name in loaded)
    assert set(reports) == set(SHARED)
    assert not any(name.startswith(f"stems.{robot}_state") for name in loaded)


def test_a_trunk_whose_robots_share_nothing_else_is_refused_as_a_source_of_more(
    make_multi, make_policy, tmp_path
):
    save(tmp_path / "many", make_multi(()))
    with refused(HptError, Code.MISSING, subject="the checkpoint", remedy="policy.shared"):
        load_shared_parts(make_policy(), tmp_path / "many")
    (tmp_path / "trunk.pth").write_bytes(b"")
    with refused(HptError, Code.INVALID, subject="--shared", remedy="hpt pretrain"):
        load_shared_parts(make_policy(), tmp_path / "trunk.pth")


def test_an_image_encoder_that_each_robot_has_for_itself_is_taken_by_name(make_multi, make_policy, tmp_path):
    save(tmp_path / "many", make_multi(()))
    policy = make_policy()
    with refused(HptError, Code.INVALID, subject="the checkpoint", remedy="embodiments/arm"):
        load_image_encoder(policy, tmp_path / "many")
    load_image_encoder(policy, tmp_path / "many" / "embodiments" / "leg")
    theirs = load_checkpoint(tmp_path / "many" / "embodiments" / "leg").policy.encoders["image"].state_dict()
    assert all(torch.equal(value, theirs[n]) for n, value in policy.encoders["image"].state_dict().items())


def test_a_checkpoint_without_an_image_encoder_is_refused(make_policy, tmp_path):
    blind = make_policy(stems=(StemConfig("state"),), views=0, image_height=0, image_width=0)
    save_checkpoint(tmp_path / "blind", blind, embodiment_yaml="", stats={}, card="")
    with refused(HptError, Code.MISSING, subject="the checkpoint", problem="no image encoder"):
        load_image_encoder(make_policy(), tmp_path / "blind")


@pytest.mark.parametrize("parts", [(), ("encoder image",), SHARED])
def test_when_many_are_saved_expect_each_one_alone_to_give_the_same_numbers_to_the_bit(
    make_multi, make_inputs, tmp_path, parts
):
    policy = make_multi(parts)
    folder = save(tmp_path / "many", policy)
    again = load_multi_checkpoint(folder)
    for index, name in enumerate(policy.names):
        inputs = make_inputs(policy.single(name).config)
        alone = load_checkpoint(folder / "embodiments" / name)
        expected = policy.single(name).predict(inputs)
        assert torch.equal(alone.policy.predict(inputs), expected)
        assert torch.equal(again.policy.single(name).predict(inputs), expected)
        # The policy built on its own, as a robot's, from the same weights.
        own = Policy(policy.single(name).config)
        own.load_state_dict(policy.single(name).state_dict(), strict=True)
        assert torch.equal(own.eval().predict(inputs), expected)
        assert (alone.embodiment_yaml, alone.stats) == (f"name: {name}\n", {"samples": index})
        assert alone.training == {"seed": 1}
    assert len(load_file(folder / "model.safetensors")) == again.weights.tensors
    assert again.policy.config == policy.config


def test_when_parts_are_shared_expect_one_tensor_in_memory_and_in_the_file(make_multi):
    own, shared = make_multi(), make_multi(SHARED)
    assert len(shared.tensors()) < len(own.tensors())
    arm, leg = shared.single("arm"), shared.single("leg")
    assert arm.trunk is leg.trunk
    for ours, theirs in (
        (arm.encoders["image"], leg.encoders["image"]),
        (arm.stems["arm_image"], leg.stems["leg_image"]),
        (arm.modalities_tokens, leg.modalities_tokens),
    ):
        assert all(a is b for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))
    # Tables that depend on a robot's images stay its own.
    assert arm.stems["arm_image"].table.shape != leg.stems["leg_image"].table.shape
    copied = copy.deepcopy(shared)
    tokens = copied.single("arm").stems["arm_image"].tokens
    assert copied.single("leg").stems["leg_image"].tokens is tokens is not arm.stems["arm_image"].tokens
    assert len(list(copied.parameters())) == len(list(shared.parameters()))


def test_when_one_embodiment_learns_expect_the_trunk_moved_and_the_others_parts_left(make_multi, make_inputs):
    policy = make_multi()
    before = {name: value.clone() for name, value in policy.tensors().items()}
    arm = policy.single("arm").train()
    batch = make_inputs(arm.config)
    action, is_pad = (
        torch.zeros(len(batch["state"]), 4, 2),
        torch.zeros(len(batch["state"]), 4, dtype=torch.bool),
    )
    arm.loss(batch, action, is_pad).backward()
    torch.optim.SGD(policy.parameters(), lr=0.1).step()
    moved = {name for name, value in policy.tensors().items() if not torch.equal(value, before[name])}
    assert any(name.startswith("trunk.trunk.blocks.1") for name in moved)
    assert any(name.startswith("heads.arm") for name in moved)
    assert not any("leg" in name or "all" in name for name in moved)


def test_when_a_policy_is_of_one_embodiment_expect_the_names_of_published_files(make_policy):
    policy = make_policy()
    multi = MultiPolicy.of(policy)
    assert multi.single("arm") is policy
    assert list(multi.tensors()) == list(policy.state_dict())
    assert "trunk.trunk.blocks.0.norm_1.weight" in multi.tensors()


def test_when_a_checkpoint_is_of_many_expect_its_trunk_to_load_and_export(
    make_multi, make_policy, tmp_path, capsys
):
    policy = make_multi()
    folder = save(tmp_path / "many", policy)
    other = make_policy(embodiment="new")
    load_trunk(other, folder)
    for ours, theirs in zip(policy.trunk.parameters(), other.trunk.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    out = tmp_path / "trunk.pth"
    assert main(["checkpoint", "export", str(folder), "--format", "trunk", "--out", str(out)]) == 0
    assert "trunk.blocks.1.norm_1.weight" in read_tensors(out)
    with pytest.raises(HptError, match=r"4 heads, but the policy's has width 32, depth 2 and 2 heads"):
        load_trunk(make_policy(trunk=TrunkConfig(width=32, depth=2, heads=2)), folder)


def test_when_inspected_expect_every_embodiment_and_one_of_them_in_detail(make_multi, tmp_path, capsys):
    policy = make_multi(("encoder image",))
    folder = save(tmp_path / "many", policy)
    assert main(["checkpoint", "inspect", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "embodiments: arm, leg, all" in text
    assert "shared besides: encoder image" in text
    assert "| leg | image, state | 4 x 5 | mlp |" in text
    assert f"all: {sum(value.numel() for value in policy.parameters()):,} parameters" in text
    assert main(["checkpoint", "inspect", str(folder / "embodiments" / "leg")]) == 0
    assert "embodiment: leg" in capsys.readouterr().out


def test_when_one_of_many_is_exported_expect_a_checkpoint_of_its_own_with_the_same_numbers(
    make_multi, make_inputs, tmp_path, capsys
):
    policy = make_multi(SHARED)
    folder = save(tmp_path / "many", policy)
    out = tmp_path / "leg"
    words = [
        "checkpoint",
        "export",
        str(folder / "embodiments/leg"),
        "--format",
        "checkpoint",
        "--out",
        str(out),
    ]
    assert main(words) == 0
    inputs = make_inputs(policy.single("leg").config)
    assert torch.equal(load_checkpoint(out).policy.predict(inputs), policy.single("leg").predict(inputs))
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err


def test_when_no_embodiment_or_an_unknown_one_is_named_expect_those_there_are(make_multi, tmp_path):
    folder = save(tmp_path / "many", make_multi())
    with pytest.raises(
        HptError, match=r"is of the embodiments arm, leg, all, expected one; name it, as .*arm'"
    ):
        load_checkpoint(folder)
    with pytest.raises(
        HptError, match=r"the embodiment is 'lag', expected one of arm, leg, all; did you mean 'leg'"
    ):
        load_checkpoint(folder / "embodiments" / "lag")
    with pytest.raises(HptError, match=r"has 3 embodiment files, expected that of one robot"):
        embodiment_file(folder)


@pytest.mark.parametrize(
    "name", ["embodiments/leg/stats.json", "embodiments/all/embodiment.yaml", "README.md"]
)
def test_when_a_file_of_many_is_missing_expect_its_name(make_multi, tmp_path, name):
    folder = save(tmp_path / "many", make_multi())
    (folder / name).unlink()
    with pytest.raises(HptError, match=rf"lacks {name}"):
        load_multi_checkpoint(folder)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda c: c["policies"].clear(), "has no embodiment, expected at least one"),
        (lambda c: c["policies"].update(foot=c["policies"]["leg"]), "is for the embodiment 'leg'; name both the same"),
        (lambda c: c["policies"]["leg"]["trunk"].update(depth=1), "embodiments share one trunk, so give all the same"),
        (lambda c: c.update(shared=["encoder imgae"]), "'encoder imgae'.*did you mean 'encoder image'"),
        (lambda c: c.update(shared=["stem tactile"]), "'stem tactile', but all of the embodiments .* has it"),
        (lambda c: c.update(shared=["stem state"]), r"shared names 'stem state', but 'arm' and 'leg' differ in it"),
    ],
)  # fmt: skip
def test_when_the_policies_do_not_fit_each_other_expect_a_sentence(make_multi, tmp_path, alter, message):
    folder = save(tmp_path / "many", make_multi())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    alter(config["model"])
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    with pytest.raises(HptError, match=message):
        load_multi_checkpoint(folder)


def test_when_batch_norm_is_shared_expect_one_set_of_running_statistics(make_config):
    encoder = ResNet18Config(trainable=True)
    configs = {name: make_config(embodiment=name, image_encoder=encoder) for name in ("arm", "leg")}
    policy = MultiPolicy(MultiPolicyConfig(configs, ("encoder image",)))
    nets = [policy.single(name).encoders["image"].nets[0] for name in configs]
    assert nets[0].bn1 is nets[1].bn1
    assert nets[0].layer4[1].bn2.running_var is nets[1].layer4[1].bn2.running_var


# --- the layout before: one embodiment a folder ----------------------------------------------------------------------


def test_when_a_checkpoint_is_of_format_1_expect_it_loaded_as_it_was():
    checkpoint = load_checkpoint(FORMAT_1)
    chunk = checkpoint.policy.predict({"state": np.array([[[0.25]]], np.float32)})
    # What the version that wrote it gave.
    torch.testing.assert_close(chunk, torch.tensor([[[0.3230], [0.1695]]]), rtol=0, atol=1e-4)
    assert checkpoint.card == "# A policy of format 1\n"
    assert Embodiment.load(embodiment_file(FORMAT_1)).name == "slider"
    assert main(["checkpoint", "verify", str(FORMAT_1)]) == 0


@pytest.mark.parametrize("in_place", [True, False])
def test_when_upgraded_expect_todays_layout_and_the_same_numbers(tmp_path, capsys, in_place):
    old = Path(shutil.copytree(FORMAT_1, tmp_path / "old"))
    out = old if in_place else tmp_path / "new"
    assert main(["checkpoint", "upgrade", str(old), *([] if in_place else ["--out", str(out)])]) == 0
    assert "of format 2 (was 1): slider" in capsys.readouterr().out
    assert read_config(out)[0].format == 2
    before, after = load_checkpoint(FORMAT_1), load_checkpoint(out)
    inputs = {"state": np.array([[[0.25]]], np.float32)}
    assert torch.equal(before.policy.predict(inputs), after.policy.predict(inputs))
    assert (before.card, before.stats, before.metrics, before.training, before.embodiment_yaml) == (
        after.card, after.stats, after.metrics, after.training, after.embodiment_yaml,
    )  # fmt: skip
    assert statistics_in(after.policy, "state").max == 1.0
    assert not (out / "card.md").exists()
    assert main(["checkpoint", "upgrade", str(out)]) == 0
    assert "already; nothing was changed" in capsys.readouterr().out
