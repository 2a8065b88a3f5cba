# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Words for which the field has a term of its own stay out of code, messages, help and docs."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def check_words(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "tools")
    return importlib.import_module("check_words")


def test_no_such_word_stands_anywhere(check_words: ModuleType) -> None:
    assert check_words.complaints() == []


@pytest.mark.parametrize("line", ["class PlayerNode:", "the_player = 1", "# Mended.", '"nobody publishes /a"', "its_share = 1"])
def test_words_are_found_in_names_and_sentences(check_words: ModuleType, line: str) -> None:
    assert check_words.wrong_words(line)


@pytest.mark.parametrize("line", ["multiplayer", "self.film = nn.Conv1d()", "recommend it", "autopilot", "all share one"])
def test_parts_of_other_words_are_not(check_words: ModuleType, line: str) -> None:
    assert check_words.wrong_words(line) == []


@pytest.mark.parametrize("name", ["merged", "_stored_feature", "unseen", "given", "left_out", "sent"])
def test_a_function_named_by_a_participle_is_found(check_words: ModuleType, name: str) -> None:
    assert check_words.participle_names(f"class A:\n    def {name}(self): ...") == [(2, name)]


@pytest.mark.parametrize(
    "code", ["def need(): ...", "def feed_all(): ...", "def open_column(): ...", "@property\ndef held(self): ..."]
)
def test_verbs_and_properties_are_not(check_words: ModuleType, code: str) -> None:
    assert check_words.participle_names(code) == []
