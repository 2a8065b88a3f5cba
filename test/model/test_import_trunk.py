# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt checkpoint import` without an embodiment: the trunk of published weights, and its number of heads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import pytest
import torch
from published_files import EMBODIMENT, publish, publish_as_json, published_config, published_tensors
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    TrunkConfig,
    load_trunk,
    save_checkpoint,
)
from hpt_ros.model.importing import import_trunk
from hpt_ros.model.weight_files import read_metadata, read_tensors


@pytest.fixture
def embodiment(tmp_path):
    path = tmp_path / "small_arm.yaml"
    path.write_text(EMBODIMENT)
    return path


@pytest.fixture
def published(tmp_path):
    return publish(tmp_path / "published", published_config(), published_tensors())


@pytest.mark.parametrize("name", ["trunk.pth", "model.pth"])
def test_when_a_trunk_is_imported_expect_the_files_numbers_its_heads_and_hashes(
    tmp_path, make_policy, capsys, name
):
    tensors = published_tensors()
    if name == "trunk.pth":
        tensors = {n.removeprefix("trunk."): v for n, v in tensors.items() if n.startswith("trunk.")}
    folder = publish(tmp_path / "p", published_config(), tensors, name=name)
    out = tmp_path / "trunk"
    assert main(["checkpoint", "import", str(folder), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "width 32, depth 2, 4 heads" in said
    assert ("left out (no part of the trunk): stems, heads" in said) == (name == "model.pth")
    card = (out / "card.md").read_text()
    for file in (folder / name, folder / "config.yaml", out / "trunk.safetensors"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in card
    assert read_metadata(out / "trunk.safetensors")["heads"] == "4"
    policy = make_policy()
    report = load_trunk(policy, out)
    assert report.tensors == sum("blocks." in n for n in tensors)
    stored = {n.split("blocks.", 1)[1]: v for n, v in tensors.items() if "blocks." in n}
    for key, value in policy.trunk["trunk"].blocks.state_dict().items():
        assert torch.equal(value, stored[key])


def test_when_a_hub_address_is_imported_expect_config_and_trunk_from_the_hubs_cache(tmp_path):
    pytest.importorskip("huggingface_hub", reason="the optional package huggingface_hub is not installed")
    repo = tmp_path / "hub" / "models--liruiw--hpt-base"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    tensors = {n.removeprefix("trunk."): v for n, v in published_tensors().items() if n.startswith("trunk.")}
    snapshot = publish(repo / "snapshots" / ("0" * 40), published_config(), tensors, name="trunk.pth")
    publish_as_json(snapshot)  # found after config.yaml is not
    done = subprocess.run(
        [sys.executable, "-m", "hpt_ros.cli.main", "checkpoint", "import", "hf://liruiw/hpt-base", "--out", "trunk"],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert "width 32, depth 2, 4 heads" in done.stdout
    card = (tmp_path / "trunk" / "card.md").read_text()
    assert "- source: `hf://liruiw/hpt-base`" in card
    assert hashlib.sha256((snapshot / "trunk.pth").read_bytes()).hexdigest() in card
    assert len(read_tensors(tmp_path / "trunk" / "trunk.safetensors")) == len(tensors)


@pytest.mark.parametrize("place", ["imported", "published", "checkpoint"])
def test_when_heads_are_recorded_beside_a_trunk_expect_another_number_refused(
    tmp_path, make_policy, published, place
):
    if place == "imported":
        source = import_trunk(published, tmp_path / "trunk").file
    elif place == "published":
        source = published
    else:
        source = save_checkpoint(tmp_path / "c", make_policy(), embodiment_yaml="", stats={}, card="")
    policy = make_policy(trunk=TrunkConfig(width=32, depth=2, heads=8))
    with refused(
        HptError,
        Code.INVALID,
        problem="depth 2 and 4 heads, but the policy's has width 32, depth 2 and 8 heads",
        remedy="t the policy's",
    ):
        load_trunk(policy, source)


@pytest.mark.parametrize(
    ("changes", "alter", "message"),
    [
        ({"network__embed_dim": 64}, None, r"has 64 for network\.embed_dim, but the weights have 32"),
        ({"network": {}}, None, r"lacks the key 'network\.embed_dim'"),
        (
            {},
            lambda t: t.pop("trunk.trunk.blocks.0.attn.bias_k"),
            r"lacks 1 tensors \(blocks\.0\.attn\.bias_k\)",
        ),
        ({}, lambda t: t.clear(), r"holds no HPT trunk"),
    ],
)
def test_when_a_trunk_does_not_fit_its_configuration_expect_a_sentence_and_nothing_written(
    tmp_path, changes, alter, message
):
    tensors = published_tensors()
    if alter:
        alter(tensors)
    folder = publish(tmp_path / "p", published_config(**changes), tensors)
    with pytest.raises(HptError, match=message):
        import_trunk(folder, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: (p / "config.yaml").unlink(), r"holds none of config\.yaml, config\.json"),
        (lambda p: (p / "model.pth").unlink(), r"holds none of trunk\.safetensors, trunk\.pth"),
        (
            lambda p: (p / "config.yaml").write_text("- a list"),
            r"expected a YAML mapping of names to values",
        ),
        (
            lambda p: ((p / "config.yaml").unlink(), (p / "config.json").write_text("{")),
            r"config\.json' is no JSON",
        ),
        (
            lambda p: ((p / "config.yaml").unlink(), (p / "config.json").write_text("[]")),
            r"config\.json' holds no JSON object",
        ),
    ],
)
def test_when_a_published_folder_is_incomplete_expect_what_it_lacks(tmp_path, published, spoil, message):
    spoil(published)
    with pytest.raises(HptError, match=message):
        import_trunk(published, tmp_path / "out")


def test_when_the_folder_to_import_to_is_there_expect_it_left_alone(tmp_path, published, embodiment, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(HptError, match=r"out' exists already"):
        import_trunk(published, tmp_path / "out")
    command = ["checkpoint", "import", str(published), "--out", str(tmp_path / "out")]
    assert main([*command, "--embodiment", str(embodiment)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_when_a_domain_is_given_without_an_embodiment_expect_a_sentence(tmp_path, published, capsys):
    command = ["checkpoint", "import", str(published), "--out", str(tmp_path / "out"), "--domain", "lab_arm"]
    assert main(command) == 2
    assert (
        "--domain is for a whole policy, but without --embodiment only the trunk" in capsys.readouterr().err
    )
