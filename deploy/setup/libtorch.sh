#!/usr/bin/env bash
# Makes $LIBTORCH: a folder with libtorch's headers and libraries.
# LIBTORCH set by the user: taken as it is. Otherwise the torch wheel is downloaded: whole, with its
# CUDA libraries, where there is an NVIDIA GPU; else only the CPU libraries are linked (530 MB, not 2.7 GB).
set -euo pipefail
cd "$(dirname "$0")/../.."
given="${LIBTORCH:-}"
. deploy/setup/paths.sh
torch_version=2.13.0

if [ -n "$given" ] && [ "$given" != "$SIDEREUS_CACHE/libtorch" ]; then
  [ -e "$given/lib/libtorch_cpu.so" ] || die "LIBTORCH=$given has no lib/libtorch_cpu.so; unset LIBTORCH or point it at a libtorch $torch_version"
  exit 0
fi

gpu=cpu
if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then gpu=cuda; fi
stamp="$LIBTORCH/.complete-$torch_version-$gpu"
[ -e "$stamp" ] && exit 0

say "downloading libtorch $torch_version ($gpu)"
wheel="$SIDEREUS_CACHE/torch-wheel-$gpu"
rm -rf "$wheel" "$LIBTORCH"
mkdir -p "$wheel" "$LIBTORCH/lib"
if [ "$gpu" = cuda ]; then
  "$SIDEREUS_PYTHON/bin/pip" install --quiet --no-cache-dir --target "$wheel" "torch==$torch_version"
else
  "$SIDEREUS_PYTHON/bin/pip" install --quiet --no-cache-dir --no-deps --target "$wheel" \
    "torch==$torch_version" nvidia-cuda-cupti nvidia-cuda-runtime
fi

ln -s "$wheel/torch/include" "$LIBTORCH/include"
if [ "$gpu" = cuda ]; then
  for library in "$wheel"/torch/lib/*.so*; do ln -s "$library" "$LIBTORCH/lib/"; done
  for library in "$wheel"/nvidia/*/lib/*.so*; do ln -sf "$library" "$LIBTORCH/lib/"; done
else
  ln -s "$wheel/torch/lib/libtorch_cpu.so" "$wheel/torch/lib/libc10.so" "$LIBTORCH/lib/"
  ln -s libtorch_cpu.so "$LIBTORCH/lib/libtorch.so"
  for library in "$wheel"/torch/lib/libgomp*; do ln -s "$library" "$LIBTORCH/lib/"; done
  find "$wheel/nvidia" \( -name 'libcupti.so.13*' -o -name 'libcudart.so.13*' \) -exec ln -sf {} "$LIBTORCH/lib/" \;
fi
touch "$stamp"
