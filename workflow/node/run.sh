#!/usr/bin/env bash
# On a node without a network: installs what is missing beside what is there, runs the campaign, packs what came out.
#     MINUTES=8 bash run.sh
# PYTHON names another Python; SCALE and PARTS are the campaign's; REHEARSAL=1 goes on without a card.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
python="${PYTHON:-python3}"
"$python" "$here/check.py" "$here"

if [ ! -f "$here/site/.ready" ]; then
    "$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --upgrade \
        --target "$here/site" "$here"/wheels/*.whl
    touch "$here/site/.ready"
fi
# `site` holds only what the node lacks, so that nothing of the node's is hidden.
export PYTHONPATH="$here/snn-ntk/src:$here/site${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p "$here/jupyter/kernels/python3"
"$python" - "$here/jupyter/kernels/python3/kernel.json" <<'PYTHON'
import json, sys
argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
with open(sys.argv[1], "w") as file:
    json.dump({"argv": argv, "display_name": "Python 3", "language": "python"}, file)
PYTHON
export JUPYTER_PATH="$here/jupyter${JUPYTER_PATH:+:$JUPYTER_PATH}"
# Nothing is written outside this folder.
export IPYTHONDIR="$here/scratch/ipython" JUPYTER_CONFIG_DIR="$here/scratch/jupyter" \
    JUPYTER_RUNTIME_DIR="$here/scratch/runtime" MPLCONFIGDIR="$here/scratch/matplotlib"
mkdir -p "$IPYTHONDIR" "$JUPYTER_CONFIG_DIR" "$JUPYTER_RUNTIME_DIR" "$MPLCONFIGDIR"

cd "$here/snn-ntk"
"$python" workflow/campaign.py --profile gpu --minutes "${MINUTES:-8}" --scale "${SCALE:-1}" --parts "${PARTS:-}" \
    --copy-to "$here/results.tar.gz"
