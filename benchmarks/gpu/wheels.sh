#!/bin/bash
# Download the wheels that a bare GPU machine lacks (Python 3.12, x86-64), where there is a network:
#     benchmarks/gpu/wheels.sh FOLDER
# An image for deep learning has the rest of what affekt needs; `run.py` says what is absent.
# Take FOLDER along; `benchmarks/gpu/run.sh FOLDER OUT` installs it there without a network.
set -euo pipefail
folder=${1:?a folder to put the wheels in}
platforms=()
for libc in 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${libc}_x86_64"); done
${PYTHON:-python3} -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 \
    --implementation cp "${platforms[@]}" --platform manylinux2014_x86_64 -d "$folder" \
    -c "$(dirname "$0")/../../constraints.txt" \
    av soundfile soxr cffi pycparser pytest-xdist audmetric audeer iso639-lang oyaml
