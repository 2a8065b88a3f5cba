"""The network equals the public HPT code on the reference vectors, and its own plain transcription elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from hpt_ros.model import Policy, load_model
from hpt_ros.model.attention import CrossAttention
from hpt_ros.model.positions import position_table
from hpt_ros.model.trunk import Attention

TOLERANCE = 1e-5


@pytest.mark.parametrize("name", ["tiny_mlp", "tiny_decoder"])
def test_when_reference_weights_are_loaded_expect_every_stage_to_match(reference, name):
    case = reference(name)
    policy = Policy(case.config)
    load_model(policy, case.weights)
    with torch.no_grad():
        stages = policy.eval().stages(case.inputs())
    computed = {
        "stem_image": stages.stems["image"],
        "stem_state": stages.stems["state"],
        "trunk_tokens": stages.trunk_tokens,
        "features": stages.features,
        "head_raw": stages.actions.flatten(1),
    }
    for key, value in computed.items():
        np.testing.assert_allclose(value.numpy(), case.arrays[key], rtol=0, atol=TOLERANCE, err_msg=key)


def test_when_reference_policy_predicts_expect_its_unnormalised_action(reference):
    case = reference("tiny_mlp")
    policy = Policy(case.config)
    load_model(policy, case.weights)
    action = policy.eval().predict(case.inputs()).flatten(1).numpy()
    np.testing.assert_allclose(action, case.arrays["action"], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("keys", [1, 3, 96])
def test_when_cross_attention_is_folded_expect_the_textbook_result(keys):
    attention = CrossAttention(width=24, heads=4, head_width=16, dropout=0.0)
    queries, context = torch.randn(1, 5, 24), torch.randn(3, keys, 24)
    folded = attention.attend_folded(queries, context)
    projected = attention.attend_projected(queries, context)
    torch.testing.assert_close(folded, projected, rtol=0, atol=1e-6)
    torch.testing.assert_close(attention(queries, context), projected, rtol=0, atol=1e-6)


def test_when_the_context_grows_expect_folding_to_become_cheaper():
    attention = CrossAttention(width=128, heads=8, head_width=64, dropout=0.0)
    assert not attention.folding_is_cheaper(16, 2)
    assert attention.folding_is_cheaper(16, 192)


def test_when_attention_carries_torchs_weights_expect_torchs_multihead_attention():
    torchs = nn.MultiheadAttention(24, 4, bias=True, add_bias_kv=True, batch_first=True).eval()
    ours = Attention(24, 4)
    ours.load_state_dict(torchs.state_dict(), strict=True)
    x = torch.randn(2, 7, 24)
    expected, _ = torchs(x, x, x, need_weights=False)
    torch.testing.assert_close(ours(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("width", [6, 7])
def test_when_table_is_built_expect_the_formula_entry_by_entry(width):
    table = position_table(5, width)
    for position in range(5):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            expected = math.sin(angle) if column % 2 == 0 else math.cos(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)
