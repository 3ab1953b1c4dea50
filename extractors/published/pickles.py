"""A reader of pickled data that runs nothing: the only way in which this project opens a pickle.

A pickle is a program for a small stack machine, and the usual reader executes it: it imports what the file names, calls
it, and lets objects set their own state. Restricting `pickle.Unpickler.find_class` is not enough here, for its machine
still calls what is allowed with arguments of the file's choice, and takes memory by numbers that the file declares.

So this module interprets the opcodes itself. Numbers, strings, bytes, lists, tuples, dicts and sets are made as they
are. A name is only noted, and refused at once unless it is in `ALLOWED`. A call of an allowed name becomes a
description of an array, which is checked (data type, shape, number of bytes) before numpy sees it. Neither the file's
names are imported, nor its calls executed.
"""

import codecs
import pickle
import re
import struct
import sys
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from foundation.errors import UserError

_OLD, _NEW = "numpy.core", "numpy._core"  # the second is numpy 2's name
ALLOWED = {
    **{f"{core}.multiarray.{name}": name for core in (_OLD, _NEW) for name in ("_reconstruct", "scalar")},
    **{f"{core}.numeric._frombuffer": "_frombuffer" for core in (_OLD, _NEW)},  # arrays of protocol 5
    "numpy.ndarray": "ndarray",
    "numpy.dtype": "dtype",
    **{f"{module}.{name}": name for module in ("builtins", "__builtin__") for name in ("set", "bytes")},
    "_codecs.encode": "encode",  # bytes of Python 3 in protocols 0 to 2
}
"""Names that feature files contain, and what each of them stands for; every other name is refused."""
DTYPES = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})
"""Kinds and sizes of the numbers that an array may hold."""
STRINGS = re.compile(r"[SU][0-9]{1,6}")
"""Data types of the strings that an array may hold."""
MOST_AXES = 8
DEEPEST = 24
"""Levels of containers inside one another; the layouts of the field have five."""
MOST_CONTAINERS = 20_000_000
"""Lists, dicts, tuples, sets and arrays of one file; it bounds the memory that short opcodes can take."""
MOST_EXPANDED = 64
"""Values that the file stands for, if nothing in it were shared, per byte of the file and ..."""
EXPANDED_ANYWAY = 1_000_000
"""... in any case. Objects that refer to shared objects could otherwise stand for any number of values."""
LARGEST_KEY = 2**31
LONGEST_INTEGER = 9
"""Bytes of the largest integer; longer ones take a time that grows with the square of their length."""


class PickleError(UserError):
    """The file is refused or broken; the message names it, and where or what."""


class _BrokenError(Exception):
    """The opcodes make no sense; `read_pickle` adds the file and the position."""


class _RefusedError(Exception):
    """The opcodes ask for something that no feature file needs."""


class _Old(bytes):
    """A string of Python 2, whose bytes are text or the data of an array."""

    __slots__ = ()

    def text(self) -> str:
        """Decode as UTF-8, otherwise as the cp1252 of older programs, otherwise as latin1, which cannot fail."""
        for encoding in ("utf-8", "cp1252"):
            try:
                return self.decode(encoding)
            except UnicodeDecodeError:
                continue
        return self.decode("latin1")


class _Name:
    """An allowed name that the file mentions; `what` is its value in ALLOWED."""

    __slots__ = ("what",)

    def __init__(self, what: str) -> None:
        self.what = what


class _Dtype:
    """Description of a numpy data type."""

    __slots__ = ("code", "order")

    def __init__(self, code: str) -> None:
        self.code = code
        self.order: Literal["<", ">", "|", "="] = "<"


class _Array:
    """Description of an array, complete only after its BUILD."""

    __slots__ = ("state",)

    def __init__(self) -> None:
        self.state: tuple | None = None


def read_pickle(content: bytes, name: str) -> Any:
    """Read a pickle of protocol 0 to 5, of Python 2 or 3, without running anything of it.

    Strings of Python 2 are decoded as UTF-8, or else as cp1252 or latin1. Arrays are numpy arrays of numbers or strings
    in the machine's byte order; an object array becomes its only item if it has no axis, and a list if it has one and
    holds plain values. Bytes after the end are ignored, as `pickle.load` does.

    Args:
        name: name of the file for messages.

    Raises:
        PickleError: the file is no whole pickle, or asks for more than ALLOWED and the limits of this module.
    """
    machine = _Machine(content)
    try:
        machine.run()
        return _Plain(len(content)).of(machine.result())
    except _RefusedError as error:
        raise PickleError(f"{name}: refused: {error}; nothing of the file was run") from None
    except (_BrokenError, IndexError, KeyError, ValueError, TypeError, OverflowError, struct.error) as error:
        reason = str(error) if isinstance(error, _BrokenError) else "its opcodes make no sense"
        raise PickleError(f"{name}: is no whole pickle: {reason} (byte {machine.place} of {len(content)})") from None


class _Machine:
    """The stack machine; each method of an opcode reads its argument and changes the stack."""

    def __init__(self, content: bytes) -> None:
        self.content, self.place, self.containers = content, 0, 0
        self.stack: list = []
        self.marked: list[list] = []
        """Stacks below the marks, the innermost last."""
        self.memo: dict[int, Any] = {}

    def run(self) -> None:
        content, handlers = self.content, _HANDLERS
        stop = pickle.STOP[0]
        while True:
            if self.place >= len(content):
                raise _BrokenError("it ends before its end mark")
            opcode = content[self.place]
            self.place += 1
            if opcode == stop:
                return
            handler = handlers.get(opcode)
            if handler is None:
                raise _BrokenError(f"{bytes([opcode])!r} is no opcode")
            handler(self)

    def result(self) -> Any:
        if self.marked or len(self.stack) != 1:
            raise _BrokenError("it does not end with one value")
        return self.stack[0]

    # ---- arguments ----

    def take(self, number: int) -> bytes:
        if number < 0 or number > len(self.content) - self.place:
            raise _BrokenError(f"{number} bytes are declared, {len(self.content) - self.place} are left")
        self.place += number
        return self.content[self.place - number : self.place]

    def number(self, form: str) -> int:
        size = struct.calcsize(form)
        value: int = struct.unpack(form, self.take(size))[0]
        return value

    def line(self) -> bytes:
        end = self.content.find(b"\n", self.place)
        if end < 0:
            raise _BrokenError("a line has no end")
        return self.take(end + 1 - self.place)[:-1]

    def counted(self, form: str) -> bytes:
        return self.take(self.number(form))

    def since_mark(self) -> list:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def push_container(self, value: Any) -> None:
        self.containers += 1
        if self.containers > MOST_CONTAINERS:
            raise _RefusedError(f"it has more than {MOST_CONTAINERS:,} lists and other containers")
        self.stack.append(value)

    # ---- opcodes ----

    def push_int_line(self) -> None:
        line = self.line()
        self.stack.append({b"00": False, b"01": True}[line] if line in (b"00", b"01") else self.whole(line))

    def whole(self, line: bytes) -> int:
        if len(line) > 24:
            raise _RefusedError("it has an integer of more than 64 bits")
        return int(line.removesuffix(b"L"))

    def push_long(self, form: str) -> None:
        size = self.number(form)
        if size > LONGEST_INTEGER:
            raise _RefusedError("it has an integer of more than 64 bits")
        self.stack.append(int.from_bytes(self.take(size), "little", signed=True))

    def push_string_line(self) -> None:
        line = self.line().strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise _BrokenError("a string without quotes")
        self.stack.append(_Old(codecs.escape_decode(line[1:-1])[0]))

    def push_name(self, module: bytes | str, name: bytes | str) -> None:
        written = ".".join(part if isinstance(part, str) else part.decode("utf-8") for part in (module, name))
        if written not in ALLOWED:
            raise _RefusedError(f"it asks for {written[:120]!r}, which no feature file needs")
        self.stack.append(_Name(ALLOWED[written]))

    def push_global(self) -> None:
        module = self.line()
        self.push_name(module, self.line())

    def push_stack_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise _BrokenError("a name that is no string")
        self.push_name(module, name)

    def refuse_instance(self) -> None:
        module = self.line()
        self.push_name(module, self.line())  # refuses what is not allowed by its name
        raise _RefusedError("it makes an instance of a class")

    def get(self, number: int) -> None:
        if number not in self.memo:
            raise _BrokenError(f"the memo has no entry {number}")
        self.stack.append(self.memo[number])

    def put(self, number: int) -> None:
        self.memo[number] = self.stack[-1]

    def append(self) -> None:
        value = self.stack.pop()
        self.a_list(self.stack[-1]).append(value)

    def append_all(self) -> None:
        items = self.since_mark()
        self.a_list(self.stack[-1]).extend(items)

    def a_list(self, value: Any) -> list:
        if type(value) is not list:
            raise _RefusedError("it adds items to something that is no list")
        return value

    def set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def set_items(self) -> None:
        items = self.since_mark()
        self.fill(self.stack[-1], items)

    def push_dict(self) -> None:
        items = self.since_mark()
        made: dict = {}
        self.fill(made, items)
        self.push_container(made)

    def fill(self, target: Any, items: list) -> None:
        if type(target) is not dict:
            raise _RefusedError("it sets items of something that is no dict")
        if len(items) % 2:
            raise _BrokenError("a key without a value")
        for place in range(0, len(items), 2):
            target[_key(items[place])] = items[place + 1]

    def add_items(self) -> None:
        items = self.since_mark()
        if type(self.stack[-1]) is not set:
            raise _RefusedError("it adds items to something that is no set")
        self.stack[-1].update(map(_key, items))

    def push_tuple(self, number: int) -> None:
        if len(self.stack) < number:
            raise _BrokenError("too few values for a tuple")
        items = tuple(self.stack[len(self.stack) - number :])
        del self.stack[len(self.stack) - number :]
        self.push_container(items)

    def reduce(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, _Name) or type(arguments) is not tuple:
            raise _RefusedError("it calls something that is no name of numpy")
        self.push_container(_described(called.what, arguments))

    def build(self) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if type(state) is not tuple:
            raise _RefusedError("it sets a state that is none of an array")
        if isinstance(target, _Array):
            target.state = state
        elif isinstance(target, _Dtype):
            _set_order(target, state)
        else:
            raise _RefusedError("it sets the state of something that is no array")

    def skip_protocol(self) -> None:
        protocol = self.take(1)[0]
        if protocol > 5:
            raise _BrokenError(f"protocol {protocol} is unknown")

    def drop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def mark(self) -> None:
        self.marked.append(self.stack)
        self.stack = []


def _refuse(what: str) -> Callable[[_Machine], None]:
    def handler(machine: _Machine) -> None:
        raise _RefusedError(f"it uses {what}")

    return handler


_HANDLERS: dict[int, Callable[[_Machine], None]] = {
    opcode[0]: handler
    for opcode, handler in {
        pickle.MARK: _Machine.mark,
        pickle.POP: _Machine.drop,
        pickle.POP_MARK: lambda machine: machine.since_mark() and None,
        pickle.DUP: lambda machine: machine.stack.append(machine.stack[-1]),
        pickle.PROTO: _Machine.skip_protocol,
        pickle.FRAME: lambda machine: machine.take(8) and None,
        pickle.NONE: lambda machine: machine.stack.append(None),
        pickle.NEWTRUE: lambda machine: machine.stack.append(True),
        pickle.NEWFALSE: lambda machine: machine.stack.append(False),
        pickle.INT: _Machine.push_int_line,
        pickle.LONG: lambda machine: machine.stack.append(machine.whole(machine.line())),
        pickle.LONG1: lambda machine: machine.push_long("<B"),
        pickle.LONG4: lambda machine: machine.push_long("<i"),
        pickle.BININT: lambda machine: machine.stack.append(machine.number("<i")),
        pickle.BININT1: lambda machine: machine.stack.append(machine.number("<B")),
        pickle.BININT2: lambda machine: machine.stack.append(machine.number("<H")),
        pickle.FLOAT: lambda machine: machine.stack.append(float(machine.line())),
        pickle.BINFLOAT: lambda machine: machine.stack.append(machine.number(">d")),
        pickle.STRING: _Machine.push_string_line,
        pickle.BINSTRING: lambda machine: machine.stack.append(_Old(machine.counted("<i"))),
        pickle.SHORT_BINSTRING: lambda machine: machine.stack.append(_Old(machine.counted("<B"))),
        pickle.UNICODE: lambda machine: machine.stack.append(machine.line().decode("raw-unicode-escape")),
        pickle.BINUNICODE: lambda machine: machine.stack.append(machine.counted("<I").decode()),
        pickle.SHORT_BINUNICODE: lambda machine: machine.stack.append(machine.counted("<B").decode()),
        pickle.BINUNICODE8: lambda machine: machine.stack.append(machine.counted("<Q").decode()),
        pickle.BINBYTES: lambda machine: machine.stack.append(machine.counted("<I")),
        pickle.SHORT_BINBYTES: lambda machine: machine.stack.append(machine.counted("<B")),
        pickle.BINBYTES8: lambda machine: machine.stack.append(machine.counted("<Q")),
        pickle.BYTEARRAY8: lambda machine: machine.stack.append(machine.counted("<Q")),
        pickle.EMPTY_LIST: lambda machine: machine.push_container([]),
        pickle.LIST: lambda machine: machine.push_container(machine.since_mark()),
        pickle.APPEND: _Machine.append,
        pickle.APPENDS: _Machine.append_all,
        pickle.EMPTY_DICT: lambda machine: machine.push_container({}),
        pickle.DICT: _Machine.push_dict,
        pickle.SETITEM: _Machine.set_item,
        pickle.SETITEMS: _Machine.set_items,
        pickle.EMPTY_SET: lambda machine: machine.push_container(set()),
        pickle.FROZENSET: lambda machine: machine.push_container(set(map(_key, machine.since_mark()))),
        pickle.ADDITEMS: _Machine.add_items,
        pickle.EMPTY_TUPLE: lambda machine: machine.push_container(()),
        pickle.TUPLE: lambda machine: machine.push_container(tuple(machine.since_mark())),
        pickle.TUPLE1: lambda machine: machine.push_tuple(1),
        pickle.TUPLE2: lambda machine: machine.push_tuple(2),
        pickle.TUPLE3: lambda machine: machine.push_tuple(3),
        pickle.GET: lambda machine: machine.get(machine.whole(machine.line())),
        pickle.BINGET: lambda machine: machine.get(machine.number("<B")),
        pickle.LONG_BINGET: lambda machine: machine.get(machine.number("<I")),
        pickle.PUT: lambda machine: machine.put(machine.whole(machine.line())),
        pickle.BINPUT: lambda machine: machine.put(machine.number("<B")),
        pickle.LONG_BINPUT: lambda machine: machine.put(machine.number("<I")),
        pickle.MEMOIZE: lambda machine: machine.put(len(machine.memo)),
        pickle.GLOBAL: _Machine.push_global,
        pickle.STACK_GLOBAL: _Machine.push_stack_global,
        pickle.REDUCE: _Machine.reduce,
        pickle.BUILD: _Machine.build,
        pickle.INST: _Machine.refuse_instance,
        pickle.OBJ: _refuse("the opcode OBJ, which makes an instance of a class"),
        pickle.NEWOBJ: _refuse("the opcode NEWOBJ, which makes an instance of a class"),
        pickle.NEWOBJ_EX: _refuse("the opcode NEWOBJ_EX, which makes an instance of a class"),
        pickle.EXT1: _refuse("the extension registry (EXT1)"),
        pickle.EXT2: _refuse("the extension registry (EXT2)"),
        pickle.EXT4: _refuse("the extension registry (EXT4)"),
        pickle.PERSID: _refuse("a persistent id (PERSID), an object outside the file"),
        pickle.BINPERSID: _refuse("a persistent id (BINPERSID), an object outside the file"),
        pickle.NEXT_BUFFER: _refuse("a buffer outside the file (NEXT_BUFFER)"),
        pickle.READONLY_BUFFER: _refuse("a buffer outside the file (READONLY_BUFFER)"),
    }.items()
}


def _key(value: Any) -> Any:
    """Key of a dict, or member of a set: a string or a small integer."""
    if isinstance(value, _Old):
        return value.text()
    if isinstance(value, str) or (isinstance(value, int) and abs(value) < LARGEST_KEY):
        return value
    raise _RefusedError(f"it has a key of the type {type(value).__name__.lstrip('_')}; a key is a string or an integer")


def _described(called: str, arguments: tuple) -> Any:
    """Describe the result of a call of an allowed name, or refuse its arguments."""
    match called, arguments:
        case "_reconstruct", (_Name(what="ndarray"), (0,), _):
            return _Array()
        case "dtype", (code, *_):
            return _Dtype(_code(code))
        case "scalar", (_Dtype() as kind, data):
            return _array(kind, (), False, _data(data)).item()
        case "_frombuffer", (data, _Dtype() as kind, shape, "C" | "F" as order):
            made = _Array()
            made.state = (1, shape, kind, order == "F", data)
            return made
        case "set", ():
            return set()
        case "set", (list() | tuple() as items,):
            return set(map(_key, items))
        case "bytes", ():
            return b""
        case "encode", (str() as text, encoding) if encoding in ("latin1", "latin-1", b"latin1"):
            return text.encode("latin1")
    raise _RefusedError(f"it calls {called!r} with arguments that no feature file has")


def _code(written: Any) -> str:
    """Data type of an array, such as `f4` or `U12`, without the byte order."""
    code = written.text() if isinstance(written, _Old) else written
    if isinstance(code, str):
        short = code.lstrip("<>|=")
        if short in DTYPES or STRINGS.fullmatch(short):
            return short
        if short in ("O", "O8", "O4"):
            return "O"
    raise _RefusedError(f"it has an array of the data type {str(code)[:40]!r}; allowed are numbers and strings")


def _set_order(kind: _Dtype, state: tuple) -> None:
    """Take the byte order from the state of a data type; fields and nested types are refused."""
    if len(state) < 5 or any(part is not None for part in state[2:5]):
        raise _RefusedError("it has an array of a structured data type")
    match state[1].text() if isinstance(state[1], _Old) else state[1]:
        case "<" | ">" | "|" | "=" as order:
            kind.order = order
        case _:
            raise _BrokenError("a byte order that is none")


def _data(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    raise _BrokenError("an array whose data are no bytes")


def _array(kind: _Dtype, shape: tuple[int, ...], fortran: bool, data: bytes) -> np.ndarray:
    if kind.code == "O":
        raise _RefusedError("it has an array of objects")
    try:
        return filled(np.dtype(kind.code).newbyteorder(kind.order), shape, fortran, data)
    except ValueError as error:
        raise _RefusedError(f"it {error}") from None


def filled(dtype: np.dtype, shape: tuple[int, ...], fortran: bool, data: bytes) -> np.ndarray:
    """Make the array, if its data have exactly the bytes that its shape and data type declare.

    Raises:
        ValueError: they have not, or no array has such a shape, or such characters; the message says what the file
            declares or has.
    """
    require_shape(shape)
    number = 1
    for edge in shape:
        number *= edge
    if number * dtype.itemsize != len(data):
        raise ValueError(f"declares an array of {number:,} values of {dtype.itemsize} bytes, and has {len(data):,} "
                         "bytes for it")  # fmt: skip
    try:
        if not dtype.itemsize:  # strings without a letter, of which numpy makes some with one each
            if number > EXPANDED_ANYWAY:
                raise ValueError
            return np.zeros(shape, dtype)
        flat = np.frombuffer(data, dtype) if data else np.zeros(0, dtype)
        made = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
    except ValueError:  # numpy multiplies the edges even where one of them is 0
        raise ValueError(f"has an array of the shape {str(shape)[:60]}") from None
    if (
        dtype.kind == "U"
        and flat.size
        and flat.view(np.dtype("u4").newbyteorder(dtype.byteorder)).max() > sys.maxunicode
    ):
        raise ValueError("has an array of strings with numbers that are no characters")
    return made


def require_shape(shape: tuple) -> None:
    """Raise ValueError unless `shape` can be that of an array."""
    if len(shape) > MOST_AXES or not all(type(edge) is int and edge >= 0 for edge in shape):
        raise ValueError(f"has an array of the shape {str(shape)[:60]}")


class _Plain:
    """Turns what the machine made into plain values and arrays, with limits on depth and on shared objects."""

    def __init__(self, length: int) -> None:
        self.most = EXPANDED_ANYWAY + MOST_EXPANDED * length
        self.known: dict[int, tuple[Any, int]] = {}
        """Plain value, and number of values that it stands for, of each container by its identity."""
        self.open: set[int] = set()

    def of(self, value: Any) -> Any:
        return self.plain(value, 0)[0]

    def plain(self, value: Any, depth: int) -> tuple[Any, int]:
        """Plain form of `value`, and the number of values that it stands for."""
        if isinstance(value, _Old):
            return value.text(), 1
        if value is None or isinstance(value, (bool, int, float, str, bytes)):
            return value, 1
        if id(value) in self.known:
            return self.known[id(value)]
        if depth > DEEPEST:
            raise _RefusedError(f"it has more than {DEEPEST} containers inside one another")
        if id(value) in self.open:
            raise _RefusedError("it has a container that contains itself")
        self.open.add(id(value))
        made, stands_for = self.container(value, depth + 1)
        self.open.remove(id(value))
        if stands_for > self.most:
            raise _RefusedError("it has shared objects that stand for far more values than the file has bytes")
        self.known[id(value)] = made, stands_for
        return made, stands_for

    def container(self, value: Any, depth: int) -> tuple[Any, int]:
        if isinstance(value, (list, tuple)):
            items, stands_for = self.items(value, depth)
            return (items if isinstance(value, list) else tuple(items)), stands_for
        if isinstance(value, dict):
            items, stands_for = self.items(value.values(), depth)
            return dict(zip(value, items, strict=True)), stands_for + len(value)
        if isinstance(value, set):
            return value, 1 + len(value)
        if isinstance(value, _Array):
            return self.array(value, depth)
        raise _RefusedError("it has a name of numpy where a value belongs")

    def items(self, values: Any, depth: int) -> tuple[list, int]:
        made, total = [], 1
        for value in values:
            item, stands_for = self.plain(value, depth)
            made.append(item)
            total += stands_for
        return made, total

    def array(self, value: _Array, depth: int) -> tuple[Any, int]:
        match value.state:
            case (int(), tuple() as shape, _Dtype() as kind, fortran, data):
                pass
            case _:
                raise _BrokenError("an array without a state, or with one that is none")
        try:
            require_shape(shape)
        except ValueError as error:
            raise _RefusedError(f"it {error}") from None
        if kind.code != "O":
            made = _array(kind, shape, bool(fortran), _data(data))
            return made, 1 + made.size
        if type(data) is not list or len(shape) > 1 or (shape or (1,)) != (len(data),):
            raise _RefusedError(f"it has an array of objects of the shape {str(shape)[:60]}")
        items, stands_for = self.items(data, depth)
        if not shape:  # numpy's way to keep a dict in an .npz file
            return items[0], stands_for
        if not all(item is None or isinstance(item, (bool, int, float, str, bytes)) for item in items):
            raise _RefusedError("it has an array of objects that are neither strings nor numbers")
        return items, stands_for
