# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""RLDS episodes (Open X-Embodiment) in TFRecord files, as TensorFlow Datasets wrote them, read without TensorFlow.

A record is one episode: a `tf.train.Example` whose features are the columns of its steps, flattened, e.g.
``steps/action`` and ``steps/observation/image``; images are JPEG or PNG, one a step. Formats:
https://www.tensorflow.org/tutorials/load_data/tfrecord (records, checksums) and tensorflow/core/example/example.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.importer import Image, SourceEpisode, to_name
from hpt_ros.embodiment import ImageSpec, Stream
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.errors import did_you_mean
from hpt_ros.extras import require_extra

STEPS = "steps/"
_FIRST = "steps/is_first"
_TEXTS = ("language_instruction", "natural_language_instruction", "instruction", "task")
_MAGIC = (b"\xff\xd8", b"\x89PNG")
_MASK_DELTA = 0xA282EAD8  # of the checksums of TFRecord
_MOST_BYTES = 1 << 31  # one episode; protobuf takes no more

Columns = Mapping[str, Any]  # list of bytes, or an array


class RldsSource:
    """TFRecord files of an RLDS dataset.

    Args:
        root: the folder with the files, or one file.
        fps: steps a second, which RLDS does not state.
        action, state: columns that make the vectors, in this order, without ``steps/``.

    Raises:
        DatasetError: no files, damage, or columns that are not there.
    """

    def __init__(
        self,
        root: str | Path,
        fps: float,
        action: Sequence[str] = ("action",),
        state: Sequence[str] = ("observation/state",),
    ) -> None:
        self.root, self.fps, self.robot = Path(root), fps, ""
        self.where = f"dataset {str(self.root)!r}"
        self._files = find_records(self.root)
        first = next(self._raw(), None)
        if first is None:
            raise DatasetError(f"{self.where} has no episode in its {len(self._files)} files; copy it again")
        name, columns = first
        self._action, self._state = (
            _choose(name, columns, action, "action"),
            _choose(name, columns, state, "state"),
        )
        length = _length(name, columns)
        images = [key for key, values in columns.items() if _are_images(values, length)]
        names = [to_name(key.removeprefix(STEPS).removeprefix("observation/")) for key in images]
        self._images = dict(zip(make_unique(names), images, strict=True))
        self.views = {view: _size(columns[key][0], view) for view, key in self._images.items()}
        self.action_names = _element_names(columns, self._action, length)
        self.state_names = _element_names(columns, self._state, length)
        self._text = next(
            (
                key
                for end in _TEXTS
                for key in columns
                if key.rpartition("/")[2] == end and _are_texts(columns[key])
            ),
            "",
        )
        taken = {*self._action, *self._state, *images, self._text}
        self.left_out = sorted(key for key in columns if key not in taken)

    def episodes(self) -> Iterator[SourceEpisode]:
        """Yield all episodes, in the order of the files."""
        for name, columns in self._raw():
            length = _length(name, columns)
            task = ""
            if self._text and _are_texts(columns.get(self._text)):
                task = columns[self._text][0].decode("utf-8", "replace").strip()
            frames = {}
            for view, key in self._images.items():
                if not _are_images(columns.get(key), length):
                    raise DatasetError(f"{name} has no {length} images in {key!r}; copy the dataset again")
                frames[view] = partial(_decode, columns[key], view, self.views[view])
            yield SourceEpisode(
                name,
                task,
                _matrix(name, columns, self._state, length, len(self.state_names)),
                _matrix(name, columns, self._action, length, len(self.action_names)),
                frames,
            )

    def _raw(self) -> Iterator[tuple[str, Columns]]:
        example = _example_class()
        for path in self._files:
            for number, data in enumerate(read_records(path)):
                name = f"record {number} of {str(path)!r}"
                yield name, _columns(example, data, name)


def find_records(root: Path) -> list[Path]:
    """Return the TFRecord files at a path, by name: ``*.tfrecord``, ``*.tfrecord-00000-of-00010``.

    Raises:
        DatasetError: there are none.
    """
    if root.is_file():
        return [root]
    files = sorted(path for path in root.glob("*.tfrecord*") if path.is_file())
    if not files:
        raise DatasetError(
            f"{str(root)!r} holds no *.tfrecord files; give the folder of one version of an RLDS dataset, e.g. "
            "bridge/0.1.0"
        )
    return files


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, each checked against its checksum.

    Raises:
        DatasetError: damaged or cut short.
    """
    crc32c = require_extra("google_crc32c", extra="rlds", what="importing RLDS")

    def check(data: bytes, wanted: int, at: int) -> None:
        value = int(crc32c.value(data))
        if ((value >> 15 | value << 17) + _MASK_DELTA) & 0xFFFFFFFF != wanted:
            raise DatasetError(
                f"file {str(path)!r} has a wrong checksum at byte {at}; it is damaged: copy it again"
            )

    with path.open("rb") as file:
        while header := file.read(12):
            at = file.tell() - len(header)
            if len(header) < 12:
                raise DatasetError(f"file {str(path)!r} is cut short at byte {at}; copy it again")
            check(header[:8], struct.unpack("<I", header[8:])[0], at)
            (length,) = struct.unpack("<Q", header[:8])
            if length > _MOST_BYTES:
                raise DatasetError(
                    f"file {str(path)!r} has a record of {length} bytes; it is no RLDS episode"
                )
            data = file.read(length)
            end = file.read(4)
            if len(data) < length or len(end) < 4:
                raise DatasetError(f"file {str(path)!r} is cut short at byte {at}; copy it again")
            check(data, struct.unpack("<I", end)[0], at)
            yield data


def _example_class() -> Any:
    """Return the class of `tf.train.Example`, made from its description: three kinds of lists in a map from names."""
    what = "importing RLDS"
    pb2 = require_extra("google.protobuf.descriptor_pb2", extra="rlds", what=what)
    pools = require_extra("google.protobuf.descriptor_pool", extra="rlds", what=what)
    factory = require_extra("google.protobuf.message_factory", extra="rlds", what=what)
    kinds = pb2.FieldDescriptorProto
    file = pb2.FileDescriptorProto(name="example.proto", package="tensorflow", syntax="proto3")
    for name, kind in (
        ("BytesList", kinds.TYPE_BYTES),
        ("FloatList", kinds.TYPE_FLOAT),
        ("Int64List", kinds.TYPE_INT64),
    ):
        file.message_type.add(name=name).field.add(
            name="value", number=1, type=kind, label=kinds.LABEL_REPEATED
        )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        feature.field.add(
            name=name.lower(), number=number, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_OPTIONAL,
            type_name=f".tensorflow.{name}", oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    entry.field.add(
        name="value",
        number=2,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=".tensorflow.Feature",
    )
    features.field.add(
        name="feature", number=1, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED,
        type_name=".tensorflow.Features.FeatureEntry",
    )  # fmt: skip
    file.message_type.add(name="Example").field.add(
        name="features",
        number=1,
        type=kinds.TYPE_MESSAGE,
        label=kinds.LABEL_OPTIONAL,
        type_name=".tensorflow.Features",
    )
    pool = pools.DescriptorPool()
    pool.Add(file)
    return factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


def _columns(example: Any, data: bytes, name: str) -> Columns:
    message = example()
    try:
        message.ParseFromString(data)
    except Exception as error:  # protobuf's DecodeError; which class it is depends on its backend
        raise DatasetError(f"{name} is no tf.train.Example ({error}); give an RLDS dataset") from error
    found: dict[str, Any] = {}
    for key, feature in message.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind == "byteslist":
            found[key] = list(feature.byteslist.value)
        elif kind is not None:
            found[key] = np.array(getattr(feature, kind).value)
    return found


def _length(name: str, columns: Columns) -> int:
    steps = columns.get(_FIRST)
    if steps is None or not len(steps):
        raise DatasetError(f"{name} has no {_FIRST!r}, which every RLDS episode has; give an RLDS dataset")
    return len(steps)


def _choose(name: str, columns: Columns, wanted: Sequence[str], what: str) -> list[str]:
    length = _length(name, columns)
    numbers = {
        key.removeprefix(STEPS): len(values) // length
        for key, values in columns.items()
        if key.startswith(STEPS)
        and isinstance(values, np.ndarray)
        and len(values)
        and len(values) % length == 0
    }
    for column in wanted:
        if column not in numbers:
            there = ", ".join(f"{key} ({size})" for key, size in sorted(numbers.items()))
            raise DatasetError(
                f"{name} has no numbers in {column!r} for the {what}; it has {there[:800]}"
                f"{did_you_mean(column, numbers) or f'; name some with --{what}'}"
            )
    return [f"{STEPS}{column}" for column in wanted]


def _element_names(columns: Columns, keys: Sequence[str], length: int) -> list[str]:
    return make_unique(
        [
            f"{key.removeprefix(STEPS).removeprefix('observation/').replace('/', '_')}_{index}"
            for key in keys
            for index in range(len(columns[key]) // length)
        ]
    )


def _matrix(name: str, columns: Columns, keys: Sequence[str], length: int, dim: int) -> NDArray[np.float32]:
    parts = []
    for key in keys:
        values = columns.get(key)
        if not isinstance(values, np.ndarray) or len(values) % length:
            raise DatasetError(
                f"{name} has no numbers in {key!r} for its {length} steps; copy the dataset again"
            )
        parts.append(values.reshape(length, -1).astype(np.float32))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((length, 0), np.float32)
    if joined.shape[1] != dim:
        raise DatasetError(
            f"{name} has {joined.shape[1]} numbers a step in {', '.join(keys)}, but the first episode has {dim}; it is "
            "of another dataset"
        )
    return joined


def _are_images(values: Any, length: int) -> bool:
    return isinstance(values, list) and len(values) == length and values[0].startswith(_MAGIC)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and not values[0].startswith(_MAGIC)


def _size(data: bytes, view: str) -> tuple[int, int]:
    import io

    import av

    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        return int(stream.height), int(stream.width)


def _decode(images: Sequence[bytes], view: str, size: tuple[int, int]) -> Iterator[Image]:
    from hpt_ros.observation import decode_compressed_image

    stream = Stream(
        view, "image", f"/{view}", "sensor_msgs/msg/CompressedImage", 1.0, 1.0, image=ImageSpec(*size)
    )
    for data in images:
        yield decode_compressed_image(stream, SimpleNamespace(data=data, format="jpeg or png"))
