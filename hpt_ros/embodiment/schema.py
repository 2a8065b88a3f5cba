# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""The embodiment file's schema: one robot, as recording, converting, training and running must agree on it.

Data only. Units are SI; joint vectors follow the order of names that the file gives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.embodiment.action import Action, completed, redundant_keys
from hpt_ros.embodiment.action_checks import check_action
from hpt_ros.embodiment.continuous import reconcile
from hpt_ros.embodiment.space import ActionSpace
from hpt_ros.embodiment.streams import (
    BY_STAMP,
    NAME,
    EmbodimentError,
    Stream,
    check_stream,
    check_type,
    in_namespace,
)
from hpt_ros.errors import Code
from hpt_ros.modalities import MODALITIES, Layout, Modality
from hpt_ros.resources import config_path
from hpt_ros.structured import (
    differences,
    dump_yaml,
    field,
    load_yaml_mapping,
    read_dataclass,
    read_yaml_file,
    to_mapping,
)

FORMAT = "hpt_ros/embodiment/1"


@dataclass(frozen=True)
class Embodiment:
    """One robot: its observed streams, its action and its limits."""

    format: str = field("schema version", choices=(FORMAT,))
    name: str = field("the embodiment's name; stems and heads are kept under it")
    tick_hz: float = field("rate of observations and of the dataset", unit="Hz", above=0.0, maximum=1000.0)
    streams: tuple[Stream, ...] = field(
        "observed topics; order fixes the order of views and of the state vector"
    )
    action: Action = field("the command")
    observation_horizon: int = field(
        "past ticks that the policy sees, this one included", default=1, minimum=1, maximum=64
    )
    task: str = field("the task's text when none is given", default="")
    description: str = field("one line for people", default="")

    @staticmethod
    def load(path: str | Path) -> Embodiment:
        """Read and check an embodiment file.

        Args:
            path: of the file, or the name of a shipped one.

        Raises:
            HptError: a name, but of no shipped file.
            StructureError: unreadable, not YAML, wrong keys or types.
            EmbodimentError: fields that contradict one another.
        """
        return _check(read_yaml_file(config_path("embodiments", path)), f"embodiment file {str(path)!r}")

    @staticmethod
    def loads(text: str, *, where: str = "embodiment text") -> Embodiment:
        """As `load`, from YAML text that travelled inside a bag, dataset or checkpoint."""
        return _check(load_yaml_mapping(text, where=where), where)

    def to_yaml(self) -> str:
        """The canonical text; equal embodiments give equal text."""
        mapping = to_mapping(self)
        for key in redundant_keys(self.action):
            del mapping["action"][key]
        # What few robots have is not in the text of the others.
        for stream in mapping["streams"]:
            for key, common in (
                ("continuous", []),
                ("encoding", ""),
                ("holds", []),
                ("prefix", ""),
                ("values", []),
                ("frame", ""),
                ("child", ""),
                ("time", BY_STAMP),
                ("stamp_offset_s", 0.0),
            ):
                if stream[key] == common:
                    del stream[key]
        for output in mapping["action"].get("outputs", ()):
            for key in ("prefix", "values"):
                if not output[key]:
                    del output[key]
            if output["time"] == BY_STAMP:
                del output["time"]
        if mapping["action"].get("time") == BY_STAMP:
            del mapping["action"]["time"]
        for limit in mapping["action"]["limits"]:
            if not limit["continuous"]:
                del limit["continuous"]
        return dump_yaml(mapping)

    @property
    def topics(self) -> dict[str, str]:
        """Every topic to its message type: of the streams, then of the commands as they are recorded."""
        found = {stream.topic: stream.type for stream in self.streams}
        recorded = [output.recorded_as for output in self.action.parts]
        return found | {item.topic: item.type for item in recorded}

    def with_topics(self, resolve: Callable[[str], str]) -> Embodiment:
        """The same robot with every topic name resolved, e.g. by `in_namespace` or a node."""
        action = self.action
        outputs = tuple(output.with_topic(resolve) for output in action.outputs)
        return replace(
            self,
            streams=tuple(replace(stream, topic=resolve(stream.topic)) for stream in self.streams),
            action=replace(action, outputs=outputs, topic=resolve(action.topic) if action.topic else ""),
        )

    @property
    def dt_s(self) -> float:
        """Seconds between ticks."""
        return 1.0 / self.tick_hz

    def streams_of(self, modality: str) -> tuple[Stream, ...]:
        """Streams of one modality, in the file's order."""
        return tuple(stream for stream in self.streams if stream.modality == modality)

    @cached_property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities of its streams, in the order of the registry."""
        there = {stream.modality for stream in self.streams}
        return tuple(MODALITIES[name] for name in MODALITIES if name in there)

    def names_of(self, modality: str) -> tuple[str, ...]:
        """Names of the elements of a modality whose streams are joined to one vector ("state", "wrench")."""
        return tuple(name for stream in self.streams_of(modality) for name in stream.names)

    @cached_property
    def image_streams(self) -> tuple[Stream, ...]:
        """Image streams in view order."""
        return self.streams_of("image")

    @cached_property
    def state_streams(self) -> tuple[Stream, ...]:
        """State streams in the order of the state vector."""
        return self.streams_of("state")

    @cached_property
    def state_names(self) -> tuple[str, ...]:
        """Names of the elements of ``observation.state``."""
        return self.names_of("state")

    @cached_property
    def space(self) -> ActionSpace:
        """The action vector's place among measured states, modes and commands."""
        return ActionSpace(self.action, self.state_names, self.name, self.tick_hz)

    @cached_property
    def lower(self) -> NDArray[np.float64]:
        """Lowest permitted command, (action dim,), in the action's unit."""
        return self.space.bounds[0]

    @cached_property
    def upper(self) -> NDArray[np.float64]:
        """Highest permitted command, (action dim,), in the action's unit."""
        return self.space.bounds[1]

    @cached_property
    def max_velocity(self) -> NDArray[np.float64]:
        """Largest rate of change, (action dim,), in the action's unit per second."""
        return self.space.bounds[2]

    @cached_property
    def max_acceleration(self) -> NDArray[np.float64]:
        """Largest second rate of change, (action dim,), in the action's unit per second squared."""
        return self.space.bounds[3]

    def stream(self, name: str) -> Stream:
        """The stream of that name.

        Raises:
            EmbodimentError: there is none.
        """
        for stream in self.streams:
            if stream.name == name:
                return stream
        known = ", ".join(stream.name for stream in self.streams)
        raise EmbodimentError(
            Code.MISSING, f"embodiment {self.name!r}", name, problem="has no stream {value}",
            remedy=f"its streams are {known}",
        )  # fmt: skip


# What a bag does not settle: it holds messages as they came, so these may be chosen anew when it is converted.
_CHOSEN_AT_CONVERSION = (
    "tick_hz", "streams.*.image", "streams.*.points", "streams.*.tolerance_s", "action.tolerance_s",
    "action.outputs.*.tolerance_s", "action.outputs.*.rotation", "streams.*.continuous", "task",
)  # fmt: skip
# What a dataset does not settle: it may be chosen anew when a policy is trained.
_CHOSEN_AT_TRAINING = (
    "observation_horizon", "action.horizon", "action.limits", "action.rate_hz", "action.latency_s", "action.mode",
    "action.grippers", "action.outputs.*.latency_s", "action.outputs.*.rotation_limit",
    "streams.*.qos", "streams.*.rate_hz", "streams.*.partial", "streams.*.holds", "streams.*.encoding",
    "streams.*.time", "streams.*.stamp_offset_s", "action.time", "action.outputs.*.time",
)  # fmt: skip
_NOT_SETTLED = {"all": (), "dataset": _CHOSEN_AT_TRAINING, "bag": _CHOSEN_AT_TRAINING + _CHOSEN_AT_CONVERSION}


def require_match(a: Embodiment, b: Embodiment, *, a_name: str, b_name: str, settled: str = "all") -> None:
    """Raise unless two embodiments agree in everything that matters; descriptions never do, and a relative topic is
    the same as the absolute one that it is outside of any namespace.

    Args:
        a, b: the embodiments.
        a_name, b_name: what they belong to, e.g. ``"checkpoint 'runs/1'"``.
        settled: "all" for a checkpoint and a robot; "dataset" or "bag" leave out what such data does not settle, e.g.
            the observation horizon.

    Raises:
        EmbodimentError: names the first field that differs and both values.
    """
    left = comparable(a.with_topics(in_namespace), _NOT_SETTLED[settled])
    right = comparable(b.with_topics(in_namespace), _NOT_SETTLED[settled])
    found = differences(left, right)
    if found:
        key, in_a, in_b = found[0]
        more = f" ({len(found) - 1} more fields differ)" if len(found) > 1 else ""
        raise EmbodimentError(
            Code.MISMATCH, f"{a_name} and {b_name}",
            problem=f"are of different embodiments: {key} is {_short(in_a)} in the first and {_short(in_b)} "
            f"in the second{more}", remedy="use files of the same robot",
        )  # fmt: skip


def comparable(embodiment: Embodiment, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """An embodiment as a mapping whose items go by name, so that a difference says which stream or joint, not which
    index; without its description and the dotted paths in `without`."""
    mapping = to_mapping(embodiment)
    mapping.pop("description", None)
    for path in without:
        _remove(mapping, path.split("."))
    mapping["streams"] = {item["name"]: item for item in mapping["streams"]}
    mapping["action"]["limits"] = {item["name"]: item for item in mapping["action"].get("limits", ())}
    mapping["action"]["outputs"] = {item["name"]: item for item in mapping["action"]["outputs"]}
    # Order counts too: it fixes views and vector elements.
    mapping["order of streams"] = list(mapping["streams"])
    return mapping


def _remove(mapping: dict[str, Any], path: list[str]) -> None:
    """Remove a key by its path; ``*`` stands for every item of a list."""
    node: Any = mapping
    for index, key in enumerate(path[:-1]):
        if key == "*":
            for item in node:
                _remove(item, path[index + 1 :])
            return
        node = node[key]
    node.pop(path[-1], None)


def _short(value: Any) -> str:
    if value is None:
        return "absent"
    text = str(value)
    return text if len(text) <= 120 else text[:117] + "..."


def _check(data: dict[str, Any], where: str) -> Embodiment:
    if data.get("format") != FORMAT:
        raise EmbodimentError(
            Code.INVALID, f"{where}, format", data.get("format"), expected=repr(FORMAT),
            remedy="is it an embodiment file of hpt_ros?",
        )  # fmt: skip
    embodiment = read_dataclass(Embodiment, data, where=where)
    for stream in embodiment.streams:
        check_type(stream, f"{where}, stream {stream.name!r}")  # first, since all else asks the type
    outputs = tuple(output.add_prefix() for output in embodiment.action.outputs)
    embodiment = replace(
        embodiment,
        streams=tuple(stream.add_prefix() for stream in embodiment.streams),
        action=replace(embodiment.action, outputs=outputs),
    )
    action = completed(embodiment.action, data["action"], f"{where}, action")
    streams, limits = reconcile(embodiment.streams, action, where)
    embodiment = replace(embodiment, streams=streams, action=replace(action, limits=limits))
    _check_names(embodiment, where)
    for stream in embodiment.streams:
        check_stream(stream, f"{where}, stream {stream.name!r}")
    _check_alike(embodiment, where)
    check_action(embodiment.action, embodiment.streams, f"{where}, action")
    return embodiment


def _check_names(embodiment: Embodiment, where: str) -> None:
    if not NAME.fullmatch(embodiment.name):
        raise EmbodimentError(
            Code.OUT_OF_RANGE, f"{where}, name", embodiment.name,
            expected="a lower-case letter and then letters, digits or underscores (63 at most)",
            remedy="rename it",
        )  # fmt: skip
    if not embodiment.streams:
        raise EmbodimentError(
            Code.MISSING, where, problem="has no streams", expected="at least one",
            remedy="list what the policy observes",
        )  # fmt: skip
    for kind, values in (
        ("stream name", [stream.name for stream in embodiment.streams]),
        # Of some messages several streams take something each.
        (
            "stream topic",
            [in_namespace(item.topic) for item in embodiment.streams if not (item.values or item.frame)],
        ),
        *(
            (f"{modality.name} element", list(embodiment.names_of(modality.name)))
            for modality in embodiment.modalities
            if modality.layout is Layout.JOINED
        ),
    ):
        if (twice := _first_duplicate(values)) is not None:
            raise EmbodimentError(
                Code.DUPLICATE, where, twice,
                problem=f"has the {kind} {{value}} twice, but each may stand once",
                remedy="rename or remove one",
            )  # fmt: skip


def _check_alike(embodiment: Embodiment, where: str) -> None:
    """Streams that enter one stem side by side must have one shape; the sizes of views are checked when needed."""
    for modality in embodiment.modalities:
        streams = embodiment.streams_of(modality.name)
        shapes = {stream.name: stream.shape for stream in streams}
        alike = modality.layout is Layout.STACKED and modality.same_size
        if alike and len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
            raise EmbodimentError(
                Code.WRONG_SHAPE, where, problem=f"has {modality.name} streams of the shapes {listed}",
                expected="one shape for all", remedy="give them the same size",
            )  # fmt: skip
        if modality.layout is Layout.TEXT and len(streams) > 1:
            raise EmbodimentError(
                Code.DUPLICATE, where, problem=f"has the {modality.name} streams {', '.join(shapes)}",
                expected="one at most", remedy="keep one",
            )  # fmt: skip


def _first_duplicate(values: list[str]) -> str | None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None
