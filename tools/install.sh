#!/bin/sh
# Makes the virtual environment. torch comes first and alone: its plain wheel is a CUDA build of gigabytes on Linux,
# so without an NVIDIA GPU the CPU build is taken, from wherever pip is set up to look, else from PyTorch's own index.
set -eu
PYTHON="${PYTHON:-python3}"
VENV="${VENV:-.venv}"
TORCH="$(sed -n 's/^torch==//p' constraints.txt)"

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "Limner needs Python 3.11 or newer; $PYTHON is $("$PYTHON" --version). Set PYTHON=/path/to/python3.11." >&2
    exit 1
}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
PIP="$VENV/bin/python -m pip install --quiet --disable-pip-version-check"

if ! "$VENV/bin/python" -c 'import torch' 2>/dev/null; then
    if [ "$(uname -s)" != Linux ] || command -v nvidia-smi >/dev/null 2>&1; then
        $PIP "torch==$TORCH"
    else
        $PIP "torch==$TORCH+cpu" 2>/dev/null ||
            $PIP "torch==$TORCH" --index-url https://download.pytorch.org/whl/cpu
    fi
fi
$PIP --constraint constraints.txt --editable '.[local,dev]'
