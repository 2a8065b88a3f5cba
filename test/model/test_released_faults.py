# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The eight faults of HPT's released code (liruiw/HPT at 549433f), and the tests that show them absent here.

Tests of other files are named in `SHOWN_BY`, and a test keeps the names right; the tests below add what those lack.
"""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from support.refused import refused

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    DecoderHeadConfig,
    MlpHeadConfig,
    ResNet18Config,
    load_checkpoint,
    load_trunk,
    save_checkpoint,
)
from hpt_ros.model.conv_head import ConvHeadConfig
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.policies.factory import load_policy
from hpt_ros.resources import checkpoint_folder, embodiment_file

TESTS = Path(__file__).parents[1]

SHOWN_BY = {
    "1. a local path to a trunk is ignored, and a random trunk used": (
        "model/test_weights.py::test_when_trunk_is_loaded_expect_its_output_and_not_a_random_one",
        "model/test_weights.py::test_when_nothing_is_there_expect_a_sentence",
        "learning/test_train.py::test_when_a_part_would_stay_random_and_frozen_expect_an_error",
    ),
    "2. a loaded trunk is initialised again": (
        "model/test_weights.py::test_when_trunk_is_loaded_expect_the_built_policy_to_hold_the_files_numbers",
        "learning/test_train.py::test_a_trunk_from_a_file_is_the_files_and_stays_so_when_frozen",
    ),
    "3. a whole model is loaded with strict=False, and a wrong domain loads nothing": (
        "model/test_weights.py::test_when_model_is_loaded_expect_every_tensor_and_the_modality_tokens_kept",
        "model/test_weights.py::test_when_model_is_of_another_embodiment_expect_both_names",
        "model/test_weights.py::test_when_a_tensor_is_wrong_expect_its_name",
    ),
    "4. separate encoders per view share their weights and are indexed by time": (
        "model/test_encoders.py::test_when_encoders_are_separate_expect_each_view_its_own_weights",
    ),
    "5. the caller's inputs are changed, and horizon masking is on in validation": (
        "model/test_policy.py::test_when_predict_runs_twice_expect_the_same_and_the_callers_arrays_unchanged",
        "model/test_policy.py::"
        "test_when_training_expect_the_newest_h_steps_for_every_h_and_all_steps_when_evaluating",
    ),
    "6. statistics are taken over validation episodes too": (
        "learning/test_samples.py::test_statistics_do_not_see_validation_episodes",
    ),
    "7. the convolution head cannot run, attentive pooling does not exist, encoders cannot be finetuned": (
        "model/test_heads.py::test_when_conv_head_runs_expect_channels_and_steps_in_their_places",
        "model/test_heads.py::test_when_pooling_attends_expect_a_softmax_over_the_tokens_written_out",
        "learning/test_heads.py::test_a_head_is_finetuned_saved_loaded_and_run",
        "model/test_encoders.py::test_when_encoder_is_trainable_expect_gradients",
    ),
    "8. a policy is rolled out with another horizon than it was trained for": (
        "model/test_policy.py::test_when_history_is_short_expect_a_chunk_and_when_too_long_a_sentence",
        "model/test_policy.py::test_when_targets_do_not_fit_expect_a_sentence",
        "learning/test_train.py::test_when_resumed_with_another_horizon_expect_both_values",
    ),
}


@pytest.mark.parametrize("fault", SHOWN_BY)
def test_when_a_fault_names_its_tests_expect_them_to_exist(fault):
    for place in SHOWN_BY[fault]:
        file, name = place.split("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_1_2_when_a_trained_policy_gets_a_trunk_from_a_path_expect_it_from_the_next_forward_pass_on(
    make_policy, make_inputs, tmp_path
):
    torch.manual_seed(1)
    giver = make_policy()
    save_checkpoint(tmp_path / "giver", giver, embodiment_yaml="", stats={}, card="")
    torch.manual_seed(2)
    taker = make_policy()
    inputs = make_inputs(taker.config)
    before = taker.stages(inputs)
    load_trunk(taker, tmp_path / "giver")
    after = taker.stages(inputs)  # a forward pass must not touch the weights either
    assert torch.equal(before.stems["image"], after.stems["image"])
    assert not torch.allclose(before.trunk_tokens, after.trunk_tokens)
    mixed = torch.cat(tuple(after.stems.values()), dim=1) + giver.table
    assert torch.equal(after.trunk_tokens, giver.trunk["trunk"](mixed))


def test_5_when_loss_runs_twice_on_one_batch_expect_the_same_and_the_batch_unchanged(
    make_policy, make_inputs
):
    policy = make_policy()
    inputs = {name: torch.as_tensor(value) for name, value in make_inputs(policy.config).items()}
    action, is_pad = torch.randn(2, 4, 2), torch.zeros(2, 4, dtype=torch.bool)
    copies = {name: value.clone() for name, value in inputs.items()}, action.clone(), is_pad.clone()
    assert policy.loss(inputs, action, is_pad) == policy.loss(inputs, action, is_pad)
    assert inputs.keys() == copies[0].keys()
    assert all(torch.equal(inputs[name], value) for name, value in copies[0].items())
    assert torch.equal(action, copies[1])
    assert torch.equal(is_pad, copies[2])


@pytest.mark.parametrize("shared", [True, False])
def test_7_when_a_resnet_is_finetuned_expect_a_step_that_changes_it_and_its_checkpoint(
    make_policy, make_inputs, tmp_path, shared
):
    policy = make_policy(
        image_encoder=ResNet18Config(trainable=True, shared=shared),
        observation_horizon=2,
        image_height=32,
        image_width=32,
    )
    before = [parameter.detach().clone() for parameter in policy.part("encoders")]
    policy.train()
    optimiser = torch.optim.SGD(policy.part("encoders"), lr=0.1)
    policy.loss(make_inputs(policy.config), np.ones((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    optimiser.step()
    changed = [not torch.equal(a, b) for a, b in zip(before, policy.part("encoders"), strict=True)]
    assert all(changed)
    save_checkpoint(tmp_path / "c", policy.eval(), embodiment_yaml="", stats={}, card="")
    loaded = load_checkpoint(tmp_path / "c").policy
    assert all(
        torch.equal(a, b) for a, b in zip(policy.part("encoders"), loaded.part("encoders"), strict=True)
    )


@pytest.mark.parametrize(
    ("pooling", "head"),
    [
        ("mean", MlpHeadConfig()),
        ("action_token", ConvHeadConfig()),
        ("no-op", DecoderHeadConfig()),
        ("mean", GmmHeadConfig()),
        ("mean", FlowHeadConfig()),
    ],
)
def test_8_when_config_says_another_action_horizon_than_the_weights_expect_refused(
    make_policy, tmp_path, pooling, head
):
    folder = save_checkpoint(
        tmp_path / "c", make_policy(pooling=pooling, head=head), embodiment_yaml="", stats={}, card=""
    )
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["policies"]["arm"]["action_horizon"] = 8
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with refused(HptError, Code.MISMATCH, problem="does not fit the policy of config.yaml"):
        load_checkpoint(folder)


def test_8_when_the_robots_file_has_another_action_horizon_expect_both_values(tmp_path):
    robot = Embodiment.load(embodiment_file(checkpoint_folder("feed_dog")))
    other = tmp_path / "robot.yaml"
    text = robot.to_yaml()
    assert text.count("horizon: 16") == 1
    other.write_text(text.replace("horizon: 16", "horizon: 8"))
    with refused(HptError, Code.MISMATCH, problem="action.horizon is 16"):
        load_policy(
            "checkpoint", checkpoint="feed_dog", embodiment_file=str(other), device="cpu", threads=1, seed=0
        )
