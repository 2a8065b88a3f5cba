# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A package outside the tree adds a modality, a message type, a head, a policy and an environment: from bag to success.

`test/nodes/test_outside_live.py` goes on to the live node.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from support.outside import TEXT, run

from hpt_ros.embodiment import Embodiment
from hpt_ros.errors import HptError


def test_the_dataset_has_what_the_packages_message_type_and_modality_give(outside_run: Path) -> None:
    features = json.loads((outside_run / "dataset/meta/info.json").read_text())["features"]
    assert features["observation.state"]["names"] == ["a.position", "b.position", "nose.distance"]
    spectrum = features["observation.spectrum.ear"]
    assert (spectrum["dtype"], spectrum["shape"]) == ("float32", [4])
    (file,) = (outside_run / "dataset/data").rglob("*.parquet")
    table = pq.read_table(file)
    state = np.array(table["observation.state"].to_pylist())
    np.testing.assert_allclose(np.maximum(state[:, 1], 0.05), state[:, 2], atol=0.0051)  # both are the time
    sound = np.array(table["observation.spectrum.ear"].to_pylist())
    assert np.ptp(sound, axis=1).max() == 0
    assert np.abs(sound[:, 0] - state[:, 1]).max() <= 0.06  # the newest of 20 a second


def test_the_checkpoint_has_the_packages_stem_and_head(outside_run: Path, outside_site: Path) -> None:
    text = run("-m", "hpt_ros", "checkpoint", "verify", outside_run / "run/last", site=outside_site)
    assert "sound" in text
    text = run("-m", "hpt_ros", "checkpoint", "inspect", outside_run / "run/last", site=outside_site)
    assert "stem spectrum" in text
    assert "linear" in text


@pytest.mark.parametrize("policy", ["wave", "checkpoint", "hold"])
def test_policies_are_evaluated_in_the_packages_environment(
    outside_run: Path, outside_site: Path, policy: str, tmp_path: Path
) -> None:
    out = tmp_path / "outcomes.parquet"
    name = outside_run / "run/last" if policy == "checkpoint" else policy
    where = "outside/all" if policy == "hold" else "rail"  # the package's set of it alone
    arguments = ("--env", where, "--episodes", "2", "--workers", "1", "--out", out)
    run("-m", "hpt_ros", "eval", name, *arguments, site=outside_site)
    table = pq.read_table(out)
    assert all(json.loads(counters)["chunks"] > 1 for counters in table["counters"].to_pylist())
    if policy != "checkpoint":  # 150 steps of training are for loading it, not for success
        assert table["success"].to_pylist() == [policy == "wave"] * 2


def test_when_the_package_is_not_installed_expect_its_things_named_as_unknown(outside_run: Path) -> None:
    without_range = "\n".join(line for line in TEXT.splitlines() if "Range" not in line)
    with pytest.raises(HptError, match=r"'spectrum'.* expected one of image, depth"):
        Embodiment.loads(without_range)
    range_alone = "\n".join(
        line for line in TEXT.splitlines() if "length: 4" not in line and "ear" not in line
    )
    with pytest.raises(HptError, match=r"'sensor_msgs/msg/Range', and no values give"):
        Embodiment.loads(range_alone)
