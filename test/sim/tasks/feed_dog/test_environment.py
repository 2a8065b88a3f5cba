# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The environment as a robot: its messages, its controller, its seeds."""

from __future__ import annotations

import numpy as np
import pytest

from hpt_ros.errors import HptError
from hpt_ros.observation import decode
from hpt_ros.sim.environment import ENVIRONMENTS, HasExpert, make_environment
from hpt_ros.sim.messages import Message, stamp_message
from hpt_ros.sim.tasks.feed_dog.environment import FeedDogEnvironment

MS = 1_000_000


@pytest.fixture(scope="module")
def environment():
    made = FeedDogEnvironment()
    yield made
    made.close()


def test_its_messages_are_those_of_its_embodiment(environment):
    environment.reset(0)
    start_ns = environment.now_ns
    samples = environment.advance(start_ns + 200 * MS)
    counts = {
        topic: sum(sample.topic == topic for sample in samples) for topic in {item.topic for item in samples}
    }
    assert counts == {"joint_states": 20, "front_camera/image_raw": 2, "wrist_camera/image_raw": 2}
    for stream in environment.embodiment.streams:
        sample = next(item for item in samples if item.topic == stream.topic)
        value = decode(stream, sample.message)
        assert value.shape == ((96, 128, 3) if stream.image else (7,))
        stamp = sample.message.header.stamp
        assert start_ns < stamp.sec * 10**9 + stamp.nanosec <= sample.arrival_ns


def test_time_goes_on_over_a_reset_and_the_scene_does_not_know_it(environment):
    def images(seed):
        environment.reset(seed)
        return [
            item.message.data
            for item in environment.advance(environment.now_ns + 300 * MS)
            if "camera" in item.topic
        ]

    first = images(4)
    before_ns = environment.now_ns
    other, again = images(5), images(4)
    assert environment.now_ns > before_ns
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_command_moves_the_arm_and_a_bad_one_is_refused(environment):
    environment.reset(0)
    names = list(environment.physics.joint_names)
    start = environment.physics.joint_positions_rad
    point = Message(
        positions=(start + 0.1).tolist(), velocities=[], accelerations=[],
        time_from_start=Message(sec=0, nanosec=500 * MS),
    )  # fmt: skip
    topic = environment.embodiment.action.topic
    environment.command(topic, stamp_message(environment.now_ns, joint_names=names, points=[point]))
    environment.advance(environment.now_ns + 1000 * MS)
    np.testing.assert_allclose(environment.physics.joint_positions_rad, start + 0.1, atol=0.01)
    wrong = stamp_message(environment.now_ns, joint_names=names[:-1], points=[point])
    for where, message in (
        (topic, wrong),
        ("elsewhere", stamp_message(0, joint_names=names, points=[point])),
    ):
        with pytest.raises(HptError):
            environment.command(where, message)


def test_people_see_it_in_any_size(environment):
    small, large = environment.render(48, 64), environment.render(96, 128)
    assert (small.shape, large.shape) == ((48, 64, 3), (96, 128, 3))
    assert large.std() > 10.0


def test_a_message_lacks_what_nobody_set():
    message = Message(name=["a"])
    message.header.stamp = 3
    assert message.header.stamp == 3
    with pytest.raises(AttributeError, match="position"):
        _ = message.position


@pytest.mark.parametrize(
    "name", [name for name in ENVIRONMENTS if "/" not in name]
)  # suites: test/sim/suites
def test_every_environment_runs_and_has_what_its_protocol_says(name):
    made = make_environment(name)
    try:
        made.reset(1)
        robot = made.embodiment
        samples = made.advance(made.now_ns + 1_000 * MS)
        assert {sample.topic for sample in samples} >= {stream.topic for stream in robot.streams}
        outcome = made.outcome()
        assert not outcome.success
        assert 0.0 <= outcome.progress < 1.0
        assert outcome.detail
        assert made.instruction.strip()
        assert made.render(32, 32).shape == (32, 32, 3)
        if isinstance(made, HasExpert):
            assert made.expert().action(made.now_ns).shape == (robot.action.dim,)
    finally:
        made.close()
        made.close()
