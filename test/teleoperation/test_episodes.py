# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The state machine of a person's episodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.teleoperation.episodes import WORDS, Act, Episodes


@given(st.lists(st.sampled_from([*WORDS, "stop", ""]), max_size=40))
def test_every_recording_ends_once_and_scenes_go_forward(words: list[str]) -> None:
    state = Episodes(5)
    open_, kept = False, 0
    for word in words:
        before = state
        state, acts = state.say(word)
        for act in acts:
            if act is Act.RECORD:
                assert not open_
                open_ = True
            elif act in (Act.KEEP_SUCCESS, Act.KEEP_FAILURE, Act.DROP):
                assert open_
                open_ = False
                kept += act is not Act.DROP
        assert state.recording == open_
        assert state.kept == kept
        assert state.scene >= before.scene
        assert Act.END not in acts or state.ended
        if before.ended:
            assert (state, acts) == (before, ())
    assert state.scene >= 5 + kept  # no scene is kept twice


@pytest.mark.parametrize(("word", "act"), [("success", Act.KEEP_SUCCESS), ("failure", Act.KEEP_FAILURE)])
def test_a_kept_episode_goes_on_to_the_next_scene(word: str, act: Act) -> None:
    state, acts = Episodes(1).say("begin")
    assert acts == (Act.RESET, Act.RECORD)
    state, acts = state.say(word)
    assert acts == (act, Act.RESET)
    assert state == Episodes(2, kept=1)


def test_a_discarded_episode_stays_with_its_scene_and_discard_alone_changes_it() -> None:
    state, acts = Episodes(1, recording=True).say("discard")
    assert (state, acts) == (Episodes(1), (Act.DROP, Act.RESET))
    state, acts = state.say("discard")
    assert (state, acts) == (Episodes(2), (Act.RESET,))


def test_who_ends_while_recording_keeps_nothing() -> None:
    assert Episodes(1, recording=True).say("quit") == (Episodes(1, ended=True), (Act.DROP, Act.END))
