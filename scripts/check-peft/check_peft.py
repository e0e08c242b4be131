"""Loads an adapter that Selkie wrote by PEFT, unchanged, and compares logits.

    check_peft.py BASE ADAPTER LOGITS [--atol 1e-4] [--rtol 1e-4]

BASE     a Hugging Face model folder
ADAPTER  a folder with adapter_config.json and adapter_model.safetensors
LOGITS   a safetensors file with Selkie's view of base + adapter: input_ids [T]
         (integers) and logits [T,V]; seq_starts [n+1], where given, cuts T into
         sequences that do not see one another (default: one sequence)

PEFT computes in float64 from the stored weights. Every logit must satisfy
|Selkie - PEFT| <= atol + rtol * |PEFT|. The exit status is 0 when they do and 1
otherwise; it is also 1 when PEFT leaves a tensor of the file unused or misses
one, and when the adapter changes no logit, for then nothing is proved.
check-peft.sh runs this in an environment of its own.
"""

import argparse
import pathlib
import sys

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def fail(message):
    print("FAIL:", message)
    sys.exit(1)


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=pathlib.Path)
    parser.add_argument("adapter", type=pathlib.Path)
    parser.add_argument("logits", type=pathlib.Path)
    parser.add_argument("--atol", type=float, default=1e-4)
    parser.add_argument("--rtol", type=float, default=1e-4)
    return parser.parse_args()


def read_selkie(path):
    file = load_file(path)
    for name in ("input_ids", "logits"):
        if name not in file:
            fail(f"{path} has no tensor {name}; it holds {sorted(file)}")
    ids, logits = file["input_ids"].long(), file["logits"].double()
    starts = file.get("seq_starts", torch.tensor([0, len(ids)])).tolist()
    if ids.dim() != 1 or logits.dim() != 2 or len(ids) != len(logits) or len(ids) == 0:
        fail(f"{path}: input_ids {list(ids.shape)} and logits {list(logits.shape)}, expected [T] and [T,V]")
    if starts[0] != 0 or starts[-1] != len(ids) or sorted(set(starts)) != starts:
        fail(f"{path}: seq_starts {starts} do not rise from 0 to {len(ids)}")
    return ids, logits, starts


@torch.no_grad()
def run(model, ids, starts):
    return torch.cat([model(input_ids=ids[None, a:b], use_cache=False).logits[0] for a, b in zip(starts, starts[1:])])


def check_all_used(model, adapter):
    """PEFT only warns about tensors it misses, and leaves them at their start."""
    stored, used = load_file(adapter / "adapter_model.safetensors"), get_peft_model_state_dict(model)
    if stored.keys() != used.keys():
        fail(f"missing from the file: {sorted(used.keys() - stored.keys())}; unknown to PEFT: {sorted(stored.keys() - used.keys())}")
    for name, t in stored.items():
        if not torch.equal(t.double(), used[name].double()):
            fail(f"PEFT does not hold the values of {name} as stored")
    return len(stored)


def main():
    args = parse_args()
    torch.set_num_threads(1)
    ids, got, starts = read_selkie(args.logits)
    base = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float64, attn_implementation="eager").eval()
    plain = run(base, ids, starts)
    model = PeftModel.from_pretrained(base, args.adapter).eval()
    tensors = check_all_used(model, args.adapter)
    want = run(model, ids, starts)
    if got.shape != want.shape:
        fail(f"logits are {list(got.shape)}, PEFT's {list(want.shape)}")
    if torch.equal(plain, want):
        fail("the adapter changes no logit (is B zero?): nothing is proved")
    diff = (got - want).abs()
    beyond = ~(diff <= args.atol + args.rtol * want.abs())  # so that NaN counts
    print(f"{tensors} adapter tensors, logits {list(want.shape)}: largest difference {diff.max():.3g}, "
          f"largest change by the adapter {(want - plain).abs().max():.3g}")
    if beyond.any():
        row, column = beyond.nonzero()[0].tolist()
        fail(f"{int(beyond.sum())} of {beyond.numel()} logits differ, the first at [{row},{column}]: "
             f"{got[row, column]:.7g}, PEFT has {want[row, column]:.7g}")
    print("OK")


if __name__ == "__main__":
    main()
