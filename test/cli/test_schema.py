# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of the YAML files: made from the fields, as strict as their reader, and found by editors."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from hpt_ros.cli.schema import FILES, schema
from hpt_ros.embodiment import Embodiment
from hpt_ros.learning.recipe import Recipe
from hpt_ros.resources import config_file
from hpt_ros.structured import StructureError, read_dataclass

CONFIG = Path(__file__).parents[2] / "config"
FOLDERS = {"embodiments": "embodiment", "recipes": "recipe", "safety": "parameters"}
MODELINE = re.compile(r"# yaml-language-server: \$schema=(\S+)\n")


def shipped() -> list[Path]:
    return [file for folder in FOLDERS for file in sorted((CONFIG / folder).glob("*.yaml"))]


def complaints(kind: str, data: Any) -> list[str]:
    return [error.message for error in Draft202012Validator(schema(kind)).iter_errors(data)]


@pytest.mark.parametrize("kind", FILES)
def test_the_shipped_schema_is_that_of_the_fields(kind: str) -> None:
    """When this fails: hpt schema KIND > config/schemas/KIND.json."""
    found = json.loads(config_file(f"schemas/{kind}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(found)
    assert found == schema(kind)


@pytest.mark.parametrize("file", shipped(), ids=lambda file: file.stem)
def test_shipped_files_name_their_schema_and_fit_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    line = MODELINE.match(text)
    assert line
    assert (file.parent / line.group(1)).resolve() == CONFIG / "schemas" / f"{FOLDERS[file.parent.name]}.json"
    assert complaints(FOLDERS[file.parent.name], yaml.safe_load(text)) == []


def places(data: Any) -> list[tuple[Any, Any]]:
    """Every container in a tree with each of its keys or indices."""
    keys = data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ()
    return [place for key in keys for place in ((data, key), *places(data[key]))]


@pytest.mark.parametrize(
    ("kind", "cls", "name"), [("embodiment", Embodiment, "feed_dog"), ("recipe", Recipe, "multimodal")]
)
def test_the_schema_refuses_what_the_reader_refuses_of_a_single_key(kind: str, cls: type, name: str) -> None:
    """A key more, one of another type, a number out of range; what needs two keys at once only the reader knows."""
    data = yaml.safe_load((CONFIG / f"{kind}s" / f"{name}.yaml").read_text(encoding="utf-8"))

    @given(st.data())
    def check(draw: st.DataObject) -> None:
        wrong = deepcopy(data)
        where, key = draw.draw(st.sampled_from(places(wrong)))
        where[key] = draw.draw(
            st.sampled_from([-1, 0, 1e9 + 0.5, "no such", True, [], {}, {"no such": 1}, [{}], None])
        )
        try:
            read_dataclass(cls, wrong, where="text")
        except StructureError:
            assert complaints(kind, wrong)
        except Exception:
            return  # of several keys
        else:
            assert complaints(kind, wrong) == []

    check()


def test_parameters_may_have_dots_or_be_nested() -> None:
    for given_ in ({"safety.velocity_scale": 2.0}, {"safety": {"velocity_scale": 2.0}}):
        (complaint,) = complaints("parameters", {"/**": {"ros__parameters": given_}})
        assert "2.0 is greater than the maximum" in complaint
    assert complaints("parameters", {"/**": {"ros__parameters": {"safety.velocity_scale": 0.2}}}) == []
