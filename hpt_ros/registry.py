# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Registries: everything of which there may be many is one object in one registry, found by its name.

A package outside adds its own by an entry point whose name is the object's and whose value is where it is, in
`pyproject.toml`::

    [project.entry-points."hpt_ros.modalities"]
    spectrum = "my_package.spectrum:MODALITY"

Nothing of such a package is imported before its name is asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from hpt_ros.errors import Code, HptError

T = TypeVar("T")


class RegistryError(HptError):
    """A name that a registry does not have, has twice, or whose object cannot be imported."""


class Registry(Mapping[str, T], Generic[T]):
    """Objects of one kind by name: this project's in their order, then those of other packages by entry points.

    Args:
        what: kind of thing in sentences, e.g. "modality".
        group: of the entry points, e.g. "hpt_ros.modalities".
        kind: class of the objects.
        items: this project's objects by name, or their locations, which are imported when they are asked for.
    """

    def __init__(self, what: str, group: str, kind: type[T], items: Mapping[str, T | str]) -> None:
        self.what, self.group, self.own = what, group, dict(items)
        self._kind = kind
        self._loaded: dict[str, T] = {}

    def of_project(self) -> dict[str, T]:
        """Return this project's objects by name, imported where they are named by their location."""
        return {name: load_location(item) for name, item in self.own.items()}

    def __getitem__(self, name: str) -> T:
        """Return an object; raise RegistryError for a name that there is not, is taken twice, or cannot be loaded."""
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __contains__(self, name: object) -> bool:
        """Return whether there is such a name, without importing anything."""
        return name in self.own or name in self._entry_points

    def __iter__(self) -> Iterator[str]:
        yield from self.own
        yield from (name for name in self._entry_points if name not in self.own)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @functools.cached_property
    def _entry_points(self) -> Mapping[str, tuple[importlib.metadata.EntryPoint, ...]]:
        """The group's entry points by name, sorted; a package that is found twice on the path counts once."""
        found: dict[str, dict[tuple[str, str], importlib.metadata.EntryPoint]] = {}
        for point in importlib.metadata.entry_points(group=self.group):
            found.setdefault(point.name, {})[_package(point), point.value] = point
        return {name: tuple(found[name].values()) for name in sorted(found)}

    def _load(self, name: str) -> T:
        points = self._entry_points.get(name, ())
        values = ", ".join(f"{point.value!r} of {_package(point)}" for point in points)
        subject = f"the {self.what}"
        if len(points) + (name in self.own) > 1:
            own = "hpt_ros and " if name in self.own else ""
            raise RegistryError(
                Code.DUPLICATE, subject, name,
                problem=f"{{value}} is there more than once, in {own}the entry points {values} ({self.group})",
                remedy="rename one, or uninstall a package",
            )  # fmt: skip
        if name in self.own:
            own_object: T = load_location(self.own[name])
            return own_object
        if not points:
            raise RegistryError(
                Code.UNKNOWN, subject, name, known=self,
                remedy=f"correct it, or install the package that has it ({self.group})",
            )  # fmt: skip
        try:
            found = points[0].load()
        except Exception as error:  # what a package does while it is imported may fail in every way
            raise RegistryError(
                Code.UNAVAILABLE, subject, name, cause=f"{type(error).__name__}: {error}",
                problem=f"{{value}} cannot be loaded from the entry point {values}",
                remedy="repair or uninstall that package",
            ) from error  # fmt: skip
        if not isinstance(found, self._kind):
            raise RegistryError(
                Code.WRONG_TYPE, subject, name,
                problem=f"{{value}} is a {type(found).__name__} in the entry point {values}",
                expected=f"a {self._kind.__name__}", remedy="repair or uninstall that package",
            )  # fmt: skip
        named = getattr(found, "name", name)
        if named != name:
            raise RegistryError(
                Code.MISMATCH, subject, name,
                problem=f"{{value}} calls itself {named!r} in the entry point {values}", remedy="give both one name",
            )  # fmt: skip
        return found


def load_location(location: Any) -> Any:
    """Return what a location names, e.g. "hpt_ros.model.heads:MlpHead"; anything but a text as it is."""
    if not isinstance(location, str):
        return location
    module, _, name = location.partition(":")
    return getattr(importlib.import_module(module), name)


def _package(point: importlib.metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else "a package without metadata"
