# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The table of states: every pair, and that the document prints the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpt_ros.control import TRANSITIONS, Event, State, next_state

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "safety.md"


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("event", list(Event))
def test_when_pair_is_not_in_the_table_expect_no_change(state, event):
    assert next_state(state, event) is TRANSITIONS.get((state, event), state)


def test_only_ready_leads_to_motion_and_only_from_waiting_or_holding():
    assert {pair for pair, target in TRANSITIONS.items() if target is State.RUNNING} == {
        (State.WAITING, Event.READY),
        (State.HOLDING, Event.READY),
    }


def test_only_clear_or_deactivate_lead_out_of_a_fault():
    assert {event for (state, event) in TRANSITIONS if state is State.FAULT} == {
        Event.CLEAR,
        Event.DEACTIVATE,
    }


@pytest.mark.parametrize("state", [state for state in State if state.active])
def test_every_active_state_can_be_deactivated(state):
    assert next_state(state, Event.DEACTIVATE) is State.INACTIVE


@pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.HOLDING])
@pytest.mark.parametrize("event", [Event.STOP, Event.ERROR])
def test_stop_and_error_latch_from_every_state_that_may_move(state, event):
    assert next_state(state, event) is State.FAULT


def test_document_prints_the_table():
    rows = [
        [cell.strip(" `") for cell in line.strip("|\n ").split("|")]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    printed = {
        (State[row[0]], Event(row[1])): State[row[2]]
        for row in rows
        if len(row) >= 3 and row[0] in State.__members__ and row[2] in State.__members__
    }
    assert printed == dict(TRANSITIONS)
