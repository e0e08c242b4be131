"""Makes nn/testdata/golden: two tiny Hugging Face models with random weights,
LoRA adapters on them, and what PyTorch, PEFT and Hugging Face compute with them.

    python3 -m venv .venv && .venv/bin/pip install -r scripts/golden/requirements.txt
    .venv/bin/python scripts/golden/make_golden.py              # writes nn/testdata/golden
    .venv/bin/python scripts/golden/make_golden.py --check DIR  # recomputes the models in DIR and compares

Everything is computed in float64 from the stored weights (norms, softmax and
RoPE angles internally float32, as Hugging Face has it) and stored as float32.
Each sequence is run alone, so nothing here is packed or padded.

MODEL/golden.safetensors
    input_ids [T], seq_starts [n+1] int32: n sequences end to end. labels [T]
        int32, -100 = no loss. Position i predicts token i+1 of its sequence.
    logits [T,V]; loss [1]: sum of negative log-likelihoods over all counted
        positions / their number; loss_per_sequence [n], 0 where none counts
    grad.NAME of loss for every parameter, a tied matrix once; grad_norm [1]
    greedy.prompt, greedy.tokens [32]
    full.losses [10]: the loss before each of 10 AdamW steps on all parameters;
        full.after.NAME: layer 0 and all norms after them
MODEL/lora-*/: a PEFT adapter, and golden.safetensors with, for base + adapter:
    logits, loss, loss_per_sequence, grad.NAME, grad_norm, train.losses [10],
    train.grad_norms [10] before clipping (where it clips), after.NAME (A and B
    after the steps), after.merged_logits (that adapter merged into the base)
MODEL/golden.json: settings of all training, and the smallest gap between the
    best two logits of the greedy continuation
"""

import argparse
import json
import math
import pathlib
import shutil

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForCausalLM

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 10
NO_LOSS = -100

FULL = {"optimizer": "AdamW", "lr": 1e-3, "schedule": "constant", "beta1": 0.9, "beta2": 0.999,
        "eps": 1e-8, "weight_decay": 0.01, "clip": None, "steps": STEPS}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LORA = {
    "lora-qv": {"r": 4, "alpha": 8, "targets": ["q_proj", "v_proj"], "lr": 1e-3,
                "schedule": "linear", "clip": 1.0, "steps": STEPS, "weight_decay": 0.0},
    "lora-all": {"r": 6, "alpha": 12, "targets": ALL, "lr": 3e-3,
                 "schedule": "cosine with 3 warm-up steps", "clip": None, "steps": STEPS, "weight_decay": 0.01},
    "lora-five": {"r": 8, "alpha": 4, "targets": ["q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"], "lr": 1e-2,
                  "schedule": "constant", "clip": 0.5, "steps": STEPS, "weight_decay": 0.0},
}

# The configs are in the style of the released models, with rope_theta,
# rope_scaling and torch_dtype at the top; newer transformers write another.
MODELS = {
    "qwen2-tiny": {
        "seed": 1, "lengths": [6, 17, 1, 67],
        "config": {
            "architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "hidden_act": "silu", "hidden_size": 32,
            "initializer_range": 0.02, "intermediate_size": 80, "max_position_embeddings": 256, "max_window_layers": 2,
            "model_type": "qwen2", "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "sliding_window": 256, "tie_word_embeddings": True,
            "torch_dtype": "float32", "use_cache": True, "use_sliding_window": False, "vocab_size": 128,
        },
    },
    "llama-tiny": {
        "seed": 2, "lengths": [9, 1, 70, 12], "max_shard_size": "40KB",
        "config": {
            "architectures": ["LlamaForCausalLM"], "attention_bias": False, "attention_dropout": 0.0, "bos_token_id": 1,
            "eos_token_id": 2, "head_dim": 16, "hidden_act": "silu", "hidden_size": 40, "initializer_range": 0.02,
            "intermediate_size": 96, "max_position_embeddings": 512, "mlp_bias": False, "model_type": "llama",
            "num_attention_heads": 4, "num_hidden_layers": 2, "num_key_value_heads": 2, "pretraining_tp": 1,
            "rms_norm_eps": 1e-5,
            "rope_scaling": {"factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                             "original_max_position_embeddings": 64, "rope_type": "llama3"},
            "rope_theta": 500000.0, "tie_word_embeddings": False, "torch_dtype": "bfloat16", "use_cache": True,
            "vocab_size": 144,
        },
    },
}


# ---- what is computed --------------------------------------------------------------


class Batch:
    """Sequences end to end, as in the file."""

    def __init__(self, golden):
        self.ids = golden["input_ids"].long()
        self.labels = golden["labels"].long()
        starts = golden["seq_starts"].tolist()
        self.spans = list(zip(starts, starts[1:]))

    def logits(self, model):
        return torch.cat([model(input_ids=self.ids[None, a:b], use_cache=False).logits[0] for a, b in self.spans])

    def losses(self, logits):
        """Sums of negative log-likelihoods and counts, per sequence."""
        sums, counts = [], []
        for a, b in self.spans:
            target = self.labels[a + 1:b]
            sums.append(F.cross_entropy(logits[a:b - 1], target, ignore_index=NO_LOSS, reduction="sum"))
            counts.append(int((target != NO_LOSS).sum()))
        return sums, counts

    def loss(self, model):
        sums, counts = self.losses(self.logits(model))
        return sum(sums) / sum(counts)


def load(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    return model.eval()


def load_adapter(folder, name):
    model = PeftModel.from_pretrained(load(folder), folder / name, is_trainable=True)
    for n, p in model.named_parameters():
        assert p.dtype == torch.float64, (n, p.dtype)
    return model.eval()


def file_name(name):
    """PEFT's parameter names carry the adapter's name, its files do not."""
    return name.replace(".default.weight", ".weight")


def trainable(model):
    return {file_name(n): p for n, p in model.named_parameters() if p.requires_grad}


def forward_backward(model, batch):
    """What both kinds of golden file begin with."""
    logits = batch.logits(model)
    sums, counts = batch.losses(logits)
    loss = sum(sums) / sum(counts)
    model.zero_grad()
    loss.backward()
    out = {"logits": logits, "loss": loss.reshape(1),
           "loss_per_sequence": torch.stack([s / max(c, 1) for s, c in zip(sums, counts)])}
    square = 0.0
    for name, p in trainable(model).items():
        out["grad." + name] = p.grad.clone()
        square += p.grad.square().sum()
    out["grad_norm"] = square.sqrt().reshape(1)
    return out


def learning_rate(settings, i):
    """The learning rate of step i, counted from 0."""
    lr, steps, schedule = settings["lr"], settings["steps"], settings["schedule"]
    if schedule == "constant":
        return lr
    if schedule == "linear":
        return lr * (steps - i) / steps
    words = schedule.split()
    assert words[0] == "cosine", schedule
    warm = int(words[2]) if len(words) > 1 else 0
    if i < warm:
        return lr * i / warm
    return lr * 0.5 * (1 + math.cos(math.pi * (i - warm) / (steps - warm)))


def train(model, batch, settings):
    """Takes the steps; returns the loss before each and the norms before clipping."""
    params = list(trainable(model).values())
    opt = torch.optim.AdamW(params, lr=settings["lr"], weight_decay=settings["weight_decay"],
                            betas=(settings.get("beta1", 0.9), settings.get("beta2", 0.999)), eps=settings.get("eps", 1e-8))
    losses, norms = [], []
    for i in range(settings["steps"]):
        for group in opt.param_groups:
            group["lr"] = learning_rate(settings, i)
        opt.zero_grad()
        loss = batch.loss(model)
        loss.backward()
        losses.append(loss.item())
        if settings["clip"] is not None:
            norms.append(torch.nn.utils.clip_grad_norm_(params, settings["clip"]).item())
        opt.step()
    return torch.tensor(losses, dtype=torch.float64), torch.tensor(norms, dtype=torch.float64)


@torch.no_grad()
def greedy(model, prompt, count):
    ids, margin = prompt.long().tolist(), math.inf
    for _ in range(count):
        best = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
    return torch.tensor(ids[len(prompt):], dtype=torch.int32), margin


def base_golden(folder, inputs, settings):
    batch, model = Batch(inputs), load(folder)
    out = dict(inputs)
    out.update(forward_backward(model, batch))
    out["greedy.tokens"], margin = greedy(model, inputs["greedy.prompt"], 32)
    out["full.losses"], _ = train(model, batch, settings)
    for name, p in trainable(model).items():
        if ".layers.0." in name or "norm" in name:
            out["full.after." + name] = p
    return out, margin


def adapter_golden(folder, name, inputs, settings):
    batch, model = Batch(inputs), load_adapter(folder, name)
    out = forward_backward(model, batch)
    out["train.losses"], norms = train(model, batch, settings)
    if settings["clip"] is not None:
        out["train.grad_norms"] = norms
    out.update({"after." + n: p.detach().clone() for n, p in trainable(model).items()})
    with torch.no_grad():
        out["after.merged_logits"] = batch.logits(model.merge_and_unload())
    return out


# ---- making ------------------------------------------------------------------------


def narrow(tensors):
    """float64 to float32, contiguous, detached; whole numbers stay."""
    return {n: (t.detach().float() if t.is_floating_point() else t).contiguous().clone() for n, t in tensors.items()}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1, sort_keys=False) + "\n")


@torch.no_grad()
def make_model(folder, spec):
    """Random weights, large enough that every part of the model shows in the logits."""
    write_json(folder / "config.json", spec["config"])
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config).float()
    for name, p in model.named_parameters():
        if "norm" in name:
            p.normal_(1.0, 0.1)
        elif name.endswith("bias"):
            p.normal_(0.0, 0.3)
        elif "embed" in name or "lm_head" in name:
            p.normal_(0.0, 0.4)
        else:
            p.normal_(0.0, 1.2 / math.sqrt(p.shape[1]))
    model.to(getattr(torch, spec["config"]["torch_dtype"]))
    model.save_pretrained(folder, max_shard_size=spec.get("max_shard_size", "1GB"))
    write_json(folder / "config.json", spec["config"])  # save_pretrained wrote the newer style


def make_inputs(spec):
    lengths, vocab = spec["lengths"], spec["config"]["vocab_size"]
    ids = torch.randint(vocab, (sum(lengths),), dtype=torch.int32)
    starts = torch.tensor([0] + lengths).cumsum(0).int()
    labels = ids.clone()
    labels[starts[-2]:starts[-2] + lengths[-1] // 3] = NO_LOSS
    return {"input_ids": ids, "seq_starts": starts, "labels": labels, "greedy.prompt": ids[:9].clone()}


@torch.no_grad()
def make_adapter(folder, name, settings):
    config = LoraConfig(r=settings["r"], lora_alpha=settings["alpha"], lora_dropout=0.0,
                        target_modules=settings["targets"], task_type="CAUSAL_LM")
    model = get_peft_model(load(folder), config)
    for n, p in model.named_parameters():
        if "lora_B" in n:
            p.normal_(0.0, 0.05)
    (folder / name).mkdir()
    save_file(narrow(get_peft_model_state_dict(model)), folder / name / "adapter_model.safetensors", metadata={"format": "pt"})
    config.base_model_name_or_path = None
    config.inference_mode = True
    config.save_pretrained(folder / name)
    path = folder / name / "adapter_config.json"  # PEFT writes its set of targets in any order
    fields = json.loads(path.read_text())
    fields["target_modules"] = sorted(fields["target_modules"])
    write_json(path, fields)


def make(root):
    for name, spec in MODELS.items():
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        torch.manual_seed(spec["seed"])
        make_model(folder, spec)
        inputs = make_inputs(spec)
        out, margin = base_golden(folder, inputs, FULL)
        save_file(narrow(out), folder / "golden.safetensors")
        settings = {"greedy_min_margin": margin, "kind": spec["config"]["model_type"], "full": FULL, "lora": {}}
        print(f"{name}: loss {out['loss'].item():.3f}, smallest greedy margin {margin:.4f}, "
              f"full {out['full.losses'][0]:.3f} to {out['full.losses'][-1]:.3f}")
        for adapter, s in LORA.items():
            make_adapter(folder, adapter, s)
            out = adapter_golden(folder, adapter, inputs, s)
            save_file(narrow(out), folder / adapter / "golden.safetensors")
            ends = [out["train.losses"][0].item(), out["train.losses"][-1].item()]
            settings["lora"][adapter] = {**s, "losses_first_last": ends}
            print(f"{name}/{adapter}: {ends[0]:.3f} to {ends[1]:.3f}")
        write_json(folder / "golden.json", settings)
    files = [p for p in root.rglob("*") if p.is_file()]
    for p in files:
        p.chmod(0o644)
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files):,} bytes")


# ---- checking ----------------------------------------------------------------------


def compare(what, want, got):
    """Prints the largest difference per group of tensors; true when all are close."""
    worst, missing = {}, sorted(set(want) ^ set(narrow(got)))
    for name, g in narrow(got).items():
        if name not in want:
            continue
        w = want[name]
        if w.shape != g.shape or w.dtype != g.dtype:
            missing.append(f"{name} {tuple(w.shape)} {tuple(g.shape)}")
            continue
        group = name.split(".")[0] if name.startswith(("grad.", "after.base")) else name if not name.startswith("full.after") else "full.after"
        diff = (w.double() - g.double()).abs().max().item() / max(w.double().abs().max().item(), 1e-30)
        if math.isnan(diff):
            diff = math.inf  # max and > would both pass over it
        worst[group] = max(worst.get(group, 0.0), diff)
    bad = {k: v for k, v in worst.items() if v > (1e-3 if k == "full.after" else 1e-5)}
    print(what, "differences relative to each tensor's largest value:", {k: float(f"{v:.1e}") for k, v in sorted(worst.items())})
    if missing:
        print("  NOT THE SAME TENSORS:", missing)
    if bad:
        print("  TOO LARGE:", bad)
    return not missing and not bad


def check(root):
    good, count = True, 0
    for path in sorted(root.glob("*/golden.safetensors")):
        folder, want = path.parent, load_file(path)
        settings = json.loads((folder / "golden.json").read_text())
        inputs = {k: want[k] for k in ("input_ids", "seq_starts", "labels", "greedy.prompt")}
        got, margin = base_golden(folder, inputs, settings["full"])
        good &= compare(folder.name, want, got)
        good &= abs(margin - settings["greedy_min_margin"]) < 1e-6
        count += 1
        for name, s in settings["lora"].items():
            got = adapter_golden(folder, name, inputs, s)
            good &= compare(f"{folder.name}/{name}", load_file(folder / name / "golden.safetensors"), got)
            count += 1
    print(f"{count} golden files,", "all as recomputed" if good and count else "NOT as recomputed")
    return bool(good and count)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "nn" / "testdata" / "golden")
    parser.add_argument("--check", type=pathlib.Path, metavar="DIR", help="recompute the models in DIR instead")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.check:
        raise SystemExit(0 if check(args.check) else 1)
    make(args.out)


if __name__ == "__main__":
    main()
