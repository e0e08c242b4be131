#!/bin/sh
# Checks that PEFT loads an adapter written by Selkie and computes the same logits.
#
#     scripts/check-peft/check-peft.sh BASE ADAPTER LOGITS [--atol X] [--rtol X]
#
# An adapter that Selkie trained on each of the repository's golden models, with
# its logits, comes from
#
#     SELKIE_PEFT_OUT=/tmp/peft go test ./nn -run ExportPEFT -v
#     m=llama-tiny # and qwen2-tiny
#     scripts/check-peft/check-peft.sh nn/testdata/golden/$m /tmp/peft/$m/adapter /tmp/peft/$m/logits.safetensors
#
# The arguments are those of check_peft.py, which explains them. On first use this
# makes a Python environment in .cache/check-peft (about 2 GB; versions as in
# scripts/golden/requirements.txt). Set PYTHON to an interpreter that has these
# packages to use that one instead. The exit status is 0 only when all agree.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
requirements=$here/../golden/requirements.txt
if [ -z "${PYTHON:-}" ]; then
	venv=$here/../../.cache/check-peft
	if ! cmp -s "$requirements" "$venv/requirements.txt"; then
		python3 -m venv "$venv"
		"$venv/bin/pip" install --quiet -r "$requirements"
		cp "$requirements" "$venv/requirements.txt" # last: marks a complete environment
	fi
	PYTHON=$venv/bin/python
fi
exec env HF_HUB_OFFLINE=1 "$PYTHON" "$here/check_peft.py" "$@"
