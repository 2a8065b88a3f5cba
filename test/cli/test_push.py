# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt push` to a hub on this machine: what goes there, the card's header, and what can go wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from support.hub import Hub, running_hub
from support.tiny_mixture import write_robot

from hpt_ros.cli.main import main
from hpt_ros.model.hub_upload import read_header, with_header
from hpt_ros.resources import checkpoint_folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with running_hub() as made:
        monkeypatch.setattr(constants, "ENDPOINT", made.address)
        yield made


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = write_robot(tmp_path / "slider", "slider")
    (folder / "meta" / ".cache").mkdir()
    (folder / "meta" / ".cache" / "junk.bin").write_bytes(b"junk")
    (folder / "notes.txt").write_text("mine")
    return folder


def header_of(data: bytes) -> dict[str, object]:
    return read_header(data.decode(), where="the card")[0]


def test_a_dataset_is_pushed_with_a_card_and_the_tag_that_lerobot_looks_for(
    hub: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["push", str(dataset), "me/slider", "--license", "cc-by-4.0", "--tag", "desk"]
    for _ in range(2):  # the second time the repository and the tag are there
        assert main(words) == 0
    printed = capsys.readouterr().out
    files = hub.repositories["datasets/me/slider"]
    on_disk = {path.relative_to(dataset).as_posix() for path in dataset.rglob("*") if path.is_file()}
    assert set(files) == on_disk - {"notes.txt", "meta/.cache/junk.bin"} | {"README.md"}
    for name in set(files) - {"README.md"}:
        assert files[name] == (dataset / name).read_bytes()
        assert name in printed
    header = header_of(files["README.md"])
    assert header["license"] == "cc-by-4.0"
    assert {"LeRobot", "robotics", "slider", "desk"} <= set(header["tags"])  # type: ignore[call-overload]
    assert header["configs"] == [{"config_name": "default", "data_files": "data/*/*.parquet"}]
    assert b"move the slider" in files["README.md"]
    assert hub.tags["datasets/me/slider"] == ["v3.0"]
    assert not hub.private
    assert "commit/abc" in printed


def test_a_policy_is_pushed_without_what_training_left(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "policy"
    shutil.copytree(checkpoint_folder("feed_dog"), folder)
    (folder / "train_state.pt").write_bytes(b"of no use to others")
    assert main(["push", str(folder), "me/dog", "--license", "apache-2.0", "--private"]) == 0
    files = hub.repositories["models/me/dog"]
    assert {"README.md", "config.yaml", "model.safetensors"} <= set(files)
    assert "train_state.pt" not in files
    assert files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    header = header_of(files["README.md"])
    assert header["library_name"] == "hpt_ros"
    assert header["pipeline_tag"] == "robotics"
    assert hub.private == {"models/me/dog"}
    assert not hub.tags


def test_a_dry_run_lists_files_and_card_and_asks_no_hub(
    hub: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["push", str(dataset), "me/slider", "--license", "mit", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "meta/info.json" in printed
    assert "license: mit" in printed
    assert hub.requests == []


def test_the_own_card_of_a_dataset_stays(hub: Hub, dataset: Path) -> None:
    (dataset / "README.md").write_text("---\nlicense: mit\ntags: [kitchen]\n---\n# Mine\n")
    assert main(["push", str(dataset), "me/slider"]) == 0
    card = hub.repositories["datasets/me/slider"]["README.md"]
    assert card.endswith(b"# Mine\n")
    header = header_of(card)
    assert header["license"] == "mit"
    assert {"kitchen", "LeRobot"} <= set(header["tags"])  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["DATASET", "me/slider"], "give --license"),
        (
            ["DATASET", "slider", "--license", "mit"],
            "the user or organisation is missing",
        ),
        (["DATASET", "me/sli--der", "--license", "mit"], "the repository is 'me/sli--der'"),
        (["nowhere", "me/x", "--license", "mit"], "nowhere"),
        (["FOLDER", "me/x", "--license", "mit"], "lacks config.yaml"),
    ],
)
def test_mistakes_are_one_sentence_and_ask_no_hub(
    words: list[str], said: str, hub: Hub, dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"DATASET": str(dataset), "FOLDER": str(tmp_path)}
    assert main(["push", *(places.get(word, word) for word in words)]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.strip().splitlines()) == 1
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "refuses", "said"),
    [
        ("", {}, "has no login"),
        ("hf_bad", {}, "the token is not valid"),
        ("hf_good", {"commit": 403}, "it may not write there"),
        ("hf_good", {"create": 422}, "status 422"),
        ("hf_good", {"batch": 413}, "status 413"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    token: str, refuses: dict[str, int], said: str, hub: Hub, dataset: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_TOKEN", token)
    hub.refuses = refuses
    assert main(["push", str(dataset), "me/slider", "--license", "mit"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert said in error[-1]
    assert len([line for line in error if "error" in line]) == 1


def test_without_a_network_expect_one_sentence(dataset: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9", "HF_TOKEN": "hf_good", "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    words = [sys.executable, "-m", "hpt_ros", "push", str(dataset), "me/slider", "--license", "mit"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 2
    assert "cannot be reached at 'http://127.0.0.1:9'" in done.stderr
    assert "Traceback" not in done.stderr


KEYS = st.text("abcdefghij_", min_size=1, max_size=8)
VALUES = st.one_of(
    st.text(max_size=12), st.integers(), st.booleans(), st.lists(st.text(max_size=6), max_size=3)
)


@given(
    st.dictionaries(KEYS, VALUES, max_size=4), st.dictionaries(KEYS, VALUES, max_size=4), st.text(max_size=40)
)
def test_a_card_keeps_its_own_header_and_text(
    own: dict[str, object], added: dict[str, object], text: str
) -> None:
    body = "# Card\n" + text.replace("\r", "")
    card = f"---\n{yaml.safe_dump(own)}---\n\n{body}" if own else body
    header, rest = read_header(with_header(card, added, where="it"), where="it")
    assert header == {**added, **own}
    assert rest.lstrip() == body.lstrip()
