// Package nn arranges tensor ops into decoder-only transformers (Llama, Qwen2):
// loading and saving Hugging Face folders, LoRA adapters, training many adapters
// in one batch, and generation over a paged KV cache.
//
// A model has four primitives, on which all training is written:
// Trainer.ForwardBackward, Trainer.OptimStep, Generator.Run (sampling), and
// saving and loading state.
//
// It imports tensor and kernels' constants, never a concrete backend, and
// nothing of package seal.
package nn
