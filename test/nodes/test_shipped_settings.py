# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Files shipped for the robot's side: what they say agrees with the embodiment, the parameters and the real node."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from policy_rig import COMMANDS, ROBOT, Rig, policy_rig, wait_for

from hpt_ros.control import ControlConfig
from hpt_ros.embodiment.streams import in_namespace
from hpt_ros.nodes.common import fast_dds
from hpt_ros.nodes.common.fast_dds import profiles_variable
from hpt_ros.nodes.inference import remote
from hpt_ros.resources import config_file
from hpt_ros.sim.jtc_config import JtcConfig

POLICY = ElementTree.parse(config_file("sros2/feed_dog.policy.xml")).getroot()


def allowed(enclave: str, kind: str, how: str) -> set[str]:
    """Names of topics, services or actions that an enclave may use so."""
    profiles = POLICY.findall(f"enclaves/enclave[@path='{enclave}']/profiles/profile")
    return {
        (item.text or "").strip()
        for profile in profiles
        for part in profile.findall(kind)
        if part.get(how) == "ALLOW"
        for item in part
    }


@pytest.fixture
def rig() -> Iterator[Rig]:
    with policy_rig() as made:
        yield made


def test_of_all_enclaves_only_the_policy_node_may_publish_commands():
    enclaves = [enclave.get("path", "") for enclave in POLICY.findall("enclaves/enclave")]
    assert len(enclaves) == len(set(enclaves)) > 3
    commanding = [path for path in enclaves if COMMANDS in allowed(path, "topics", "publish")]
    assert commanding == ["/hpt/policy_node"]
    assert "*" not in ElementTree.tostring(POLICY, encoding="unicode").replace("<!--", "").replace("-->", "")


def test_the_policy_node_may_do_all_that_it_does(rig):
    node = rig.start(deadman__topic="/deadman")
    mine = ("policy_node", "/")
    wait_for(lambda: node.get_publisher_names_and_types_by_node(*mine), "the graph")
    published = {name for name, _ in node.get_publisher_names_and_types_by_node(*mine)}
    heard = {name for name, _ in node.get_subscriber_names_and_types_by_node(*mine)}
    served = {name for name, _ in node.get_service_names_and_types_by_node(*mine)}
    own = "/hpt/policy_node"
    assert {name for name in published if "/_action/" not in name} <= allowed(own, "topics", "publish")
    assert heard <= allowed(own, "topics", "subscribe")
    assert {name for name in served if "/_action/" not in name} <= allowed(own, "services", "reply")
    runs = {name.split("/_action/")[0] for name in published | served if "/_action/" in name}
    assert runs == allowed(own, "actions", "execute")
    assert COMMANDS in published
    assert {in_namespace(stream.topic) for stream in ROBOT.streams} <= allowed("/robot", "topics", "publish")


def test_a_remote_policy_may_talk_to_its_inference_node_and_not_more():
    topics = {f"/inference_node/{name}" for name in ("observation", "answer", "card")}
    assert remote.__doc__ is not None
    assert all(name.rsplit("/", 1)[1] in remote.__doc__ for name in topics)
    ours, theirs = "/hpt/policy_node", "/hpt/inference_node"
    for sender, receiver in ((ours, theirs), (theirs, ours)):
        sent = allowed(sender, "topics", "publish") & topics
        assert sent == allowed(receiver, "topics", "subscribe") & topics
        assert sent
    logs = {"/rosout", "/parameter_events"}
    assert allowed(theirs, "topics", "publish") - topics == logs


def test_the_controllers_limits_are_switched_on_and_agree_with_the_policy_nodes():
    document = yaml.safe_load(config_file("controllers/feed_dog.yaml").read_text(encoding="utf-8"))
    manager = document["controller_manager"]["ros__parameters"]
    (name,) = [key for key, value in manager.items() if isinstance(value, dict)]
    assert f"/{name}/joint_trajectory" == COMMANDS
    assert manager["enforce_command_limits"] is True
    given = document[name]["ros__parameters"]
    assert tuple(given["joints"]) == ROBOT.action.names
    assert given["allow_nonzero_velocity_at_trajectory_end"] is False
    assert given["interpolate_from_desired_state"] is True
    assert given["allow_trajectory_replacement"] is False
    config, rate_hz = JtcConfig.load(config_file("controllers/feed_dog.yaml"))  # knows every parameter of it
    assert config.active_cmd_timeout_s == 0.0  # every message ends at rest: there the arm stays
    assert rate_hz == manager["update_rate"]
    constraints = given["constraints"]
    assert manager["update_rate"] >= 2 * ROBOT.action.rate_hz
    for joint in ROBOT.action.names:
        assert constraints[joint]["trajectory"] == ControlConfig().tracking.error
        assert constraints[joint]["goal"] == constraints["goal_time"] == 0.0


def said_with_profiles(path: Path, variable: str = profiles_variable()) -> str:
    """What Fast DDS has to say when a node is made with these profiles."""
    code = (
        "import rclpy; rclpy.init(); node = rclpy.create_node('profiled');"
        "node.create_publisher(__import__('std_msgs.msg').msg.Empty, 'a', 1); node.destroy_node(); rclpy.shutdown()"
    )
    environment = {**os.environ, variable: str(path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    return f"exit {done.returncode}" * bool(done.returncode) + done.stdout + done.stderr


@pytest.mark.parametrize("name", ["fastdds.xml", fast_dds.two_machines_file()])
def test_fast_dds_takes_the_profiles_and_says_so_of_ones_that_are_wrong(name, tmp_path):
    shipped = config_file(f"dds/{name}")
    assert said_with_profiles(shipped) == ""
    wrong = tmp_path / "wrong.xml"
    wrong.write_text(
        shipped.read_text(encoding="utf-8").replace("participant", "partycipant"), encoding="utf-8"
    )
    assert "XML" in said_with_profiles(wrong)


def test_the_profiles_for_two_machines_on_jazzy_differ_in_the_spelling_alone():
    newer, older = (
        config_file(f"dds/{name}").read_text(encoding="utf-8").partition("-->")[2]
        for name in ("two_machines.xml", "two_machines_jazzy.xml")
    )
    assert newer.replace("heartbeat_period", "heartbeatPeriod") == older


@pytest.mark.parametrize("variable", [fast_dds.NEWER, fast_dds.OLDER])
def test_a_variable_counts_as_profiles_where_fast_dds_reads_it(variable, monkeypatch, tmp_path):
    wrong = tmp_path / "wrong.xml"
    wrong.write_text("<dds><profiles><no_such_thing/></profiles></dds>", encoding="utf-8")
    for name in (fast_dds.NEWER, fast_dds.OLDER):
        monkeypatch.delenv(name, raising=False)
    read = "XMLPARSER" in said_with_profiles(wrong, variable)
    monkeypatch.setenv(variable, str(wrong))
    assert fast_dds.has_profiles() is read


def test_every_part_of_a_quality_declaration_is_there():
    root = Path(__file__).resolve().parents[2]
    text = (root / "QUALITY_DECLARATION.md").read_text(encoding="utf-8")
    parts = (
        "Version policy",
        "Change control",
        "Documentation",
        "Testing",
        "Dependencies",
        "Platforms",
        "Security",
    )  # REP-2004's seven, in its order
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    assert headings == [f"{number}. {part}" for number, part in enumerate(parts, start=1)]
    named = re.findall(r"`([\w./-]*/[\w./-]*)`", text)
    assert named
    for path in named:
        assert (root / path).exists(), path
