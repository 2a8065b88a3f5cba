# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Registries: own objects, those of other packages by entry points, and what is wrong with either."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Thing

import pytest

from hpt_ros.registry import Registry, RegistryError

GROUP = "hpt_ros.test_registry_things"


def registry() -> Registry[Thing]:
    return Registry("thing", GROUP, Thing, {"own": Thing(name="own"), "second": Thing(name="second")})


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Returns what makes a package with entry points and a module findable."""

    def installed(package: str, entry_points: dict[str, str], source: str = "") -> None:
        site = tmp_path / package
        folder = site / f"{package}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
        (folder / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")
        (site / f"{package}.py").write_text(f"from types import SimpleNamespace as Thing\n{source}")
        monkeypatch.syspath_prepend(site)

    return installed


def test_own_things_come_first_and_those_of_other_packages_after_them(install) -> None:
    install(
        "others_a",
        {"zebra": "others_a:Z", "pkg/msg/Ant": "others_a:A"},
        "Z, A = Thing(name='zebra'), Thing(name='pkg/msg/Ant')",
    )
    things = registry()
    assert list(things) == ["own", "second", "pkg/msg/Ant", "zebra"]
    assert len(things) == 4
    assert "zebra" in things
    assert "lion" not in things
    assert things["zebra"] == Thing(name="zebra")
    assert things["zebra"] is things["zebra"]
    assert things["own"] == Thing(name="own")


def test_when_a_package_cannot_be_imported_expect_that_said_only_when_it_is_asked_for(install) -> None:
    install("others_b", {"broken": "others_b:X"}, "raise OSError('no such\\nlibrary')")
    things = registry()
    assert "broken" in things
    assert list(things) == ["own", "second", "broken"]
    assert things["own"] == Thing(name="own")
    with pytest.raises(
        RegistryError,
        match=r"^the thing 'broken' cannot be loaded from the entry point 'others_b:X' of others_b \(OSError: no such "
        r"library\); repair or uninstall that package$",
    ):
        things["broken"]


@pytest.mark.parametrize(
    ("name", "packages", "words"),
    [
        ("own", ("others_c",), "'own' is there more than once, in hpt_ros and the entry points 'others_c:X' of "),
        ("new", ("others_d", "others_e"), "'new' is there more than once, in the entry points '.*' of others_., '.*' "),
    ],
)  # fmt: skip
def test_when_a_name_is_taken_twice_expect_an_error_that_names_both(install, name, packages, words) -> None:
    for package in packages:
        install(package, {name: f"{package}:X"}, f"X = Thing(name={name!r})")
    things = registry()
    assert list(things).count(name) == 1
    assert things["second"] == Thing(name="second")
    with pytest.raises(RegistryError, match=words):
        things[name]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("X = 'zebra'", "is a str in the entry point .*, expected a SimpleNamespace"),
        ("X = Thing(name='horse')", "calls itself 'horse' in the entry point"),
        ("", "AttributeError: "),
    ],
)
def test_when_an_entry_point_names_something_else_expect_a_refusal(install, source, words) -> None:
    package = f"others_f{len(source)}"
    install(package, {"zebra": f"{package}:X"}, source)
    with pytest.raises(RegistryError, match=f"the thing 'zebra' .*{words}"):
        registry()["zebra"]


def test_when_a_name_is_unknown_expect_those_that_there_are(install) -> None:
    install("others_g", {"zebra": "others_g:X"})
    with pytest.raises(
        RegistryError, match="is 'zebre', expected one of own, second, zebra; did you mean 'zebra'"
    ):
        registry()["zebre"]
    with pytest.raises(RegistryError, match=rf"install the package that has it \({GROUP}\)"):
        registry()["lion"]
