"""Reading PyTorch checkpoints with numpy alone, without running anything that they name.

A checkpoint is a pickle beside its numbers, and unpickling as PyTorch does it imports and calls what the pickle names.
This reader knows how tensors are written. Everything else (modules, optimisers, settings of a trainer) becomes an
`Inert`: a record of the name, the arguments and the state, of a class that is never imported and never called.
"""

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
# A view may repeat its storage, as expanded tensors do, up to so many elements.
REPEATED_MAX = 1 << 24

# Types of elements. numpy has no bfloat16: it is read as the upper half of a float32.
ELEMENTS = {
    "float64": "f8",
    "float32": "f4",
    "float16": "f2",
    "bfloat16": "u2",
    "int64": "i8",
    "int32": "i4",
    "int16": "i2",
    "int8": "i1",
    "uint8": "u1",
    "bool": "u1",
    "complex64": "c8",
    "complex128": "c16",
}
FLOATS = ("float64", "float32", "float16", "bfloat16")
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    # Quantised tensors are no tensors here, but their storages stand between others.
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    # Counts bytes; the type of the elements is said by each tensor.
    "UntypedStorage": "uint8",
}


class CheckpointError(Exception):
    """A file that is no checkpoint, or a damaged one; the message says what to do."""


class Inert:
    """Stands for an object of the file: what it is called, what it was made of, and its state. Nothing of it can run."""

    NAME = "an object"

    def __new__(cls, *arguments: Any, **named: Any) -> "Inert":
        made = super().__new__(cls)
        made.arguments = (*arguments, *named.values())
        made.state, made.entries, made.elements = None, {}, []
        return made

    def __init__(self, *_arguments: Any, **_named: Any) -> None:
        pass

    def __call__(self, *arguments: Any) -> "Inert":
        return Inert(self, *arguments)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def append(self, element: Any) -> None:
        """One element of a list or a set."""
        self.elements.append(element)

    def extend(self, elements: Any) -> None:
        """Some of them."""
        self.elements.extend(elements)

    add, update = append, extend

    def attributes(self) -> dict:
        """The state as names and values, also where the class has slots; empty where the state is something else."""
        parts = self.state if isinstance(self.state, tuple) else (self.state,)
        return {key: value for part in parts if isinstance(part, dict) for key, value in part.items()}

    def __repr__(self) -> str:
        return f"<{self.NAME}>"


class Mapping(dict):
    """Stands for OrderedDict: attributes that hang on it are dropped."""

    def __setstate__(self, _state: Any) -> None:
        pass


@dataclass(frozen=True)
class ElementType:
    """A type of elements, or a type of storage that holds them."""

    name: str


@dataclass(frozen=True)
class Storage:
    """A flat array of the file, which is read when a tensor wants it."""

    archive: "Archive"
    key: str
    element: str
    count: int

    def array(self) -> np.ndarray:
        """Its elements as they are in the file."""
        return self.archive.read(self.key, np.dtype(ELEMENTS[self.element]), self.count)


@dataclass(frozen=True)
class Tensor:
    """A view of a storage, which is read when the numbers are wanted."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    element: str
    metadata: Any = None

    def __post_init__(self) -> None:
        are_lists = isinstance(self.shape, tuple) and isinstance(self.strides, tuple) and len(self.shape) == len(self.strides)
        if not are_lists or any(type(each) is not int or each < 0 for each in (self.offset, *self.shape, *self.strides)):
            raise CheckpointError("a tensor of the file has a shape that is none")
        if self.metadata:
            raise CheckpointError("a tensor of the file is a lazy conjugate or negative; save it again with .resolve_neg()")

    def array(self) -> np.ndarray:
        """The elements, C-contiguous; bfloat16 as float32.

        Raises CheckpointError for a view that leaves its storage.
        """
        kind = np.dtype(ELEMENTS[self.element]).newbyteorder(self.storage.archive.order)
        flat = self.storage.array()
        if self.storage.element != self.element:
            flat = flat[: flat.nbytes // kind.itemsize * kind.itemsize].view(kind)
        count = int(np.prod(self.shape, dtype=object))
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if count and (last >= len(flat) or count > max(len(flat), REPEATED_MAX)):
            raise CheckpointError("a tensor of the file lies outside its storage")
        strides = [stride * kind.itemsize for stride in self.strides]
        flat = flat[self.offset :] if count else flat[:0]
        view = np.lib.stride_tricks.as_strided(flat, self.shape, strides)
        if self.element == "bfloat16":
            return (view.astype(np.uint32, order="C") << np.uint32(16)).view(np.float32)
        return np.array(view, kind.newbyteorder("="), order="C")


def _tensor(storage: Any, offset: int, shape: tuple, strides: tuple, *rest: Any) -> Any:
    """`_rebuild_tensor` and `_rebuild_tensor_v2`: what follows is requires_grad, hooks and metadata."""
    if not isinstance(storage, Storage):
        return Inert(storage)
    return Tensor(storage, offset, shape, strides, storage.element, rest[2] if len(rest) > 2 else None)


def _tensor_of_type(storage: Any, offset: int, shape: tuple, strides: tuple, _grad: Any, _hooks: Any, *rest: Any) -> Any:
    """`_rebuild_tensor_v3`: the type of the elements stands beside the storage."""
    if not isinstance(storage, Storage) or not isinstance(rest[0], ElementType):
        return Inert(storage)
    return Tensor(storage, offset, shape, strides, rest[0].name, rest[1] if len(rest) > 1 else None)


def _parameter(tensor: Any, *_rest: Any) -> Any:
    """`_rebuild_parameter`: the tensor itself."""
    return tensor


def _of_class(rebuild: Callable, _kind: Any, arguments: tuple, _state: Any) -> Any:
    """`_rebuild_from_type_v2`: a tensor of a class of its own, or with attributes. `rebuild` is one of these or inert."""
    return rebuild(*arguments) if rebuild in KNOWN.values() else Inert(rebuild, arguments)


KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): Mapping,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _of_class,
    **{("torch", name): ElementType(element) for name, element in STORAGES.items()},
    **{("torch.storage", name): ElementType(element) for name, element in STORAGES.items()},
    **{("torch", element): ElementType(element) for element in ELEMENTS},
}


class Unpickler(pickle.Unpickler):
    """Knows tensors; all other names become classes of inert objects."""

    def __init__(self, file: BinaryIO, archive: "Archive") -> None:
        super().__init__(file)
        self.archive = archive
        self.inert: dict[tuple[str, str], type[Inert]] = {}

    def find_class(self, module: str, name: str) -> Any:
        """What a name of the file stands for. Never imports."""
        if (module, name) in KNOWN:
            return KNOWN[module, name]
        if (module, name) not in self.inert:
            self.inert[module, name] = type("Inert", (Inert,), {"NAME": f"{module}.{name}"})
        return self.inert[module, name]

    def persistent_load(self, reference: Any) -> Any:
        """A storage that the pickle refers to; before 1.6 also the class of a module, with its source."""
        if isinstance(reference, tuple) and len(reference) > 1 and reference[0] == "module" and isinstance(reference[1], type):
            return reference[1]
        if not isinstance(reference, tuple) or len(reference) < 5 or reference[0] != "storage":
            return Inert(reference)
        _, kind, key, _device, count, *view = reference
        if not isinstance(kind, ElementType):
            return Inert(reference)
        if type(count) is not int or count < 0 or any(part is not None for part in view):
            raise CheckpointError(f"storage {key} of the file is a view or has no length")
        return self.archive.storages.setdefault(str(key), Storage(self.archive, str(key), kind.name, count))


class Archive:
    """Where the numbers of a checkpoint are; `root` is what was saved."""

    root: Any
    form: str
    order = "<"

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self.last: tuple[str, bytes] = ("", b"")

    def load(self, file: BinaryIO) -> Any:
        """The object of a pickle."""
        try:
            return Unpickler(file, self).load()
        except CheckpointError:
            raise
        except Exception as error:
            # A damaged pickle can fail in any way.
            raise CheckpointError(f"the pickle of the file is damaged: {type(error).__name__}: {error}") from error

    def content(self, key: str, size: int) -> bytes:
        """The bytes of a storage; CheckpointError where it has another size."""
        raise NotImplementedError

    def read(self, key: str, kind: np.dtype, count: int) -> np.ndarray:
        """A storage; the last one is kept, for neighbouring tensors may share it."""
        if self.last[0] != key:
            self.last = (key, self.content(key, count * kind.itemsize))
        if len(self.last[1]) != count * kind.itemsize:
            raise CheckpointError(f"storage {key} has {len(self.last[1])} bytes, not {count * kind.itemsize}")
        return np.frombuffer(self.last[1], kind.newbyteorder(self.order))


class ZipArchive(Archive):
    """The form of PyTorch since 1.6 (`data.pkl`, `data/KEY`), and that of `torch.package` (`.data/KEY.storage`)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        try:
            self.zip = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise CheckpointError(f"{path} is a damaged zip archive ({error}); fetch the file again") from error
        self.members = {info.filename: info for info in self.zip.infolist()}
        packaged = sorted(name for name in self.members if name.endswith(".pkl"))
        plain = [name for name in packaged if name.rsplit("/", 1)[-1] == "data.pkl" and name.count("/") <= 1]
        if any(name.rsplit("/", 1)[-1] == "constants.pkl" for name in packaged):
            raise CheckpointError(f"{path} is a TorchScript archive, which the encoder runs as it is (kind torchscript)")
        if not plain and len(packaged) != 1:
            raise CheckpointError(f"{path} is a zip archive with {len(packaged)} pickles and without data.pkl: no checkpoint")
        name = (plain or packaged)[0]
        self.prefix = name.split("/")[0] + "/" if "/" in name else ""
        self.pattern = "data/{}" if plain else ".data/{}.storage"
        self.form = "PyTorch archive" if plain else "torch.package archive"
        if f"{self.prefix}byteorder" in self.members and self.zip.read(f"{self.prefix}byteorder").strip() == b"big":
            self.order = ">"
        with self.zip.open(name) as file:
            self.root = self.load(file)

    def content(self, key: str, size: int) -> bytes:
        """The bytes of a storage."""
        member = self.members.get(self.prefix + self.pattern.format(key))
        if member is None or member.file_size != size:
            found = "missing" if member is None else f"{member.file_size} bytes, not {size}"
            raise CheckpointError(f"storage {key} of the file is {found}; fetch the file again")
        try:
            return self.zip.read(member)
        except (zipfile.BadZipFile, EOFError) as error:
            raise CheckpointError(f"storage {key} of the file is damaged ({error}); fetch the file again") from error


class LegacyArchive(Archive):
    """The form of PyTorch before 1.6: pickles one after the other, then every storage with its length."""

    form = "PyTorch file of before 1.6"

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.file = path.open("rb")
        if self.load(self.file) != LEGACY_MAGIC or self.load(self.file) != LEGACY_PROTOCOL:
            raise CheckpointError(f"{path} is a pickle, but no PyTorch checkpoint")
        system = self.load(self.file)
        self.order = "<" if isinstance(system, dict) and system.get("little_endian", True) else ">"
        self.places: dict[str, tuple[int, int]] = {}
        self.root = self.load(self.file)
        keys = self.load(self.file)
        for key in keys if isinstance(keys, list) else []:
            count = int.from_bytes(self.file.read(8), "little" if self.order == "<" else "big")
            storage = self.storages.get(str(key))
            if storage is None or count != storage.count:
                raise CheckpointError(f"storage {key} of the file has {count} elements, and the pickle says otherwise")
            size = count * np.dtype(ELEMENTS[storage.element]).itemsize
            self.places[str(key)] = (self.file.tell(), size)
            self.file.seek(size, 1)

    def content(self, key: str, size: int) -> bytes:
        """The bytes of a storage."""
        place, held = self.places.get(key, (0, -1))
        self.file.seek(place)
        content = self.file.read(size) if held == size else b""
        if len(content) != size:
            raise CheckpointError(f"storage {key} of the file is missing or cut short; fetch the file again")
        return content


def open_checkpoint(path: Path) -> Archive:
    """Reads what was saved; numbers are read later.

    Raises CheckpointError for anything but a PyTorch file.
    """
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError(f"{path} is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`")
    if zipfile.is_zipfile(path):
        return ZipArchive(path)
    if start[:2] == b"PK":
        raise CheckpointError(f"{path} is cut short: the end of the zip archive is missing; fetch the file again")
    if start[:1] != b"\x80":
        raise CheckpointError(f"{path} is no PyTorch checkpoint: it begins with {start[:8]!r}; fetch the file again")
    return LegacyArchive(path)
