"""The cases with PyTorch, transformers and PEFT, as one would write them."""
import platform
import time

import torch
import torch.nn.functional as F

import models

TYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


class Engine:
    def __init__(self, threads, device="cpu"):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        if device == "cuda":
            torch.set_default_device("cuda")
            self.wait = torch.cuda.synchronize
        self.versions = {"python": platform.python_version(), "torch": torch.__version__}
        self.models = models.Models()

    def start(self, spec):
        return getattr(self, spec["op"])(spec, TYPES[spec["type"]])

    def stop(self):
        self.models.release()

    def product(self, spec, dtype):
        m, k, n = spec["m"], spec["k"], spec["n"]
        layout = spec["layout"]
        x = torch.rand((k, m) if layout == "TN" else (m, k)).sub_(0.5).to(dtype)
        w = torch.rand((n, k) if layout == "NT" else (k, n)).sub_(0.5).to(dtype)
        x = x.T if layout == "TN" else x
        ws = [w] + [w.clone() for _ in range(spec.get("copies", 1) - 1)]
        ws = [w.T if layout == "NT" else w for w in ws]
        out = torch.empty((m, n), dtype=dtype)
        i = -1

        def once():
            nonlocal i
            i = (i + 1) % len(ws)
            torch.matmul(x, ws[i], out=out)
        return once

    def lora(self, spec, dtype):
        """All segments are equally long here, so one batched product does each step."""
        s, r, rows = spec["segments"], spec["rank"], spec["rows"]
        x, y = torch.randn(s, rows, spec["k"]), torch.randn(s, rows, spec["n"])
        a, b = torch.randn(s, r, spec["k"]), torch.randn(s, spec["n"], r)
        h = torch.bmm(x, a.transpose(1, 2))
        da, db, dx = torch.zeros_like(a), torch.zeros_like(b), torch.zeros_like(x)

        def forward():
            torch.bmm(x, a.transpose(1, 2), out=h)
            y.baddbmm_(h, b.transpose(1, 2), alpha=2)

        def backward():
            g = torch.bmm(y, b).mul_(2)
            dx.baddbmm_(g, a)
            da.baddbmm_(g.transpose(1, 2), x)
            db.baddbmm_(y.transpose(1, 2), h, alpha=2)
        return torch.no_grad()(backward if spec.get("backward") else forward)

    def attention(self, spec, dtype):
        heads, kv, rows, dim = spec["heads"], spec["kv_heads"], spec["rows"], spec["head_dim"]
        backward = spec.get("backward", False)
        q, k, v = (torch.randn(1, h, rows, dim, dtype=dtype, requires_grad=backward) for h in (heads, kv, kv))
        grad = torch.randn(1, heads, rows, dim, dtype=dtype)

        def once():
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != heads)
            if backward:
                q.grad = k.grad = v.grad = None
                o.backward(grad)
        return once

    def adamw(self, spec, dtype):
        p = torch.nn.Parameter(torch.randn(spec["n"]))
        p.grad = torch.randn(spec["n"])
        opt = torch.optim.AdamW([p], lr=1e-4, fused=True)

        def once():
            opt.step()
            opt.zero_grad(set_to_none=False)
        return once

    def rmsnorm(self, spec, dtype):
        x, w = torch.randn(spec["m"], spec["n"]), torch.randn(spec["n"])

        def once():  # there is no form that writes into a kept output
            F.rms_norm(x, (spec["n"],), w, 1e-6)
        return once

    def swiglu(self, spec, dtype):
        g, u = torch.randn(spec["n"]), torch.randn(spec["n"])
        y = torch.empty_like(g)

        def once():
            torch.ops.aten.silu.out(g, out=y)
            y.mul_(u)
        return once

    def step(self, spec, dtype):
        """A training step of LoRA adapters, or of all parameters."""
        if spec.get("targets"):
            net = self.models.adapted(spec, dtype)
        else:
            net = self.models.fresh(spec["model"], dtype)
        net.train()
        opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4)
        ids = torch.randint(0, net.config.vocab_size, (spec["batch"], spec["seq"]))
        return lambda: train(net, opt, ids)

    def seal(self, spec, dtype):
        """One adapter's passes over its sequences; the time of making it is not counted."""
        net = self.models.adapted(spec, dtype)
        net.train()
        opt = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=1e-4)
        sequences = [torch.randint(0, net.config.vocab_size, (1, n)) for n in spec["lengths"]]

        def once():
            for _ in range(spec["epochs"]):
                for ids in sequences:
                    train(net, opt, ids)
        return once

    def prompt(self, spec, dtype):
        net = self.models.base(spec["model"], dtype).eval()
        ids = torch.randint(0, net.config.vocab_size, (1, spec["seq"]))

        @torch.no_grad()
        def once():
            net(input_ids=ids, use_cache=True, logits_to_keep=1)
        return once

    def decode(self, spec, dtype):
        """Greedy steps on a cache; the prompt and its token are not counted."""
        net = self.models.base(spec["model"], dtype).eval()
        ids = torch.randint(0, net.config.vocab_size, (spec["batch"], spec["seq"]))

        @torch.no_grad()
        def once():
            out = net(input_ids=ids, use_cache=True, logits_to_keep=1)
            getattr(self, "wait", lambda: None)()
            began = time.perf_counter()
            for _ in range(spec["new"] - 1):
                token = out.logits[:, -1:].argmax(-1)
                out = net(input_ids=token, cache=out.past_key_values, use_cache=True, logits_to_keep=1)
            getattr(self, "wait", lambda: None)()
            return time.perf_counter() - began
        return once


def train(net, opt, ids):
    opt.zero_grad(set_to_none=True)
    net(input_ids=ids, labels=ids, use_cache=False).loss.backward()
    opt.step()
