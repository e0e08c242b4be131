"""What others have for GPUs alone, where it is installed: one engine each, of the cases that it can do."""
import importlib.metadata
import shutil
import tempfile
import time

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

import models
import torchwork

# What must be importable for an engine, beside PyTorch.
NEEDS = {"sdpa-flash": "torch", "sdpa-cudnn": "torch", "flash-attn": "flash_attn", "unsloth": "unsloth", "vllm": "vllm"}


def engine(name, threads, device):
    e = {
        "sdpa-flash": lambda: SDPA("FLASH_ATTENTION", threads, device),
        "sdpa-cudnn": lambda: SDPA("CUDNN_ATTENTION", threads, device),
        "flash-attn": lambda: FlashAttention(threads, device),
        "unsloth": lambda: Unsloth(threads, device),
        "vllm": VLLM,
    }[name]()
    e.versions = {NEEDS[name]: importlib.metadata.version(NEEDS[name]), **e.versions}
    return e


class SDPA(torchwork.Engine):
    """PyTorch's attention by the kernels named, instead of those that it chooses."""

    def __init__(self, kernels, threads, device):
        super().__init__(threads, device)
        self.backend = getattr(SDPBackend, kernels)

    def attention(self, spec, dtype):
        once = super().attention(spec, dtype)

        def chosen():
            with sdpa_kernel(self.backend):
                once()
        return chosen


class FlashAttention(torchwork.Engine):
    """Attention by the package flash-attn, whose arrays have rows before heads."""

    def attention(self, spec, dtype):
        from flash_attn import flash_attn_func
        backward = spec.get("backward", False)
        q, k, v = (torch.randn(1, spec["rows"], h, spec["head_dim"], dtype=dtype, requires_grad=backward)
                   for h in (spec["heads"], spec["kv_heads"], spec["kv_heads"]))
        grad = torch.randn_like(q)

        def once():
            o = flash_attn_func(q, k, v, causal=True)
            if backward:
                q.grad = k.grad = v.grad = None
                o.backward(grad)
        return once


class Unsloth(torchwork.Engine):
    """Steps of LoRA adapters: a model of random weights is written to a folder first, as Unsloth loads models."""

    def __init__(self, threads, device):
        import unsloth  # noqa: F401  it wants to come before transformers
        super().__init__(threads, device)
        self.folder = tempfile.mkdtemp()
        self.models.adapted = self.adapted

    def adapted(self, spec, dtype):
        from unsloth import FastLanguageModel
        self.models.fresh(spec["model"], dtype).save_pretrained(self.folder)
        net, _ = FastLanguageModel.from_pretrained(self.folder, dtype=dtype, load_in_4bit=False, max_seq_length=4096)
        return FastLanguageModel.get_peft_model(net, r=spec["rank"], lora_alpha=2 * spec["rank"], lora_dropout=0.0, bias="none",
                                                target_modules=spec["targets"], use_gradient_checkpointing=False)

    def stop(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class VLLM:
    """Prompts and greedy decoding, on weights that vLLM draws itself."""

    def __init__(self):
        self.versions = {}
        self.key = self.llm = None

    def start(self, spec):
        from vllm import LLM
        key = spec["model"], spec["type"], spec["batch"], spec["seq"] + spec.get("new", 1)
        if key != self.key:
            self.llm = None
            with tempfile.TemporaryDirectory() as folder:
                models.config(spec["model"]).save_pretrained(folder)
                # Less than half of the memory: Selkie's weights lie beside.
                self.llm = LLM(model=folder, load_format="dummy", skip_tokenizer_init=True, dtype={"f32": "float32", "bf16": "bfloat16"}[spec["type"]],
                               max_model_len=key[3], gpu_memory_utilization=0.4, enable_prefix_caching=False)
            self.key = key
        prompts = [{"prompt_token_ids": torch.randint(0, 1000, (spec["seq"],)).tolist()} for _ in range(spec["batch"])]
        if spec["op"] == "prompt":
            return lambda: self.seconds(prompts, 1)
        return lambda: self.seconds(prompts, spec["new"]) - self.seconds(prompts, 1)

    def seconds(self, prompts, new):
        from vllm import SamplingParams
        began = time.perf_counter()
        self.llm.generate(prompts, SamplingParams(temperature=0, max_tokens=new, ignore_eos=True, detokenize=False), use_tqdm=False)
        return time.perf_counter() - began

    def stop(self):
        pass


if __name__ == "__main__":  # the engines that can run here
    import importlib.util
    print(",".join(name for name, module in NEEDS.items() if importlib.util.find_spec(module)))
