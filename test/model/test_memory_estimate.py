# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from torch import nn

from hpt_ros.model import DecoderHeadConfig, Policy, ResNet18Config
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.memory_estimate import estimate_config_memory, estimate_memory, peak_bytes

FLOAT = 4  # bytes


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_when_a_chain_runs_expect_two_neighbouring_arrays_alive_at_most(device):
    chain = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2)).to(device)
    x = torch.zeros(3, 4, device=device)
    assert peak_bytes(lambda: chain(x)) == FLOAT * (3 * 8 + 3 * 8)


def test_when_an_array_is_kept_expect_it_to_count_until_it_is_let_go():
    x = torch.zeros(100)

    def keep() -> None:
        first = x + 1.0
        second = first * 2.0
        del first
        third = second - 1.0
        third.add_(1.0)  # in place and views take nothing
        second.reshape(10, 10)[0]

    assert peak_bytes(keep) == FLOAT * 200


def test_when_nothing_is_made_expect_nothing():
    assert peak_bytes(lambda: None) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_encoder": ResNet18Config()},
        {"head": FlowHeadConfig(flow_width=32, flow_depth=1, heads=4)},
        {"pooling": "no-op", "head": DecoderHeadConfig()},
    ],
)
def test_when_a_policy_is_never_built_expect_the_memory_of_the_built_one(make_policy, changes):
    policy = make_policy(**changes)
    memory = estimate_memory(policy)
    assert memory == estimate_config_memory(policy.config)
    assert memory.weights == sum(v.numel() * v.element_size() for v in policy.state_dict().values())
    assert memory.encoders["image"] >= FLOAT * 2 * 32 * 48 * 3  # the two views as floats, at least
    assert memory.step > 0
    assert not policy.training


def test_when_a_policy_is_in_training_expect_it_left_there(make_config):
    policy = Policy(make_config()).train()
    estimate_memory(policy)
    assert policy.training
