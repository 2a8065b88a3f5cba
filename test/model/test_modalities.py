# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from support.refused import refused

import hpt_ros.model
from hpt_ros.errors import Code, HptError
from hpt_ros.modalities import MODALITIES
from hpt_ros.model import Policy, Statistics
from hpt_ros.model.modalities import build_modalities

TIMED = tuple(name for name in MODALITIES if name != "language")


def seen_by(policy: Policy, inputs, modality: str) -> torch.Tensor:
    """The entries that a modality's stem reads."""
    found: list[torch.Tensor] = []
    handle = policy.stems[f"arm_{modality}"].register_forward_pre_hook(lambda _, args: found.append(args[0]))
    policy.predict(inputs)
    handle.remove()
    return found[0]


@pytest.fixture
def policy(make_policy, every_modality) -> Policy:
    return make_policy(**every_modality)


@pytest.fixture
def inputs(policy, make_inputs):
    return make_inputs(policy.config)


# --- the registry ----------------------------------------------------------------------------------------------------


def test_when_modalities_are_listed_expect_a_class_for_each_and_no_input_name_twice(
    make_config, every_modality
):
    config = make_config(**every_modality)
    inputs = [name for modality in MODALITIES.of_project().values() for name in modality.names]
    assert set(config.modalities) == set(MODALITIES.own)
    assert len(set(inputs)) == len(inputs)
    for name, modality in build_modalities(make_config(**every_modality)).items():
        assert modality.name == name
        assert {spec.name for spec in modality.inputs} <= set(modality.names)
        assert modality.positions().shape == (modality.count, modality.width)


@pytest.mark.parametrize("file", ["policy.py", "inputs.py", "stems.py", "trunk.py"])
def test_when_code_is_for_all_modalities_expect_it_to_name_none(file):
    """A new modality is a class; it must need no line in the files that serve them all."""
    tree = ast.parse((Path(hpt_ros.model.__file__).parent / file).read_text(encoding="utf-8"))
    inputs = [name for modality in MODALITIES.of_project().values() for name in modality.names]
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
        and isinstance(node.body[0], ast.Expr)
    }
    names = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and node.value in inputs and id(node) not in documentation
    ]
    assert names == []
    constants = {name.upper() for name in MODALITIES}
    used = [
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id in constants and isinstance(node.ctx, ast.Load)
    ]
    # The two methods that encode pictures, which callers know by name.
    assert used == (["IMAGE", "DEPTH"] if file == "policy.py" else [])


# --- entries ---------------------------------------------------------------------------------------------------------


def test_when_every_modality_is_read_expect_a_chunk_that_depends_on_each_and_every_part_to_learn(
    policy, inputs
):
    chunk = policy.predict(inputs)
    assert chunk.shape == (2, 4, 2)
    assert torch.isfinite(chunk).all()
    for name in inputs:
        changed = {**inputs, name: inputs[name][::-1].copy()}
        assert not torch.equal(policy.predict(changed), chunk), name
    policy.loss(inputs, np.zeros((2, 4, 2), np.float32), np.zeros((2, 4), bool)).backward()
    assert [name for name, p in policy.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("modality", "shape"),
    [
        ("image", (2, 3 * 2 * 4 * 6, 16)),
        ("depth", (2, 3 * 1 * 1 * 2, 64)),
        ("state", (2, 3, 3)),
        ("wrench", (2, 3, 6)),
        ("tactile", (2, 3 * 2, 5)),
        ("pointcloud", (2, 3 * 2 * 7, 51)),
        ("actions", (2, 3, 2)),
        ("language", (2, 4, 6)),
    ],
)
def test_when_a_stem_reads_expect_its_entries(policy, inputs, modality, shape):
    assert seen_by(policy, inputs, modality).shape == shape


def test_when_vectors_are_read_expect_them_within_the_limits_of_their_own_statistics(
    make_policy, every_modality
):
    policy = make_policy(**every_modality)
    rng = np.random.default_rng(3)
    raw = {
        "state": rng.uniform(5.0, 6.0, (1, 3, 3)),
        "wrench": rng.uniform(-40.0, 10.0, (1, 3, 6)),
        "tactile": rng.uniform(0.0, 900.0, (1, 3, 2, 5)),
        "actions": rng.uniform(-2.0, 1.0, (1, 3, 2)),
    }
    statistics = {
        name: Statistics.of(value.reshape(-1, value.shape[-1]))
        for name, value in ((n if n != "actions" else "action", v) for n, v in raw.items())
    }
    assert policy.statistics_needed == {
        "action": 2, "state": 3, "wrench": 6, "tactile": 5, "pointcloud": 3,
    }  # fmt: skip
    policy.set_statistics({**statistics, "pointcloud": Statistics.of(np.eye(3))})
    arrays = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in raw.items()}
    for name, value in raw.items():
        entries = policy.modalities[name].entries(arrays, policy)
        low, high = value.reshape(-1, value.shape[-1]).min(0), value.reshape(-1, value.shape[-1]).max(0)
        expected = 2.0 * (value - low) / (high - low) - 1.0
        np.testing.assert_allclose(entries, expected.reshape(entries.shape), rtol=0, atol=1e-4, err_msg=name)


def test_when_points_change_places_within_a_cloud_expect_the_same_action_and_between_clouds_another(
    policy, inputs
):
    chunk = policy.predict(inputs)
    points = inputs["pointcloud"]
    shuffled = points.copy()
    rng = np.random.default_rng(1)
    for sample, step, cloud in np.ndindex(points.shape[:3]):
        shuffled[sample, step, cloud] = points[sample, step, cloud, rng.permutation(7)]
    assert not np.array_equal(shuffled, points)
    torch.testing.assert_close(policy.predict({**inputs, "pointcloud": shuffled}), chunk, rtol=0, atol=1e-5)
    for axis in (1, 2):  # time, cloud
        moved = policy.predict({**inputs, "pointcloud": np.flip(points, axis).copy()})
        assert (moved - chunk).abs().max() > 1e-4


def test_when_a_point_is_read_expect_its_fourier_features(policy):
    policy.set_statistics(
        {
            name: Statistics.of(np.stack([np.full(dim, -1.0), np.ones(dim)]))
            for name, dim in policy.statistics_needed.items()
        }
    )
    cloud = torch.zeros(1, 3, 2, 7, 3)
    cloud[0, 1, 0, 4] = torch.tensor([0.3, -0.7, 0.1])
    entry = policy.modalities["pointcloud"].entries({"pointcloud": cloud}, policy)[0, (1 * 2 + 0) * 7 + 4]
    angles = [2.0**octave * math.pi * x for octave in range(8) for x in (0.3, -0.7, 0.1)]
    expected = [0.3, -0.7, 0.1, *(math.sin(a) for a in angles), *(math.cos(a) for a in angles)]
    np.testing.assert_allclose(entry, expected, rtol=0, atol=1e-4)


def test_when_pictures_are_encoded_before_expect_the_same_action(policy, inputs):
    features = {
        "image_features": policy.encode_images(inputs["image"]).detach(),
        "depth_features": policy.encode_depth(inputs["depth"]).detach(),
    }
    rest = {name: value for name, value in inputs.items() if name not in ("image", "depth")}
    torch.testing.assert_close(
        policy.predict({**rest, **features}), policy.predict(inputs), rtol=0, atol=1e-5
    )


# --- tasks -----------------------------------------------------------------------------------------------------------


def test_when_a_task_is_named_expect_what_its_index_and_its_embedding_give(policy, inputs):
    rest = {name: value for name, value in inputs.items() if name != "task"}
    first, second = policy.config.tasks
    by_text = policy.predict({**rest, "task": [second, first]})
    for task in (np.array([1, 0]), torch.tensor([1, 0]), np.array([second, first]), (second, first)):
        assert torch.equal(policy.predict({**rest, "task": task}), by_text)
    embeddings = policy.state_dict()["language.embeddings"]
    assert torch.equal(policy.predict({**rest, "language": embeddings[[1, 0]]}), by_text)
    assert not torch.equal(policy.predict({**rest, "task": [first, first]})[0], by_text[0])


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            ["feed the cat", "feed the dog"],
            r"task is 'feed the cat', expected one of feed the dog, fetch.*; did you mean 'feed the dog'",
        ),
        ("feed the dog", r"'task' is the text 'feed the dog', expected one text per sample.*pass a list"),
        (np.array([0, 2]), r"'task' holds the index 2, expected 0 to 1"),
        (np.array([0, -1]), r"'task' holds the index -1, expected 0 to 1"),
        (np.array([0.0, 1.0]), r"'task' is float64 \(2,\), expected int64 \(B,\)"),
        (np.array([[0], [1]]), r"'task' is int64 \(2, 1\), expected int64 \(B,\)"),
        (["feed the dog"], r"differ in batch: 'image' has 2 samples, 'language' has 1"),
        ([], r"'task' has an empty batch"),
        (7, r"'task' is int64 \(\), expected int64 \(B,\)"),
    ],
)
def test_when_a_task_does_not_fit_expect_a_sentence(policy, inputs, task, message):
    with pytest.raises(HptError, match=message):
        policy.predict({**inputs, "task": task})


def test_when_task_and_embedding_are_passed_expect_a_sentence(policy, inputs):
    with refused(
        HptError,
        Code.UNEXPECTED,
        subject="the input 'language'",
        problem="was passed, but the policy reads",
        remedy="policy",
    ):
        policy.predict({**inputs, "language": np.zeros((2, 4, 6), np.float32)})


def test_when_embeddings_are_not_there_yet_expect_a_sentence_and_none_for_an_embedding_passed_in(
    make_config, every_modality, make_inputs
):
    policy = Policy(make_config(**every_modality)).eval()
    policy.set_statistics({n: Statistics.of(np.eye(8)[:, :d]) for n, d in policy.statistics_needed.items()})
    inputs = make_inputs(policy.config)
    with refused(
        HptError,
        Code.NOT_READY,
        subject="the embeddings of the tasks ['feed the dog', 'fetch the bowl']",
        remedy="embeddings",
    ):
        policy.predict(inputs)
    with refused(
        HptError,
        Code.NOT_READY,
        subject="the embeddings of the tasks ['feed the dog', 'fetch the bowl']",
        problem="are not there yet",
        remedy="embeddings",
    ):
        policy.require_ready()
    del inputs["task"]
    assert policy.predict({**inputs, "language": np.zeros((2, 4, 6), np.float32)}).shape == (2, 4, 2)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (torch.zeros(3, 4, 6), r"float32 \(3, 4, 6\), expected float \(2, 4, 6\) \(tasks, tokens, width\)"),
        (torch.zeros(2, 4, 6, dtype=torch.int64), r"are int64"),
        (torch.full((2, 4, 6), torch.nan), r"hold a value that is no finite number"),
    ],
)
def test_when_embeddings_do_not_fit_expect_a_sentence(policy, embeddings, message):
    with pytest.raises(HptError, match=message):
        policy.set_task_embeddings(embeddings)


def test_when_there_are_no_tasks_expect_only_embeddings_to_be_taken(make_policy, every_modality, make_inputs):
    policy = make_policy(**{**every_modality, "tasks": ()})
    assert not any(name.startswith("language.") for name in policy.state_dict())
    inputs = make_inputs(replace(policy.config, tasks=("a",)))
    with refused(
        HptError, Code.MISSING, subject="the input 'language'", problem="is missing, got", remedy="s missing"
    ):
        policy.predict(inputs)
    with refused(
        HptError,
        Code.MISSING,
        subject="this policy",
        problem="has no tasks",
        remedy="name them in its configuration",
    ):
        policy.set_task_embeddings(torch.zeros(1, 4, 6))


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alter", "message"),
    [
        (
            "depth",
            lambda a: a.astype(np.float32),
            r"'depth' is float32 .*, expected uint16 \(B, T, 1, 16, 24\)",
        ),
        ("depth", lambda a: a[..., :20], r"'depth' is uint16 \(2, 3, 1, 16, 20\), expected uint16"),
        ("wrench", lambda a: a[..., :5], r"'wrench' is float32 \(2, 3, 5\), expected float \(B, T, 6\)"),
        ("wrench", lambda a: a * np.inf, r"'wrench' holds -?inf at index \[0, 0, 0\]"),
        (
            "tactile",
            lambda a: a[:, :, :1],
            r"'tactile' is float32 \(2, 3, 1, 5\), expected float \(B, T, 2, 5\)",
        ),
        ("pointcloud", lambda a: a[:, :, :, :6], r"\(2, 3, 2, 6, 3\), expected float \(B, T, 2, 7, 3\)"),
        ("pointcloud", lambda a: np.where(a > 0, np.nan, a), r"'pointcloud' holds nan at index"),
        ("actions", lambda a: a.astype(np.int64), r"'actions' is int64"),
        ("actions", lambda a: a[:, :2], r"differ in \(batch, observations\): .*'actions' has \(2, 2\)"),
        (
            "state",
            lambda a: a.astype(object),
            r"'state' is an array of object, expected a numpy array or a tensor of num",
        ),
        ("state", lambda a: a.tolist(), r"'state' is a list, expected a numpy array"),
        (
            "state",
            lambda a: a.astype(">f4"),
            r"'state' is an array of >f4 that torch cannot read .*pass a copy",
        ),
        (
            "image",
            lambda a: a[..., ::-1],
            r"'image' is an array of uint8 that torch cannot read .*pass a copy",
        ),
        ("state", lambda a: "home", r"'state' is a str, expected a numpy array"),
    ],
)
def test_when_an_array_does_not_fit_expect_a_sentence(policy, inputs, name, alter, message):
    with pytest.raises(HptError, match=message):
        policy.predict({**inputs, name: alter(inputs[name])})


@pytest.mark.parametrize("name", TIMED)
def test_when_a_modality_is_missing_and_may_not_expect_a_sentence(policy, inputs, name):
    del inputs[name]
    with pytest.raises(HptError, match=rf"input '{name}' is missing, got .* missing: drop"):
        policy.predict(inputs)


def test_when_a_known_modality_is_not_read_expect_a_sentence(make_policy, make_inputs):
    policy = make_policy()
    with refused(
        HptError,
        Code.UNEXPECTED,
        subject="the input 'wrench'",
        problem="was passed, but the policy reads image, state",
        remedy="policy",
    ):
        policy.predict({**make_inputs(policy.config), "wrench": np.zeros((2, 3, 6), np.float32)})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p, d: p.encode_depth(d.astype(np.int32)),
            r"'depth' is int32 .*, expected uint16 \(B, T, 1, 16, 24\)",
        ),
        (lambda p, d: p.encode_images(d), r"'image' is uint16 .*, expected uint8 \(B, T, 2, 32, 48, 3\)"),
    ],
)
def test_when_pictures_to_encode_do_not_fit_expect_a_sentence(policy, inputs, call, message):
    with pytest.raises(HptError, match=message):
        call(policy, inputs["depth"])


def test_when_depth_is_not_read_expect_encode_depth_to_say_so(make_policy):
    with refused(
        HptError, Code.UNEXPECTED, subject="this policy", problem="reads no depth, so it has no depth encoder"
    ):
        make_policy().encode_depth(np.zeros((1, 1, 1, 16, 24), np.uint16))


# --- configuration ---------------------------------------------------------------------------------------------------
