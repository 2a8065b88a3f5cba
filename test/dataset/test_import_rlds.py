# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Import of RLDS episodes: records encoded here by hand, byte by byte, after the documents of both formats."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpt_ros.cli.main import main
from hpt_ros.dataset import open_dataset
from hpt_ros.dataset.importing.importer import import_dataset
from hpt_ros.dataset.importing.rlds import RldsSource, read_records
from hpt_ros.errors import HptError
from hpt_ros.learning import open_cache

pytest.importorskip("google_crc32c", reason="make setup EXTRAS=rlds")
pytest.importorskip("google.protobuf", reason="make setup EXTRAS=rlds")

TASKS, LENGTHS = ("open the drawer", "close it"), (5, 7)


def crc32c(data):
    """Castagnoli's polynomial, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data):
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def record(data):
    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value):
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def part(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def feature(values):
    if isinstance(values, list):
        return part(1, b"".join(part(1, item) for item in values))
    if values.dtype == np.float32:
        return part(2, part(1, values.astype("<f4").tobytes()))
    return part(3, part(1, b"".join(varint(int(value)) for value in values)))


def example(columns):
    entries = [part(1, part(1, key.encode()) + part(2, feature(values))) for key, values in columns.items()]
    return part(1, b"".join(entries))


def episode(number):
    """Columns of an episode, its levels of grey, its states and actions."""
    random, length = np.random.default_rng(number), LENGTHS[number]
    levels = [40 + 60 * number + 8 * step for step in range(length)]
    jpegs = [cv2.imencode(".jpg", np.full((16, 24, 3), level, np.uint8))[1].tobytes() for level in levels]
    pose, grip = random.normal(size=(length, 3)), random.normal(size=(length, 1))
    state = random.normal(size=(length, 4)).astype(np.float32)
    pose, grip = pose.astype(np.float32), grip.astype(np.float32)
    columns = {
        "steps/is_first": np.array([1] + [0] * (length - 1)),
        "steps/is_last": np.array([0] * (length - 1) + [1]),
        "steps/reward": np.zeros(length, np.float32),
        "steps/action/world_vector": pose.reshape(-1),
        "steps/action/gripper": grip.reshape(-1),
        "steps/observation/image": jpegs,
        "steps/observation/state": state.reshape(-1),
        "steps/language_instruction": [TASKS[number].encode()] * length,
        "episode_metadata/file_path": [b"/somewhere"],
    }
    return columns, levels, state, np.concatenate([pose, grip], axis=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bridge")
    for number in range(2):
        (folder / f"bridge-train.tfrecord-{number:05d}-of-00002").write_bytes(
            record(example(episode(number)[0]))
        )
    return folder


ACTION = ["action/world_vector", "action/gripper"]


def test_what_is_imported_is_what_was_there(source, tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "import",
        str(source),
        "--out",
        str(out),
        "--fps",
        "5",
        "--name",
        "bridge",
        "--action",
        *ACTION,
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 episodes, 12 ticks at 5 Hz" in said
    assert "columns left out: episode_metadata/file_path, steps/is_first, steps/is_last" in said
    dataset = open_dataset(out)
    parts = [episode(number) for number in range(2)]
    np.testing.assert_array_equal(dataset.state, np.concatenate([item[2] for item in parts]))
    np.testing.assert_array_equal(dataset.action, np.concatenate([item[3] for item in parts]))
    assert [item.task for item in dataset.episodes] == list(TASKS)
    frames = open_cache(dataset, tmp_path / "cache").frames
    np.testing.assert_allclose(
        frames[:, 0].mean(axis=(1, 2, 3)), np.concatenate([item[1] for item in parts]), atol=3
    )
    robot = dataset.embodiment
    assert robot.action.names == (
        "action_world_vector_0", "action_world_vector_1", "action_world_vector_2", "action_gripper_0",
    )  # fmt: skip
    assert (robot.name, robot.tick_hz, robot.image_streams[0].name) == ("bridge", 5.0, "image")


def test_state_may_be_left_out(source, tmp_path):
    import_dataset(RldsSource(source, 5.0, ACTION, ()), tmp_path / "out")
    assert open_dataset(tmp_path / "out").state.shape == (12, 0)


def test_when_a_column_is_not_there_expect_those_that_are(source):
    with pytest.raises(
        HptError,
        match=r"no action column called action or actions; its columns of numbers are action/gripper \(1\), action/wor",
    ):
        RldsSource(source, 5.0)
    with pytest.raises(HptError, match="'observation/stat' for the state.*did you mean 'observation/state'"):
        RldsSource(source, 5.0, ACTION, ["observation/stat"])


def test_a_file_alone_may_be_given(source, tmp_path):
    (file, _) = sorted(source.iterdir())
    import_dataset(RldsSource(file, 5.0, ACTION), tmp_path / "out")
    assert len(open_dataset(tmp_path / "out").episodes) == 1


def test_when_it_is_no_episode_expect_it_said(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(record(example({"image": [b"x"]})))
    with pytest.raises(HptError, match="has no 'steps/is_first', which every RLDS episode has"):
        RldsSource(tmp_path, 5.0)
    (tmp_path / "a.tfrecord").write_bytes(record(b"\xff\xff"))
    with pytest.raises(HptError, match="is no tf.train.Example"):
        RldsSource(tmp_path, 5.0)
    (tmp_path / "a.tfrecord").write_bytes(b"")
    with pytest.raises(HptError, match="has no episode in its 1 files"):
        RldsSource(tmp_path, 5.0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_are_said_to_be_damaged(tmp_path, data):
    whole = record(b"first one") + record(b"another")
    path = tmp_path / "a.tfrecord"
    if data.draw(st.booleans(), label="cut"):
        end = data.draw(st.integers(1, len(whole) - 1))
        spoilt = whole[:end]
    else:
        spoilt = bytearray(whole)
        spoilt[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(spoilt))
    if bytes(spoilt) == record(b"first one"):
        assert list(read_records(path)) == [b"first one"]  # a whole file, though not all of it
        return
    with pytest.raises(HptError, match="wrong checksum|cut short"):
        list(read_records(path))
