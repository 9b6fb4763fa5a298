"""Objects that any number of threads read while one thread at a time changes them.

Every `Guarded` object has two locks. `writer` is held for as long as a method changes the object, a whole fit included,
so that two changes never mix. `lock` is held for the moment in which a change becomes visible, and for the moment in
which a reader takes a snapshot: readers wait for neither a fit nor each other. A snapshot is a shallow copy, of the
same class, of what never changes once it is there. Reading methods run on it from beginning to end, whatever they call,
so that nothing can wait for itself.

None of this relies on the global interpreter lock.
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Self


class _Before:
    """The state of an object before the fit that is under way."""

    __slots__ = ("__weakref__", "state")

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


class Guard:
    """The locks of one object, and what is derived from its state for the sake of speed.

    Attributes
    ----------
    writer : RLock
        Held while a method changes the object.
    lock : RLock
        Held while a change becomes visible or a snapshot is taken: for microseconds.
    fit : weak reference or None
        To the state before a `fit` that is under way, which all threads but that of the fit go on seeing. The call of
        `fit` holds it: one that Ctrl-C cut off, at whatever line, hides nothing any more.
    owner : int
        The thread of that fit.
    derived : dict
        Caches. An entry names the objects it was derived from, is replaced and never changed, and may be lost.
    """

    __slots__ = ("__weakref__", "derived", "fit", "lock", "owner", "writer")

    def __init__(self) -> None:
        self.writer, self.lock = threading.RLock(), threading.RLock()
        self.fit: weakref.ref[_Before] | None = None
        self.owner = 0
        self.derived: dict[str, Any] = {}
        with _registry_lock:
            _guards.add(self)

    @property
    def before(self) -> dict[str, Any] | None:
        """The state before the fit that is under way, or None."""
        fit = self.fit
        kept = None if fit is None else fit()
        return None if kept is None else kept.state


class Guarded:
    """An object with a guard: a subclass names the methods that read it and those that change it.

    A method that changes the object makes what it changed visible by `_commit`, all at once. Attributes may also be set
    one by one, as of any Python object; each of them is then a change of its own.
    """

    __slots__ = ("_guard", "_is_snapshot")

    # Wrapped wherever a subclass defines them: whoever adds a model has nothing to remember.
    _reading: ClassVar[tuple[str, ...]] = ()
    _changing: ClassVar[tuple[str, ...]] = ()

    _guard: Guard
    _is_snapshot: bool

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Give the object a guard of its own; copies and what is unpickled come here too."""
        self = super().__new__(cls)
        self._guard, self._is_snapshot = Guard(), False
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap the methods that read and those that change."""
        super().__init_subclass__(**options)
        for names, wrap in ((cls._reading, _reading), (cls._changing, _changing)):
            for name in names:
                method = getattr(cls, name, None)
                if callable(method) and not hasattr(method, "_is_guarded"):
                    setattr(cls, name, wrap(method))

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._snapshot().__dict__)

    def _snapshot(self) -> Self:
        """Return the object as it is at one moment; of a snapshot, itself."""
        if self._is_snapshot:
            return self
        guard, twin = self._guard, object.__new__(type(self))
        twin._guard, twin._is_snapshot = guard, True
        with guard.lock:
            before = guard.before
            hides = before is not None and guard.owner != threading.get_ident()
            twin.__dict__.update(before if before is not None and hides else self.__dict__)
            twin._pin()
        return twin

    def _pin(self) -> None:
        """Replace, in a snapshot that is being taken, what may change later."""

    def _release(self) -> None:
        """Say that a snapshot has been read."""

    def _commit(self, state: dict[str, Any]) -> None:
        """Set attributes, all at once for every reader."""
        with self._guard.lock:
            # Kept until the lock is open: what ends with an array may be Python code, which lets other threads run.
            replaced = dict(self.__dict__)
            self.__dict__.update(state)
        del replaced


def snapshot_of(value: Any) -> Any:
    """Return a guarded object as it is at one moment, and anything else as it is."""
    return value._snapshot() if isinstance(value, Guarded) else value


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method read a snapshot."""

    @functools.wraps(method)
    def read(self: Guarded, *args: Any, **options: Any) -> Any:
        if self._is_snapshot:
            return method(self, *args, **options)
        twin = self._snapshot()
        try:
            return method(twin, *args, **options)
        finally:
            twin._release()

    read._is_guarded = True  # type: ignore[attr-defined]
    return read


def _changing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Let a method change the object when no other does; other threads see a fit when it is done."""
    hides = method.__name__ == "fit"

    @functools.wraps(method)
    def change(self: Guarded, *args: Any, **options: Any) -> Any:
        guard = self._guard
        with guard.writer:
            if not hides or guard.before is not None:
                return method(self, *args, **options)
            before = _Before(dict(self.__dict__))
            with guard.lock:
                guard.fit, guard.owner = weakref.ref(before), threading.get_ident()
            try:
                return method(self, *args, **options)
            finally:
                guard.fit = None

    change._is_guarded = True  # type: ignore[attr-defined]
    return change


# A child that is forked while another thread holds a lock would wait for it forever, and might find half a change: a
# fork waits for the changes that are becoming visible, and the child gets new locks.

_registry_lock = threading.RLock()
_guards: weakref.WeakSet[Guard] = weakref.WeakSet()
_held: list[Guard] = []


def _before_fork() -> None:
    _registry_lock.acquire()
    _held[:] = _guards
    for guard in _held:
        guard.lock.acquire()


def _after_fork_in_parent() -> None:
    for guard in _held:
        guard.lock.release()
    _held.clear()
    _registry_lock.release()


def _after_fork_in_child() -> None:
    global _registry_lock
    me = threading.get_ident()
    for guard in _held:
        guard.lock, guard.writer = threading.RLock(), threading.RLock()
        if guard.owner != me:  # the thread of that fit is not here to end it
            guard.fit = None
    _held.clear()
    _registry_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
