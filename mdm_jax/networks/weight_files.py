"""Arrays by name from the weight files of other frameworks, which are not needed.

Safetensors files contain arrays only. PyTorch files, in both of their formats, are
pickles, which could run any code when read; this reader accepts only the parts of tensors
and refuses everything else.
"""

from __future__ import annotations

import collections
import io
import os
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, Literal

import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

Arrays = dict[str, np.ndarray]

# The first pickles of files of PyTorch up to version 1.5.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": jnp.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


def read(path: str | os.PathLike[str]) -> Arrays:
    """Returns the arrays of a `.safetensors`, `.pth`, `.pt` or `.tar` file.

    Entries other than arrays (an epoch, an image's height) are ignored; the arrays may be
    under `state_dict`, as in a training checkpoint.

    Raises:
        ValueError: the file has another format, is damaged, or contains other objects.
        OSError: it cannot be read.
    """
    path = pathlib.Path(path)
    try:
        if path.suffix == ".safetensors":
            return safetensors.numpy.load_file(path)
        if zipfile.is_zipfile(path):
            content = _read_zip(path)
        else:
            with path.open("rb") as file:
                content = _read_legacy(file)
    except OSError:
        raise
    except Exception as error:  # pickles and archives fail in many ways
        raise ValueError(
            f"{path} cannot be read as weights ({error}): expected a state dict of "
            "tensors saved by PyTorch, or a .safetensors file"
        ) from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise ValueError(  # noqa: TRY004 (the content of a file, not an argument)
            f"{path} holds a {type(content).__name__}, expected a state dict: arrays by "
            "name"
        )
    arrays = {
        str(name): value
        for name, value in content.items()
        if isinstance(value, np.ndarray)
    }
    if not arrays:
        raise ValueError(f"{path} holds no tensors, only {sorted(map(str, content))}")
    return arrays


class _Unpickler(pickle.Unpickler):
    """Reads pickles that refer only to parts of tensors."""

    def __init__(self, file: BinaryIO, storage: Callable[[Any], Any]):
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in _STORAGES:
            return np.dtype(_STORAGES[name])
        raise pickle.UnpicklingError(
            f"it names {module}.{name}, which is no part of a tensor"
        )

    def persistent_load(self, pid: Any) -> Any:
        return self._storage(pid)


def _parameter(data: Any, *_: Any) -> Any:
    return data


class _Part:
    """A part of a tensor, whose attributes no pickle may set.

    One that could would have a tensor reach beyond its numbers, into other memory.
    """

    def __setstate__(self, state: Any):
        raise pickle.UnpicklingError("it changes what tensors are made of")


class _Storage(_Part):
    """Numbers of known type and count, whose bytes may come after their use."""

    def __init__(self, dtype: np.dtype, count: int):
        self.dtype, self.count = dtype, count
        self.values: np.ndarray | None = None

    def fill(self, data: bytes, byteorder: Literal["<", ">"]):
        dtype = self.dtype.newbyteorder(byteorder)
        if len(data) != self.count * dtype.itemsize:
            raise ValueError(
                f"{len(data)} bytes where {self.count} numbers of {dtype} should be"
            )
        self.values = np.frombuffer(data, dtype).astype(self.dtype)


class _Tensor(_Part):
    """A view of a storage, not yet looked at."""

    def __init__(self, storage: _Storage, offset: int, size: tuple, stride: tuple):
        self.storage, self.offset = storage, offset
        self.size, self.stride = size, stride

    def array(self) -> np.ndarray:
        storage = self.storage
        if storage.values is None:
            raise ValueError("a tensor's numbers are not in the file")
        steps = [(n - 1) * s for n, s in zip(self.size, self.stride, strict=True)]
        numbers = (self.offset, *self.size, *self.stride)
        if any(n < 0 for n in numbers) or (
            0 not in self.size and self.offset + sum(steps) >= storage.values.size
        ):
            raise ValueError("a tensor reaches beyond its numbers")
        view = np.lib.stride_tricks.as_strided(
            storage.values[self.offset :],
            self.size,
            [s * storage.dtype.itemsize for s in self.stride],
        )
        return view.copy()


def _tensor(storage: Any, offset: int, size: tuple, stride: tuple, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise pickle.UnpicklingError("a tensor without numbers")
    return _Tensor(storage, offset, tuple(size), tuple(stride))


def _arrays(value: Any) -> Any:
    """Returns what was unpickled with arrays in place of tensors."""
    if isinstance(value, _Tensor):
        return value.array()
    if isinstance(value, Mapping):
        return {name: _arrays(item) for name, item in value.items()}
    return value


def _read_zip(path: pathlib.Path) -> Any:
    """Returns the object in an archive, PyTorch's format since version 1.6."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise ValueError("a zip archive without data.pkl")
        root = names[0].removesuffix("data.pkl")
        byteorder = "little"
        if f"{root}byteorder" in archive.namelist():
            byteorder = archive.read(f"{root}byteorder").decode()
        storages: dict[str, _Storage] = {}

        def storage(pid: Any) -> _Storage:
            kind, dtype, key, _, count = pid
            if kind != "storage":
                raise pickle.UnpicklingError(f"it refers to a {kind!r}")
            if key not in storages:
                storages[key] = _Storage(dtype, count)
                data = archive.read(f"{root}data/{key}")
                storages[key].fill(data, "<" if byteorder == "little" else ">")
            return storages[key]

        return _arrays(_Unpickler(io.BytesIO(archive.read(names[0])), storage).load())


def _read_legacy(file: BinaryIO) -> Any:
    """Returns the object in a sequence of pickles, PyTorch's format up to 1.5."""
    storages: dict[str, _Storage] = {}

    def storage(pid: Any) -> _Storage:
        kind, dtype, key, _, count, view = pid
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError(f"it refers to a {kind!r} that is not whole")
        return storages.setdefault(key, _Storage(dtype, count))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise ValueError("no file of PyTorch")
    system = load()
    byteorder = "<" if system["little_endian"] else ">"
    value, keys = load(), load()
    for key in keys:
        (count,) = struct.unpack(f"{byteorder}q", file.read(8))
        if count != storages[key].count:
            raise ValueError(f"{count} numbers where {storages[key].count} should be")
        data = file.read(count * storages[key].dtype.itemsize)
        storages[key].fill(data, byteorder)
    return _arrays(value)
