# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""`hpt checkpoint export --format model`: the published layout, which `import` reads back."""

from __future__ import annotations

import pytest
import torch
import yaml

from hpt_ros.cli.main import main
from hpt_ros.errors import HptError
from hpt_ros.model import DecoderHeadConfig, MlpHeadConfig, ResNet18Config, StemConfig, save_checkpoint
from hpt_ros.model.exporting import export_model
from hpt_ros.model.importing import Robot, import_policy
from hpt_ros.model.mixture_head import GmmHeadConfig
from hpt_ros.model.small_cnn import SmallCnnConfig
from hpt_ros.model.weight_files import read_tensors


def exportable(make_policy, **changes):
    stems = (
        StemConfig("image", widths=(16,), tokens=6, heads=4, head_width=8),
        StemConfig("state", widths=(16, 24), tokens=5, heads=4, head_width=8),
    )
    encoder = ResNet18Config()
    return make_policy(**({"stems": stems, "image_encoder": encoder, "image_width": 32} | changes))


@pytest.mark.parametrize(
    ("pooling", "head"),
    [
        ("mean", MlpHeadConfig()),
        ("action_token", MlpHeadConfig(widths=(8,))),
        ("last", MlpHeadConfig(tanh=False)),
        ("no-op", DecoderHeadConfig(projection=False)),
    ],
)
def test_when_a_policy_is_exported_and_imported_expect_the_same_actions(
    tmp_path, make_policy, make_inputs, pooling, head
):
    sizes = {"action_dim": 32} if head.kind == "decoder" else {}
    policy = exportable(make_policy, pooling=pooling, head=head, **sizes)
    report = export_model(policy, tmp_path / "out")
    assert report.encoder
    names = set(read_tensors(tmp_path / "out" / "model.pth"))
    assert names == {name for name in policy.state_dict() if not name.startswith("encoders.")}
    robot = Robot(name="other", views=2, image_height=32, image_width=32, tasks=())
    encoder = str(tmp_path / "out" / "image_encoder.safetensors")
    again = import_policy(tmp_path / "out", robot, image_encoder=encoder).policy
    given = make_inputs(policy.config)
    assert torch.equal(again.predict(given), policy.predict(given))


def test_when_the_command_exports_a_model_expect_names_and_config_of_the_published_layout(
    tmp_path, make_policy, capsys
):
    folder = save_checkpoint(tmp_path / "c", exportable(make_policy), embodiment_yaml="", stats={}, card="")
    out = tmp_path / "out"
    assert main(["checkpoint", "export", str(folder), "--format", "model", "--out", str(out)]) == 0
    assert "its image encoder, which published models do not hold, is in" in capsys.readouterr().out
    config = yaml.safe_load((out / "config.yaml").read_text())
    assert config["network"]["num_heads"] == 4
    assert config["stem"]["crossattn_latent"] == {"image": 6, "state": 5}
    assert config["stem"]["state"]["input_dim"] == 3
    assert main(["checkpoint", "export", str(folder), "--format", "model", "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_encoder": SmallCnnConfig()}, r"lacks the image encoder 'small_cnn'"),
        ({"image_encoder": ResNet18Config(shared=False)}, r"separate per view"),
        ({"pooling": "attentive"}, r"lacks pooling 'attentive'"),
        ({"head": GmmHeadConfig()}, r"lacks a gmm head"),
        ({"pooling": "no-op", "head": DecoderHeadConfig()}, r"lacks a decoder head with projection"),
        ({"modality_embedding": True}, r"lacks a modality embedding that is added"),
        (
            {"stems": (StemConfig("image"), StemConfig("state", heads=2))},
            r"lacks stems with different numbers",
        ),
    ],
)
def test_when_the_released_code_lacks_something_expect_it_named_and_nothing_written(
    tmp_path, make_policy, changes, message
):
    with pytest.raises(HptError, match=message):
        export_model(exportable(make_policy, **changes), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
