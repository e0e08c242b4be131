"""Models of the benchmark's shapes with random weights, in transformers and PEFT."""

SHAPES = {
    "qwen2.5-0.5b": dict(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                         intermediate_size=4864, vocab_size=151936, rope_theta=1000000.0),
    "qwen2.5-7b": dict(hidden_size=3584, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
                       intermediate_size=18944, vocab_size=152064, rope_theta=1000000.0, tie_word_embeddings=False),
    "mini": dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
                 intermediate_size=688, vocab_size=4096, rope_theta=10000.0),
}


def config(shape):
    from transformers import Qwen2Config
    sizes = {"tie_word_embeddings": True, **SHAPES[shape]}
    theta = sizes.pop("rope_theta")
    return Qwen2Config(max_position_embeddings=32768, rms_norm_eps=1e-6, architectures=["Qwen2ForCausalLM"],
                       rope_parameters={"rope_type": "default", "rope_theta": theta},
                       bos_token_id=None, eos_token_id=None, pad_token_id=None, **sizes)


class Models:
    """Keeps the last base model, and one adapter on it at a time."""

    def __init__(self):
        self.key = self.model = self.peft = None

    def fresh(self, shape, dtype):
        from transformers import Qwen2ForCausalLM
        sizes = config(shape)
        sizes._attn_implementation = "sdpa"
        return Qwen2ForCausalLM(sizes).to(dtype)

    def base(self, shape, dtype):
        self.release()
        if self.key != (shape, dtype):
            self.model = None
            self.model, self.key = self.fresh(shape, dtype), (shape, dtype)
        return self.model

    def adapted(self, spec, dtype):
        from peft import LoraConfig, get_peft_model
        model = self.base(spec["model"], dtype)
        self.peft = get_peft_model(model, LoraConfig(r=spec["rank"], lora_alpha=2 * spec["rank"], lora_dropout=0.0, bias="none",
                                                     target_modules=spec["targets"], task_type="CAUSAL_LM"))
        return self.peft

    def release(self):
        if self.peft is not None:
            self.model = self.peft.unload()
            self.model.requires_grad_(True)
            self.peft = None
