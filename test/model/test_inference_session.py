# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.model import NoEncoderConfig, Policy, StemConfig
from hpt_ros.model.inference_session import InferenceSession
from hpt_ros.model.inputs import InputError

HORIZON, VIEWS = 3, 2


class Robot:
    """A robot's ticks, each with its own pictures and state, and windows of them."""

    def __init__(self, policy: Policy) -> None:
        config, rng = policy.config, np.random.default_rng(3)
        self.images = rng.integers(0, 256, (20, *config.shapes["image"]), np.uint8)
        self.states = rng.normal(size=(20, config.state_dim)).astype(np.float32)

    def inputs(self, keys: list[int]) -> dict[str, np.ndarray]:
        return {"image": self.images[keys][None], "state": self.states[keys][None]}


@pytest.fixture
def policy(make_policy) -> Policy:
    return make_policy()


@pytest.fixture
def robot(policy) -> Robot:
    return Robot(policy)


def whole(policy: Policy, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """What the policy gives of the whole window, each tick's frames encoded by themselves."""
    images = inputs["image"]
    features = torch.cat([policy.encode_images(images[:, [i]]) for i in range(HORIZON)], dim=1).detach()
    return policy.predict({"image_features": features, "state": inputs["state"]})[0].numpy()


def count_encodings(rollout: InferenceSession, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows by the modality's name at each encoding."""
    calls: list[str] = []
    encode = rollout.backend.encode

    def counted(modality: str, frame: torch.Tensor) -> torch.Tensor:
        calls.append(modality)
        return encode(modality, frame)

    monkeypatch.setattr(rollout.backend, "encode", counted)
    return calls


WINDOWS = {
    "an episode's start": ([5, 5, 5], [5, 5, 6], [5, 6, 7], [6, 7, 8]),
    "skipped ticks": ([1, 2, 3], [3, 4, 5], [9, 10, 11], [10, 12, 14]),
    "keys out of order": ([3, 1, 2], [2, 3, 1], [7, 3, 5], [5, 5, 3], [1, 2, 3]),
    "back in time": ([8, 9, 10], [1, 2, 3], [8, 9, 10]),
}


@pytest.mark.parametrize("windows", WINDOWS.values(), ids=WINDOWS)
def test_when_windows_follow_each_other_expect_bit_for_bit_the_whole_window(policy, robot, windows):
    rollout = InferenceSession(policy)
    for keys in windows:
        inputs = robot.inputs(keys)
        chunk = rollout.predict(inputs, keys)
        assert chunk.shape == (4, 2)
        assert chunk.dtype == np.float32
        assert np.array_equal(chunk, whole(policy, inputs))
        np.testing.assert_allclose(chunk, policy.predict(inputs)[0].numpy(), rtol=0, atol=1e-5)


def test_when_the_window_moves_on_expect_each_tick_encoded_once(policy, robot, monkeypatch):
    rollout = InferenceSession(policy)
    calls = count_encodings(rollout, monkeypatch)
    for keys, encoded in (([5, 5, 5], 1), ([5, 5, 6], 2), ([5, 6, 7], 3), ([6, 7, 8], 4), ([6, 7, 8], 4)):
        rollout.predict(robot.inputs(keys), keys)
        assert len(calls) == encoded


def test_when_a_tick_is_observed_ahead_expect_predict_to_encode_nothing(policy, robot, monkeypatch):
    rollout = InferenceSession(policy)
    calls = count_encodings(rollout, monkeypatch)
    for tick in (0, 1, 2, 3):
        rollout.observe({"image": robot.images[tick], "state": robot.states[tick]}, tick)
    assert len(calls) == 4
    rollout.observe({"image": robot.images[[4]][None]}, 4)  # as inputs of one tick come
    nothing = np.zeros_like(robot.inputs([2, 3, 4])["image"])  # never looked at
    chunk = rollout.predict({"image": nothing, "state": robot.states[[2, 3, 4]][None]}, [2, 3, 4])
    assert len(calls) == 5
    assert np.array_equal(chunk, whole(policy, robot.inputs([2, 3, 4])))


def test_when_one_tick_is_ahead_of_the_window_expect_the_window_still_there(policy, robot, monkeypatch):
    rollout = InferenceSession(policy)
    rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    calls = count_encodings(rollout, monkeypatch)
    rollout.observe({"image": robot.images[3]}, 3)
    rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    rollout.predict(robot.inputs([1, 2, 3]), [1, 2, 3])
    assert len(calls) == 1


def test_when_a_key_is_observed_again_expect_the_newer_frame(policy, robot):
    rollout = InferenceSession(policy)
    for tick in (0, 1, 2):
        rollout.observe({"image": robot.images[tick + 10]}, tick)
        rollout.observe({"image": robot.images[tick]}, tick)
    chunk = rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    assert np.array_equal(chunk, whole(policy, robot.inputs([0, 1, 2])))


def test_when_an_episode_begins_expect_the_same_keys_to_mean_new_frames(policy, robot):
    rollout = InferenceSession(policy)
    rollout.predict(robot.inputs([7, 8, 9]), [0, 1, 2])
    stale = rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    rollout.reset()
    fresh = rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    assert np.array_equal(fresh, whole(policy, robot.inputs([0, 1, 2])))
    assert not np.array_equal(stale, fresh)


def test_when_many_steps_run_expect_the_same_buffers_and_a_new_chunk_each_time(policy, robot):
    rollout = InferenceSession(policy)
    places: set[tuple[int, ...]] = set()
    act = rollout.backend.act

    def watched(arrays):
        places.add(tuple(array.data_ptr() for array in arrays.values()))
        return act(arrays)

    rollout.backend.act = watched  # type: ignore[method-assign]
    chunks = []
    for tick in range(2, 8):
        keys = [tick - 2, tick - 1, tick]
        chunks.append((rollout.predict(robot.inputs(keys), keys), whole(policy, robot.inputs(keys))))
    assert len(places) == 1
    assert all(np.array_equal(kept, expected) for kept, expected in chunks)


def test_when_frames_come_as_a_list_or_read_only_expect_the_same_as_in_one_array(policy, robot):
    keys = [4, 5, 6]
    expected = InferenceSession(policy).predict(robot.inputs(keys), keys)
    frames = [robot.images[key] for key in keys]
    for frame in frames:
        frame.flags.writeable = False
    chunk = InferenceSession(policy).predict({"image": frames, "state": robot.states[keys][None]}, keys)
    assert np.array_equal(chunk, expected)
    tensors = [torch.from_numpy(robot.images[key].copy()) for key in keys]
    chunk = InferenceSession(policy).predict({"image": tensors, "state": robot.states[keys][None]}, keys)
    assert np.array_equal(chunk, expected)


def test_when_the_callers_frame_changes_after_observe_expect_what_was_observed(policy, robot):
    rollout = InferenceSession(policy)
    for tick in (0, 1, 2):
        frame = robot.images[tick].copy()
        rollout.observe({"image": frame}, tick)
        frame[:] = 0
    chunk = rollout.predict(robot.inputs([0, 1, 2]), [0, 1, 2])
    assert np.array_equal(chunk, whole(policy, robot.inputs([0, 1, 2])))


ALL: dict[str, Any] = {
    "state_dim": 3,
    "depth_views": 1, "depth_height": 32, "depth_width": 32,
    "wrench_dim": 6,
    "tactile_arrays": 2, "tactile_values": 5,
    "clouds": 1, "cloud_points": 16,
    "tasks": ("pour", "sweep"),
    "stems": tuple(
        StemConfig(modality, tokens=4, missing="drop" if modality in ("depth", "wrench") else "refuse")
        for modality in (
            "image", "depth", "state", "wrench", "tactile", "pointcloud", "actions", "language",
        )
    ),
}  # fmt: skip


def everything(policy: Policy, keys: list[int]) -> dict[str, Any]:
    """Inputs of every modality; those of a tick follow from its key."""
    config, ticks = policy.config, [np.random.default_rng(key) for key in keys]
    shapes = {
        "state": (3,), "wrench": (6,), "tactile": (2, 5), "pointcloud": (1, 16, 3), "actions": (2,),
    }  # fmt: skip
    inputs = {
        name: np.stack([tick.normal(size=shape).astype(np.float32) for tick in ticks])[None]
        for name, shape in shapes.items()
    }
    size = config.shapes["image"]
    inputs["image"] = np.stack([tick.integers(0, 256, size, np.uint8) for tick in ticks])[None]
    inputs["depth"] = np.stack([tick.integers(0, 4000, (1, 32, 32), np.uint16) for tick in ticks])[None]
    return inputs | {"task": ["sweep"]}


def with_tasks(policy: Policy) -> Policy:
    config = policy.config.language
    policy.set_task_embeddings(torch.randn(2, config.tokens, config.width))
    return policy


def test_when_every_modality_is_read_expect_what_the_policy_gives(make_policy):
    policy = with_tasks(make_policy(**ALL))
    rollout = InferenceSession(policy)
    for keys in ([0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]):
        inputs = everything(policy, keys)
        np.testing.assert_allclose(
            rollout.predict(inputs, keys), policy.predict(inputs)[0].numpy(), rtol=0, atol=1e-5
        )


@pytest.mark.parametrize("absent", ["depth", "wrench"])
def test_when_an_optional_modality_comes_and_goes_expect_what_the_policy_gives(make_policy, absent):
    policy = with_tasks(make_policy(**ALL))
    rollout = InferenceSession(policy)
    for keys, there in (([0, 0, 1], True), ([0, 1, 2], False), ([1, 2, 3], True)):
        inputs = {name: value for name, value in everything(policy, keys).items() if there or name != absent}
        np.testing.assert_allclose(
            rollout.predict(inputs, keys), policy.predict(inputs)[0].numpy(), rtol=0, atol=1e-5
        )


def test_when_features_are_precomputed_expect_no_key_to_matter(make_policy):
    policy = make_policy(image_encoder=NoEncoderConfig(cells=5, cell_width=16))
    rollout = InferenceSession(policy)
    rng = np.random.default_rng(0)
    for _ in range(2):
        inputs = {
            "image_features": rng.normal(size=(1, 3, 2, 5, 16)).astype(np.float32),
            "state": rng.normal(size=(1, 3, 3)).astype(np.float32),
        }
        assert np.array_equal(rollout.predict(inputs, [0, 1, 2]), policy.predict(inputs)[0].numpy())


# --- bad input -------------------------------------------------------------------------------------------------------


def test_when_keys_are_too_few_expect_both_numbers_named(policy, robot):
    with refused(
        InputError,
        Code.WRONG_SHAPE,
        subject="2 keys",
        problem="were given",
        expected="one for each of the 3 ticks",
    ):
        InferenceSession(policy).predict(robot.inputs([0, 1, 2]), [0, 1])


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((2, 32, 47, 3), np.uint8), r"uint8 \(2, 32, 47, 3\), expected uint8 \(2, 32, 48, 3\)"),
        (np.zeros((2, 32, 48, 3), np.float32), r"float32 \(2, 32, 48, 3\), expected uint8"),
        ("picture", "a tick's 'image' is a str"),
    ],
)  # fmt: skip
def test_when_an_observed_frame_does_not_fit_expect_what_was_expected(policy, image, said):
    with pytest.raises(InputError, match=said):
        InferenceSession(policy).observe({"image": image}, 0)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((1, 2, 2, 32, 48, 3), np.uint8), r"\(1, 3, 2, 32, 48, 3\) or a list of 3 frames"),
        ([np.zeros((2, 32, 48, 3), np.uint8)], "a list of 1 frames, expected 3"),
        (7, "'image' is no array"),
    ],
)  # fmt: skip
def test_when_a_windows_frames_do_not_fit_expect_what_was_expected(policy, robot, image, said):
    with pytest.raises(InputError, match=said):
        InferenceSession(policy).predict({"image": image, "state": robot.states[[0, 1, 2]][None]}, [0, 1, 2])


def test_when_the_window_is_shorter_or_of_two_robots_expect_it_refused(policy, robot):
    rollout = InferenceSession(policy)
    image = robot.inputs([0, 1, 2])["image"]
    with refused(InputError, Code.WRONG_SHAPE, subject="the inputs", value="image_features", problem="state"):
        rollout.predict({"image": image, "state": robot.states[[0, 1]][None]}, [0, 1, 2])


def test_when_only_the_state_is_read_but_of_two_robots_expect_it_refused(make_policy):
    policy = make_policy(stems=(StemConfig("state"),), views=0, image_height=0, image_width=0)
    with refused(
        InputError, Code.WRONG_SHAPE, subject="'state'", value=(2, 3, 3), expected="(1, 3, 3): one robot"
    ):
        InferenceSession(policy).predict({"state": np.zeros((2, 3, 3), np.float32)}, [0, 1, 2])


def test_when_a_frame_is_missing_expect_the_policys_sentence(policy, robot):
    with refused(
        InputError,
        Code.MISSING,
        subject="the input 'image'",
        value=["state"],
        problem="is missing",
        remedy="s missing",
    ):
        InferenceSession(policy).predict({"state": robot.states[[0, 1, 2]][None]}, [0, 1, 2])
