"""Objects that any number of threads can read while one thread at a time changes them.

Every `Guarded` object has two locks. `writer` is held while a method changes the object, including a whole fit, so that
changes never interleave. `lock` is held only while a change becomes visible or a reader takes a snapshot, so that
readers wait neither for a fit nor for each other. A snapshot is a shallow copy, of the same class, of state that is
never changed in place. Reading methods run on a single snapshot from beginning to end, including the methods they call,
so that they cannot deadlock.

None of this relies on the global interpreter lock.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, Self


class _Before:
    """The state of an object before the fit that is under way."""

    __slots__ = ("__weakref__", "state")

    def __init__(self, state: dict[str, Any]) -> None:
        self.state = state


class Guard:
    """The locks of one object, and caches derived from its state.

    Attributes
    ----------
    writer : RLock
        Held while a method changes the object.
    lock : RLock
        Held while a change becomes visible or a snapshot is taken, for microseconds.
    fit : weak reference or None
        To the state before a `fit` in progress, which all other threads still see. The call of `fit` owns that state,
        so that a fit interrupted by Ctrl-C, at whatever line, hides nothing afterwards.
    owner : int
        The thread of that fit.
    derived : dict
        Caches. Entries refer to the objects they were derived from; they are replaced, never modified, and may be lost.
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
    """An object with a guard: a subclass lists the methods that read it and those that change it.

    A method that changes the object makes its changes visible atomically, by `_commit`. Attributes may also be set one
    by one, as with any Python object; each assignment is then a change of its own.
    """

    __slots__ = ("_guard", "_is_snapshot")

    # Names of methods, which are wrapped wherever a subclass defines them.
    _reading: ClassVar[tuple[str, ...]] = ()
    _changing: ClassVar[tuple[str, ...]] = ()

    _guard: Guard
    _is_snapshot: bool

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Give the object its own guard; also called for copies and unpickled objects."""
        self = super().__new__(cls)
        self._guard, self._is_snapshot = Guard(), False
        return self

    def __init_subclass__(cls, **options: Any) -> None:
        """Wrap the reading and changing methods."""
        super().__init_subclass__(**options)
        for names, wrap in ((cls._reading, _reading), (cls._changing, _changing)):
            for name in names:
                method = getattr(cls, name, None)
                if callable(method) and not hasattr(method, "_is_guarded"):
                    setattr(cls, name, wrap(method))

    def __getstate__(self) -> dict[str, Any]:
        return dict(self._snapshot().__dict__)

    def _snapshot(self) -> Self:
        """Return a consistent snapshot of the object; a snapshot returns itself."""
        if self._is_snapshot:
            return self
        guard, snapshot = self._guard, object.__new__(type(self))
        snapshot._guard, snapshot._is_snapshot = guard, True
        with guard.lock:
            snapshot.__dict__.update(self._visible())
            snapshot._pin()
        return snapshot

    def _visible(self) -> dict[str, Any]:
        """Return the state visible to this thread, under the lock: while another thread fits, that before the fit."""
        before = None if self._is_snapshot else self._guard.before
        return self.__dict__ if before is None or self._guard.owner == threading.get_ident() else before

    def _check_options(self, method: Callable[..., Any], options: dict[str, Any]) -> None:
        """Refuse keyword arguments that a method does not have, where Python's message would not tell what to do."""

    def _pin(self) -> None:
        """Replace state that may change in place; called on a snapshot while it is taken."""

    def _release(self) -> None:
        """Free the resources of a snapshot after it has been read."""

    def _fitted_in(self, seconds: float) -> None:
        """Take note of a `fit` that has ended."""

    def _commit(self, state: dict[str, Any]) -> None:
        """Set attributes, atomically for all readers."""
        with self._guard.lock:
            # Deleted only after the lock is released: finalizers may run Python code, which lets other threads run.
            replaced = dict(self.__dict__)
            self.__dict__.update(state)
        del replaced


class Fitted:
    """An attribute set by `fit`; while a fit is running, other threads read the previous value and wait to set it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Guarded | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with instance._guard.lock:
            state = instance._visible()
            if self.name in state:
                return state[self.name]
        raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")

    def __set__(self, instance: Guarded, value: Any) -> None:
        if instance._is_snapshot:
            instance.__dict__[self.name] = value
            return
        with instance._guard.writer:
            instance._commit({self.name: value})

    def __delete__(self, instance: Guarded) -> None:
        with instance._guard.writer, instance._guard.lock:
            if self.name not in instance.__dict__:
                raise AttributeError(f"{type(instance).__name__!r} object has no attribute {self.name!r}")
            removed = instance.__dict__.pop(self.name)
        del removed  # after the lock is released, as in `_commit`


def snapshot_of(value: Any) -> Any:
    """Return a snapshot of a guarded object; any other value is returned as it is."""
    return value._snapshot() if isinstance(value, Guarded) else value


def _reading(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method run on a snapshot."""

    @functools.wraps(method)
    def read(self: Guarded, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # from IPython and pytest, which then show the caller's line and the method's
        if options:
            self._check_options(method, options)
        if self._is_snapshot:
            return method(self, *args, **options)
        snapshot = self._snapshot()
        try:
            return method(snapshot, *args, **options)
        finally:
            snapshot._release()

    read._is_guarded = True  # type: ignore[attr-defined]
    return read


def _changing(method: Callable[..., Any]) -> Callable[..., Any]:
    """Make a method exclude other changes; other threads see the changes made by `fit` only when it has finished."""
    hides = method.__name__ == "fit"

    @functools.wraps(method)
    def change(self: Guarded, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        if options:
            self._check_options(method, options)
        guard, start = self._guard, time.perf_counter()
        with guard.writer:
            if not hides or guard.before is not None:
                return method(self, *args, **options)
            before = _Before(dict(self.__dict__))
            with guard.lock:
                guard.fit, guard.owner = weakref.ref(before), threading.get_ident()
            try:
                done = method(self, *args, **options)
            finally:
                guard.fit = None
            self._fitted_in(time.perf_counter() - start)
            return done

    change._is_guarded = True  # type: ignore[attr-defined]
    return change


# A child forked while another thread holds a lock would wait for it forever, and might see half of a change. Therefore,
# a fork waits until no `lock` is held, and the child gets new locks.

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
        if guard.owner != me:  # the thread of that fit does not exist in the child
            guard.fit = None
    _held.clear()
    _registry_lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
