"""Archives of arrays: what is inside is checked before it is unpacked, and nothing in one raises anything but a FileError."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mlbench.errors import FileError
from mlbench.models import Model, mlp
from mlbench.models.archive import MOST_BYTES, read_arrays

MB = 1 << 20


def archive_of(path: Path, content: bytes, *, name: str = "a.npy", method: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive of one member."""
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return path


def header(text: str) -> bytes:
    """Return the beginning of an array with this header."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def test_arrays_come_back_as_numpy_wrote_them(tmp_path: Path) -> None:
    """Numbers and text, in either order, of any number of dimensions, empty ones, stored or deflated."""
    arrays: dict[str, Any] = {
        "scalar": np.array(1.5), "row": np.arange(3), "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "text": np.array("ab"),
        "names": np.array(["a", "bcd"]), "none": np.zeros((0, 4), np.float32), "deep": np.arange(24, dtype=np.uint8).reshape(2, 3, 4),
    }  # fmt: skip
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "a.npz", **arrays)
        found = read_arrays(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[name].dtype == array.dtype
            assert np.array_equal(found[name], array)


def test_a_small_file_of_gigabytes_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    """What the directory declares is summed up first: 96 MB of zeros in some KB cost no memory where 64 MB are allowed."""
    zeros = np.lib.format.header_data_from_array_1_0(np.zeros(0, np.float32)) | {"shape": (6 * MB,)}
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, zeros)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number in range(4):
            with archive.open(f"a{number}.npy", "w", force_zip64=True) as stream:
                stream.write(start.getvalue())
                for _ in range(24):
                    stream.write(bytes(MB))
    assert path.stat().st_size < MB
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"its arrays would take 96.0 MB; allowed are 64.0 MB"):
            read_arrays(path, 64 * MB)
        assert tracemalloc.get_traced_memory()[1] < 16 * MB
    finally:
        tracemalloc.stop()


def test_a_header_is_checked_before_its_array_is_unpacked(tmp_path: Path) -> None:
    """A member of 256 MB whose header says less is refused for the price of its first bytes."""
    path = archive_of(tmp_path / "a.npz", header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }\n") + bytes(256 * MB))
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"'a\.npy' has 268435456 bytes; its header says 16"):
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 32 * MB
    finally:
        tracemalloc.stop()


def test_a_larger_model_is_read_on_request(tmp_path: Path) -> None:
    """The limit is the caller's, of the file and of what is in it."""
    path = mlp(64, 64, 10).save(tmp_path / "model.npz")
    assert MOST_BYTES == 1024 * MB
    with pytest.raises(FileError, match="larger than 1,000 bytes"):
        Model.load(path, most_bytes=1000)
    with pytest.raises(FileError, match="its arrays would take"):
        Model.load(path, most_bytes=path.stat().st_size)
    assert Model.load(path, most_bytes=MB).hidden == (64,)


HEADERS = {
    "empty": "",
    "token": "{",
    "syntax": "1 +",
    "no such type": "{'descr': '<f3', 'fortran_order': False, 'shape': (0,), }\n",
    "deep": "(" * 5000 + "\n",
    "object": "{'descr': '|O', 'fortran_order': False, 'shape': (0,), }\n",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }\n",
    "record": "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,), }\n",
    "more": "{'descr': '<f4', 'fortran_order': False, 'shape': (0,), }\n\n",
    "zeros": "\x00" * 80,
}


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_a_header_that_numpy_does_not_write_is_refused(text: str, tmp_path: Path) -> None:
    """No header is evaluated as Python, whose parser has a dozen kinds of errors."""
    with pytest.raises(FileError, match=r"damaged, truncated or no \.npz archive"):
        read_arrays(archive_of(tmp_path / "a.npz", header(text)))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"])
def test_other_compressions_are_refused_by_name(method: int, tmp_path: Path) -> None:
    """NumPy writes none of them, and each has errors of its own."""
    with pytest.raises(FileError, match="packed in another way than stored or deflated"):
        read_arrays(archive_of(tmp_path / "a.npz", header(""), method=method))


def test_what_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two would count?"""
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header(""))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.npy", header(""))
    with pytest.raises(FileError, match="1 of them twice"):
        read_arrays(path)


@pytest.mark.parametrize("place", ["name", "format", "activations"])
def test_text_of_characters_that_do_not_exist_is_refused(place: str, tmp_path: Path) -> None:
    """A number beyond the last character, or half of a pair, is no text that could be printed."""
    path = mlp(2, 2, 2).save(tmp_path / "model.npz")
    for number in (0x7FFFFFFF, 0xD800):
        with np.load(path) as archive:
            arrays: dict[str, Any] = dict(archive)
        arrays[place] = np.full(arrays[place].size, number, np.uint32).view("<U1").reshape(arrays[place].shape)
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(FileError, match="holds characters that do not exist"):
            Model.load(tmp_path / "bad.npz")
