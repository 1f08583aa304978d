#!/usr/bin/env bash
# Compares Sidereus with its rivals on this machine; see benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
home="$SIDEREUS_CACHE/rivals"
python_environment "$home/venv" benches/rivals/requirements.txt "installing the rivals"
# Kernels for old BLAS builds slow today's NumPy and FAISS.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE NVPL_BLAS_DEBUG_CPU_TYPE
export PYTHONDONTWRITEBYTECODE=1
exec "$home/venv/bin/python" benches/rivals/bench.py "$@"
