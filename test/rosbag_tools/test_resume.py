# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""A conversion that was interrupted goes on where it was, and ends with the very same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from support.tiny_senses import Senses

from rosbag_tools.converting import convert as converting
from rosbag_tools.converting.convert import Options, convert
from rosbag_tools.converting.resume import find_resume_folder

RESUME = Options(resume=True)


@pytest.fixture(scope="module")
def senses():
    return Senses()


@pytest.fixture
def bags(senses, tmp_path):
    for index, task in enumerate(("pour", "wipe", "pour")):
        senses.write(tmp_path / f"bags/bag{index}", senses.all_messages(1.6 + 0.3 * index, ((-30, task),)))
    return tmp_path / "bags"


def content(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


class Interrupted(Exception):
    pass


class Spy:
    stop_at = -1  # interrupts before that many bags; -1 for never


@pytest.fixture
def converted(monkeypatch):
    """Counts the bags that are really converted, and says their names."""
    spy, log = Spy(), []
    real = converting.convert_bag

    def convert_bag(job, folder):
        if len(log) == spy.stop_at:
            raise Interrupted
        log.append(job.path.name)
        return real(job, folder)

    monkeypatch.setattr(converting, "convert_bag", convert_bag)
    log_of = lambda: [log.pop(0) for _ in range(len(log))]  # noqa: E731
    return spy, log_of


def test_when_interrupted_expect_finished_bags_used_and_the_same_bytes(senses, bags, tmp_path, converted):
    spy, log = converted
    out = tmp_path / "out"
    convert([bags], tmp_path / "whole", senses.embodiment)
    log()
    spy.stop_at = 2
    with pytest.raises(Interrupted):
        convert([bags], out, senses.embodiment, RESUME)
    assert log() == ["bag0", "bag1"]
    assert not out.exists()
    assert len(list(find_resume_folder(out).iterdir())) == 2
    spy.stop_at = -1
    convert([bags], out, senses.embodiment, RESUME)
    assert log() == ["bag2"]
    assert content(out) == content(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bags", "out", "whole"]


def test_what_changed_in_between_is_converted_again(senses, bags, tmp_path, converted):
    spy, log = converted
    spy.stop_at = 2
    with pytest.raises(Interrupted):
        convert([bags], tmp_path / "out", senses.embodiment, RESUME)
    log()
    os.utime(next((bags / "bag0").glob("*.mcap")), ns=(1, 1))
    kept = {path.name: path for path in find_resume_folder(tmp_path / "out").iterdir()}
    assert len(kept) == 2
    spy.stop_at = -1
    convert([bags], tmp_path / "out", senses.embodiment, RESUME)
    assert log() == ["bag0", "bag2"]


def test_when_options_are_others_expect_nothing_of_before(senses, bags, tmp_path, converted):
    spy, log = converted
    spy.stop_at = 2
    with pytest.raises(Interrupted):
        convert([bags], tmp_path / "out", senses.embodiment, RESUME)
    log()
    spy.stop_at = -1
    convert([bags], tmp_path / "out", senses.embodiment, Options(resume=True, action_source="state"))
    assert log() == ["bag0", "bag1", "bag2"]


@pytest.mark.parametrize("file", ["content.json", "arrays.npz"])
@pytest.mark.parametrize("damage", [b"", b"[1", None])
def test_when_what_was_kept_is_damaged_expect_it_made_again(senses, bags, tmp_path, converted, file, damage):
    spy, log = converted
    spy.stop_at = 1
    with pytest.raises(Interrupted):
        convert([bags], tmp_path / "out", senses.embodiment, RESUME)
    log()
    (kept,) = find_resume_folder(tmp_path / "out").glob(f"*/{file}")
    kept.unlink()
    if damage is not None:
        kept.write_bytes(damage)
    spy.stop_at = -1
    convert([bags], tmp_path / "out", senses.embodiment, RESUME)
    assert log() == ["bag0", "bag1", "bag2"]


def test_when_killed_expect_the_command_to_go_on(senses, bags, tmp_path):
    """SIGKILL while bags are being converted by two workers; then once more."""
    (tmp_path / "robot.yaml").write_text(senses.text)
    out = tmp_path / "out"
    command = [
        sys.executable, "-m", "hpt_ros.cli.main", "convert", str(bags), "--embodiment", str(tmp_path / "robot.yaml"),
        "--out", str(out), "--resume", "--workers", "2",
    ]  # fmt: skip
    process = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120.0
    while process.poll() is None and time.monotonic() < deadline:
        if [path for path in find_resume_folder(out).glob("*") if not path.name.endswith(".building")]:
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait(60) == -signal.SIGKILL
    assert not out.exists()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    convert([bags], tmp_path / "whole", senses.embodiment)
    for name, data in content(tmp_path / "whole").items():
        assert (out / name).read_bytes() == data, name
    assert not find_resume_folder(out).exists()


def test_when_interrupted_expect_a_sentence_no_trace_and_nothing_written(senses, bags, tmp_path):
    """Ctrl-C goes to every process of the terminal: each worker showed a trace."""
    (tmp_path / "robot.yaml").write_text(senses.text)
    out = tmp_path / "out"
    command = (
        *(
            sys.executable,
            "-m",
            "hpt_ros",
            "convert",
            str(bags),
            "--embodiment",
            str(tmp_path / "robot.yaml"),
        ),
        *("--out", str(out), "--workers", "2"),
    )
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = ""
        while not line.startswith("converting 0/"):
            line = process.stderr.readline()
            assert line, "it ended before it began to convert"
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert error.splitlines()[-1] == "hpt convert: interrupted"
    assert "Traceback" not in error
    assert not [path for path in tmp_path.iterdir() if path.name.startswith((".out", "out"))]
