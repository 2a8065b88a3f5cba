# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.refused import refused
from torch.nn import functional

from hpt_ros.errors import Code, HptError
from hpt_ros.model import DecoderHeadConfig, MlpHeadConfig, Policy, Statistics, StemConfig
from hpt_ros.model.conv_head import ConvHeadConfig
from hpt_ros.model.flow import FlowHeadConfig
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.model.small_cnn import SmallCnnConfig

VARIANTS = {
    "mean, mlp": {},
    "max, mlp": {"pooling": "max"},
    "last, mlp without tanh": {"pooling": "last", "head": MlpHeadConfig(tanh=False, widths=(24, 16, 8))},
    "action tokens, mlp": {"pooling": "action_token"},
    "action tokens, decoder": {"pooling": "action_token", "head": DecoderHeadConfig()},
    "all tokens, decoder": {"pooling": "no-op", "head": DecoderHeadConfig(hidden_width=24)},
    "action tokens, convolution": {
        "pooling": "action_token",
        "head": ConvHeadConfig(widths=(24, 16), kernel=3),
    },
    "attentive, mlp": {"pooling": "attentive"},
    "mean, mixture": {"head": GmmHeadConfig()},
    "action tokens, mixture": {"pooling": "action_token", "head": GmmHeadConfig(modes=3)},
    "attentive, flow": {"pooling": "attentive", "head": FlowHeadConfig(flow_width=32)},
    "action tokens, flow": {
        "pooling": "action_token",
        "head": FlowHeadConfig(flow_width=32, flow_depth=1),
    },
    "two hidden widths": {
        "stems": (StemConfig("image", widths=(24, 16), tokens=3), StemConfig("state", tokens=5))
    },
    "images only": {"stems": (StemConfig("image"),), "state_dim": 0},
    "separate encoders": {
        "image_encoder": SmallCnnConfig(channels=(8, 16, 16), trainable=True, shared=False)
    },
}


def only(policy: Policy, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: value for name, value in inputs.items() if name in policy.config.modalities}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_when_any_variant_predicts_expect_a_chunk_and_every_part_to_learn(make_policy, make_inputs, changes):
    policy = make_policy(**changes)
    inputs = only(policy, make_inputs(policy.config))
    chunk = policy.predict(inputs)
    assert tuple(chunk.shape) == (2, 4, 2)
    assert chunk.dtype == torch.float32
    assert torch.isfinite(chunk).all()
    assert not torch.allclose(chunk[0], chunk[1])
    policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    silent = [name for name, p in policy.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    assert all(
        not p.requires_grad for name, p in policy.named_parameters() if name.startswith("modalities_tokens.")
    )


def test_when_state_alone_is_read_expect_a_chunk(make_policy):
    policy = make_policy(stems=(StemConfig("state"),), views=0)
    assert policy.parts().keys() == {"stem state", "trunk", "head", "modality tokens (unused)"}
    assert policy.predict({"state": np.zeros((1, 3, 3), np.float32)}).shape == (1, 4, 2)


def test_when_predict_runs_twice_expect_the_same_and_the_callers_arrays_unchanged(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    copies = {name: value.copy() for name, value in inputs.items()}
    first, second = policy.predict(inputs), policy.predict(inputs)
    assert torch.equal(first, second)
    assert inputs.keys() == copies.keys()
    assert all(np.array_equal(inputs[name], copies[name]) for name in copies)


def test_when_a_sample_is_alone_expect_what_it_gets_in_a_batch(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config, batch=3)
    together = policy.predict(inputs)
    for index in range(3):
        alone = policy.predict({name: value[index : index + 1] for name, value in inputs.items()})
        torch.testing.assert_close(alone[0], together[index], rtol=0, atol=1e-4)


def test_when_features_are_passed_expect_what_the_images_give(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    frames = [policy.encode_images(inputs["image"][:, step : step + 1]) for step in range(3)]
    cached = {"image_features": torch.cat(frames, dim=1).detach(), "state": inputs["state"]}
    torch.testing.assert_close(policy.predict(cached), policy.predict(inputs), rtol=0, atol=1e-4)


def test_when_actions_are_normalised_expect_predict_to_return_raw_units(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    with torch.no_grad():
        normalised = policy(inputs)
    low, high = (policy.normaliser["action"].input_stats.get_buffer(name) for name in ("min", "max"))
    expected = low + (normalised + 1.0) / 2.0 * (high - low)
    torch.testing.assert_close(policy.predict(inputs), expected, rtol=1e-5, atol=1e-5)


# --- horizon ---------------------------------------------------------------------------------------------------------


def steps_seen(policy: Policy, inputs: dict[str, np.ndarray]) -> set[tuple[int, ...]]:
    """Which time steps (told by a mark in the state) reach the state stem over many passes."""
    seen: set[tuple[int, ...]] = set()
    stem = policy.stems["arm_state"]
    handle = stem.register_forward_pre_hook(
        lambda _, args: seen.add(
            tuple(policy.normaliser["state"].unnormalise(args[0])[0, :, 0].round().int().tolist())
        )
    )
    for _ in range(40):
        policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool))
    handle.remove()
    return seen


def test_when_training_expect_the_newest_h_steps_for_every_h_and_all_steps_when_evaluating(
    make_policy, make_inputs
):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    inputs["state"][:, :, 0] = [10.0, 11.0, 12.0]
    assert steps_seen(policy.eval(), inputs) == {(10, 11, 12)}
    assert steps_seen(policy.train(), inputs) == {(12,), (11, 12), (10, 11, 12)}


def test_when_masking_is_off_expect_all_steps_in_training_and_short_inputs_refused(make_policy, make_inputs):
    policy = make_policy(horizon_masking=False)
    inputs = make_inputs(policy.config)
    inputs["state"][:, :, 0] = [10.0, 11.0, 12.0]
    assert steps_seen(policy.train(), inputs) == {(10, 11, 12)}
    with refused(HptError, Code.INVALID, subject="'image'", problem="has 2 observations in time, but"):
        policy.eval().predict(make_inputs(policy.config, steps=2))


def test_when_history_is_short_expect_a_chunk_and_when_too_long_a_sentence(make_policy, make_inputs):
    policy = make_policy()
    assert policy.predict(make_inputs(policy.config, steps=1)).shape == (2, 4, 2)
    with refused(HptError, Code.INVALID, subject="'image'", problem="has 4 observations in time, but"):
        policy.predict(make_inputs(policy.config, steps=4))


# --- loss ------------------------------------------------------------------------------------------------------------


def test_when_loss_is_computed_expect_smooth_l1_over_real_steps(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    action = np.random.default_rng(3).normal(size=(2, 4, 2)).astype(np.float32)
    is_pad = np.array([[False, False, True, True], [False, True, True, True]])
    with torch.no_grad():
        normalised, loss = policy(inputs), policy.loss(inputs, action, is_pad)
    scale, offset = policy.normaliser["action"].scale, policy.normaliser["action"].offset
    error = (normalised - (torch.as_tensor(action) * scale + offset)).abs().numpy()
    terms = np.where(error < 0.05, 0.5 * error**2 / 0.05, error - 0.025)
    assert loss.item() == pytest.approx(terms[~is_pad].mean(), rel=1e-5)


def test_when_padding_changes_expect_the_same_loss_even_if_it_is_nonsense(make_policy, make_inputs):
    policy = make_policy()
    inputs = make_inputs(policy.config)
    action = np.zeros((2, 4, 2), np.float32)
    is_pad = np.array([[False, True, True, True]] * 2)
    other = action.copy()
    other[:, 1:] = 1e6
    assert policy.loss(inputs, action, is_pad).item() == policy.loss(inputs, other, is_pad).item()


def test_when_trained_a_little_expect_the_loss_to_fall(make_policy, make_inputs):
    policy = make_policy(trunk=replace(make_policy().config.trunk, drop_path=0.0))
    inputs, is_pad = make_inputs(policy.config, batch=4), np.zeros((4, 4), bool)
    action = np.random.default_rng(5).normal(size=(4, 4, 2)).astype(np.float32)
    optimiser = torch.optim.AdamW((p for p in policy.parameters() if p.requires_grad), lr=2e-3)
    before = policy.loss(inputs, action, is_pad).item()
    policy.train()
    for _ in range(40):
        optimiser.zero_grad()
        policy.loss(inputs, action, is_pad).backward()
        optimiser.step()
    assert policy.eval().loss(inputs, action, is_pad).item() < 0.5 * before


def test_when_tokens_start_expect_an_image_to_matter(make_config):
    """Signals that shrink at every layer would leave the policy blind for thousands of steps."""
    policy = Policy(make_config())
    policy.set_statistics({"state": Statistics.of(np.eye(3)), "action": Statistics.of(np.eye(2))})
    pictures = (
        functional.interpolate(torch.rand(16, 3, 4, 6), (32, 48)).mul(255).to(torch.uint8).permute(0, 2, 3, 1)
    )
    images = pictures[:, None, None].expand(-1, 3, 2, -1, -1, -1)
    with torch.no_grad():
        tokens = policy.eval().stages({"image": images, "state": torch.zeros(16, 3, 3)}).stems["image"]
    assert tokens.std(dim=0).mean() > 0.05


# --- bad input -------------------------------------------------------------------------------------------------------


def change(name, value):
    return lambda inputs: {**inputs, name: value(inputs[name])}


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda i: {"image": i["image"]}, r"input 'state' is missing, got \['image'\]"),
        (lambda i: {"state": i["state"]}, r"input 'image' is missing, got \['state'\]"),
        (lambda i: {**i, "stat": i["state"]}, r"input is 'stat'.*did you mean 'state'"),
        (
            change("image", lambda a: a.astype(np.float32)),
            r"'image' is float32 .* expected uint8 \(B, T, 2, 32, 48, 3\)",
        ),
        (
            change("image", lambda a: a.transpose(0, 1, 2, 5, 3, 4)),
            r"'image' is uint8 \(2, 3, 2, 3, 32, 48\), expected uint8",
        ),
        (change("image", lambda a: a[0]), r"'image' is uint8 \(3, 2, 32, 48, 3\), expected uint8"),
        (
            change("state", lambda a: a[..., :2]),
            r"'state' is float32 \(2, 3, 2\), expected float \(B, T, 3\)",
        ),
        (change("state", lambda a: a.astype(np.int64)), r"'state' is int64"),
        (change("state", lambda a: np.full_like(a, np.nan)), r"'state' holds nan at index \[0, 0, 0\]"),
        (
            change("state", lambda a: a[:1]),
            r"differ in \(batch, observations\): 'image' has \(2, 3\), 'state' has \(1, 3\)",
        ),
        (change("state", lambda a: a[:, :2]), r"differ in \(batch, observations\)"),
        (lambda i: {n: a[:0] for n, a in i.items()}, r"'image' has an empty batch"),
        (
            lambda i: {**i, "image_features": np.zeros((2, 3, 2, 24, 16), np.float32)},
            r"input 'image' was passed, but the policy reads image_features, state",
        ),
    ],
)
def test_when_inputs_do_not_fit_expect_a_sentence(make_policy, make_inputs, alter, message):
    policy = make_policy()
    with pytest.raises(HptError, match=message):
        policy.predict(alter(make_inputs(policy.config)))


@pytest.mark.parametrize(
    ("action", "is_pad", "message"),
    [
        (
            np.zeros((2, 5, 2), np.float32),
            np.zeros((2, 5), bool),
            r"'action' is float32 \(2, 5, 2\), expected float \(B, 4, 2\)",
        ),
        (
            np.full((2, 4, 2), np.inf, np.float32),
            np.zeros((2, 4), bool),
            r"'action' holds inf at index \[0, 0, 0\]",
        ),
        (
            np.zeros((2, 4, 2), np.float32),
            np.zeros((2, 4), np.int64),
            r"is_pad is int64 \(2, 4\), expected bool \(2, 4\)",
        ),
        (
            np.zeros((2, 4, 2), np.float32),
            np.ones((2, 4), bool),
            r"every step of the action chunk is padding",
        ),
        (np.zeros((3, 4, 2), np.float32), np.zeros((3, 4), bool), r"2 observations but 3 action chunks"),
    ],
)
def test_when_targets_do_not_fit_expect_a_sentence(make_policy, make_inputs, action, is_pad, message):
    policy = make_policy()
    with pytest.raises(HptError, match=message):
        policy.loss(make_inputs(policy.config), action, is_pad)


def test_when_statistics_are_missing_expect_a_sentence(make_config, make_inputs):
    config = make_config()
    with refused(
        HptError,
        Code.NOT_READY,
        subject="the normaliser of 'action'",
        problem="has no statistics yet",
        remedy="statistics",
    ):
        Policy(config).eval().predict(make_inputs(config))


def test_when_predict_is_called_in_training_expect_a_sentence(make_policy, make_inputs):
    policy = make_policy()
    with refused(HptError, Code.INVALID, subject="predict", problem="training mode", remedy="policy.eval()"):
        policy.train().predict(make_inputs(policy.config))


def test_when_images_to_encode_do_not_fit_expect_a_sentence(make_policy, make_inputs):
    policy = make_policy()
    with refused(
        HptError,
        Code.WRONG_SHAPE,
        subject="'image'",
        value=(2, 3, 1, 32, 48, 3),
        problem="is uint8",
        expected="uint8 (B, T, 2, 32, 48, 3)",
    ):
        policy.encode_images(make_inputs(policy.config)["image"][:, :, :1])


def test_when_there_is_no_encoder_expect_images_refused(reference):
    policy = Policy(reference("tiny_mlp").config)
    with refused(HptError, Code.UNSUPPORTED, subject="this policy", problem="no image encoder"):
        policy.encode_images(np.zeros((1, 1, 2, 4, 4, 3), np.uint8))


def test_when_decoder_has_no_projection_expect_predict_to_say_so(reference):
    from hpt_ros.model import load_model

    case = reference("tiny_decoder")
    policy = Policy(case.config)
    load_model(policy, case.weights)
    with refused(
        HptError,
        Code.WRONG_SHAPE,
        subject="the decoder head without projection",
        problem="gives 64 numbers a step, but actions have 5",
        remedy="set head.projection",
    ):
        policy.eval().predict(case.inputs())


def test_when_part_is_unknown_expect_a_sentence(make_policy):
    with refused(
        HptError,
        Code.MISSING,
        subject="a policy",
        value="head",
        problem="no part",
        remedy="use one of encoders, stems, trunk, heads",
    ):
        make_policy().part("head")
