# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""RLDS episodes (Open X-Embodiment) in TFRecord files, as TensorFlow Datasets wrote them, read without TensorFlow.

A record is one episode: a `tf.train.Example` whose features are the columns of its steps, flattened, e.g.
``steps/action`` and ``steps/observation/image``; images are JPEG or PNG, one a step. Formats:
https://www.tensorflow.org/tutorials/load_data/tfrecord (records, checksums) and tensorflow/core/example/example.proto.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from hpt_ros.dataset.errors import DatasetError
from hpt_ros.dataset.importing.images import decode_files, is_depth_file, is_image_file, size_of_file
from hpt_ros.dataset.importing.source import (
    ACTIONS,
    STATES,
    TEXTS,
    Frames,
    SourceEpisode,
    Unread,
    choose_columns,
    label_of,
    split_by_task,
    to_name,
    whole_fps,
)
from hpt_ros.embodiment.estimates import make_unique
from hpt_ros.errors import Code
from hpt_ros.extras import require_extra

STEPS = "steps/"
_FIRST = "steps/is_first"
_MASK_DELTA = 0xA282EAD8  # of the checksums of TFRecord
_MOST_BYTES = 1 << 31  # one episode; protobuf takes no more

Columns = Mapping[str, Any]  # list of bytes, or an array


class RldsSource:
    """TFRecord files of an RLDS dataset.

    Args:
        root: the folder with the files, or one file.
        fps: steps a second, which RLDS does not state.
        action, state: columns that make the vectors, in this order, without ``steps/``; the usual ones if None, no
            state if empty.

    Raises:
        DatasetError: no files, damage, or columns that are not there.
    """

    def __init__(
        self,
        root: str | Path,
        fps: float | None,
        action: Sequence[str] | None = None,
        state: Sequence[str] | None = None,
    ) -> None:
        self.root, self.robot = Path(root), ""
        self.where = f"dataset {str(self.root)!r}"
        self._files = find_records(self.root)
        first = self._first()
        self.fps, self.notes = whole_fps(None, fps, "")
        name, columns = first
        length = _length(name, columns)
        sizes = {
            key.removeprefix(STEPS): len(values) // length
            for key, values in columns.items()
            if key.startswith(STEPS) and isinstance(values, np.ndarray)
            and len(values) and len(values) % length == 0
        }  # fmt: skip
        self._action = choose_columns(name, sizes, action, ACTIONS, "action")
        self._state = choose_columns(name, sizes, state, STATES, "state")
        self.labels = {label_of(key): key for key, size in sizes.items() if size == 1 and label_of(key)}
        pictures = [key for key, values in columns.items() if _are_images(values, length)]
        depth = [key for key in pictures if is_depth_file(columns[key][0])]
        images = [key for key in pictures if key not in depth]
        names = [to_name(key.removeprefix(STEPS).removeprefix("observation/")) for key in images]
        self._images = dict(zip(make_unique(names), images, strict=True))
        self.views = {view: size_of_file(columns[key][0], name) for view, key in self._images.items()}
        self.depths: dict[str, tuple[int, int]] = {}
        self._dims = {key: sizes[key] for key in (*self._action, *self._state)}
        self.action_names, self.state_names = self._names(self._action), self._names(self._state)
        self._text = next(
            (
                key
                for end in TEXTS
                for key in columns
                if key.rpartition("/")[2] == end and _are_texts(columns[key])
            ),
            "",
        )
        known = (*self._action, *self._state, *self.labels.values())
        taken = {*(STEPS + key for key in known), *images, self._text}
        self.left_out = [
            f"{key} (depth)" if key in depth else key for key in sorted(columns) if key not in taken
        ]

    def episodes(self) -> Iterator[Unread]:
        """Yield all episodes, in the order of the files; what follows a damaged record in its file is lost."""
        for name, read in self._raw():
            yield Unread(name, partial(self._episode, name, read))

    def _episode(self, name: str, read: Callable[[], Columns]) -> list[SourceEpisode]:
        columns = read()
        length = _length(name, columns)
        for key in self._images.values():
            if not _are_images(columns.get(key), length):
                raise DatasetError(
                    Code.MISSING, name, length, problem=f"has no {{value}} images in {key!r}",
                    remedy="copy the dataset again, or leave the episode out with --skip-bad",
                )  # fmt: skip

        def frames(start: int, stop: int) -> dict[str, Frames]:
            return {
                view: partial(decode_files, name, view, self.views[view], columns[key][start:stop])
                for view, key in self._images.items()
            }

        labels = {label: _matrix(name, columns, [key], length, 1)[:, 0] for label, key in self.labels.items()}
        state, action = (
            _matrix(name, columns, keys, length, sum(self._dims[key] for key in keys))
            for keys in (self._state, self._action)
        )
        return split_by_task(name, self._texts(columns, length), state, action, labels, frames)

    def _texts(self, columns: Columns, length: int) -> list[str]:
        """Return the instruction of each step; one text is that of all."""
        found = columns.get(self._text)
        texts = [text.decode("utf-8", "replace").strip() for text in found or ()] if _are_texts(found) else []
        return texts if len(texts) == length else (texts or [""])[:1] * length

    def _names(self, keys: Sequence[str]) -> list[str]:
        return make_unique(
            [
                f"{key.removeprefix('observation/').replace('/', '_')}_{index}"
                for key in keys
                for index in range(self._dims[key])
            ]
        )

    def _first(self) -> tuple[str, Columns]:
        """Return the first episode that can be read."""
        failed: DatasetError | None = None
        for name, read in self._raw():
            try:
                columns = read()
                _length(name, columns)
            except DatasetError as error:
                failed = failed or error
                continue
            return name, columns
        raise failed or DatasetError(
            Code.EMPTY, self.where, len(self._files), problem="has no episode in its {value} files",
            remedy="copy it again",
        )  # fmt: skip

    def _raw(self) -> Iterator[tuple[str, Callable[[], Columns]]]:
        """Yield the name of each record and what reads it; a damaged one as what raises its error."""
        example = _example_class()
        for path in self._files:
            number = 0
            try:
                for number, data in enumerate(read_records(path), 1):
                    name = f"record {number - 1} of {str(path)!r}"
                    yield name, partial(_columns, example, data, name)
            except DatasetError as error:
                yield f"record {number} of {str(path)!r}", partial(_raise, error)


def _raise(error: DatasetError) -> Columns:
    raise error


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
            Code.EMPTY, repr(str(root)), problem="holds no *.tfrecord files",
            remedy="give the folder of one version of an RLDS dataset, e.g. bridge/0.1.0",
        )  # fmt: skip
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
                Code.DAMAGED, f"file {str(path)!r}", at, problem="has a wrong checksum at byte {value}",
                remedy="it is damaged: copy it again",
            )  # fmt: skip

    with _open(path) as file:
        while header := _read(path, file, 12):
            at = file.tell() - len(header)
            if len(header) < 12:
                raise DatasetError(
                    Code.DAMAGED, f"file {str(path)!r}", at, problem="is cut short at byte {value}",
                    remedy="copy it again",
                )  # fmt: skip
            check(header[:8], struct.unpack("<I", header[8:])[0], at)
            (length,) = struct.unpack("<Q", header[:8])
            if length > _MOST_BYTES:
                raise DatasetError(
                    Code.OUT_OF_RANGE, f"file {str(path)!r}", length,
                    problem="has a record of {value} bytes, which is no RLDS episode", remedy="give an RLDS dataset",
                )  # fmt: skip
            data, end = _read(path, file, length), _read(path, file, 4)
            if len(data) < length or len(end) < 4:
                raise DatasetError(
                    Code.DAMAGED, f"file {str(path)!r}", at, problem="is cut short at byte {value}",
                    remedy="copy it again",
                )  # fmt: skip
            check(data, struct.unpack("<I", end)[0], at)
            yield data


def _open(path: Path) -> IO[bytes]:
    """Open a file of records, which TensorFlow may have compressed."""
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if compressed else path.open("rb")


def _read(path: Path, file: IO[bytes], count: int) -> bytes:
    try:
        return file.read(count)
    except (EOFError, OSError, zlib.error) as error:
        raise DatasetError(
            Code.UNREADABLE, f"file {str(path)!r}", cause=error, remedy="copy it again",
        ) from error  # fmt: skip


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
        raise DatasetError(
            Code.UNREADABLE, name, problem="is no tf.train.Example", cause=error, remedy="give an RLDS dataset",
        ) from error  # fmt: skip
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
        raise DatasetError(
            Code.MISSING, name, _FIRST, problem="has no {value}, which every RLDS episode has",
            remedy="give an RLDS dataset",
        )  # fmt: skip
    return len(steps)


def _matrix(name: str, columns: Columns, keys: Sequence[str], length: int, dim: int) -> NDArray[np.float32]:
    parts = []
    for key in keys:
        values = columns.get(STEPS + key)
        if not isinstance(values, np.ndarray) or len(values) % length:
            raise DatasetError(
                Code.WRONG_SHAPE, name, key, problem=f"has no numbers in {{value}} for its {length} steps",
                remedy="copy the dataset again",
            )  # fmt: skip
        parts.append(values.reshape(length, -1).astype(np.float32))
    joined = np.concatenate(parts, axis=1) if parts else np.zeros((length, 0), np.float32)
    if joined.shape[1] != dim:
        raise DatasetError(
            Code.WRONG_SHAPE, name, joined.shape[1],
            problem=f"has {{value}} numbers a step in {', '.join(keys)}, but the first episode has {dim}",
            remedy="it is of another dataset: leave it out",
        )  # fmt: skip
    return joined


def _are_images(values: Any, length: int) -> bool:
    return isinstance(values, list) and len(values) == length and is_image_file(values[0])


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and not is_image_file(values[0])
