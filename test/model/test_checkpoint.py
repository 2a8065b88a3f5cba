# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
import torch
import yaml
from published_files import EMBODIMENT
from safetensors.torch import load_file, save_file
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.model import (
    DecoderHeadConfig,
    Policy,
    ResNet18Config,
    export_trunk,
    load_checkpoint,
    load_trunk,
    save_checkpoint,
)
from hpt_ros.model.verifying import statistics_in
from hpt_ros.model.weight_files import read_tensors, sha256_of
from hpt_ros.resources import checkpoint_folder, embodiment_file

ROBOT = "embodiments/arm"
FILES = ("README.md", "config.yaml", f"{ROBOT}/embodiment.yaml", f"{ROBOT}/stats.json", "model.safetensors")


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def saved(tmp_path, make_policy):
    """A checkpoint folder and the policy that it holds."""
    policy = make_policy(pooling="no-op", head=DecoderHeadConfig())
    folder = save_checkpoint(
        tmp_path / "run" / "best",
        policy,
        embodiment_yaml="name: arm  # as written\n",
        stats={"action": {"min": [0.0, 1.0]}},
        card="# Card\n",
        metrics={"validation loss": 0.25},
        training={"seed": 3},
    )
    return folder, policy


def test_when_saved_and_loaded_expect_the_same_policy_and_texts(saved, make_inputs):
    folder, policy = saved
    loaded = load_checkpoint(folder)
    inputs = make_inputs(policy.config)
    assert torch.equal(loaded.policy.predict(inputs), policy.predict(inputs))
    assert loaded.config == policy.config
    assert loaded.embodiment_yaml == "name: arm  # as written\n"
    assert loaded.stats == {"action": {"min": [0.0, 1.0]}}
    assert (loaded.card, loaded.metrics, loaded.training) == (
        "# Card\n",
        {"validation loss": 0.25},
        {"seed": 3},
    )
    assert not loaded.policy.training
    assert files_in(folder) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


def test_when_saved_in_half_precision_expect_float32_close_by_and_exact_statistics(saved, make_inputs):
    folder, policy = saved
    full = (folder / "model.safetensors").stat().st_size
    save_checkpoint(folder, policy, embodiment_yaml="", stats={}, card="", half_precision=True)
    assert (folder / "model.safetensors").stat().st_size < 0.6 * full
    loaded = load_checkpoint(folder)
    assert loaded.weights.half_precision
    for (name, before), after in zip(
        policy.state_dict().items(), loaded.policy.state_dict().values(), strict=True
    ):
        assert after.dtype == torch.float32
        if name.startswith("normalizer."):
            assert torch.equal(before, after)
        else:
            torch.testing.assert_close(
                after, before, rtol=2**-10, atol=2**-24
            )  # float16: 11 bits, least step 2^-24
    inputs = make_inputs(policy.config)
    torch.testing.assert_close(loaded.policy.predict(inputs), policy.predict(inputs), rtol=0, atol=0.02)


def test_when_a_resnet_is_saved_expect_its_statistics_and_counters_back(tmp_path, make_policy):
    policy = make_policy(image_encoder=ResNet18Config(trainable=True))
    save_checkpoint(tmp_path / "c", policy, embodiment_yaml="", stats={}, card="", half_precision=True)
    state = Policy.load(tmp_path / "c").state_dict()
    assert state["encoders.image.nets.0.bn1.num_batches_tracked"].dtype == torch.int64
    assert state["encoders.image.nets.0.bn1.running_var"].dtype == torch.float32


# --- writing goes wrong ----------------------------------------------------------------------------------------------


def contents(folder):
    return {name: (folder / name).read_bytes() for name in files_in(folder)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stats": {"action": float("nan")}}, r"cannot be written .*; nothing was changed"),
        ({"stats": {"action": object()}}, r"cannot be written .*not JSON serializable"),
        ({"training": {"lr": object()}}, r"cannot be written .*; nothing was changed"),
    ],
)
def test_when_saving_fails_expect_the_old_checkpoint_and_nothing_else(saved, make_policy, changes, message):
    folder, policy = saved
    before = contents(folder)
    arguments = {"embodiment_yaml": "", "stats": {}, "card": ""} | changes
    with pytest.raises(HptError, match=message):
        save_checkpoint(folder, policy, **arguments)
    assert contents(folder) == before
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


@pytest.mark.parametrize(
    ("value", "half", "message"),
    [
        (
            float("nan"),
            False,
            r"'trunk\.trunk\.blocks\.0\.norm_1\.bias' holds a value that is no finite number",
        ),
        (1e6, True, r"no finite number in float16; store it in full precision"),
    ],
)
def test_when_a_weight_cannot_be_stored_expect_its_name(saved, value, half, message):
    folder, policy = saved
    policy.trunk["trunk"].blocks[0].norm_1.bias.data[0] = value
    before = contents(folder)
    with pytest.raises(HptError, match=message):
        save_checkpoint(folder, policy, embodiment_yaml="", stats={}, card="", half_precision=half)
    assert contents(folder) == before


def test_when_the_folder_is_somebody_elses_expect_it_left_alone(tmp_path, make_policy):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    with refused(HptError, Code.EXISTS, problem="is no checkpoint", remedy="name another folder"):
        save_checkpoint(tmp_path / "notes", make_policy(), embodiment_yaml="", stats={}, card="")
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"


def test_when_statistics_are_missing_expect_nothing_written(tmp_path, make_config):
    with refused(
        HptError,
        Code.NOT_READY,
        subject="the normaliser of 'action'",
        problem="has no statistics yet",
        remedy="statistics",
    ):
        save_checkpoint(tmp_path / "c", Policy(make_config()), embodiment_yaml="", stats={}, card="")
    assert list(tmp_path.iterdir()) == []


# --- reading goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_when_a_file_is_missing_expect_its_name(saved, name):
    folder, _ = saved
    (folder / name).unlink()
    with pytest.raises(HptError, match=rf"best' lacks {name}; a checkpoint has config\.yaml"):
        Policy.load(folder)


def test_when_the_folder_is_missing_expect_a_sentence(tmp_path):
    with refused(HptError, Code.INVALID, problem="is no folder"):
        Policy.load(tmp_path / "nothing")


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_when_the_weights_are_cut_short_expect_a_sentence(saved, kept):
    folder, _ = saved
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with refused(
        HptError,
        Code.DAMAGED,
        problem="is not the one that was saved (sha256",
        remedy="copy the checkpoint again",
    ):
        Policy.load(folder)


def test_when_config_and_weights_are_of_two_sizes_expect_a_sentence(saved):
    folder, _ = saved
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["model"]["policies"]["arm"]["trunk"]["depth"] = 1
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with refused(
        HptError,
        Code.MISMATCH,
        problem="does not fit the policy of config.yaml: it has 14 tensors too many (trunk",
    ):
        Policy.load(folder)


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda c: c.update(format=3), r"format is 3, but this version reads formats 1 and 2"),
        (lambda c: c.pop("format"), r"format is None"),
        (lambda c: c["model"]["policies"]["arm"].update(poling="mean"), r"'poling'.*did you mean 'pooling'"),
        (lambda c: c["model"]["policies"]["arm"].pop("action_dim"), r"lacks the key 'action_dim'"),
        (lambda c: c["model"]["policies"]["arm"].update(action_dim="7"), r"'action_dim' is '7'"),
        (lambda c: c.update(training=3), r"'training' is no mapping"),
    ],
)
def test_when_config_is_wrong_expect_the_key(saved, alter, message):
    folder, _ = saved
    config = yaml.safe_load((folder / "config.yaml").read_text())
    alter(config)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(HptError, match=message):
        Policy.load(folder)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_when_stats_are_no_json_object_expect_a_sentence(saved, text):
    folder, _ = saved
    (folder / ROBOT / "stats.json").write_text(text)
    with pytest.raises(HptError, match=r"stats\.json'.*JSON"):
        Policy.load(folder)


# --- the command -----------------------------------------------------------------------------------------------------


def test_when_inspected_expect_embodiment_parts_hash_and_metrics(saved, capsys):
    folder, policy = saved
    assert main(["checkpoint", "inspect", str(folder)]) == 0
    text = capsys.readouterr().out
    assert "embodiment: arm" in text
    assert load_checkpoint(folder).weights.sha256 in text
    assert f"| trunk | {policy.parts()['trunk']:,} |" in text
    assert f"| sum | {sum(policy.parts().values()):,} |" in text
    assert "validation loss: 0.25" in text
    assert json.dumps("no-op").strip('"') in text


def test_when_inspecting_nothing_expect_exit_status_two(tmp_path, capsys):
    assert main(["checkpoint", "inspect", str(tmp_path / "nothing")]) == 2
    assert "hpt checkpoint inspect: error: the checkpoint" in capsys.readouterr().err


@pytest.fixture
def sound(tmp_path, make_policy):
    """A checkpoint whose embodiment and statistics are its policy's."""
    policy = make_policy()
    text = EMBODIMENT.replace("small_arm", "arm").replace("observation_horizon: 2", "observation_horizon: 3")
    text = text.replace("joints: [a, b]", "joints: [a, b, c]")
    stats = {
        name: {
            key: getattr(statistics_in(policy, name), key).tolist() for key in ("min", "max", "mean", "std")
        }
        for name in policy.statistics_needed
    }
    return save_checkpoint(tmp_path / "sound", policy, embodiment_yaml=text, stats=stats, card=""), policy


def test_when_verified_expect_hash_and_counts(sound, capsys):
    folder, policy = sound
    assert main(["checkpoint", "verify", str(folder)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    numbers = sum(value.numel() for value in policy.state_dict().values())
    assert f"is sound: {len(policy.state_dict())} tensors, {numbers:,} numbers, all finite" in text
    assert sha256_of(folder / "model.safetensors") in text
    assert "embodiment.yaml of arm agrees with config.yaml" in text
    assert "stats.json agrees with the normaliser of action, state" in text


def test_when_the_shipped_checkpoint_is_verified_expect_it_sound(capsys):
    assert main(["checkpoint", "verify", str(checkpoint_folder("feed_dog"))]) == 0
    assert "is sound" in capsys.readouterr().out


def alter_stats(folder, alter):
    stats = json.loads((folder / ROBOT / "stats.json").read_text())
    alter(stats)
    (folder / ROBOT / "stats.json").write_text(json.dumps(stats))


def alter_embodiment(folder, before, after):
    text = embodiment_file(folder).read_text()
    assert text.count(before) == 1
    embodiment_file(folder).write_text(text.replace(before, after))


SCALE = "normalizer.arm.params_dict.state.scale"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: alter_embodiment(f, "horizon: 4", "horizon: 8"), "has action horizon 4 but its embodiment"),
        (lambda f: alter_embodiment(f, "[a, b, c]", "[a, c]"), "shape of 'state' (3,) but its embodiment.yaml has"),
        (lambda f: embodiment_file(f).write_text("{"), "the embodiment of checkpoint"),
        (lambda f: alter_stats(f, lambda s: s.pop("state")), "stats.json has no statistics of 'state'"),
        (lambda f: alter_stats(f, lambda s: s.update(state=[1])), "stats.json has no statistics of 'state'"),
        (lambda f: alter_stats(f, lambda s: s["state"]["min"].pop()), "stats.json has min of 'state' ["),
        (lambda f: alter_stats(f, lambda s: s["action"].update(max=["x", 1])), "stats.json has max of 'action' []"),
        (lambda f: alter_stats(f, lambda s: s["action"]["mean"].reverse()), "stats.json has mean of 'action' ["),
        (lambda f: rewrite_weights(f, lambda t: t[SCALE].mul_(1.01)), "so it was not fitted to limits or was altered"),
    ],
)  # fmt: skip
def test_when_the_files_of_a_checkpoint_disagree_expect_verify_to_say_where(sound, capsys, damage, message):
    folder, _ = sound
    damage(folder)
    assert main(["checkpoint", "verify", str(folder)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "sound" not in captured.out


def rewrite_weights(folder, alter):
    """Alter the weights and make config.yaml's hash fit again, so that only what was altered is wrong."""
    tensors = load_file(folder / "model.safetensors")
    alter(tensors)
    save_file(tensors, folder / "model.safetensors")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["weights"]["sha256"] = sha256_of(folder / "model.safetensors")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


FC1 = "trunk.trunk.blocks.0.mlp.fc1.weight"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: flip_a_bit(f / "model.safetensors"), "is not the one that was saved (sha256"),
        (lambda f: rewrite_weights(f, lambda t: t[FC1].fill_(torch.nan)), "that are no finite numbers"),
        (lambda f: rewrite_weights(f, lambda t: t.pop(FC1)), f"it lacks 1 tensors ({FC1})"),
        (lambda f: (f / ROBOT / "stats.json").unlink(), "lacks embodiments/arm/stats.json"),
    ],
)
def test_when_an_unsound_checkpoint_is_verified_expect_a_sentence_and_status_two(
    saved, capsys, damage, message
):
    folder, _ = saved
    damage(folder)
    assert main(["checkpoint", "verify", str(folder)]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("hpt checkpoint verify: error: ")
    assert message in captured.err
    assert "sound" not in captured.out


def flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["trunk.pth", "new/trunk.safetensors"])
def test_when_the_trunk_is_exported_expect_published_names_and_the_same_trunk_loaded_again(
    saved, tmp_path, make_policy, capsys, name
):
    folder, policy = saved
    out = tmp_path / name
    assert main(["checkpoint", "export", str(folder), "--format", "trunk", "--out", str(out)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "set policy.trunk to width 32, depth 2 and 4 heads" in text
    stored = read_tensors(out)
    assert "trunk.blocks.1.attn.in_proj_weight" in stored
    assert all(name.startswith("trunk.blocks.") for name in stored)
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []
    other = make_policy(embodiment="leg")
    report = load_trunk(other, out)
    assert (report.tensors, report.parameters) == (len(stored), policy.parts()["trunk"])
    for one, two in zip(policy.trunk.parameters(), other.trunk.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trunk.pt", r"trunk\.pt', expected a name ending in \.pth or \.safetensors"),
        ("old.pth", r"old\.pth' exists already"),
        ("old.pth/trunk.pth", r"cannot be written .*; name another file"),
    ],
)
def test_when_the_trunk_cannot_be_exported_expect_a_sentence_and_nothing_changed(
    tmp_path, make_policy, name, message
):
    (tmp_path / "old.pth").write_text("precious")
    with pytest.raises(HptError, match=message):
        export_trunk(make_policy(), tmp_path / name)
    assert (tmp_path / "old.pth").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["old.pth"]
