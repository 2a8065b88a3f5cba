# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""docs/safety.md says what the code does: defaults, counters and tests that exist."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
import yaml

from hpt_ros.control import COUNTERS, ControlConfig

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("| \n").split(" | ")]
    for line in TEXT.split("## Rules")[1].split("## States")[0].splitlines()
    if line.startswith("| ") and "---" not in line
][1:]


def flat(config: object, prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            found |= flat(value, f"{item.name}.")
        else:
            found[prefix + item.name] = value
    return found


def test_every_default_is_printed_as_it_is():
    printed = {row[1].strip("`"): yaml.safe_load(row[2]) for row in ROWS if row[1].startswith("`")}
    actual = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flat(ControlConfig()).items()
    }
    assert printed == actual


def test_every_counter_is_printed_and_exists():
    printed = set(re.findall(r"`(\w+)`", " ".join(row[3] for row in ROWS)))
    bookkeeping = {"commands_sent", "chunks", "chunks_refused_future"}  # no rule of its own
    assert printed == set(COUNTERS) - bookkeeping


@pytest.mark.parametrize("name", re.findall(r"<!-- ([\w ]+): written by", TEXT))
def test_every_measured_table_is_filled(name):
    body = TEXT.split(f"<!-- {name}: written by")[1].split(f"<!-- end of {name} -->")[0]
    assert len([line for line in body.splitlines() if line.startswith("| ")]) > 2


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(test_\w+)`", TEXT))))
def test_every_test_named_exists(name):
    files = (ROOT / "test").rglob("test_*.py")
    assert any(f"def {name}(" in file.read_text(encoding="utf-8") for file in files)


def test_first_motion_parameters_exist_and_are_within_their_ranges():
    from hpt_ros.structured import read_dataclass

    text = (ROOT / "config" / "safety" / "first_motion.yaml").read_text(encoding="utf-8")
    given = yaml.safe_load(text)["/**"]["ros__parameters"]
    del given["start_on_activate"]  # of the node, not of the control room
    nested: dict[str, dict[str, object]] = {}
    for name, value in given.items():
        group, key = name.split(".")
        nested.setdefault(group, {})[key] = value
    config = read_dataclass(ControlConfig, nested, where="first_motion.yaml")
    assert config.safety.velocity_scale < ControlConfig().safety.velocity_scale
