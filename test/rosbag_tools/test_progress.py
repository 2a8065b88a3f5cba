# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""How far a conversion is, in seconds of recording, whoever works on it."""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest
from support.jobs import job_and_process, prepare

from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.process_pool import run_in_processes
from rosbag_tools.converting.progress import Watch, report_done, share_progress


def test_seconds_of_all_bags_are_added_up_and_finished_ones_count_whole():
    said = []
    watch = Watch({3: 10.0, 5: 20.0, 8: 40.0}, lambda *words: said.append(words))
    watch.look()
    report_done(5, 4.0)
    report_done(8, 41.0)  # a stamp may lie beyond the last log time
    watch.look()
    watch.count_finished()
    watch.count_finished()
    watch.count_finished()
    assert [words[1:] for words in said] == [
        ("0 of 3 bags", 0.0, 70.0),
        ("0 of 3 bags", 44.0, 70.0),
        ("1 of 3 bags", 54.0, 70.0),
        ("2 of 3 bags", 70.0, 70.0),
        ("3 of 3 bags", 70.0, 70.0),
    ]


def test_when_no_progress_is_shared_expect_reports_to_go_nowhere():
    share_progress([])
    report_done(0, 1.0)


def test_when_another_process_works_expect_its_seconds_seen():
    watch = Watch({0: 10.0, 1: 10.0}, lambda *words: None)
    prepare = functools.partial(share_progress, watch.done_s)
    for _, result in run_in_processes(functools.partial(report_done, done_s=2.5), [0, 1], 2, prepare):
        result()
    assert list(watch.done_s) == [2.5, 2.5]


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_results_come_in_order_whoever_does_the_jobs_and_an_error_comes_where_its_result_would(workers):
    found, pids = [], set()
    for job, result in run_in_processes(job_and_process, range(8), workers, prepare):
        if job == 4:
            with pytest.raises(IndexError, match="job 4"):
                result()
        else:
            number, pid = result()
            found.append((job, number))
            pids.add(pid)
    assert found == [(job, job) for job in range(8) if job != 4]
    assert len(pids) <= workers
    assert os.getpid() in pids  # while the others begin, it has done what it could


def test_when_there_are_as_many_jobs_as_workers_expect_one_for_each():
    pids = [result()[1] for _, result in run_in_processes(job_and_process, range(2), 2, prepare)]
    assert os.getpid() in pids
    assert len(set(pids)) == 2


def test_when_the_results_are_not_wanted_any_more_expect_no_further_job():
    done = []
    jobs: Any = run_in_processes(functools.partial(_note, done=done), range(50), 2, prepare)
    next(jobs)
    before = len(done)
    jobs.close()
    assert len(done) == before < 50


def _note(job, done):
    done.append(job)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_conversion_says_how_far_it_is(robot, tmp_path, workers):
    starts = {"one": robot.start_ns, "two": robot.start_ns + 10**12}
    bags = [robot.write(tmp_path / name, robot.messages(5.0, start_ns=at)) for name, at in starts.items()]
    said = []
    convert(
        bags, tmp_path / "out", robot.embodiment, Options(workers=workers), lambda *words: said.append(words)
    )
    assert [words[1:] for words in said if words[0] == "checking"] == [("one", 0, 2), ("two", 1, 2)]
    converting = [words for words in said if words[0] == "converting"]
    done = [seconds for *_, seconds, _ in converting]
    assert done == sorted(done)
    assert converting[-1][1] == "2 of 2 bags"
    assert converting[-1][2] == converting[-1][3] == pytest.approx(10.0, abs=0.5)
