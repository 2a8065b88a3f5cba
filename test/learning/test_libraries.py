# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Finetuning with models of the transformers library: a tiny DINOv2 sees, a tiny T5 reads; both made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hpt_ros.dataset import Dataset, open_dataset
from hpt_ros.errors import HptError
from hpt_ros.learning import InitialWeights, load_saved_recipe, train
from hpt_ros.model import load_checkpoint

from .many import TASKS, write_many
from .test_modalities import inputs_of, losses_of, recipe_of
from .test_parts import Listener

transformers: Any = pytest.importorskip(
    "transformers", reason="the extras 'transformers' and 'language' are not installed"
)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = tmp_path_factory.mktemp("many") / "many"
    write_many(root)
    return open_dataset(root)


@pytest.fixture
def dinov2(tmp_path: Path) -> Path:
    """A folder as the hub has it, with random weights."""
    torch.manual_seed(3)
    config = transformers.Dinov2Config(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=7,
        initializer_range=0.3,
    )
    transformers.Dinov2Model(config).save_pretrained(tmp_path / "dinov2")
    preprocessor = {
        "crop_size": {"height": 28, "width": 28},
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
    }
    (tmp_path / "dinov2/preprocessor_config.json").write_text(json.dumps(preprocessor))
    return tmp_path / "dinov2"


@pytest.fixture
def t5(tmp_path: Path) -> Path:
    """A folder with a T5 of random weights and a tokenizer that knows the tasks' words."""
    tokenizers: Any = pytest.importorskip("tokenizers", reason="the extra 'language' is not installed")
    words = ["<pad>", "</s>", "<unk>", *sorted({word for task in TASKS for word in task.split()})]
    torch.manual_seed(5)
    sizes = {"d_model": 6, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=len(words), **sizes))
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    model.save_pretrained(tmp_path / "t5")
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


def test_a_dinov2_is_frozen_with_cached_features_and_then_finetuned(
    many: Dataset, tmp_path: Path, dinov2: Path
) -> None:
    def recipe(trainable: bool, **changes: Any) -> Any:
        encoder = {"kind": "transformers", "model": str(dinov2), "trainable": trainable}
        return recipe_of("image", policy={"image_encoder": encoder}, **changes)

    with pytest.raises(HptError, match="freezes the image encoder 'transformers'.*add --image-encoder"):
        train(many, recipe(False), tmp_path / "none")
    frozen, listener = tmp_path / "frozen", Listener()
    start = InitialWeights(image_encoder=str(dinov2))
    train(many, recipe(False, cache_features=True, iterations=70), frozen, start=start, report=listener)
    (line,) = (line for line in listener.lines if line.startswith("  encoder image:"))
    assert ", frozen, loaded image encoder" in line
    losses = losses_of(frozen)
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:2])

    finetuned = tmp_path / "finetuned"
    start = InitialWeights(init=str(frozen / "last"))
    train(many, recipe(True, iterations=2, lr_scale_encoder=0.1), finetuned, start=start)
    shutil.rmtree(dinov2)  # from here on a robot, which has neither folder nor hub
    before, after = (load_checkpoint(folder / "last").policy for folder in (frozen, finetuned))
    inputs = inputs_of(before, many)
    chunk = before.predict(inputs)
    assert chunk[0, 0, 0] < chunk[1, 0, 0]
    changed = [
        not torch.equal(value, after.state_dict()[name])
        for name, value in before.state_dict().items()
        if name.startswith("encoders.")
    ]
    assert any(changed)
    # Training goes on without the folder too, from a checkpoint or from where it stopped.
    again = tmp_path / "again"
    train(
        many, recipe(True, iterations=4), again, start=InitialWeights(init=str(frozen / "last")), stop_after=1
    )
    own = load_saved_recipe(again)
    assert train(many, own, again, resume=True).steps == 4


def test_a_t5_reads_the_tasks_and_the_policy_acts_on_them_without_it(
    many: Dataset, tmp_path: Path, t5: Path
) -> None:
    language = {"kind": "t5", "model": str(t5), "tokens": 4, "width": 6}
    recipe = recipe_of("language", "actions", policy={"language": language})
    train(many, recipe, tmp_path / "run")
    shutil.rmtree(t5)
    policy = load_checkpoint(tmp_path / "run/last").policy
    assert policy.language is not None
    assert tuple(policy.language.embeddings.shape) == (2, 4, 6)
    actions = np.zeros((2, 2, 2), np.float32)
    left, right = policy.predict({"actions": actions, "task": list(TASKS)})
    assert not torch.allclose(left, right)
