"""Checkpoints by hand: pickles opcode by opcode and archives member by member, without PyTorch and without `pickle.dump`."""

import io
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LEGACY_MAGIC, LEGACY_PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
STORAGES = {"f8": "DoubleStorage", "f4": "FloatStorage", "f2": "HalfStorage", "u2": "BFloat16Storage", "i8": "LongStorage"}


@dataclass(frozen=True)
class Name:
    """Something that the pickle names: a class or a function."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """The result of a call (opcode REDUCE)."""

    function: Any
    arguments: tuple


@dataclass(frozen=True)
class Object:
    """An object made by its class (NEWOBJ), with a state (BUILD) and entries (SETITEMS)."""

    kind: Name
    state: Any = None
    entries: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Persistent:
    """A reference to something beside the pickle (BINPERSID)."""

    reference: tuple


@dataclass(frozen=True)
class Raw:
    """Opcodes as they are; they must leave one object on the stack."""

    opcodes: bytes


def opcodes(value: Any) -> bytes:
    """Opcodes of protocol 2 that leave a value on the stack."""
    match value:
        case None:
            return b"N"
        case bool():
            return b"\x88" if value else b"\x89"
        case int():
            size = value.bit_length() // 8 + 1
            return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
        case float():
            return b"G" + struct.pack(">d", value)
        case str():
            content = value.encode()
            return b"X" + struct.pack("<I", len(content)) + content
        case tuple():
            return b"(" + b"".join(map(opcodes, value)) + b"t"
        case list():
            return b"](" + b"".join(map(opcodes, value)) + b"e"
        case dict():
            return b"}(" + b"".join(opcodes(key) + opcodes(each) for key, each in value.items()) + b"u"
        case Name(module, name):
            return f"c{module}\n{name}\n".encode()
        case Call(function, arguments):
            return opcodes(function) + opcodes(arguments) + b"R"
        case Object(kind, state, entries):
            made = opcodes(kind) + b")\x81"
            if entries:
                made += b"(" + b"".join(opcodes(key) + opcodes(each) for key, each in entries.items()) + b"u"
            return made if state is None else made + opcodes(state) + b"b"
        case Persistent(reference):
            return opcodes(reference) + b"Q"
        case Raw(content):
            return content
        case _:
            raise TypeError(f"no opcodes for {type(value)}")


def pickled(value: Any) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + opcodes(value) + b"."


def ordered(entries: dict) -> Call | Raw:
    """An OrderedDict with the attribute that PyTorch hangs on state dictionaries."""
    made = opcodes(Call(Name("collections", "OrderedDict"), ()))
    made += b"(" + b"".join(opcodes(key) + opcodes(each) for key, each in entries.items()) + b"u"
    return Raw(made + opcodes({"_metadata": {"": {"version": 1}}}) + b"b")


class Storages:
    """The numbers beside a pickle, and tensors that refer to them."""

    def __init__(self, order: str = "<") -> None:
        self.order = order
        self.arrays: list[np.ndarray] = []

    def keep(self, flat: np.ndarray) -> int:
        """The key of a new storage."""
        self.arrays.append(flat.astype(flat.dtype.newbyteorder(self.order)))
        return len(self.arrays) - 1

    def reference(self, key: int, *, untyped: bool = False, legacy: bool = False) -> Persistent:
        """What a tensor says of its storage."""
        array = self.arrays[key]
        kind = Name("torch.storage", "UntypedStorage") if untyped else Name("torch", STORAGES[array.dtype.str[1:]])
        count = array.nbytes if untyped else array.size
        return Persistent(("storage", kind, str(key), "cpu", count, *((None,) if legacy else ())))

    def view(self, key: int, offset: int, shape: tuple, strides: tuple, **how: bool) -> Call:
        """A tensor on a storage."""
        parts = (self.reference(key, **how), offset, shape, strides, False, ordered({}))
        return Call(Name("torch._utils", "_rebuild_tensor_v2"), parts)

    def tensor(self, array: np.ndarray, **how: bool) -> Call:
        """A tensor with a storage of its own."""
        key = self.keep(array.reshape(-1))
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides) if array.ndim else ()
        return self.view(key, 0, array.shape, strides, **how)

    def transposed(self, array: np.ndarray) -> Call:
        """A matrix whose storage holds its transpose, behind three numbers of something else."""
        rows, columns = array.shape
        key = self.keep(np.concatenate([np.full(3, 7, array.dtype), array.T.reshape(-1)]))
        return self.view(key, 3, (rows, columns), (1, rows))

    def shared(self, arrays: dict[str, np.ndarray]) -> dict[str, Call]:
        """Tensors on one storage, one behind the other."""
        key, start, made = self.keep(np.concatenate([array.reshape(-1) for array in arrays.values()])), 0, {}
        for name, array in arrays.items():
            strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)
            made[name] = self.view(key, start, array.shape, strides)
            start += array.size
        return made

    def of_type(self, array: np.ndarray, element: str) -> Call:
        """A tensor on an untyped storage, as newer types are written."""
        key = self.keep(array.reshape(-1))
        strides = tuple(stride // array.itemsize for stride in np.ascontiguousarray(array).strides)
        reference = self.reference(key, untyped=True)
        parts = (reference, 0, array.shape, strides, False, ordered({}), Name("torch", element))
        return Call(Name("torch._utils", "_rebuild_tensor_v3"), parts)

    def write_zip(self, path: Path, value: Any, *, packaged: bool = False) -> None:
        """An archive as `torch.save` writes it, or as `torch.package` does."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("any/network/weights.pkl" if packaged else "any/data.pkl", pickled(value))
            archive.writestr("any/byteorder", "big" if self.order == ">" else "little")
            for key, array in enumerate(self.arrays):
                archive.writestr(f"any/.data/{key}.storage" if packaged else f"any/data/{key}", array.tobytes())
            archive.writestr("any/version", "3\n")

    def write_legacy(self, path: Path, value: Any) -> None:
        """A file as PyTorch before 1.6 wrote it."""
        file = io.BytesIO()
        system = {"protocol_version": LEGACY_PROTOCOL, "little_endian": self.order == "<"}
        keys = [str(key) for key in range(len(self.arrays))]
        for part in (LEGACY_MAGIC, LEGACY_PROTOCOL, system, value, keys):
            file.write(pickled(part))
        for array in self.arrays:
            file.write(struct.pack(f"{self.order}q", array.size) + array.tobytes())
        path.write_bytes(file.getvalue())


def parameter(tensor: Any) -> Call:
    """A tensor as a parameter of a module."""
    return Call(Name("torch._utils", "_rebuild_parameter"), (tensor, True, ordered({})))


def of_class(tensor: Call) -> Call:
    """A tensor with attributes of its own."""
    parts = (tensor.function, Name("torch", "Tensor"), tensor.arguments, {"tag": 1})
    return Call(Name("torch._tensor", "_rebuild_from_type_v2"), parts)


def hostile(marker: Path) -> dict[str, Any]:
    """Values that make a file where a common unpickler reads them, each in another way."""
    command = f"touch {marker}"
    code = f"open({str(marker)!r}, 'w')"
    system = Name("os", "system")
    return {
        "call": Call(system, (command,)),
        "code": Call(Name("builtins", "exec"), (code,)),
        "process": Call(Name("subprocess", "getoutput"), (command,)),
        "instance": Raw(b"(" + opcodes(command) + b"ios\nsystem\n"),
        "object": Raw(b"(" + opcodes(system) + opcodes(command) + b"o"),
        # PROTO 4 with STACK_GLOBAL.
        "stacked": Raw(opcodes("os") + opcodes("system") + b"\x93" + opcodes((command,)) + b"R"),
        "method": Call(Call(Name("builtins", "getattr"), (Call(Name("pathlib", "Path"), (str(marker),)), "touch")), ()),
    }
