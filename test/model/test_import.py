# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt checkpoint import` with an embodiment: a published model becomes a checkpoint that acts as before."""

from __future__ import annotations

import hashlib
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from published_files import (
    EMBODIMENT,
    act,
    publish,
    publish_as_json,
    published_config,
    published_tensors,
)
from safetensors.torch import save_file
from support.refused import refused
from support.small_arm import ROBOT

from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.model import MlpHeadConfig, load_checkpoint
from hpt_ros.model.encoders import ResNet18
from hpt_ros.model.exporting import export_model
from hpt_ros.model.importing import import_policy
from hpt_ros.model.language import embed_tasks


@pytest.fixture
def embodiment(tmp_path):
    path = tmp_path / "small_arm.yaml"
    path.write_text(EMBODIMENT)
    return path


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """ImageNet weights as torchvision's file names them, but random."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("encoder") / "resnet18.safetensors"
    stored = {name: value.contiguous() for name, value in ResNet18().state_dict().items()}
    save_file({**stored, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}, path)
    return path


@pytest.fixture
def published(tmp_path):
    return publish(tmp_path / "published", published_config(), published_tensors())


def inputs(seed=0, batch=2):
    random = torch.Generator().manual_seed(seed)
    image = torch.randint(0, 256, (batch, 2, 2, 32, 48, 3), generator=random, dtype=torch.uint8)
    return {"image": image, "state": torch.randn((batch, 2, 2), generator=random)}


# --- a whole model ---------------------------------------------------------------------------------------------------


def test_when_a_model_is_imported_expect_a_checkpoint_that_acts_as_the_network_written_out(
    published, embodiment, resnet, tmp_path, capsys
):
    out = tmp_path / "imported"
    command = ["checkpoint", "import", str(published), "--out", str(out), "--embodiment", str(embodiment)]
    assert main([*command, "--domain", "lab_arm", "--image-encoder", str(resnet)]) == 0
    said = capsys.readouterr().out
    assert main(["checkpoint", "verify", str(out)]) == 0
    policy = load_checkpoint(out).policy
    given = inputs()
    with torch.no_grad():
        expected = act(published_tensors(), "lab_arm", policy.encode_images(given["image"]), given["state"])
    torch.testing.assert_close(policy.predict(given), expected, rtol=0, atol=1e-5)
    stored, built = published_tensors(), policy.state_dict()
    ours = {name for name in built if not name.startswith("encoders.")}
    merged = {name for name in stored if "kitchen" not in name and ".net.1." not in name}
    assert len(ours) == len(merged)  # every tensor of the domain, each copy once
    assert f"{len(ours)} tensors, {sum(built[name].numel() for name in ours):,} numbers, strictly" in said
    for left in ("stems.kitchen_image", "stems.kitchen_state", "heads.kitchen", "normalizer.kitchen"):
        assert f"left out: {left} (of another domain" in said
    assert "left out: fc.weight, fc.bias" in said
    assert "2 equal copies of stems.small_arm_image.net were merged" in said
    assert (
        "trained with 2 observations (dataset.observation_horizon); the released rollout would keep 1" in said
    )
    card = (out / "README.md").read_text()
    for file in (published / "model.pth", published / "config.yaml", resnet, out / "model.safetensors"):
        assert hashlib.sha256(file.read_bytes()).hexdigest() in card


def test_when_the_head_has_no_dropout_and_no_tanh_expect_its_layers_found_and_the_same_actions(
    tmp_path, resnet
):
    tensors = published_tensors(dropout=False, copies=0)
    config = published_config(head__dropout=False, head__tanh_end=False)
    folder = publish(tmp_path / "p", config, tensors)
    imported = import_policy(folder, ROBOT, domain="kitchen", image_encoder="none")
    assert imported.policy.config.head == MlpHeadConfig(widths=(20, 12), tanh=False, dropout=0.0)
    given = inputs()
    cells = torch.randn(2, 2, 2, 49, 512)
    expected = act(tensors, "kitchen", cells, given["state"], tanh=False)
    actions = imported.policy.predict({"image_features": cells, "state": given["state"]})
    torch.testing.assert_close(actions, expected, rtol=0, atol=1e-5)


def test_when_the_configuration_is_json_and_the_weights_safetensors_expect_the_same_policy(
    tmp_path, published
):
    other = publish(tmp_path / "other", published_config(), {})
    (other / "model.pth").unlink()
    save_file(
        {name: value.clone() for name, value in published_tensors().items()}, other / "model.safetensors"
    )
    publish_as_json(other)
    one, two = (
        import_policy(folder, ROBOT, domain="lab_arm", image_encoder="none") for folder in (published, other)
    )
    assert one.policy.config == two.policy.config
    assert all(
        torch.equal(a, b)
        for a, b in zip(one.policy.state_dict().values(), two.policy.state_dict().values(), strict=True)
    )


@pytest.fixture
def t5(tmp_path):
    """A folder with a small T5 of random weights and a tokenizer of words."""
    transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=language")
    tokenizers = pytest.importorskip("tokenizers", reason="make setup EXTRAS=language")
    words = {word: index for index, word in enumerate(("<pad>", "</s>", "<unk>", "wipe", "the", "table"))}
    sizes = {"d_model": 24, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    torch.manual_seed(5)
    transformers.T5EncoderModel(transformers.T5Config(vocab_size=len(words), **sizes)).save_pretrained(
        tmp_path / "t5"
    )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def test_when_the_model_reads_past_actions_and_language_expect_the_task_embedded_and_the_same_actions(
    tmp_path, embodiment, t5
):
    more = {"prev_actions": 2, "language": 24}
    tensors = published_tensors(more=more)
    config = published_config(stem__modalities=["image", "state", *more])
    for modality, width in more.items():
        config["stem"]["crossattn_latent"][modality] = 3
        config["stem"][modality] = config["stem"]["image"] | {"input_dim": width}
    folder, out = publish(tmp_path / "p", config, tensors), tmp_path / "out"
    command = ["checkpoint", "import", str(folder), "--out", str(out), "--embodiment", str(embodiment)]
    command += ["--domain", "lab_arm", "--image-encoder", "none", "--language-model", str(t5)]
    assert main(command) == 0
    assert main(["checkpoint", "verify", str(out)]) == 0
    policy = load_checkpoint(out).policy
    assert policy.config.tasks == ("wipe the table",)  # the embodiment's
    language = torch.as_tensor(embed_tasks(policy.config.language, ("wipe the table",)))
    assert language.shape == (1, 16, 24)
    torch.manual_seed(1)
    cells, state, actions = torch.randn(1, 2, 2, 49, 512), torch.randn(1, 2, 2), torch.randn(1, 2, 2)
    expected = act(tensors, "lab_arm", cells, state, prev_actions=actions, language=language)
    given: dict[str, Any] = {"image_features": cells, "state": state, "actions": actions}
    given["task"] = ["wipe the table"]
    torch.testing.assert_close(policy.predict(given), expected, rtol=0, atol=1e-5)
    back = export_model(policy, tmp_path / "back")
    assert back.left_out == ("language.embeddings (published models hold no tasks)",)
    robot = replace(ROBOT, tasks=("wipe the table",), language_model=str(t5))
    again = import_policy(tmp_path / "back", robot, image_encoder="none")
    assert torch.equal(again.policy.predict(given), policy.predict(given))


def test_when_a_language_stem_has_no_task_expect_a_sentence(tmp_path):
    config = published_config(stem__modalities=["image", "state", "language"])
    folder = publish(tmp_path / "p", config, published_tensors(more={"language": 24}))
    with refused(
        HptError,
        Code.INVALID,
        problem="has a language stem, but no task was named",
        remedy="give --task TEXT",
    ):
        import_policy(folder, ROBOT, domain="lab_arm", image_encoder="none")


def test_when_there_is_no_trunk_expect_its_tensors_left_out_and_a_policy_without(tmp_path):
    folder = publish(tmp_path / "p", published_config(network__no_trunk=True), published_tensors())
    imported = import_policy(folder, ROBOT, domain="lab_arm", image_encoder="none")
    assert imported.policy.config.trunk.depth == 0
    assert "never run" in imported.left_out["trunk"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("horizon: 4", "horizon: 8"), r"has action horizon 4 but embodiment file '.*' has 8; give the file"),
        (("observation_horizon: 2", "observation_horizon: 1"), r"has observation horizon 2 but .* has 1"),
        (("joints: [a, b]", "joints: [a, b, c]"), r"has shape of 'state' \(2,\) but .* has \(3,\)"),
    ],
)
def test_when_the_embodiment_does_not_fit_expect_both_values_and_nothing_written(
    published, embodiment, tmp_path, capsys, change, message
):
    embodiment.write_text(EMBODIMENT.replace(*change))
    out = tmp_path / "out"
    command = ["checkpoint", "import", str(published), "--out", str(out), "--embodiment", str(embodiment)]
    assert main([*command, "--domain", "lab_arm", "--image-encoder", "none"]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert not out.exists()
