# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.model import MlpHeadConfig, TrunkConfig
from hpt_ros.model.trunk import Trunk

NO_TRUNK = TrunkConfig(width=32, depth=0, heads=4)


def test_when_depth_is_0_expect_tokens_to_pass_unchanged_and_a_policy_that_learns(make_policy, make_inputs):
    tokens = torch.randn(2, 5, 32)
    assert torch.equal(Trunk(NO_TRUNK)(tokens), tokens)
    policy = make_policy(trunk=NO_TRUNK)
    inputs = make_inputs(policy.config)
    assert policy.parts()["trunk"] == 0
    assert policy.predict(inputs).shape == (2, 4, 2)
    policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    assert all(p.grad is not None for p in policy.part("stems"))


def test_when_depth_is_negative_expect_a_sentence():
    with refused(
        HptError,
        Code.WRONG_SHAPE,
        subject="a trunk of width 32, depth -1 and 4 heads",
        problem="cannot be built",
    ):
        TrunkConfig(width=32, depth=-1, heads=4)


@pytest.mark.parametrize("training", [True, False])
def test_when_activations_are_computed_again_expect_the_same_gradients_and_fewer_kept(training):
    trunk = Trunk(TrunkConfig(width=32, depth=6, heads=4, drop_path=0.5)).train(training)
    tokens = torch.randn(8, 16, 32)
    gradients, kept = [], []
    for checkpointing in (False, True):
        trunk.checkpointing = checkpointing
        trunk.zero_grad(set_to_none=True)
        numbers = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        torch.manual_seed(4)  # of the drop path
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = trunk(tokens.requires_grad_()).square().mean()
        loss.backward()
        gradients.append([p.grad.clone() for p in trunk.parameters()])
        kept.append(numbers)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    assert kept[1] < 0.2 * kept[0]


def test_when_a_policy_checkpoints_activations_expect_its_loss_and_gradients_unchanged(
    make_policy, make_inputs
):
    policy = make_policy(head=MlpHeadConfig(dropout=0.5)).train()
    inputs = make_inputs(policy.config)
    losses, gradients = [], []
    for checkpointing in (False, True):
        policy.trunk["trunk"].checkpointing = checkpointing
        policy.zero_grad(set_to_none=True)
        torch.manual_seed(1)
        loss = policy.loss(inputs, np.ones((2, 4, 2), np.float32), np.zeros((2, 4), bool))
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in policy.parameters() if p.grad is not None])
    assert losses[0] == losses[1]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7)
    assert not any("checkpointing" in name for name in policy.state_dict())
