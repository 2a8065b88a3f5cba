# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The diffusion head: diffusers' noise levels and steps, a U-Net for any number of steps, and what it can learn."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from support.sizes import policy_config

from hpt_ros.errors import HptError
from hpt_ros.model import TrunkConfig
from hpt_ros.model.diffusion import DiffusionHead, DiffusionHeadConfig, UNet
from hpt_ros.model.heads import build_head

diffusers: Any = pytest.importorskip("diffusers", reason="the extra 'diffusion' is not installed")


def alone(pooling: str = "mean", horizon: int = 4, dim: int = 2, **head: object) -> DiffusionHead:
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
        trunk=TrunkConfig(width=32, depth=1, heads=4),
        pooling=pooling,
        head=DiffusionHeadConfig(**{"diffusion_widths": (16, 32), **head}),  # type: ignore[arg-type]
    )
    built = build_head(config).eval()
    assert isinstance(built, DiffusionHead)
    return built


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(2)


# --- sampling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("steps", "levels"), [(1, 100), (10, 100), (5, 20)])
def test_when_it_predicts_expect_the_steps_of_diffusers_scheduler(steps: int, levels: int) -> None:
    head = alone(diffusion_steps=steps, diffusion_train_steps=levels)
    scheduler = diffusers.DDIMScheduler(
        num_train_timesteps=levels,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing="trailing",
    )
    scheduler.set_timesteps(steps)
    with torch.no_grad():
        head.action_out.weight.mul_(4.0)  # so that predictions need clipping
        features = torch.randn(3, 32)
        x, beyond = head.noise.expand(3, -1, -1), 0
        for level in scheduler.timesteps:
            predicted = head.denoise(x, head.embed(features) + head.time(head.times[level]))
            beyond += int((predicted.abs() > 1).sum())
            x = scheduler.step(predicted, level, x, use_clipped_model_output=True).prev_sample
        assert beyond
        torch.testing.assert_close(head(features), x, rtol=0, atol=1e-4)
        assert head(features).abs().max() <= 1.0


def test_when_the_last_level_is_reached_expect_the_prediction_itself_and_at_the_first_almost_pure_noise() -> (
    None
):
    head = alone()
    assert head.coefficients[-1] == (0.0, 1.0)
    clean, noise = torch.ones(1, 4, 2), torch.zeros(1, 4, 2)
    left = head.training_scheduler.add_noise(clean, noise, head.levels[:1])
    assert left.max() < 0.01  # of an action of 1; the linear schedule of DDPM leaves 0.6


# --- loss ------------------------------------------------------------------------------------------------------------


def test_when_the_loss_is_computed_expect_the_error_of_the_predicted_action() -> None:
    head = alone()
    features, target = torch.randn(2, 32), torch.rand(2, 4, 2) * 2 - 1
    is_real = torch.tensor([[True, True, True, False], [True, True, True, True]])
    with torch.no_grad():
        losses = [head.loss(features, target, is_real).item() for _ in range(2)]
        head.train()
        drawn = {head.loss(features, target, is_real).item() for _ in range(2)}
        head.action_out.weight.zero_()
        head.action_out.bias.copy_(torch.tensor([0.25, -0.5]))
        constant = head.loss(features, target, is_real).item()
    assert losses[0] == losses[1]  # validation losses compare
    assert len(drawn) == 2  # training sees new noise each time
    expected = (target - torch.tensor([0.25, -0.5])).square()[is_real].mean().item()
    assert constant == pytest.approx(expected, rel=1e-5)


def test_when_the_noise_level_rises_expect_the_network_to_be_told() -> None:
    head = alone()
    with torch.no_grad():
        x, condition = torch.randn(1, 4, 2), head.embed(torch.randn(1, 32))
        low, high = (head.denoise(x, condition + head.time(head.times[level])) for level in (5, 95))
    assert not torch.allclose(low, high)


def test_when_a_small_set_is_given_expect_it_overfitted() -> None:
    head = alone(horizon=5)
    features = torch.randn(6, 32)
    target = torch.rand(6, 5, 2) * 1.6 - 0.8
    is_real = torch.ones(6, 5, dtype=torch.bool)
    optimiser = torch.optim.AdamW(head.parameters(), lr=4e-3)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 300)
    head.train()
    for _ in range(300):
        optimiser.zero_grad()
        head.loss(features, target, is_real).backward()
        optimiser.step()
        falling.step()
    with torch.no_grad():
        chunks = head.eval()(features, torch.Generator().manual_seed(1))
    own = (chunks - target).abs().mean().item()
    others = (chunks - target.roll(1, dims=0)).abs().mean().item()
    assert own < 0.05 < 0.3 < others


# --- any number of steps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [1, 2, 3, 7, 16])
@pytest.mark.parametrize("widths", [(8,), (8, 16), (8, 16, 24)])
@pytest.mark.parametrize("pooling", ["mean", "action_token"])
def test_when_the_horizon_is_any_number_expect_as_many_actions_and_all_weights_trained(
    horizon: int, widths: tuple[int, ...], pooling: str
) -> None:
    head = alone(pooling, horizon, dim=3, diffusion_widths=widths).train()
    features = torch.randn(2, horizon, 32) if pooling == "action_token" else torch.randn(2, 32)
    target, is_real = torch.rand(2, horizon, 3), torch.ones(2, horizon, dtype=torch.bool)
    head.loss(features, target, is_real).backward()
    assert all(
        parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in head.parameters()
    )
    with torch.no_grad():
        assert tuple(head.eval()(features).shape) == (2, horizon, 3)


def test_when_steps_are_odd_expect_the_same_as_with_the_last_one_repeated() -> None:
    net = UNet((8, 16, 24), condition_width=12, kernel=3).eval()
    x, condition = torch.randn(2, 5, 8), torch.randn(2, 5, 12)
    with torch.no_grad():
        short = net(x, condition)
        longer = net(*(torch.cat((part, part[:, -1:].expand(-1, 3, -1)), dim=1) for part in (x, condition)))
        everywhere = net(x, condition[:, :1].expand(-1, 5, -1))
        once = net(x, condition[:, :1])
    torch.testing.assert_close(short, longer[:, :5], rtol=0, atol=1e-5)
    torch.testing.assert_close(everywhere, once, rtol=0, atol=1e-5)


def test_when_one_action_token_changes_expect_its_own_step_to_move_most() -> None:
    net = UNet((8, 16), condition_width=12, kernel=3).eval()
    x, condition = torch.randn(4, 12, 8), torch.randn(4, 12, 12)
    changed = condition.clone()
    changed[:, 3] += 1.0
    with torch.no_grad():
        moved = (net(x, changed) - net(x, condition)).abs().mean(dim=(0, 2))
    assert int(moved.argmax()) in (2, 3)  # 2 and 3 share a place at the lower rate
    assert moved[3] > 2 * moved[10]


def test_when_exported_expect_the_same_actions() -> None:
    head, tokens = alone("action_token", horizon=5), torch.randn(2, 5, 32)
    exported = torch.export.export(head, (tokens,)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(tokens), head(tokens), rtol=0, atol=1e-6)


# --- configuration and installation ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"diffusion_steps": 30},
            "diffusion_steps is 30, expected a divisor of its diffusion_train_steps 100",
        ),
        ({"diffusion_steps": 200}, "diffusion_steps is 200, expected a divisor"),
        ({"diffusion_widths": (12, 24)}, r"diffusion_widths \[12, 24\] must be one or more multiples of 8"),
        ({"diffusion_widths": ()}, r"diffusion_widths \[\] must be"),
    ],
)
def test_when_the_configuration_is_wrong_expect_one_sentence(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(HptError, match=message):
        DiffusionHeadConfig(**changes)  # type: ignore[arg-type]


def test_when_diffusers_is_missing_expect_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)  # what Python does for a module that cannot be found
    with pytest.raises(HptError, match=r"the head 'diffusion' needs .*'diffusers'.*EXTRAS=diffusion"):
        alone()


def test_when_the_head_is_not_named_expect_diffusers_not_imported() -> None:
    code = (
        "import sys\n"
        "from hpt_ros.model import Policy, PolicyConfig, StemConfig, TrunkConfig\n"
        "Policy(PolicyConfig(embodiment='arm', action_dim=1, action_horizon=2, observation_horizon=1,\n"
        "                    shapes={'state': (1,)}, stems=(StemConfig('state'),),\n"
        "                    trunk=TrunkConfig(width=16, depth=1, heads=2)))\n"
        "print('diffusers' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
