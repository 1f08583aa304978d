#!/usr/bin/env bash
# Compares Sidereus with its rivals on this machine; see benches/README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/setup/paths.sh
home="$SIDEREUS_CACHE/rivals"
requirements=benches/rivals/requirements.txt
stamp="$home/venv/.complete-$(sha256sum "$requirements" | cut -c1-16)"
if [ ! -e "$stamp" ]; then
  say "installing the rivals"
  mkdir -p "$home"
  python3 -m venv --clear "$home/venv" || die "python3 -m venv failed; install Debian's python3-venv"
  "$home/venv/bin/pip" install --quiet --no-cache-dir --requirement "$requirements"
  touch "$stamp"
fi
# Kernels for old BLAS builds slow today's NumPy and FAISS.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE NVPL_BLAS_DEBUG_CPU_TYPE
export PYTHONDONTWRITEBYTECODE=1
exec "$home/venv/bin/python" benches/rivals/bench.py "$@"
