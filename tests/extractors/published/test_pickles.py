"""The reader of pickles: what feature files hold is read, whatever wrote it; nothing of a file is ever run."""

import builtins
import os
import pickle
import random
import struct
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extractors.published.pickles import PickleError, read_pickle

CANARY = "canary_of_the_pickle_tests"
"""A module that leaves a file when it is imported, and a file that a shell command would leave."""


@pytest.fixture(autouse=True)
def untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Whatever a test reads, nothing is imported, run or written."""
    (tmp_path / f"{CANARY}.py").write_text("import pathlib\npathlib.Path('imported').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for module, name in ((os, "system"), (os, "popen"), (builtins, "eval")):
        monkeypatch.setattr(module, name, _never)
    yield
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) in ([f"{CANARY}.py"], ["cache", f"{CANARY}.py"])
    assert CANARY not in sys.modules


def _never(*_: object, **__: object) -> None:
    raise AssertionError("something of the file was run")


def refusal(content: bytes) -> str:
    with pytest.raises(PickleError) as caught:
        read_pickle(content, "file.pkl")
    message = str(caught.value)
    assert message.startswith("file.pkl: ")
    assert "\n" not in message
    return message


# ---- what is read ----

HELD = [
    {"a": ["x", "y"], 3: [0, 1]}, ("M", "F"), {"b", "a"}, {1}, [1.5, None, True, False, -7, 2**40],
    [[1, 0], [0, 1]], b"", b"\x00\xff", "caf\u00e9 \u2019", {}, [], (), (1, 2, 3, 4),
]  # fmt: skip
ARRAYS = [
    np.arange(6, dtype="f4"), np.arange(6, dtype="f8").reshape(2, 3).T, np.arange(4, dtype=">f4"), np.zeros((0, 3)),
    np.array([True, False]), np.arange(3, dtype="i2"), np.array(["ab", "c"]), np.array([b"ab"]), np.array(2.5),
    np.arange(3, dtype="f2"), np.arange(8, dtype="f4")[::2],
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("core", ["numpy.core", "numpy._core"])
def test_what_feature_files_hold_is_read_in_every_protocol(protocol: int, core: str) -> None:
    content = pickle.dumps((HELD, ARRAYS, np.float64(2.5), np.int32(4), np.str_("n")), protocol)
    if protocol < 4:  # in the later ones a length stands before the name
        content = content.replace(b"cnumpy._core.", f"c{core}.".encode())
    held, arrays, *scalars = read_pickle(content, "file.pkl")
    assert held == HELD
    assert scalars == [2.5, 4, "n"]
    for read, written in zip(arrays, ARRAYS, strict=True):
        assert read.dtype == written.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, written)


def test_a_dict_or_strings_inside_an_object_array_are_read() -> None:
    inside = {"train_dia0_utt0": {"emo": 3, "val": -10}}
    assert read_pickle(pickle.dumps(np.array(inside, dtype=object)), "file.pkl") == inside
    assert read_pickle(pickle.dumps(np.array(["a", None], dtype=object)), "file.pkl") == ["a", None]


def test_a_pickle_of_python_2_is_read() -> None:
    """Strings without a kind, sets by their old name, arrays whose data are such strings, the text protocol."""
    protocol_2 = (
        b"\x80\x02(U\x0bSes01F_imp1q\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85"
        b"U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0tbU\x04caf\xe9U\x05caf\xc3\xa9"
        b"U\x04it\x92sc__builtin__\nset\n(]U\x02v1atRt."
    )
    name, vector, *texts, keys = read_pickle(protocol_2, "f")
    assert name == "Ses01F_imp1"
    np.testing.assert_array_equal(vector, np.array([1, -2], "f4"))
    assert texts == ["café", "café", "it’s"]
    assert keys == {"v1"}
    protocol_0 = (
        b"(lp0\nS'M'\np1\naI01\naF1.5\naL7L\nacnumpy.core.multiarray\n_reconstruct\np2\n(cnumpy\nndarray\np3\n(I0\ntp4\n"
        b"S'b'\np5\ntp6\nRp7\n(I1\n(I1\ntp8\ncnumpy\ndtype\np9\n(S'f4'\np10\nI0\nI1\ntp11\nRp12\n(I3\nS'<'\np13\nNNNI-1\n"
        b"I-1\nI0\ntp14\nbI00\nS'\\x00\\x00\\x80?'\np15\ntp16\nbag1\na."
    )
    letter, true, number, long, one, again = read_pickle(protocol_0, "f")
    assert (letter, true, number, long, again) == ("M", True, 1.5, 7, "M")
    np.testing.assert_array_equal(one, np.array([1], "f4"))


def test_shared_objects_are_read_as_often_as_they_occur() -> None:
    shared = [1, 2]
    assert read_pickle(pickle.dumps({"a": shared, "b": shared}), "f") == {"a": [1, 2], "b": [1, 2]}


# ---- what is refused ----


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def array_of(shape: bytes, data: bytes, kind: bytes = b"U\x02f4") -> bytes:
    return (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01" + shape
        + b"cnumpy\ndtype\n" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + data + b"tb."
    )  # fmt: skip


class Reduced:
    """Is pickled as the call that it is given."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.call


def called(function: Callable, *arguments: object) -> Reduced:
    return Reduced(function, arguments)


EXPLOITS = {
    "os.system, protocol 0": (b"cos\nsystem\n(S'touch ran'\ntR.", "'os.system'"),
    "posix.system": (b"cposix\nsystem\n(S'touch ran'\ntR.", "'posix.system'"),
    "eval by STACK_GLOBAL": (
        b"\x80\x04" + text("builtins") + text("eval") + b"\x93" + text("open('ran', 'w')") + b"\x85R.",
        "'builtins.eval'",
    ),
    "eval by Python 2's module": (b"c__builtin__\neval\n(S'1'\ntR.", "'__builtin__.eval'"),
    "a name put together from the memo": (
        b"\x80\x04" + text("system") + b"\x94" + text("os") + b"\x940h\x01h\x00\x93" + text("id") + b"\x85R.",
        "'os.system'",
    ),
    "a name in the memo under another number": (
        b"\x80\x04" + text("os") + b"q\x05" + text("system") + b"r\xff\xff\xff\xff0h\x05j\xff\xff\xff\xff\x93.",
        "'os.system'",
    ),
    "a chain of attributes behind an allowed name": (
        b"\x80\x04" + text("numpy") + text("core.multiarray._reconstruct.__globals__") + b"\x93.",
        "__globals__'",
    ),
    "getattr": (
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'id'\ntR.", "'builtins.getattr'",
    ),
    "a module that would run when it is imported": (f"c{CANARY}\nname\n.".encode(), CANARY),
    "INST": (b"(S'touch ran'\nios\nsystem\n.", "'os.system'"),
    "INST of an allowed name": (b"(inumpy\nndarray\n.", "instance"),
    "OBJ": (b"(cnumpy\nndarray\nK\x01o.", "OBJ"),
    "NEWOBJ": (b"\x80\x02cnumpy\nndarray\nK\x01\x85\x81.", "NEWOBJ"),
    "NEWOBJ_EX": (b"\x80\x04cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX"),
    "subprocess": (b"csubprocess\nPopen\n((S'id'\nltR.", "'subprocess.Popen'"),
    "extension registry, 1": (b"\x80\x02\x82\x01.", "extension registry"),
    "extension registry, 2": (b"\x80\x02\x83\x01\x00.", "extension registry"),
    "extension registry, 4": (b"\x80\x02\x84\x01\x00\x00\x00.", "extension registry"),
    "persistent id, text": (b"Pfile\n.", "persistent id"),
    "persistent id, binary": (b"\x80\x02U\x01aQ.", "persistent id"),
    "a buffer outside": (b"\x80\x05\x97.", "NEXT_BUFFER"),
    "a state for an allowed class": (b"\x80\x02cnumpy\nndarray\n}U\x0c__setstate__cnumpy\ndtype\nsb.", "state"),
    "a state for a list": (b"\x80\x02]K\x01\x85b.", "state"),
    "attributes by BUILD with slots": (b"\x80\x02cnumpy\nndarray\nN}\x86b.", "state"),
    "_reconstruct of another class": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nc__builtin__\nset\nK\x00\x85U\x01b\x87R.", "_reconstruct",
    ),
    "_reconstruct of a huge array": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nJ\xff\xff\xff\x7f\x85U\x01b\x87R.",
        "_reconstruct",
    ),
    "a scalar of objects": (
        b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02O8K\x00K\x01\x87Rcnumpy\nndarray\n\x86R.",
        "no bytes",
    ),
    "numpy's own eval": (b"cnumpy.testing._private.utils\nrunstring\n(S'1'\n}tR.", "runstring'"),
    "numpy.load": (b"cnumpy\nload\n(S'/etc/passwd'\ntR.", "'numpy.load'"),
    "a codec that runs a decompressor": (b"c_codecs\nencode\n(Vaaaa\nS'zlib'\ntR.", "encode"),
    "the other direction of a codec": (b"c_codecs\ndecode\n(Vaaaa\nS'zip'\ntR.", "'_codecs.decode'"),
    "bytes of any size": (b"c__builtin__\nbytes\n(I999999999999\ntR.", "bytes"),
    "copyreg": (b"ccopy_reg\n_reconstructor\n(cnumpy\nndarray\nc__builtin__\nobject\nNtR.", "_reconstructor'"),
    "a storage of torch": (b"\x80\x02ctorch.storage\n_load_from_bytes\nU\x02ab\x85R.", "'torch.storage._load"),
    "a call of a call": (b"\x80\x02c__builtin__\nset\n)R)R.", "calls something"),
    "a call of a string": (b"\x80\x02U\x06system)R.", "calls something"),
    "arguments that are no tuple": (b"\x80\x02c__builtin__\nset\n]R.", "calls something"),
    "a name as a value": (b"\x80\x02cnumpy\nndarray\n.", "a name of numpy"),
    "a data type as a value": (b"\x80\x02cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R.", "a name of numpy"),
    "a structured data type": (array_of(b"K\x01\x85", b"U\x04\0\0\0\0", b"U\x05f4,i4"), "data type"),
    "a void of any size": (array_of(b"K\x01\x85", b"U\x04\0\0\0\0", b"U\x09V99999999"), "data type"),
    "strings of any size": (array_of(b"K\x01\x85", b"U\x04\0\0\0\0", b"U\x0bU9999999999"), "data type"),
    "fields of a data type": (
        b"\x80\x02cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01|NU\x01a\x85}K\x04K\x04K\x00tb.", "structured",
    ),
    "a huge declared shape": (array_of(b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", b"U\x04\0\0\0\0"), "declares"),
    "a shape that overflows to nothing": (
        array_of(b"(" + b"\x8a\x08\0\0\0\0\0\0\0\x40" * 4 + b"t", b"U\x00"), "declares",
    ),
    "a negative shape": (array_of(b"J\xff\xff\xff\xff\x85", b"U\x04\0\0\0\0"), "shape"),
    "a shape of words": (array_of(b"U\x01a\x85", b"U\x04\0\0\0\0"), "shape"),
    "more axes than any array has": (array_of(b"(" + b"K\x01" * 40 + b"t", b"U\x04\0\0\0\0"), "shape"),
    "an object array of names": (array_of(b"K\x01\x85", b"]cnumpy\nndarray\na", b"U\x02O8"), "a name of numpy"),
    "an object array that is shorter than declared": (array_of(b"K\x05\x85", b"]K\x01a", b"U\x02O8"), "objects"),
    "an object array of dicts": (pickle.dumps(np.array([{}, {}], dtype=object)), "neither strings nor numbers"),
    "an object array of two axes": (pickle.dumps(np.array([["a"], ["b"]], dtype=object)), "objects"),
    "a named container": (pickle.dumps(OrderedDict(a=1)), "'collections.OrderedDict'"),
    "deep lists": (b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".", "inside one another"),
    "deep tuples": (b"\x80\x02)" + b"\x85" * 100_000 + b".", "inside one another"),
    "deep dicts": (b"\x80\x02" + b"}K\x01" * 1000 + b"N" + b"s" * 1000 + b".", "inside one another"),
    "a deep key": (b"\x80\x02})" + b"\x85" * 100_000 + b"Ns.", "key"),
    "a list in itself": (b"\x80\x02]q\x00h\x00a.", "contains itself"),
    "a dict in itself": (b"\x80\x02}q\x00K\x01h\x00s.", "contains itself"),
    "a billion laughs": (
        b"\x80\x02" + b"]" + b"".join(
            b"q" + bytes([level]) + b"](" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"e"
            for level in range(12)
        ) + b".",
        "no whole pickle",  # the earlier lists stay on the stack
    ),
    "a billion laughs, tidied up": (
        b"\x80\x02]q\x00" + b"".join(
            b"0](" + (b"h" + bytes([level])) * 10 + b"eq" + bytes([level + 1]) for level in range(12)
        ) + b".",
        "shared objects",
    ),
    "an array shared a hundred thousand times": (
        b"\x80\x02" + array_of(b"(M\x00\x10t", b"T\x00\x40\x00\x00" + bytes(16384))[2:-1] + b"q\x000]("
        + b"h\x00" * 100_000 + b"e.", "shared objects",
    ),
    "a memo entry that is not there": (b"\x80\x02h\x07.", "memo has no entry 7"),
    "a memo of nothing": (b"\x80\x02q\x07.", "no whole pickle"),
    "an integer of a megabyte": (b"\x80\x02\x8b\x00\x00\x10\x00" + b"\x01" * 2**20 + b".", "64 bits"),
    "an integer of a million digits": (b"L" + b"9" * 10**6 + b"L\n.", "64 bits"),
    "a negative length": (b"\x80\x02\x8b\xff\xff\xff\xff.", "declared"),
    "a length beyond the end": (b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"ab.", "declared"),
    "an unknown opcode": (b"\x80\x02\xff.", "no opcode"),
    "an unknown protocol": (b"\x80\x09N.", "protocol 9"),
    "too much at the end": (b"NN.", "one value"),
    "a mark left open": (b"(N.", "one value"),
    "nothing": (b"", "end mark"),
    "only the end": (b".", "one value"),
    "no pickle at all": (b"GIF89a", "no whole pickle"),
    "characters that are none": (array_of(b"K\x01\x85", b"U\x04\xff\xff\xff\xff", b"U\x02U1"), "no characters"),
    "more strings without a letter than there is memory": (
        array_of(b"\x8a\x06\0\0\0\0\0\x10\x85", b"U\x00", b"U\x02S0"), "shape",
    ),
    "an empty shape that is too large": (array_of(b"(K\x00" + b"J\xff\xff\xff\x7f" * 4 + b"t", b"U\x00"), "shape"),
    "a set of lists": (b"\x80\x04\x8f(]\x90.", "key"),
    "a set by a call, of lists": (b"\x80\x02c__builtin__\nset\n]]a\x85R.", "key"),
}  # fmt: skip


@pytest.mark.parametrize("exploit", EXPLOITS)
def test_an_exploit_ends_in_one_line_that_says_why(exploit: str) -> None:
    content, why = EXPLOITS[exploit]
    assert why in refusal(content)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "harmful",
    [called(os.system, "touch ran"), called(eval, "1"), called(exec, ""), called(getattr, os, "system"), Path("x"),
     np.random.default_rng(0), np.ma.masked_array([1]), np.datetime64("2020-01-01"), np.complex64(1), {1, (2, 3)},
     {(1, 2): 3}, range(3), slice(1), Ellipsis, ValueError("x"), int, len, bytearray(b"x"), 2**80, {2**40: 1}],
    ids=lambda value: type(value).__name__ if not isinstance(value, Reduced) else value.call[0].__name__,
)  # fmt: skip
def test_what_python_pickles_by_name_is_refused(harmful: object, protocol: int) -> None:
    try:
        content = pickle.dumps({"train": [harmful]}, protocol)
    except Exception:
        pytest.skip("this protocol cannot hold it")
    if isinstance(harmful, bytearray) and protocol == 5:
        assert read_pickle(content, "f") == {"train": [b"x"]}  # an opcode of its own
        return
    refusal(content)


def small_file(protocol: int) -> bytes:
    vectors = {f"Ses0{n}F_impro01": [np.arange(3, dtype="f4") + n] * 2 for n in (1, 5)}
    labels = {name: [0, np.int64(1)] for name in vectors}
    return pickle.dumps((labels, vectors, {name: ["a b", "é"] for name in vectors}, {"Ses01F_impro01"}, []), protocol)


@pytest.mark.parametrize("protocol", range(6))
def test_a_truncated_file_ends_in_one_line(protocol: int) -> None:
    content = small_file(protocol)
    for end in range(len(content)):
        assert "no whole pickle" in refusal(content[:end])


def read_or_refuse(content: bytes) -> None:
    try:
        read_pickle(content, "f")
    except PickleError:
        return


OPCODES = b"(.012FIJKLMNPQRSTUVXabcdeghijlopqrstu})]G\x81\x82\x85\x86\x87\x8c\x8f\x90\x93\x94\x97"
SPLICES = [
    *(bytes([opcode]) for opcode in OPCODES), b"cos\nsystem\n", b"\x8c\x02os\x8c\x06system\x93", b"(S'touch ran'\ntR",
    b"j\xff\xff\xff\x7f", b"cnumpy\nndarray\n",
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_a_mutated_file_is_read_or_refused(protocol: int) -> None:
    draw = random.Random(protocol)
    original = small_file(protocol)
    for _ in range(1500):
        content = bytearray(original)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(content))
            match draw.randrange(4):
                case 0:
                    content[place] = draw.randrange(256)
                case 1:
                    content[place:place] = draw.choice(SPLICES)
                case 2:
                    del content[place : place + draw.randint(1, 8)]
                case 3:
                    other = draw.randrange(len(content))
                    content[place:place] = content[other : other + draw.randint(1, 40)]
        read_or_refuse(bytes(content))


@pytest.mark.slow
@settings(max_examples=400)
@given(st.lists(st.sampled_from(SPLICES) | st.binary(max_size=4), max_size=30))
def test_opcodes_in_any_order_are_read_or_refused(parts: list[bytes]) -> None:
    read_or_refuse(b"".join(parts) + b".")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_subnormal=False)
    | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    | st.tuples(inner, inner),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=100)
@given(VALUES, st.integers(0, 5))
def test_plain_values_come_back_as_they_were(value: object, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol), "f") == value
