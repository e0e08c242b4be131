"""Decoding and prompts with llama.cpp's own benchmark programs, on models of random weights."""
import json
import os
import subprocess

import numpy as np

import models


class Engine:
    def __init__(self, programs, cache, threads):
        self.programs, self.cache, self.threads = programs, cache, threads
        with open(os.path.join(programs, "VERSION")) as f:
            self.versions = {"llama.cpp": f.read().strip()}

    def start(self, spec):
        path = os.path.join(self.cache, "%s-%s.gguf" % (spec["model"], spec["type"]))
        if not os.path.exists(path):
            write_model(path + ".part", spec["model"], spec["type"])
            os.rename(path + ".part", path)
        common = ["-m", path, "-t", str(self.threads)]
        if spec["op"] == "prompt":
            run = ["llama-bench", *common, "-p", str(spec["seq"]), "-n", "0", "-r", "1", "-o", "jsonl"]
            return lambda: spec["seq"] / self.last(run)["avg_ts"]
        batch, steps = spec["batch"], spec["new"] - 1
        run = ["llama-batched-bench", *common, "-c", str(batch * (spec["seq"] + spec["new"])), "-b", "2048", "-ub", "512",
               "-npp", str(spec["seq"]), "-ntg", str(steps), "-npl", str(batch), "--output-format", "jsonl"]
        return lambda: batch * steps / self.last(run)["speed_tg"]

    def last(self, run):
        """The last object of JSON that a program prints. Now and then one ends well without a word: it is asked again."""
        for _ in range(3):
            done = subprocess.run([os.path.join(self.programs, run[0])] + run[1:], text=True, capture_output=True)
            lines = [line[line.index("{"):] for line in done.stdout.splitlines() if "{" in line]
            if done.returncode != 0:
                break
            if lines:
                return json.loads(lines[-1])
        raise RuntimeError("%s exited with %d and said %r: %s" % (run[0], done.returncode, done.stdout[-500:], done.stderr[-1500:]))

    def stop(self):
        pass


def write_model(path, shape, kind):
    """Writes a Qwen2 model without a tokenizer; norms and biases are f32, as llama.cpp's converter leaves them."""
    import gguf
    sizes = models.SHAPES[shape]
    dtype = {"f32": gguf.GGMLQuantizationType.F32, "bf16": gguf.GGMLQuantizationType.BF16}[kind]
    rng = np.random.default_rng(0)
    hidden, heads, kv = sizes["hidden_size"], sizes["num_attention_heads"], sizes["num_key_value_heads"]
    intermediate, dim = sizes["intermediate_size"], sizes["hidden_size"] // sizes["num_attention_heads"]
    w = gguf.GGUFWriter(path, "qwen2")
    w.add_context_length(32768)
    w.add_embedding_length(hidden)
    w.add_block_count(sizes["num_hidden_layers"])
    w.add_feed_forward_length(intermediate)
    w.add_head_count(heads)
    w.add_head_count_kv(kv)
    w.add_rope_freq_base(sizes["rope_theta"])
    w.add_layer_norm_rms_eps(1e-6)
    w.add_vocab_size(sizes["vocab_size"])
    w.add_tokenizer_model("no_vocab")

    def matrix(name, rows, cols):
        x = rng.standard_normal((rows, cols), dtype=np.float32) * np.float32(0.02)
        w.add_tensor(name + ".weight", gguf.quants.quantize(x, dtype), raw_dtype=dtype)

    def vector(name, n, value):
        w.add_tensor(name, np.full(n, value, dtype=np.float32))

    matrix("token_embd", sizes["vocab_size"], hidden)
    vector("output_norm.weight", hidden, 1)
    for i in range(sizes["num_hidden_layers"]):
        layer = "blk.%d." % i
        vector(layer + "attn_norm.weight", hidden, 1)
        vector(layer + "ffn_norm.weight", hidden, 1)
        for name, rows in (("attn_q", heads * dim), ("attn_k", kv * dim), ("attn_v", kv * dim)):
            matrix(layer + name, rows, hidden)
            vector(layer + name + ".bias", rows, 0)
        matrix(layer + "attn_output", hidden, heads * dim)
        matrix(layer + "ffn_gate", intermediate, hidden)
        matrix(layer + "ffn_up", intermediate, hidden)
        matrix(layer + "ffn_down", hidden, intermediate)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
