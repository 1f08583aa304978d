# Sourced by every set-up script and by the Makefile: where built and downloaded things live.
# Everything sits outside the checkout, so that a fresh clone on the same machine reuses it.
: "${SIDEREUS_CACHE:=${XDG_CACHE_HOME:-$HOME/.cache}/sidereus}"
: "${CARGO_TARGET_DIR:=$SIDEREUS_CACHE/target}"
export SIDEREUS_CACHE CARGO_TARGET_DIR
SIDEREUS_PYTHON="$SIDEREUS_CACHE/python"
SIDEREUS_DATA="$SIDEREUS_CACHE/data"
SIDEREUS_MODELS="$SIDEREUS_CACHE/models"
export SIDEREUS_PYTHON SIDEREUS_DATA SIDEREUS_MODELS
if [ -z "${LIBTORCH:-}" ]; then
  LIBTORCH="$SIDEREUS_CACHE/libtorch"
fi
export LIBTORCH

# Makes a Python environment where it is not there: its folder, its requirements, and what is said meanwhile.
python_environment() {
  local folder="$1" requirements="$2" stamp
  stamp="$folder/.complete-$(sha256sum "$requirements" | cut -c1-16)"
  [ ! -e "$stamp" ] || return 0
  say "$3"
  mkdir -p "$(dirname "$folder")"
  python3 -m venv --clear "$folder" || die "python3 -m venv failed; install Debian's python3-venv"
  "$folder/bin/pip" install --quiet --no-cache-dir --requirement "$requirements"
  touch "$stamp"
}

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
