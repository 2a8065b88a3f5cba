# SPDX-FileCopyrightText: hpt_ros maintainers
# SPDX-License-Identifier: Apache-2.0
"""Makes the next batches while the network works on this one: in a thread, or in processes.

A thread costs nothing to start and copies nothing, but shares Python's lock with the network; processes (PyTorch's
DataLoader, forked) have cores of their own. What comes out is the same, in the same order.
"""

from __future__ import annotations

import errno
import gc
import multiprocessing.queues
import os
import queue
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from hpt_ros.devices import is_out_of_memory, names, usable_cores
from hpt_ros.errors import Code, HptError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

AHEAD = 3  # batches held ready: enough to even out a slow read, few enough to stay small in memory
MOST_READERS = 8  # of one process by default; more wait for the disk, and each holds batches


class ReaderError(HptError):
    """A process that reads has ended, or the machine has no room for what passes between it and this one."""


class Batches(Protocol[T_co]):
    """Batches in order."""

    def next(self) -> T_co:
        """Return the next batch; waits for it. Raises what making it raised."""
        ...


@contextmanager
def prefetch(
    make: Callable[[int], T], first: int, stop: int, *, readers: int = 0, pin: bool = False
) -> Iterator[Batches[T]]:
    """Within the block, `make(step)` of step = first .. stop - 1, made ahead; afterwards nothing of it runs.

    Args:
        make: depends on the step alone; it is called in a thread or, where there are readers, in copies of this
            process.
        first, stop: steps.
        readers: number of processes; 0: a thread of this one.
        pin: put tensors into pinned memory, of which a GPU copies by itself.

    Raises:
        ReaderError: a reader was killed.
    """
    if readers and stop > first:
        with in_processes(make, range(first, stop), readers, pin=pin) as batches:
            yield batches
        return
    thread = _Thread(make, first, stop, pin)
    try:
        yield thread
    finally:
        thread.close()


@contextmanager
def in_processes(
    make: Callable[[Any], T], items: Sequence[Any], workers: int, *, pin: bool = False
) -> Iterator[Batches[T]]:
    """Within the block, `make(item)` of all items, in their order, made by forked copies of this process.

    The copies have one thread each, ignore Ctrl-C, and end with the block, or when this process ends.

    Raises:
        ReaderError: one of them was killed, or shared memory or open files do not suffice.
    """
    with warnings.catch_warnings():
        # That there are more than cores is the caller's choice; that threads do not survive a fork is known.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        warnings.filterwarnings("ignore", ".*use of fork.*", DeprecationWarning)
        loader: DataLoader[Any] = DataLoader(
            _Made(make, items),
            batch_size=None,
            sampler=range(len(items)),
            num_workers=workers,
            multiprocessing_context="fork",
            worker_init_fn=_start,
            pin_memory=pin,
            generator=torch.Generator(),  # else it takes a number from the run's
        )
        gc.collect()
        try:
            iterator: Any = iter(loader)
        except OSError as error:
            if not (lacking := _lacking(error)):
                raise
            cause = OSError(error.errno, error.strerror)
            hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
            del loader
            error.with_traceback(None)  # frees PyTorch's half-made iterator, which would complain of that
            sys.unraisablehook = hook
            raise _error_of(lacking, cause) from None
    try:
        yield _Processes(iterator)
    except RuntimeError as error:  # PyTorch raises it wherever this process is when a worker ends
        _require_alive(iterator, error)
        raise
    finally:
        iterator._shutdown_workers()


def spare_readers(device: str, threads: int, world: int = 1) -> int:
    """Return how many reader processes a process of a run should have.

    Those cores that its network leaves: on a GPU all but one, on the CPU all but the network's threads.

    Args:
        device: of the network.
        threads: CPU threads of the network.
        world: processes of the run on this machine.
    """
    cores = usable_cores() // max(1, world)
    used = 1 if torch.device(device).type == "cuda" else threads
    return max(0, min(MOST_READERS, cores - used))


class _Made(Dataset[Any]):
    """The items of a loader's places; an error that the user can correct comes back as a value, with its fields."""

    def __init__(self, make: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self._make, self._items = make, items

    def __getitem__(self, index: int) -> Any:
        try:
            return self._make(self._items[index])
        except (HptError, MemoryError, OSError) as error:
            return error
        except RuntimeError as error:
            if is_out_of_memory(error):
                return MemoryError(str(error))
            raise


class _Processes(Generic[T]):
    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator

    def next(self) -> T:
        try:
            made = next(self._iterator)
        except (OSError, EOFError, RuntimeError) as error:
            _require_alive(self._iterator, error)
            if lacking := _lacking(error):
                raise _error_of(lacking, error) from error
            raise
        if isinstance(made, Exception):
            raise made
        result: T = made
        return result


def _start(worker: int) -> None:
    """Leave Ctrl-C, and all that was there before the fork, to the process that waits for the batches.

    A decoder of a video that is freed here would wait for its threads, which are in the other process.
    """
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A batch that cannot be sent is dropped otherwise, and the other process waits for it for ever.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(_end)  # type: ignore[attr-defined]
    # Of the thread that sends: the process that waits says what is lacking.
    shown = sys.excepthook
    sys.excepthook = lambda kind, error, trace: None if _lacking(error) else shown(kind, error, trace)


def _end(error: Exception, item: object) -> None:
    """End a reader whose batch cannot be sent; its status says what the system lacks, as an errno."""
    lacking = _lacking(error)
    if not lacking:
        traceback.print_exception(error)
    os._exit(lacking or 1)


def _lacking(error: BaseException) -> int:
    """The errno of what the system has too little of, by an error of readers; PyTorch has no classes for these."""
    number = error.errno if isinstance(error, OSError) and error.filename is None else None
    if (
        isinstance(error, EOFError)
        or number in (errno.EMFILE, errno.ENFILE)
        or names(error, "(24)", "ancdata")
    ):
        return errno.EMFILE
    if number == errno.ENOSPC or names(error, "shared memory"):
        return errno.ENOSPC
    return errno.ENOMEM if is_out_of_memory(error) else 0


def _error_of(lacking: int, cause: BaseException) -> ReaderError:
    """The error of readers for which the system has too little of something, by its errno."""
    what, more = {
        errno.EMFILE: ("the number of open files", "allow more, as by `ulimit -n 65536`"),
        errno.ENOSPC: ("shared memory (/dev/shm)", "make it larger (in a container, see its --shm-size)"),
        errno.ENOMEM: ("memory", "free some"),
    }[lacking]
    return ReaderError(
        Code.UNAVAILABLE, what, problem="does not suffice for the processes that read data", cause=cause,
        remedy=f"{more}, or set fewer with --readers; with 0 this process reads itself",
    )  # fmt: skip


def _require_alive(iterator: Any, error: BaseException) -> None:
    """Raise ReaderError if one of a loader's processes was ended by a signal or by itself, or could not be heard."""
    for worker in iterator._workers:
        worker.join(0.1)  # it may be on its way
        if worker.exitcode in (errno.EMFILE, errno.ENOSPC, errno.ENOMEM):
            raise _error_of(
                worker.exitcode, OSError(worker.exitcode, os.strerror(worker.exitcode))
            ) from error
        if worker.exitcode:
            how = (
                f"was ended by {signal.Signals(-worker.exitcode).name}"
                if worker.exitcode < 0
                else f"ended with status {worker.exitcode}"
            )
            raise ReaderError(
                Code.UNAVAILABLE, f"a process that reads data (number {worker.pid})",
                problem=how, remedy="if memory or /dev/shm is short (in a container, see its --shm-size), free some or "
                "set fewer with --readers; with 0 this process reads itself",
            ) from error  # fmt: skip


class _Thread(Generic[T]):
    """Calls `make` in a thread and hands the results out in order."""

    def __init__(self, make: Callable[[int], T], first: int, stop: int, pin: bool) -> None:
        self._make, self._first, self._stop, self._pin = make, first, stop, pin
        self._queue: queue.Queue[T | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hpt-batches", daemon=True)
        self._thread.start()

    def next(self) -> T:
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """Stop the thread and wait for it."""
        self._closed.set()
        self._thread.join()

    def _run(self) -> None:
        for step in range(self._first, self._stop):
            try:
                item: T | BaseException = self._make(step)
                if self._pin and isinstance(item, list):
                    item = [part.pin_memory() for part in item]  # type: ignore[assignment]
            except BaseException as error:  # raised again in the caller's thread
                item = error
            while not self._closed.is_set():
                try:
                    self._queue.put(item, timeout=0.1)
                    break
                except queue.Full:
                    continue
            if self._closed.is_set() or isinstance(item, BaseException):
                return
