package main

import (
	"slices"
	"strings"
)

// gpuGoals are those of kernels for sm_80, which run on every later GPU too.
var gpuGoals = []goal{
	{"bf16 squares ≥ 4096", "≥ 0.9 × cuBLAS, 0.6 × on Hopper", func(b *book, threads int) (string, bool, bool) {
		least := 0.9
		if strings.Contains(b.Host.Numerics, "sm_9") {
			least = 0.6
		}
		rows := slices.DeleteFunc(b.find(threads, "products/bf16/square/"), func(r *row) bool { return r.Spec.M < 4096 })
		return spread(rows, (*row).ratio, "×", 0, least)
	}},
	{"causal attention, d = 128, 4k to 16k, forward", "≥ 300 TFLOP/s on an H100", longAttention("/forward", 300)},
	{"the same, forward and backward", "≥ 200 TFLOP/s on an H100", longAttention("/forward+backward", 200)},
	{"AdamW, rmsnorm, swiglu", "≥ 90 % of memory bandwidth", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "elementwise/"), percent((*row).ofRead), "%", 0, 90)
	}},
	{"LoRA step, 7b, q and v, bf16", "≥ 2 × PyTorch + PEFT", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "step/qwen2.5-7b/bf16/qv/"), (*row).ratio, "×", 0, 2)
	}},
	{"SEAL's workload, 7b, 16 adapters at once", "≥ 5 × one by one", func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, "seal/qwen2.5-7b/", "/adapters16/together")
		return spread(rows, func(r *row) float64 { return b.against(r, strings.Replace(r.Case, "/together/", "/one-by-one/", 1)) }, "×", 0, 5)
	}},
	{"decoding 7b, bf16, batch 1", "≥ 80 % of memory bandwidth", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "decode/qwen2.5-7b/bf16/batch1/"), percent((*row).ofRead), "%", 0, 80)
	}},
}

// longAttention asks for so many TFLOP/s of attention over thousands of rows.
func longAttention(pass string, least float64) func(*book, int) (string, bool, bool) {
	return func(b *book, threads int) (string, bool, bool) {
		rows := slices.DeleteFunc(b.find(threads, "attention/bf16/heads16-16/"), func(r *row) bool {
			return r.Spec.Rows < 4096 || !strings.HasSuffix(r.Case, pass)
		})
		return spread(rows, func(r *row) float64 { return r.Work.FLOPs / r.ours() / 1e12 }, "TFLOP/s", 0, least)
	}
}
