"""Plain data out of a pickle, which is read as a list of instructions and never run.

`pickletools` names the instructions; here they move plain values on a stack. No module is imported
and nothing is called: what a pickle asks for by name is looked up in a table of the caller's, and a
name that is not in it ends the reading.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

# A state-dict of a thousand tensors has 100 kB and 40,000 instructions.
MOST_BYTES = 32 * 1024 * 1024
MOST_STEPS = 5_000_000
# Seeds have 128 bits. Of more than 14,000 Python makes no text, and it hashes them anew each time.
_MOST_BITS = 4096
# Whole numbers further apart may all have one hash.
_KEY_BITS = 60


class BrokenPickle(Exception):
    """Says in a few words what is wrong with a pickle."""


class RefusedName(Exception):
    """Says that a pickle asks for something by a name that is not known.

    Attributes:
        name: dotted, as the pickle has it: it may be anything.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


@dataclass(frozen=True)
class Known:
    """Stands for what a pickle asks for by name.

    Attributes:
        name: dotted.
        make: returns what stands for the outcome of calling it; None: it is not to be called.
    """

    name: str
    make: Callable[[tuple[Any, ...]], Any] | None = None


@dataclass(frozen=True, eq=False)
class Inert:
    """Stands for an object of which nothing is needed.

    Attributes:
        name: of its class.
    """

    name: str


class _Mark:
    pass


_MARK = _Mark()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
# Their argument is the value.
_VALUES = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
_EMPTY: Mapping[str, Callable[[], Any]] = {
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_SET": list,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT"}, {"GET", "BINGET", "LONG_BINGET"}


def read_pickle(
    file: BinaryIO,
    known: Mapping[str, Known],
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """Reads one pickle; the file stands behind it afterwards.

    Args:
        known: dotted name -> what stands for it.
        persistent: turns the id of what is kept outside of the pickle into what stands for it;
            None: there is nothing outside.

    Returns:
        Numbers, texts, bytes, lists, tuples, dicts, and what `known` and `persistent` made. Sets
        are lists. The same object may stand in several places, also within itself.

    Raises:
        BrokenPickle: it is cut short, damaged, too long, or does what no plain data needs.
        RefusedName: it asks for a name that is not known.
    """
    machine = _Machine(known, persistent)
    bounded: Any = _Bounded(file, MOST_BYTES)
    try:
        with warnings.catch_warnings():
            # Of a name with a backslash in it.
            warnings.simplefilter("ignore", DeprecationWarning)
            for step, (opcode, argument, _) in enumerate(pickletools.genops(bounded)):
                if step > MOST_STEPS:
                    raise BrokenPickle(f"its pickle has more than {MOST_STEPS:,} instructions")
                if opcode.name == "STOP":
                    return machine.pop()
                machine.do(opcode.name, argument)
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, MemoryError):
        raise BrokenPickle("its pickle is damaged or cut short") from None
    raise BrokenPickle("its pickle is cut short")


class _Bounded:
    """Reads no further than so many bytes, whatever length the file's own content states."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self.file, self.left = file, most

    def read(self, size: int) -> bytes:
        if size > self.left:
            raise BrokenPickle(f"its pickle is longer than {MOST_BYTES:,} bytes")
        self.left -= size
        return self.file.read(size)

    def readline(self) -> bytes:
        line = self.file.readline(self.left)
        self.left -= len(line)
        return line

    def tell(self) -> int:
        return self.file.tell()


class _Machine:
    def __init__(self, known: Mapping[str, Known], persistent: Callable[[Any], Any] | None) -> None:
        self.known, self.persistent = known, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        # Of what is called: it may be given the same long list each time.
        self.taken = 0

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise BrokenPickle("its pickle is damaged")
        return value

    def to_mark(self) -> list[Any]:
        """Takes what stands above the last mark."""
        for place in range(len(self.stack) - 1, -1, -1):
            if self.stack[place] is _MARK:
                found = self.stack[place + 1 :]
                del self.stack[place:]
                return found
        raise BrokenPickle("its pickle is damaged")

    def do(self, name: str, argument: Any) -> None:
        """Does one instruction."""
        if name in ("PROTO", "FRAME"):
            return
        if name in _VALUES:
            if isinstance(argument, int) and argument.bit_length() > _MOST_BITS:
                raise BrokenPickle("its pickle has a number of too many digits")
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self.stack.append(_EMPTY[name]())
        elif name in _PUTS:
            self.memo[int(argument)] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif name in _TUPLES:
            values = [self.pop() for _ in range(_TUPLES[name])]
            self.stack.append(tuple(reversed(values)))
        else:
            do = getattr(self, f"_{name.lower()}", None)
            if do is None:
                raise BrokenPickle(f"its pickle holds the instruction {name}, as no plain data has")
            do(argument)

    def _mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self.stack.pop()

    def _pop_mark(self, _: Any) -> None:
        self.to_mark()

    def _dup(self, _: Any) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.to_mark()))

    def _list(self, _: Any) -> None:
        self.stack.append(self.to_mark())

    _frozenset = _list

    def _dict(self, _: Any) -> None:
        values = self.to_mark()
        self.stack.append({})
        self._set(values)

    def _append(self, _: Any) -> None:
        value = self.pop()
        self._extend([value])

    def _appends(self, _: Any) -> None:
        self._extend(self.to_mark())

    _additems = _appends

    def _extend(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(values)
        elif not isinstance(target, Inert):
            raise BrokenPickle("its pickle appends to what is no list")

    def _setitem(self, _: Any) -> None:
        value, key = self.pop(), self.pop()
        self._set([key, value])

    def _setitems(self, _: Any) -> None:
        self._set(self.to_mark())

    def _set(self, values: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, Inert):
            return
        if not isinstance(target, dict) or len(values) % 2:
            raise BrokenPickle("its pickle is damaged")
        for key, value in zip(values[::2], values[1::2], strict=True):
            # Tuples are hashed anew each time, and may hold themselves a million times.
            is_plain = isinstance(key, str | int | float | bytes | None)
            if not is_plain or (isinstance(key, int) and key.bit_length() > _KEY_BITS):
                key = f"<{type(key).__name__}>"
            target[key] = value

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._named(f"{module}.{name}")

    def _stack_global(self, _: Any) -> None:
        name, module = self.pop(), self.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise BrokenPickle("its pickle is damaged")
        self._named(f"{module}.{name}")

    def _named(self, name: str) -> None:
        found = self.known.get(name)
        if found is None:
            raise RefusedName(name)
        self.stack.append(found)

    def _reduce(self, _: Any) -> None:
        arguments, what = self.pop(), self.pop()
        self._called(what, arguments)

    _newobj = _reduce

    def _newobj_ex(self, _: Any) -> None:
        _, arguments, what = self.pop(), self.pop(), self.pop()
        self._called(what, arguments)

    def _called(self, what: Any, arguments: Any) -> None:
        if not isinstance(what, Known) or what.make is None or not isinstance(arguments, tuple):
            raise BrokenPickle("its pickle calls what is not to be called")
        self.taken += sum(len(item) for item in arguments if isinstance(item, list))
        if self.taken > MOST_STEPS:
            raise BrokenPickle(f"its pickle copies more than {MOST_STEPS:,} values")
        self.stack.append(what.make(arguments))

    def _build(self, _: Any) -> None:
        # An object's attributes. Of a dict they are no items of it, of a tensor no values.
        self.pop()

    def _binpersid(self, _: Any) -> None:
        if self.persistent is None:
            raise BrokenPickle("its pickle refers to what is outside of it")
        self.stack.append(self.persistent(self.pop()))
