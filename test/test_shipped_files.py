# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Every file below config/ is run by a test against what it is for."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# File below config/ -> the tests that run it. Not run: the SROS 2 policy with security switched on, which needs sros2's
# tools to make keys; its test compares it with what the real nodes do on the graph.
RUN_BY = {
    "controllers/feed_dog.yaml": (
        "test/sim/test_follower.py::test_messages_that_repeat_what_was_sent_are_followed_without_a_step",
        "test/nodes/test_shipped_settings.py::test_the_controllers_limits_are_switched_on_and_agree_with_the_policy_nodes",
    ),
    "dds/fastdds.xml": (
        "test/nodes/test_shipped_settings.py::test_fast_dds_takes_the_profiles_and_says_so_of_ones_that_are_wrong",
    ),
    "dds/two_machines.xml": (
        "test/nodes/test_shipped_settings.py::test_fast_dds_takes_the_profiles_and_says_so_of_ones_that_are_wrong",
    ),
    "dds/two_machines_jazzy.xml": (
        "test/nodes/test_shipped_settings.py::test_the_profiles_for_two_machines_on_jazzy_differ_in_the_spelling_alone",
    ),
    "embodiments/diff_drive.yaml": (
        "test/nodes/test_bases.py::test_a_base_is_driven_within_its_limits_and_told_zero_several_times_in_the_end",
    ),
    "embodiments/feed_dog.yaml": (
        "test/nodes/test_shipped_checkpoint.py::test_the_shipped_checkpoint_feeds_the_dog_and_the_baselines_do_not",
    ),
    "embodiments/franka_gripper.yaml": (
        "test/nodes/test_actions.py::test_a_hand_is_told_where_to_go_once_and_keeps_it_through_a_stop",
    ),
    "embodiments/metaworld_sawyer.yaml": (
        "test/sim/suites/test_metaworld.py::test_a_command_is_reached_at_its_stamp",
    ),
    "embodiments/aloha.yaml": ("test/sim/suites/test_aloha.py::test_its_expert_solves",),
    "embodiments/libero_panda.yaml": ("test/sim/suites/test_libero.py::test_its_expert_solves",),
    "embodiments/fetch.yaml": ("test/sim/suites/test_fetch.py::test_its_expert_solves",),
    "embodiments/so101.yaml": ("test/sim/suites/test_so101.py::test_its_expert_solves",),
    "embodiments/sim_ur5e.yaml": ("test/sim/tasks/test_table_tasks.py::test_the_expert_solves_a_scene",),
    "embodiments/ur5e_robotiq.yaml": (
        "test/nodes/test_outputs.py::"
        "test_when_a_robot_has_an_arm_and_a_gripper_expect_each_commanded_on_its_topic_within_limits",
    ),
    "embodiments/ur5e_servo.yaml": (
        "test/nodes/test_outputs.py::test_when_the_tool_is_moved_by_twists_expect_them_legal_and_zero_in_the_end",
    ),
    "recipes/feed_dog.yaml": (
        "test/learning/test_recipe.py::test_shipped_recipes_build_a_policy_of_the_demos_robot",
    ),
    "recipes/hpt_base.yaml": (
        "test/learning/test_recipe.py::test_shipped_recipes_build_a_policy_of_the_demos_robot",
    ),
    "recipes/multimodal.yaml": (
        "test/learning/test_recipe.py::test_the_recipe_of_all_modalities_builds_a_policy_of_a_robot_that_has_them",
    ),
    "recipes/pretrain_base.yaml": (
        "test/learning/test_pretrain.py::test_the_papers_figures_are_in_the_recipe",
    ),
    "recipes/pretrain_small.yaml": (
        "test/learning/test_pretrain.py::test_the_papers_figures_are_in_the_recipe",
    ),
    "schemas/deployment.json": ("test/cli/test_schema.py::test_the_shipped_schema_is_that_of_the_fields",),
    "schemas/embodiment.json": ("test/cli/test_schema.py::test_the_shipped_schema_is_that_of_the_fields",),
    "schemas/parameters.json": ("test/cli/test_schema.py::test_the_shipped_schema_is_that_of_the_fields",),
    "schemas/recipe.json": ("test/cli/test_schema.py::test_the_shipped_schema_is_that_of_the_fields",),
    "safety/first_motion.yaml": (
        "test/nodes/test_first_motion.py::"
        "test_with_the_parameters_for_first_motion_the_robot_moves_at_a_tenth_of_its_speed",
    ),
    "sros2/feed_dog.policy.xml": (
        "test/nodes/test_shipped_settings.py::test_the_policy_node_may_do_all_that_it_does",
    ),
}


def test_every_shipped_file_is_here():
    shipped = {
        path.relative_to(ROOT / "config").as_posix()
        for path in (ROOT / "config").rglob("*")
        if path.is_file()
    }
    assert shipped == set(RUN_BY)


@pytest.mark.parametrize("test", sorted({test for tests in RUN_BY.values() for test in tests}))
def test_the_tests_that_run_them_exist(test):
    file, _, name = test.partition("::")
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
