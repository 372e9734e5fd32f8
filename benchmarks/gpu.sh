#!/usr/bin/env bash
# Checks kdbench on a GPU and measures it there, in at most 8 minutes; docs/gpu.md says what and how.
#   benchmarks/gpu.sh                          into $OUT, by default build/gpu
#   benchmarks/gpu.sh --device cpu --small     tries the script itself out
# It needs Python with torch and transformers; other packages may lie in $PACKAGES (pip install --target).
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
packages=${PACKAGES:-$root/build/gpu-packages}
export PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH}:$packages
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PYTHONDONTWRITEBYTECODE=1
python=${PYTHON:-python3}
# the libraries that compute metrics are large and may be missing: a stand-in computes the same
for library in evaluate datasets; do
    "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$library') is None)" ||
        stand_ins=$root/benchmarks/gpu/stand_ins
done
export PYTHONPATH=$PYTHONPATH${stand_ins:+:$stand_ins}
exec "$python" -m benchmarks.gpu --out "${OUT:-$root/build/gpu}" "$@"
