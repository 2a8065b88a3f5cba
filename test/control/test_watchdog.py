# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Fresh, stale, never seen."""

from __future__ import annotations

import math

import pytest
from support.refused import assert_refusal

from hpt_ros.control import LatencyWindow, Watchdog, WatchdogConfig
from hpt_ros.control.refusals import Why

S = 1_000_000_000


def watchdog() -> Watchdog:
    return Watchdog(WatchdogConfig(), {"camera": 10.0, "joints": 100.0})


def test_when_never_seen_expect_stale():
    dog = watchdog()
    dog.note_message("joints", 5 * S, 5 * S)
    assert set(dog.find_stale(5 * S)) == {"camera"}
    assert_refusal(dog.find_stale(5 * S)["camera"], Why.UNSEEN, match="^stream 'camera' was never seen$")
    assert math.isnan(dog.age_s("camera", 5 * S))


def test_when_rate_is_low_expect_timeout_of_its_periods_and_delay():
    dog = watchdog()
    assert dog.timeouts_s == {"camera": pytest.approx(0.3), "joints": pytest.approx(0.2)}
    for name in dog.timeouts_s:
        dog.note_message(name, 5 * S, 5 * S)
    assert dog.find_stale(5 * S + 200_000_000) == {}
    assert set(dog.find_stale(5 * S + 200_000_001)) == {"joints"}
    assert set(dog.find_stale(5 * S + 300_000_000)) == {"joints"}
    assert set(dog.find_stale(5 * S + 300_000_001)) == {"camera", "joints"}


@pytest.mark.parametrize("rate_hz", [0.1, 1.0, 5.0, 10.0, 15.0, 16.7, 20.0, 30.0, 60.0, 100.0, 500.0])
@pytest.mark.parametrize(("slower", "delay_s"), [(1.0, 0.08), (1.25, 0.05)])
def test_when_one_message_is_lost_expect_no_stop_and_when_they_end_expect_one(rate_hz, slower, delay_s):
    """At the rate of the file, and at the 0.8 of it that diagnostics takes for healthy."""
    dog = Watchdog(WatchdogConfig(), {"stream": rate_hz})
    period_ns = round(slower * S / rate_hz)
    stamps = [5 * S + number * period_ns for number in (0, 1, 2, 4, 5)]  # one is lost
    arrivals = [stamp + round(delay_s * S) for stamp in stamps]
    for stamp, arrives, following in zip(stamps, arrivals, arrivals[1:], strict=False):
        dog.note_message("stream", stamp, arrives)
        assert dog.find_stale(arrives) == dog.find_stale(following - 2_000_000) == {}
    last_ns = stamps[-2]
    assert set(dog.find_stale(last_ns + round(dog.timeouts_s["stream"] * S) + 1)) == {"stream"}


def test_when_stamp_is_old_on_arrival_expect_stale_by_stamp():
    dog = watchdog()
    dog.note_message("camera", 5 * S, 6 * S)
    assert dog.age_s("camera", 6 * S) == pytest.approx(1.0)
    stale = dog.find_stale(6 * S)["camera"]
    assert_refusal(stale, Why.STALE, value=1.0, problem="is 1.000 s old, its timeout is 0.3 s")


def test_when_stamp_is_in_the_future_expect_stale_by_arrival_and_by_distance():
    dog = watchdog()
    dog.note_message("joints", 5 * S + 100_000_000, 5 * S)
    assert "joints" not in dog.find_stale(5 * S + 150_000_000)
    assert "joints" in dog.find_stale(5 * S + 250_000_000)
    dog.note_message("joints", 8 * S, 5 * S)
    ahead = dog.find_stale(5 * S)["joints"]
    assert_refusal(ahead, Why.AHEAD, value=3.0, problem="is stamped 3.000 s in the future")


def test_when_an_older_message_overtakes_expect_not_counted():
    dog = watchdog()
    dog.note_message("joints", 5 * S, 5 * S)
    dog.note_message("joints", 4 * S, 6 * S)
    assert dog.age_s("joints", 6 * S) == pytest.approx(1.0)


def test_when_reset_expect_never_seen():
    dog = watchdog()
    dog.note_message("joints", 5 * S, 5 * S)
    dog.reset()
    assert_refusal(dog.find_stale(5 * S)["joints"], Why.UNSEEN)


def test_latency_is_the_95th_percentile_of_the_last_100():
    window = LatencyWindow()
    assert window.high_s == 0.0
    for value in [9.0] * 50 + list(range(100)):
        window.add(float(value))
    window.add(math.nan)
    window.add(-1.0)
    assert window.high_s == pytest.approx(94.05)
