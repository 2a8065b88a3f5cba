# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Sets of environments by name."""

from __future__ import annotations

import pytest

from hpt_ros.errors import HptError
from hpt_ros.sim.environment import ENVIRONMENTS
from hpt_ros.sim.environment_sets import SETS, environments_of


def test_a_set_is_its_environments_and_each_counts_once():
    assert environments_of(["metaworld/reach", "metaworld/hpt4", "feed_dog", "metaworld/push"]) == (
        "metaworld/reach", "metaworld/push", "metaworld/button-press-topdown", "metaworld/door-open", "feed_dog",
    )  # fmt: skip
    assert len(environments_of(["metaworld"])) == 50
    assert len(environments_of(["metaworld/hpt20"])) == 21


def test_every_set_is_of_environments_and_has_a_name_of_its_own():
    for name, found in SETS.items():
        assert name == found.name
        assert name not in ENVIRONMENTS
        assert set(found.environments) <= set(ENVIRONMENTS)


@pytest.mark.parametrize(("name", "meant"), [("metaworld/hpt21", "metaworld/hpt20"), ("fecth", "fetch")])
def test_an_unknown_name_has_the_closest_of_both(name, meant):
    with pytest.raises(HptError, match=f"did you mean '{meant}'"):
        environments_of([name])
