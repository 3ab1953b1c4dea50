"""Arrays, archives and json files of features: what is declared is checked before it is made."""

import hashlib
import io
import json
import os
import random
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from extractors.published.files import checksums, digest, read_file
from foundation.errors import UserError


def refusal(file: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_file(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def bytes_of(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype="f4").reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(2, 3)), np.arange(3, dtype=">i2"),
     np.array(2.5), np.zeros((0, 4)), np.array(["ab", "c"]), np.array([True]), np.arange(3, dtype="f2")],
    ids=str,
)  # fmt: skip
def test_an_array_is_read(array: np.ndarray, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    read = read_file(tmp_path / "a.npy")
    assert read.dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(read, array)


def test_an_archive_is_a_dict_and_a_dict_inside_is_read(tmp_path: Path) -> None:
    labels = {"train_dia0_utt0": {"emo": 3, "val": -10}}
    np.savez_compressed(tmp_path / "label.npz", train_corpus=np.array(labels, object), numbers=np.arange(3))  # type: ignore[arg-type]
    read = read_file(tmp_path / "label.npz")
    assert read["train_corpus"] == labels
    assert read["numbers"].tolist() == [0, 1, 2]


def test_json_is_read_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "train_data_roberta.json.feature").write_text(json.dumps([[{"cls": [0.5], "text": "é"}]]))
    assert read_file(tmp_path / "train_data_roberta.json.feature") == [[{"cls": [0.5], "text": "é"}]]
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert "is no json file" in refusal(tmp_path / "deep.json")
    (tmp_path / "half.json").write_text('[{"a": ')
    assert "is no json file" in refusal(tmp_path / "half.json")


def test_what_an_array_declares_is_checked_before_it_is_made(tmp_path: Path) -> None:
    file, content = tmp_path / "a.npy", bytes_of(np.arange(6, dtype="f4"))
    for shape in ("(999999999999,)", "(99999999, 9999999)", "(-6,)", "(6, 0)", "(5,)"):
        wide = content.replace(b"(6,)", shape.encode()).replace(b" " * (len(shape) - 4) + b"\n", b"\n", 1)
        file.write_bytes(wide)
        assert "declares" in refusal(file) or "is no .npy file" in refusal(file)
    file.write_bytes(content.replace(b"'<f4'", b"'V99'"))
    assert "has the data type |V99; allowed are numbers and strings" in refusal(file)
    file.write_bytes(content.replace(b"'<f4'", b"'<c4'"))
    refusal(file)
    file.write_bytes(bytes_of(np.array([{}, len], dtype=object)))
    assert "it asks for 'builtins.len'" in refusal(file)
    file.write_bytes(content.replace(b"{'descr'", b"__import_"))
    assert "is no .npy file" in refusal(file)


def declaring(shape: str, descr: str, data: bytes) -> bytes:
    """An .npy file with this header, true or not."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


@pytest.mark.parametrize(("shape", "descr", "data", "said"), [
    ("(-1, -4)", "<f4", bytes(16), "has an array of the shape (-1, -4)"),
    ("(True,)", "<f4", bytes(4), "has an array of the shape (True,)"),
    ("(0, 9223372036854775807, 9223372036854775807)", "<f4", b"", "has an array of the shape (0, 92233720368547"),
    (f"({'1, ' * 70})", "<f4", bytes(4), "has an array of the shape (1, 1, 1"),
    ("(1000000000000,)", "|S0", b"", "has an array of the shape (1000000000000,)"),
    ("(1,)", "<U1", b"\xff" * 4, "has an array of strings with numbers that are no characters"),
    ("(1,)", ">U1", b"\xff" * 4, "has an array of strings with numbers that are no characters"),
])  # fmt: skip
def test_a_shape_that_no_array_has_and_characters_that_are_none_are_refused(
    shape: str, descr: str, data: bytes, said: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(declaring(shape, descr, data))
    assert refusal(file).startswith(f"{file}: {said}")
    file.write_bytes(declaring("(3,)", "|S0", b""))
    assert read_file(file).tolist() == [b""] * 3


def test_archives_of_other_things_and_bombs_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", b"ctorch\n")
    assert "(a PyTorch file is not read)" in refusal(file)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes_of(np.zeros(10)))
    content = bytearray(file.read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24  # declared size in the directory
    content[place : place + 4] = (2**31).to_bytes(4, "little")
    file.write_bytes(content)
    assert "declares 2,147,483,648 bytes for 'a.npy'" in refusal(file)


@pytest.mark.parametrize("name", ["a.npy", "label.npz", "x.json"])
def test_a_mutated_file_is_read_or_refused(name: str, tmp_path: Path) -> None:
    file, draw = tmp_path / name, random.Random(1)
    if name == "a.npy":
        original = bytes_of(np.arange(6, dtype="f4"))
    elif name == "label.npz":
        np.savez_compressed(file, a=np.array({"n": {"emo": 1}}, object), b=np.arange(3))  # type: ignore[arg-type]
        original = file.read_bytes()
    else:
        original = json.dumps([[{"text": "é", "speaker": "M", "cls": [0.1, 1e3]}]]).encode()
    for end in range(len(original)):
        file.write_bytes(original[:end])
        try_to_read(file)
    for _ in range(400):
        content = bytearray(original)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(content))
            if draw.random() < 0.5:
                content[place] = draw.randrange(256)
            else:
                del content[place : place + draw.randint(1, 6)]
        file.write_bytes(content)
        try_to_read(file)


def try_to_read(file: Path) -> None:
    try:
        read_file(file)
    except UserError:
        return


def test_checksums_are_those_of_git_and_sha256(tmp_path: Path) -> None:
    file = tmp_path / "x.pkl"
    file.write_bytes(b"some content\n" * 1000)
    environment = {**os.environ, "GIT_DIR": str(tmp_path / "none")}
    blob = subprocess.run(["git", "hash-object", "--no-filters", str(file)], capture_output=True, check=True,
                          env=environment).stdout.decode().strip()  # fmt: skip
    assert checksums(file) == (hashlib.sha256(file.read_bytes()).hexdigest(), blob)
    assert digest(file) == checksums(file)[0]
    (tmp_path / "frames").mkdir()
    for name in ("b", "a"):
        (tmp_path / "frames" / name).write_bytes(name.encode())
    before = digest(tmp_path / "frames")
    (tmp_path / "frames" / "a").write_bytes(b"c")
    assert digest(tmp_path / "frames") != before
