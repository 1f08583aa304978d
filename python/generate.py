"""Makes the protocol modules of the package from `proto/`.

    python generate.py [FOLDER]

FOLDER is `src` unless named. The modules are part of the repository, so that nobody needs a protocol compiler to
use the package; a test compares them with what this script makes.
"""

from __future__ import annotations

import importlib.resources
import re
import sys
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent

#: The client's protocol, and what its files import.
PACKAGES = ("sidereus/v1", "sidereus/options/v1")


def generate(folder: Path) -> None:
    """Write one module and its types for each file of the client's protocol."""
    protos = HERE.parent / "proto"
    folders = [protos / name for name in PACKAGES]
    files = sorted(str(path.relative_to(protos)) for each in folders for path in each.glob("*.proto"))
    folder.mkdir(parents=True, exist_ok=True)
    known = importlib.resources.files("grpc_tools") / "_proto"
    arguments = [f"-I{protos}", f"-I{known}", f"--python_out={folder}", f"--pyi_out={folder}", *files]
    if protoc.main(["protoc", *arguments]) != 0:
        raise SystemExit("the protocol does not compile")
    # The compiler leaves the types of given messages half said, which strict checking refuses.
    for stub in (stub for name in PACKAGES for stub in (folder / name).glob("*.pyi")):
        text = stub.read_text(encoding="utf-8")
        whole = re.sub(r"_Mapping(?=[],])(?! as)", "_Mapping[str, _Any]", text)
        whole = whole.replace("**kwargs)", "**kwargs: _Any)")
        # Extensions stand outside of classes.
        whole = re.sub(r"^(\w+): _ClassVar\[(.*)\]$", r"\1: \2", whole, flags=re.MULTILINE)
        if whole != text:
            whole = whole.replace("from typing import ", "from typing import Any as _Any, ", 1)
        stub.write_text(whole, encoding="utf-8")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "src")
