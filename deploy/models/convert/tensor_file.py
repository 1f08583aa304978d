"""Reading and writing safetensors files with numpy alone."""

import json
import os
import struct
from pathlib import Path

import numpy as np

NUMPY_TYPES = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "U8": np.dtype("u1"),
}
NAMES = {dtype: name for name, dtype in NUMPY_TYPES.items()}


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of a safetensors file, as views of the file, in the order of its header.

    bfloat16 is read as float32. Raises ValueError for a file that is none, or that holds a type this reader does not know.
    """
    content = np.memmap(path, np.uint8, "r")
    if len(content) < 8:
        raise ValueError(f"{path} is no safetensors file: it is too short")
    (length,) = struct.unpack("<Q", content[:8].tobytes())
    if length > len(content) - 8:
        raise ValueError(f"{path} is no safetensors file: its header would end behind its end")
    header = json.loads(content[8 : 8 + length].tobytes())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":
            halves = content[start:end].view("<u2").astype(np.uint32)
            tensors[name] = (halves << np.uint32(16)).view(np.float32).reshape(entry["shape"])
        elif entry["dtype"] in NUMPY_TYPES:
            tensors[name] = content[start:end].view(NUMPY_TYPES[entry["dtype"]]).reshape(entry["shape"])
        else:
            raise ValueError(f"{path}: tensor `{name}` is {entry['dtype']}, which this reader does not know")
    return tensors


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes a safetensors file, names sorted: the same bytes for the same tensors. It appears whole or not at all."""
    header, start = {}, 0
    for name in sorted(tensors):
        end = start + tensors[name].nbytes
        kind = NAMES[tensors[name].dtype.newbyteorder("<")]
        header[name] = {"dtype": kind, "shape": list(tensors[name].shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in sorted(tensors):
            file.write(np.ascontiguousarray(tensors[name]).astype(NUMPY_TYPES[header[name]["dtype"]], copy=False).tobytes())
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
