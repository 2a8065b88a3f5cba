# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Messages under way: delays, jitter, loss, and the same from the same seed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpt_ros.errors import HptError
from hpt_ros.sim.transport import Transport, Transports, as_settings, transports_of

MS = 1_000_000


def test_without_a_transport_a_message_is_there_at_once():
    transports = Transports({})
    transports.send("joints", "a", 5)
    assert [(item.topic, item.message, item.arrival_ns) for item in transports.pop_arrived(5)] == [
        ("joints", "a", 5)
    ]
    assert transports.pop_arrived(10**12) == []


@given(
    st.floats(0.0, 0.5),
    st.floats(0.0, 0.2),
    st.floats(0.0, 0.9),
    st.integers(0, 1000),
    st.lists(st.integers(0, 20 * MS), min_size=1, max_size=50),
)
def test_messages_come_in_order_of_arrival_and_never_early(delay_s, jitter_s, lost, seed, gaps):
    def run() -> list[tuple[int, int]]:
        transports = Transports({"camera": Transport(delay_s, jitter_s, lost)})
        transports.reset(seed)
        now, seen = 0, []
        for gap in gaps:
            now += gap
            transports.send("camera", now, now)
            seen += [(item.message, item.arrival_ns) for item in transports.pop_arrived(now)]
            assert all(arrival <= now for _, arrival in seen)
        return seen + [(item.message, item.arrival_ns) for item in transports.pop_arrived(10**15)]

    seen = run()
    assert seen == run()
    assert [arrival for _, arrival in seen] == sorted(arrival for _, arrival in seen)
    assert all(arrival >= sent + int(delay_s * 1e9) - 1 for sent, arrival in seen)
    assert len(seen) == len(gaps) or lost > 0.0


def test_a_ratio_of_messages_is_lost_and_jitter_has_its_mean():
    transports = Transports({"camera": Transport(0.01, 0.02, 0.1)})
    for number in range(20_000):
        transports.send("camera", number, 0)
    seen = transports.pop_arrived(10**15)
    assert len(seen) / 20_000 == pytest.approx(0.9, abs=0.01)
    mean_s = sum(item.arrival_ns for item in seen) / len(seen) / 1e9
    assert mean_s == pytest.approx(0.03, abs=0.001)


def test_a_reset_loses_what_is_under_way():
    transports = Transports({"camera": Transport(0.1)})
    transports.send("camera", "old", 0)
    transports.reset(1)
    assert transports.pop_arrived(10**15) == []


@pytest.mark.parametrize(
    "wrong", [{"delay_s": -0.1}, {"lost": 1.1}, {"jitter_s": float("nan")}, {"delay_s": 11.0}]
)
def test_what_no_transport_can_have_is_refused(wrong):
    with pytest.raises(HptError):
        Transport(**wrong)


NUMBERS = st.floats(0.0, 1.0).map(lambda value: float(f"{value:g}"))
NAMES = st.text(st.characters(categories=["L", "N"]) | st.sampled_from("_."), min_size=1)


@given(st.dictionaries(NAMES, st.builds(Transport, NUMBERS, NUMBERS, NUMBERS), max_size=3))
def test_settings_of_streams_make_their_transports_again(transports):
    apart = {name: transport for name, transport in transports.items() if transport != Transport()}
    assert transports_of(as_settings(apart).split(" ") if apart else []) == apart


@pytest.mark.parametrize(
    "wrong", ["wrist", "lost=0.1", "wrist.lost", "wrist.lost=", "wrist.lots=0.1", "w.lost=2"]
)
def test_mistaken_settings_of_streams_are_refused(wrong):
    with pytest.raises(HptError):
        transports_of([wrong])
