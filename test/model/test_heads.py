# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Each head computes what its definition says, and learns what a head of its kind can."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from support.sizes import policy_config
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from hpt_ros.model import DecoderHeadConfig, HeadConfig, TrunkConfig
from hpt_ros.model.conv_head import ConvHead, ConvHeadConfig
from hpt_ros.model.diffusion import DiffusionHeadConfig
from hpt_ros.model.flow import FlowHead, FlowHeadConfig
from hpt_ros.model.heads import Head, build_head
from hpt_ros.model.mixture_head import GmmHeadConfig, MixtureHead
from hpt_ros.model.noise import hold_last
from hpt_ros.model.pooling import AttentivePooling

KINDS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "conv": {"pooling": "action_token", "head": ConvHeadConfig(widths=(24, 16))},
    "decoder": {"pooling": "no-op", "head": DecoderHeadConfig(dropout=0.0)},
    "gmm": {"head": GmmHeadConfig(dropout=0.0)},
    "gmm per step": {"pooling": "action_token", "head": GmmHeadConfig()},
    "flow": {"head": FlowHeadConfig(flow_width=32)},
    "flow per step": {"pooling": "action_token", "head": FlowHeadConfig(flow_width=32)},
    "diffusion": {"head": DiffusionHeadConfig(diffusion_widths=(16, 32))},
    "diffusion per step": {
        "pooling": "action_token",
        "head": DiffusionHeadConfig(diffusion_widths=(16, 32)),
    },
}
NOISY: dict[str, FlowHeadConfig | DiffusionHeadConfig] = {
    "flow": FlowHeadConfig(flow_width=32),
    "diffusion": DiffusionHeadConfig(diffusion_widths=(16, 32)),
}
SEVERAL: dict[str, HeadConfig] = {
    "gmm": GmmHeadConfig(dropout=0.0),
    "flow": FlowHeadConfig(flow_width=32, heads=4),
    "diffusion": DiffusionHeadConfig(diffusion_widths=(32, 64)),
}


def those(names: Iterable[str]) -> list[Any]:
    """Heads to run a test with; those of an extra that is not installed are skipped, and the report says so."""
    lacking = pytest.mark.skipif(
        importlib.util.find_spec("diffusers") is None, reason="the extra 'diffusion' is not installed"
    )
    return [pytest.param(name, marks=[lacking] if "diffusion" in name else []) for name in names]


def alone(
    head: HeadConfig, *, pooling: str = "mean", horizon: int = 4, dim: int = 2, width: int = 32
) -> Head:
    """A head without the rest of the policy."""
    config = policy_config(
        embodiment="arm",
        action_dim=dim,
        action_horizon=horizon,
        observation_horizon=1,
        state_dim=1,
        views=1,
        image_height=32,
        image_width=32,
        trunk=TrunkConfig(width=width, depth=1, heads=4),
        pooling=pooling,
        head=head,
    )
    return build_head(config).eval()


# --- every head ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", those(KINDS))
def test_when_padding_is_nonsense_expect_the_same_loss_and_gradient(make_policy, make_inputs, name):
    policy = make_policy(**KINDS[name])
    inputs = make_inputs(policy.config)
    action = np.random.default_rng(1).normal(size=(2, 4, 2)).astype(np.float32)
    is_pad = np.array([[False, True, False, True], [False, False, False, False]])
    losses, gradients = [], []
    for value in (0.0, 1e18):
        changed = np.where(is_pad[:, :, None], np.float32(value), action)
        policy.zero_grad()
        loss = policy.loss(inputs, changed, is_pad)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.clone() for p in policy.part("heads")])
    assert math.isfinite(losses[0])
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    shifted = action.copy()
    shifted[1, 2] += 1.0  # a real step does count
    assert policy.loss(inputs, shifted, is_pad).item() != losses[0]


@pytest.mark.parametrize("name", those(KINDS))
def test_when_run_in_bfloat16_expect_about_the_same_loss(make_policy, make_inputs, name):
    policy = make_policy(**KINDS[name])
    inputs, is_pad = make_inputs(policy.config), np.zeros((2, 4), bool)
    action = np.random.default_rng(1).normal(size=(2, 4, 2)).astype(np.float32)
    full = policy.loss(inputs, action, is_pad).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        reduced = policy.loss(inputs, action, is_pad)
        chunk = policy.predict(inputs)
    assert reduced.dtype == torch.float32
    assert reduced.item() == pytest.approx(full, rel=0.1, abs=0.05)
    assert chunk.dtype == torch.float32


@pytest.mark.parametrize("kind", those(SEVERAL))
def test_when_there_are_two_ways_to_act_expect_one_of_them_and_not_their_mean(kind):
    """To the left or to the right of an obstacle, from the same observation; the mean would hit it."""
    torch.manual_seed(3)
    head = alone(SEVERAL[kind], dim=1)
    features = torch.ones(64, 32)
    side = torch.where(torch.arange(64) % 2 == 0, 1.0, -1.0)
    target = (side[:, None] * torch.tensor([0.2, 0.4, 0.6, 0.8]))[:, :, None]
    is_real = torch.ones(64, 4, dtype=torch.bool)
    optimiser = torch.optim.AdamW(head.parameters(), lr=5e-3 if kind == "gmm" else 2e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 250)
    head.train()
    for _ in range(250):
        optimiser.zero_grad()
        head.loss(features, target, is_real).backward()
        optimiser.step()
        falling.step()
    with torch.no_grad():
        chunks = head.eval()(features, torch.Generator().manual_seed(1))
    errors = torch.stack([(chunks - target[row]).abs().amax(dim=(1, 2)) for row in (0, 1)])
    # Noise close to the border between the two ways ends between them; there is little of it.
    assert (errors.amin(dim=0) < 0.15).float().mean() > 0.75
    if kind != "gmm":  # their draws go both ways
        assert (errors < 0.15).any(dim=1).all()


# --- convolution -----------------------------------------------------------------------------------------------------


def test_when_conv_head_runs_expect_channels_and_steps_in_their_places():
    head = alone(ConvHeadConfig(widths=(8,), kernel=3), pooling="action_token", horizon=5, dim=2)
    assert isinstance(head, ConvHead)
    tokens = torch.randn(3, 5, 32)

    def convolve(x: torch.Tensor, layer: Any) -> torch.Tensor:
        """(B, steps, in) to (B, steps, out), written out: out[s] = bias + sum over k of W[..., k] x[s + k - 1]."""
        padded = torch.cat((torch.zeros(3, 1, x.shape[2]), x, torch.zeros(3, 1, x.shape[2])), dim=1)
        return layer.bias + sum(padded[:, k : k + 5] @ layer.weight[:, :, k].T for k in range(3))

    hidden = torch.nn.functional.silu(convolve(tokens, head.net[0]))
    expected = torch.tanh(convolve(hidden, head.net[2]))
    torch.testing.assert_close(head(tokens), expected, rtol=0, atol=1e-5)
    changed = tokens.clone()
    changed[:, 4] += 1.0  # two layers of three steps: only steps 2 to 4 can see it
    moved = (head(changed) - head(tokens)).abs().amax(dim=(0, 2)) > 0
    assert moved.tolist() == [False, False, True, True, True]


# --- mixture ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", ["mean", "action_token"])
def test_when_mixture_loss_is_computed_expect_torchs_distribution(pooling):
    head = alone(GmmHeadConfig(), pooling=pooling)
    assert isinstance(head, MixtureHead)
    features = torch.randn(3, 4, 32) if pooling == "action_token" else torch.randn(3, 32)
    target = torch.rand(3, 4, 2) * 2 - 1
    logits, mean, std = head.mixture(features)
    assert (tuple(logits.shape), tuple(mean.shape), tuple(std.shape)) == ((3, 5), (3, 5, 4, 2), (3, 5, 4, 2))
    for real in (4, 2):
        mixture = MixtureSameFamily(
            Categorical(logits=logits), Independent(Normal(mean[:, :, :real], std[:, :, :real]), 2)
        )
        expected = -mixture.log_prob(target[:, :real]).sum() / (3 * real * 2)
        is_real = torch.zeros(3, 4, dtype=torch.bool)
        is_real[:, :real] = True
        torch.testing.assert_close(head.loss(features, target, is_real), expected, rtol=1e-5, atol=1e-5)


def test_when_mixture_predicts_expect_the_mean_of_the_most_probable_mode_and_bounds():
    head = alone(GmmHeadConfig(min_std=0.01))
    assert isinstance(head, MixtureHead)
    with torch.no_grad():
        head.std.bias.fill_(-60.0)
        head.mean.weight.mul_(50.0)
        features = torch.randn(4, 32)
        logits, mean, std = head.mixture(features)
        chunk = head(features)
    for row in range(4):
        assert torch.equal(chunk[row], mean[row, int(logits[row].argmax())])
    assert std.min().item() == pytest.approx(0.01)
    assert mean.abs().max() <= 1.0
    assert mean.abs().max() > 0.9


# --- flow ------------------------------------------------------------------------------------------------------------


def test_when_velocity_is_constant_expect_the_noise_moved_by_it_whatever_the_number_of_steps():
    for steps in (1, 7):
        head = alone(FlowHeadConfig(flow_width=32, flow_steps=steps))
        assert isinstance(head, FlowHead)
        with torch.no_grad():
            head.velocity_out.weight.zero_()
            head.velocity_out.bias.copy_(torch.tensor([0.5, -0.25]))
            chunk = head(torch.randn(2, 32))
        expected = (head.noise + torch.tensor([0.5, -0.25])).expand(2, -1, -1)
        torch.testing.assert_close(chunk, expected, rtol=0, atol=1e-6)


def test_when_velocity_depends_on_time_and_place_expect_eulers_steps():
    head = alone(FlowHeadConfig(flow_width=32, flow_steps=3))
    assert isinstance(head, FlowHead)
    features = torch.randn(2, 32)
    with torch.no_grad():
        x, condition = head.noise.expand(2, -1, -1), head.embed(features)
        for t in (0.0, 1 / 3, 2 / 3):
            x = x + head.velocity(x, torch.full((2,), t), condition) / 3
        torch.testing.assert_close(head(features), x, rtol=0, atol=1e-6)
        early, late = (head.velocity(x, torch.full((2,), t), condition) for t in (0.1, 0.9))
        assert not torch.allclose(early, late)
        assert not torch.allclose(early, head.velocity(x + 1.0, torch.full((2,), 0.1), condition))


def test_when_flow_loss_is_computed_expect_the_error_of_the_straight_paths_velocity():
    head = alone(FlowHeadConfig(flow_width=32))
    assert isinstance(head, FlowHead)
    features, target = torch.randn(2, 32), torch.rand(2, 4, 2)
    is_real = torch.tensor([[True, True, True, False], [True, True, True, True]])
    with torch.no_grad():
        head.velocity_out.weight.zero_()
        head.velocity_out.bias.zero_()  # the error is then the wanted velocity itself
        losses = [head.loss(features, target, is_real).item() for _ in range(2)]
        noise = torch.randn(2, 4, 2, generator=torch.Generator().manual_seed(0))
        head.train()
        drawn = {head.loss(features, target, is_real).item() for _ in range(2)}
    assert losses[0] == losses[1]  # validation losses compare
    assert losses[0] == pytest.approx((target - noise).square()[is_real].mean().item(), rel=1e-5)
    assert len(drawn) == 2  # training sees new noise each time


@pytest.mark.parametrize("kind", those(NOISY))
def test_when_a_head_starts_from_noise_expect_it_as_configured(make_policy, make_inputs, kind):
    def chunks(noise: str, count: int = 2) -> list[torch.Tensor]:
        torch.manual_seed(5)
        policy = make_policy(head=replace(NOISY[kind], flow_noise=noise))
        inputs = make_inputs(policy.config)
        torch.manual_seed(6)
        return [policy.predict(inputs) for _ in range(count)]

    fixed, zero, random = chunks("fixed"), chunks("zero"), chunks("random")
    assert torch.equal(*fixed)
    assert torch.equal(*zero)
    assert not torch.allclose(random[0], random[1])
    assert not torch.allclose(fixed[0], zero[0])
    assert torch.equal(fixed[0], chunks("fixed", 1)[0])


@pytest.mark.parametrize("kind", those(NOISY))
def test_when_a_generator_is_given_expect_its_noise_and_the_same_again_from_its_seed(
    make_policy, make_inputs, kind
):
    policy = make_policy(head=NOISY[kind])
    inputs = make_inputs(policy.config)
    a, b, c = (policy.predict(inputs, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.allclose(a, c)
    assert not torch.allclose(a, policy.predict(inputs))


def test_when_steps_are_no_real_ones_expect_the_last_real_one_held():
    target = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], [9.0, 9.5, 9.7, 9.8]])[:, :, None]
    is_real = torch.tensor([[True, True, False, False], [False, True, False, True], [True, True, True, True]])
    assert hold_last(target, is_real)[:, :, 0].tolist() == [
        [1.0, 2.0, 2.0, 2.0],
        [6.0, 6.0, 6.0, 8.0],
        pytest.approx([9.0, 9.5, 9.7, 9.8]),
    ]


# --- attentive pooling -----------------------------------------------------------------------------------------------


def test_when_pooling_attends_expect_a_softmax_over_the_tokens_written_out(make_config):
    pooling = AttentivePooling(make_config(trunk=TrunkConfig(width=16, depth=1, heads=2)))
    tokens = torch.randn(3, 5, 16)
    attention = pooling.cross_attention
    with torch.no_grad():
        q = (attention.to_q.weight @ pooling.query[0, 0]).reshape(2, 8)
        k, v = (tokens @ attention.to_kv.weight.T).reshape(3, 5, 2, 2, 8).unbind(2)
        weights = torch.softmax(torch.einsum("he,bkhe->bhk", q, k) / math.sqrt(8), dim=-1)
        expected = attention.to_out(torch.einsum("bhk,bkhe->bhe", weights, v).flatten(1))
        torch.testing.assert_close(pooling(tokens), expected, rtol=0, atol=1e-5)
        shuffled = pooling(tokens[:, torch.randperm(5)])
    torch.testing.assert_close(shuffled, expected, rtol=0, atol=1e-5)


def test_when_pooling_is_attentive_expect_its_parameters_counted_and_trained_with_the_head(make_policy):
    policy = make_policy(pooling="attentive")
    own = {id(p) for p in policy.poolings.parameters()}
    assert own
    assert own <= {id(p) for p in policy.part("heads")}
    assert sum(policy.parts().values()) == sum(p.numel() for p in policy.parameters())
