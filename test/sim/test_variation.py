# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Graded difficulty: what may vary, how far, by which name; and that a scene varies so and no further."""

from __future__ import annotations

import itertools
from dataclasses import asdict, fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.refused import refused

from hpt_ros.errors import Code, HptError
from hpt_ros.sim.robots import PANDA_ROBOT
from hpt_ros.sim.scene import DISTRACTOR
from hpt_ros.sim.surroundings import Surroundings
from hpt_ros.sim.table_task import table_physics
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment
from hpt_ros.sim.tasks.feed_dog.task import BOWL_X_M, BOWL_Y_M, FeedDogTask
from hpt_ros.sim.tasks.feed_dog.teleoperator import BIN_HEADING_RAD, SCOOP
from hpt_ros.sim.variation import LEVELS, NAMES, STANDARD, Variation, level_of, restrict, with_settings

MS = 1_000_000
LOOKS = ("geom_rgba", "mat_rgba", "light_pos", "light_dir", "light_diffuse", "cam_pos", "cam_quat")


def values_of(name: str) -> st.SearchStrategy[float]:
    item = next(item for item in fields(Variation) if item.name == name)
    least, most = item.metadata["minimum"], item.metadata["maximum"]
    return st.integers(least, most) if item.type == "int" else st.floats(least, most)


VARIATIONS = st.fixed_dictionaries({}, optional={name: values_of(name) for name in NAMES})


@given(VARIATIONS)
def test_what_is_in_range_is_a_variation_and_its_settings_make_it_again(values):
    variation = Variation(**values)
    text = [f"{name}={value!r}" for name, value in variation.changed.items()]
    assert with_settings(STANDARD, text) == variation
    assert (str(variation) == "standard") == (variation == STANDARD)


@given(st.sampled_from(NAMES), st.floats() | st.integers())
def test_a_value_is_taken_or_refused_by_its_name(name, value):
    item = next(item for item in fields(Variation) if item.name == name)
    if item.metadata["minimum"] <= value <= item.metadata["maximum"]:
        assert getattr(Variation(**{name: value}), name) == value
    else:
        with refused(HptError, Code.OUT_OF_RANGE, subject=f"the variation {name}", value=value):
            Variation(**{name: value})


def test_levels_have_names_and_numbers_and_get_no_easier():
    for number, (name, level) in enumerate(LEVELS.items()):
        assert level_of(name) is level_of(str(number)) is level
    steps = [asdict(level) for level in LEVELS.values()]
    for easier, harder in itertools.pairwise(steps):
        assert all(harder[name] >= easier[name] for name in NAMES)
    assert level_of("0") == STANDARD


@pytest.mark.parametrize(
    ("settings", "code", "value"),
    [
        (["camera_shift=0.1"], Code.UNKNOWN, "camera_shift"),
        (["area"], Code.INVALID, "area"),
        (["area=large"], Code.WRONG_TYPE, "large"),
        (["distractors=1.5"], Code.WRONG_TYPE, "1.5"),
        (["area=nan"], Code.OUT_OF_RANGE, None),
    ],
)
def test_mistaken_settings_are_refused(settings, code, value):
    with pytest.raises(HptError) as caught:
        with_settings(STANDARD, settings)
    assert caught.value.code is code
    if value is not None:
        assert caught.value.value == value


def test_mistaken_levels_are_refused_with_the_closest():
    for text in ("hardd", "4", "-1"):
        with pytest.raises(HptError) as caught:
            level_of(text)
        assert caught.value.code is Code.UNKNOWN
    with pytest.raises(HptError, match="did you mean 'hard'"):
        level_of("hardd")


@pytest.fixture(scope="module")
def physics():
    return table_physics(FeedDogTask, PANDA_ROBOT, Variation(distractors=5))


@settings(max_examples=20)
@given(values=VARIATIONS, seed=st.integers(0, 2**32))
def test_surroundings_differ_as_far_as_they_may_and_come_back(physics, values, seed):
    variation = Variation(**values)
    model = physics.model
    before = {name: np.array(getattr(model, name)) for name in LOOKS}
    surroundings = Surroundings(physics, variation, ("front", "wrist"), ("bowl", "bin"))
    surroundings.reset(seed, [(0.5, 0.0, 0.2)])
    shift = np.linalg.norm(model.cam_pos - before["cam_pos"], axis=1)
    moved = [model.camera(name).id for name in ("front", "wrist")]
    np.testing.assert_allclose(shift[moved], variation.camera_shift_m, atol=1e-9)
    assert (np.delete(shift, moved) == 0.0).all()
    cosine = np.abs((model.cam_quat * before["cam_quat"]).sum(axis=1)).clip(0.0, 1.0)
    np.testing.assert_allclose(2 * np.arccos(cosine)[moved], variation.camera_shift_rad, atol=1e-5)
    assert np.abs(model.light_pos - before["light_pos"]).max() <= variation.light_m
    bright = model.light_diffuse[0] / before["light_diffuse"][0]
    assert np.abs(bright - 1.0).max() <= variation.light_ratio + 1e-6
    assert ((model.geom_rgba >= 0.0) & (model.geom_rgba <= 1.0)).all()
    for body in physics.bodies(DISTRACTOR):
        x, y, z = physics.body_position(model.body(body).name)
        assert z < 0.0 or np.hypot(x - 0.5, y) > 0.2
    Surroundings.reset(surroundings, seed + 1, [])
    surroundings.reset(seed, [(0.5, 0.0, 0.2)])
    np.testing.assert_allclose(np.linalg.norm(model.cam_pos - before["cam_pos"], axis=1), shift)
    for name, value in before.items():  # for the next example
        getattr(model, name)[:] = value


@settings(max_examples=15)
@given(area=values_of("area"), orientation=values_of("orientation_rad"), seed=st.integers(0, 2**32))
def test_objects_stay_in_their_area_and_within_their_rotation(feed_dog_physics, area, orientation, seed):
    task = FeedDogTask.__new__(FeedDogTask)
    task.__dict__.update(feed_dog_physics.__dict__)
    task.variation = Variation(area=area, orientation_rad=orientation)
    task.reset(seed)
    for value, (low, high) in zip(task.bowl_xy_m, (BOWL_X_M, BOWL_Y_M), strict=True):
        assert abs(value - 0.5 * (low + high)) <= 0.5 * np.sqrt(area) * (high - low) + 1e-9
    if orientation:
        quat = task.physics.model.body("bin").quat
        turned = 2 * np.arctan2(quat[3], quat[0]) - BIN_HEADING_RAD
        assert abs(turned) <= orientation + 1e-9


@pytest.fixture(scope="module")
def feed_dog_physics():
    return FeedDogTask(table_physics(FeedDogTask, PANDA_ROBOT), SCOOP)


# Of the scene as it was before it could vary: seed -> bowl (m), arm (rad), the front camera's mean colour.
BEFORE = {
    3: (
        [0.4671298334287249, -0.021324953087131074],
        [-0.5629235320876161, -0.4130702778361379, -0.47535228146557607, -2.4960123835858115,
         -0.23725692211154994, 2.026584334878225, -0.4129253709154471],
        [187.705, 171.528, 148.205],
    ),
    1000: (
        [0.5542771475950126, 0.08511413563183562],
        [-0.5827434921606647, -0.43580512344731925, -0.44927445846279684, -2.5105378231951527,
         -0.2491072640814889, 2.062220893131496, -0.42389969339612715],
        [186.776, 170.654, 147.760],
    ),
}  # fmt: skip


def test_the_standard_scene_is_the_one_that_the_shipped_checkpoint_learned_in():
    environment = FeedDogEnvironment(variation=level_of("0"))
    task = environment.task
    assert isinstance(task, FeedDogTask)
    try:
        for seed, (bowl, arm, colour) in BEFORE.items():
            environment.reset(seed)
            np.testing.assert_allclose(task.bowl_xy_m, bowl, atol=1e-12)
            np.testing.assert_allclose(environment.physics.joint_positions_rad, arm, atol=1e-12)
            kibble = environment.physics.piece_poses[:, :3].mean(axis=0)
            np.testing.assert_allclose(kibble, [0.44081, -0.33547, 0.02479], atol=2e-3)
            samples = environment.advance(environment.now_ns + 100 * MS)
            image = next(item.message.data for item in samples if item.topic.startswith("front"))
            np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), colour, atol=0.5)
    finally:
        environment.close()


def test_a_hard_scene_looks_different_and_is_the_same_again():
    environment = FeedDogEnvironment(variation=level_of("hard"))

    def images(seed: int) -> list[np.ndarray]:
        environment.reset(seed)
        samples = environment.advance(environment.now_ns + 200 * MS)
        return [item.message.data for item in samples if "camera" in item.topic]

    try:
        first, other, again = images(3), images(4), images(3)
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert environment.physics.bodies(DISTRACTOR)
    finally:
        environment.close()


def test_an_environment_that_does_not_vary_so_says_what_it_varies(monkeypatch):
    from hpt_ros.sim import environment as module

    kind = module.EnvironmentKind("still", "nowhere:Nothing", varies=frozenset({"area"}))
    with refused(HptError, Code.UNSUPPORTED, subject="the environment 'still'", value="colours"):
        module.require_varies(kind, Variation(area=1.5, colours=0.5))
    module.require_varies(kind, Variation(area=1.5))


def test_a_level_is_what_the_environment_varies_of_it():
    hard = level_of("hard")
    left = restrict(hard, frozenset({"area", "colours"}))
    assert left == Variation(area=hard.area, colours=hard.colours)
    assert restrict(STANDARD, frozenset()) == STANDARD
    with refused(HptError, Code.UNSUPPORTED, subject="the difficulty"):
        restrict(hard, frozenset({"objects"}))
