# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Tasks in words: embedded once when training starts, stored with the policy, known again later."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from support.refused import refused

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.errors import Code, HptError
from hpt_ros.learning import InitialWeights, Windows, open_batch_source, train
from hpt_ros.learning.batch_source import BatchSourceError
from hpt_ros.learning.reporter import Silent
from hpt_ros.model import load_checkpoint
from hpt_ros.model.encoder_config import LanguageConfig

from .many import TASKS, write_many
from .test_modalities import recipe_of
from .test_parts import Listener

LANGUAGE = {"kind": "t5", "tokens": 2, "width": 6}


class Embedder(ModuleType):
    """Stands where the language models are, which are large; each text has a vector of its own."""

    def __init__(self) -> None:
        super().__init__("hpt_ros.model.language")
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def embed_tasks(self, language: LanguageConfig, tasks: Sequence[str]) -> np.ndarray:
        self.asked.append((language.model, tuple(tasks)))
        vectors = [
            np.random.default_rng(list(text.encode())).normal(size=(language.tokens, language.width))
            for text in tasks
        ]
        return np.stack(vectors).astype(np.float32)


@pytest.fixture
def embedder(monkeypatch: pytest.MonkeyPatch) -> Embedder:
    found = Embedder()
    monkeypatch.setitem(sys.modules, found.__name__, found)
    return found


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("many") / "many"
    write_many(root)
    return open_dataset(root)


def renamed(dataset: Dataset, tasks: dict[str, str]) -> Dataset:
    episodes = tuple(
        replace(episode, task=tasks.get(episode.task, episode.task)) for episode in dataset.episodes
    )
    return Dataset(
        dataset.root,
        dataset.embodiment,
        episodes,
        dataset.state,
        dataset.action,
        dataset.files,
        dataset.arrays,
    )


def blind(dataset: Dataset) -> Dataset:
    """The first observation of each episode, over and over: only the task says where to go."""
    state = np.zeros_like(dataset.state)
    return Dataset(
        dataset.root,
        dataset.embodiment,
        dataset.episodes,
        state,
        dataset.action,
        dataset.files,
        dataset.arrays,
    )


def test_the_task_decides_and_no_language_model_is_needed_later(
    many: Dataset, tmp_path: Path, embedder: Embedder
) -> None:
    recipe, listener = recipe_of("language", "state"), Listener()
    out = tmp_path / "run"
    train(blind(many), recipe, out, start=InitialWeights(language_model="some/folder"), report=listener)
    assert embedder.asked == [("some/folder", TASKS)]
    assert "  language: 2 tasks, 2 embedded now by t5 some/folder; stored with the policy" in listener.lines
    checkpoint = load_checkpoint(out / "last")
    assert len(embedder.asked) == 1
    assert checkpoint.config.tasks == TASKS
    assert checkpoint.config.language.model == ""  # a folder of this machine is not part of the policy
    assert (
        "- language model: t5 some/folder; the embeddings of the tasks are in the checkpoint"
        in checkpoint.card
    )
    state = np.zeros((2, 2, 4), np.float32)
    left, right = checkpoint.policy.predict({"state": state, "task": list(TASKS)})
    assert left[0, 0] < right[0, 0]
    # gather's numbers of tasks mean the same as the texts
    inputs = {"state": state, "task": np.array([0, 1])}
    assert torch.equal(checkpoint.policy.predict(inputs), torch.stack((left, right)))


def test_when_a_run_is_resumed_expect_no_language_model_asked(
    many: Dataset, tmp_path: Path, embedder: Embedder
) -> None:
    recipe = recipe_of("language", "state", iterations=6)
    train(many, recipe, tmp_path / "straight")
    train(many, recipe, tmp_path / "parts", stop_after=2)
    assert len(embedder.asked) == 2
    train(many, recipe, tmp_path / "parts", resume=True)
    assert len(embedder.asked) == 2
    one, two = (load_checkpoint(tmp_path / run / "last").policy.state_dict() for run in ("straight", "parts"))
    assert "language.embeddings" in one
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    with pytest.raises(
        HptError, match="tasks of the run.*, expected .*to the right.* as when it was started"
    ):
        train(renamed(many, {TASKS[1]: "up"}), recipe, tmp_path / "straight", resume=True)


def test_when_a_checkpoint_knows_some_tasks_expect_only_the_others_embedded(
    many: Dataset, tmp_path: Path, embedder: Embedder
) -> None:
    recipe = recipe_of("language", "state", iterations=2)
    train(many, recipe, tmp_path / "first")
    listener = Listener()
    others = renamed(many, {TASKS[0]: "ahead"})
    start = InitialWeights(init=str(tmp_path / "first/last"))
    train(others, recipe, tmp_path / "second", start=start, report=listener)
    assert embedder.asked[1:] == [("", ("ahead",))]
    first, second = (load_checkpoint(tmp_path / run / "last") for run in ("first", "second"))
    assert second.config.tasks == ("ahead", TASKS[1])
    assert torch.equal(first.policy.language.embeddings[1], second.policy.language.embeddings[1])
    (line,) = (line for line in listener.lines if line.startswith("  language:"))
    assert line.startswith("  language: 2 tasks, 1 from checkpoint")
    assert line.endswith("and 1 embedded now by t5; stored with the policy")


def test_when_a_policy_knows_more_tasks_in_another_order_expect_each_episodes_own(
    many: Dataset, tmp_path: Path, embedder: Embedder
) -> None:
    train(renamed(many, {TASKS[0]: "zigzag"}), recipe_of("language", "state", iterations=1), tmp_path / "run")
    policy = load_checkpoint(tmp_path / "run/last").policy
    assert policy.config.tasks == (TASKS[1], "zigzag")
    windows = Windows.of(many.episodes[:1], 2, 3)
    source = open_batch_source(policy, renamed(many, {TASKS[0]: "zigzag"}), None, Silent())
    assert source.batch(windows, np.array([0])).inputs["task"].tolist() == [1]
    with refused(BatchSourceError, Code.UNKNOWN, value="to the left", expected="to the right, zigzag"):
        open_batch_source(policy, many, None, Silent())


@pytest.mark.parametrize(
    ("tasks", "language", "message"),
    [
        ({TASKS[0]: ""}, LANGUAGE, "has a language stem, but the dataset has episodes without a task"),
        ({}, {**LANGUAGE, "kind": "none"}, "the language model 'none', so nothing embeds"),
    ],
)
def test_when_nothing_can_be_embedded_expect_one_sentence(
    many: Dataset,
    tmp_path: Path,
    embedder: Embedder,
    tasks: dict[str, str],
    language: dict[str, Any],
    message: str,
) -> None:
    recipe = recipe_of("language", "state", policy={"language": language})
    with pytest.raises(HptError, match=message):
        train(renamed(many, tasks), recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
