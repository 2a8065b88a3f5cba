# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A bag of ours as others see it: the `mcap` package's reader, and `rosbags` with the metadata of rosbag2."""

from __future__ import annotations

import io

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_typestore

from rosbag_tools.bag_schema import EVENTS_TOPIC, EVENTS_TYPE, KEY_OUTCOME, KEY_TASK, KEY_VERSION
from rosbag_tools.recording.definitions import load_installed_types
from rosbag_tools.recording.episode_recording import EpisodeRecording, RecordedTopic

mcap = pytest.importorskip("mcap.reader", reason="the package mcap comes from PyPI only")
mcap_ros2 = pytest.importorskip(
    "mcap_ros2.decoder", reason="the package mcap-ros2-support comes from PyPI only"
)

TOPICS = ("/left", "/joint_states", "/command", EVENTS_TOPIC)


@pytest.fixture(scope="module")
def sent(robot):
    """Topic, log time and message, of two seconds and a marker of our own type at the start."""
    first = robot.start_ns - 20_000_000
    marker = (EVENTS_TOPIC, first, robot.event(1, first, task="Reis einfüllen"))
    return [marker, *(item for item in robot.messages(2.0) if item[0] in TOPICS)]


@pytest.fixture(scope="module")
def recorded(robot, sent, tmp_path_factory):
    """The folder of an episode that the recorder's writer wrote."""
    topics = {
        topic: RecordedTopic(robot.topics[topic], reliable=topic != "/left", latched=topic == EVENTS_TOPIC)
        for topic in TOPICS
    }
    types = load_installed_types(topic.type for topic in topics.values())
    episode = EpisodeRecording(tmp_path_factory.mktemp("bags"), "e1", topics, types, {KEY_TASK: "pour"})
    for topic, log_ns, message in sent:
        episode.write(topic, log_ns, bytes(robot.store.serialize_cdr(message, robot.topics[topic])))
    return episode.finish({KEY_OUTCOME: "success"})


def test_the_mcap_package_finds_schemas_counts_and_every_byte(robot, sent, recorded):
    with (recorded / "e1.mcap").open("rb") as file:
        reader = mcap.make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        found = [
            (channel.topic, message.log_time, message.data) for _, channel, message in reader.iter_messages()
        ]
    assert found == [
        (topic, log_ns, bytes(robot.store.serialize_cdr(message, robot.topics[topic])))
        for topic, log_ns, message in sent
    ]
    names = {channel.topic: summary.schemas[channel.schema_id].name for channel in summary.channels.values()}
    assert names == {topic: robot.topics[topic] for topic in TOPICS}
    assert {channel.message_encoding for channel in summary.channels.values()} == {"cdr"}
    counts = {
        summary.channels[number].topic: count
        for number, count in summary.statistics.channel_message_counts.items()
    }
    assert counts == {"/left": 20, "/joint_states": 100, "/command": 100, EVENTS_TOPIC: 1}
    assert {index.compression for index in summary.chunk_indexes} == {"zstd"}
    assert len(summary.chunk_indexes) == 2  # one for each second


def test_the_mcap_package_decodes_messages_by_the_definitions_in_the_file(sent, recorded):
    with (recorded / "e1.mcap").open("rb") as file:
        reader = mcap.make_reader(file, decoder_factories=[mcap_ros2.DecoderFactory()])
        found = [(channel.topic, decoded) for _, channel, _, decoded in reader.iter_decoded_messages()]
    for (topic, decoded), (_, _, message) in zip(found, sent, strict=True):
        if topic == EVENTS_TOPIC:
            assert (decoded.task, decoded.event) == ("Reis einfüllen", 1)
            continue
        assert decoded.header.stamp.nanosec == message.header.stamp.nanosec
        if topic == "/left":
            assert (decoded.encoding, decoded.step) == ("bgr8", message.step)
            assert bytes(decoded.data) == bytes(message.data)
        elif topic == "/joint_states":
            np.testing.assert_array_equal(decoded.position, message.position)
        else:
            np.testing.assert_array_equal(decoded.points[0].positions, message.points[0].positions)


def test_the_mcap_package_reads_it_from_a_stream_without_the_index(sent, recorded):
    """As from a pipe; what a killed recorder leaves is read so too."""
    data = (recorded / "e1.mcap").read_bytes()
    reader = mcap.NonSeekingReader(io.BytesIO(data))
    assert sum(1 for _ in reader.iter_messages(log_time_order=False)) == len(sent)


def test_the_metadata_are_those_of_rosbag2(robot, sent, recorded):
    about = yaml.safe_load((recorded / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert about["storage_identifier"] == "mcap"
    assert about["relative_file_paths"] == ["e1.mcap"]
    assert (about["compression_format"], about["compression_mode"]) == ("", "")  # zstd is inside the file
    assert about["message_count"] == len(sent)
    first, last = sent[0][1], sent[-1][1]
    assert about["starting_time"]["nanoseconds_since_epoch"] == first
    assert about["duration"]["nanoseconds"] == last - first
    topics = {item["topic_metadata"]["name"]: item for item in about["topics_with_message_count"]}
    assert {name: item["message_count"] for name, item in topics.items()}[EVENTS_TOPIC] == 1
    store = get_typestore(Stores.ROS2_KILTED)
    for name, item in topics.items():
        kind = item["topic_metadata"]
        assert (kind["type"], kind["serialization_format"]) == (robot.topics[name], "cdr")
        if kind["type"] != EVENTS_TYPE:
            assert kind["type_description_hash"] == store.hash_rihs01(kind["type"])
    with Reader(recorded) as reader:
        assert reader.message_count == len(sent)
        custom = about["custom_data"]
        assert (custom[KEY_TASK], custom[KEY_OUTCOME]) == ("pour", "success")
        assert custom[KEY_VERSION]
        qos = {item.topic: item.ext.offered_qos_profiles[0] for item in reader.connections}
    assert qos["/left"].reliability.name == "BEST_EFFORT"
    assert qos["/command"].reliability.name == "RELIABLE"
    assert qos[EVENTS_TOPIC].durability.name == "TRANSIENT_LOCAL"
