#!/bin/bash
# Every stage on a bare machine with a GPU and no network: the system's Python with torch and
# transformers, and the wheels of `wheels.sh`. Results are kept stage by stage.
#     benchmarks/gpu/run.sh WHEELS OUT [options of run.py]
set -uo pipefail
wheels=$(realpath "${1:?folder of wheels}") out=$(realpath -m "${2:?folder for results}")
shift 2
here=$(realpath "$(dirname "$0")/../..") place=$(mktemp -d)
python=${PYTHON:-python3}
ls "$wheels"/*.whl >/dev/null 2>&1 && "$python" -m pip install --quiet --no-index --no-deps \
    --no-compile --no-cache-dir --upgrade --target "$place/site" "$wheels"/*.whl
mkdir -p "$place/affekt" "$out"
for part in cache extract classify; do ln -sfn "$here/$part" "$place/affekt/$part"; done
ln -sfn "$here"/affekt/*.py "$place/affekt/"
export PYTHONPATH="$place:$place/site" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
cd "$here" && exec "$python" benchmarks/gpu/run.py --out "$out" "$@"
