package main

import (
	"fmt"
	"math"
	"strings"
)

// goal is what this machine's owner may expect of the library, and how to read
// it off the rows.
type goal struct {
	work, want string
	// check returns what was measured with some number of threads, and whether
	// that is enough. ok is false where it was not measured.
	check func(b *book, threads int) (measured string, met, ok bool)
}

var goals = []goal{
	{"f32 products of a training batch", "geometric mean ≥ 1.0 × the better of OpenBLAS and PyTorch, none below 0.9 ×", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "products/f32/train/"), (*row).ratio, "×", 1, 0.9)
	}},
	{"f32 squares ≥ 1024", "≥ 90 % of FMA peak, 75 % where the core has two 512-bit units", func(b *book, threads int) (string, bool, bool) {
		rows, least := b.find(threads, "products/f32/square/"), 90.0
		if len(rows) > 0 && rows[0].Peak.TwoUnits() {
			least = 75
		}
		return spread(rows, computed, "%", 0, least)
	}},
	{"bf16 weights, f32 arithmetic", "≥ 0.95 × our f32 rate", func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, "products/bf16w/train/")
		return spread(rows, func(r *row) float64 { return b.against(r, strings.Replace(r.Case, "/bf16w/", "/f32/", 1)) }, "×", 0.95, 0)
	}},
	{"bf16 × bf16", "≥ 1.0 × PyTorch", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "products/bf16/train/"), (*row).ratio, "×", 1, 0)
	}},
	{"1 row, cold f32 weights", "≥ 85 % of streaming read", cold("f32", 1, 85)},
	{"1 row, cold bf16 weights", "≥ 85 % of streaming read", cold("bf16w", 1, 85)},
	{"8 rows, cold f32 weights", "≥ 75 % of streaming read", cold("f32", 8, 75)},
	{"8 rows, cold bf16 weights", "≥ 75 % of streaming read", cold("bf16w", 8, 75)},
	{"grouped LoRA, rank 16–64, 16 segments × 64 rows", "≥ 60 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "lora/", "/16x64/"), computed, "%", 0, 60)
	}},
	{"the same against one segment of 1024 rows", "≥ 0.85 ×", func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, "lora/", "/16x64/")
		return spread(rows, func(r *row) float64 { return b.against(r, strings.Replace(r.Case, "/16x64/", "/1x1024/", 1)) }, "×", 0, 0.85)
	}},
	{"causal attention forward + backward, 14 × 512 × 64, f32", "≥ 55 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "attention/f32/heads14-14/512x64/forward+backward"), computed, "%", 0, 55)
	}},
	{"AdamW, rmsnorm, swiglu beyond cache", "≥ 85 % of streaming read", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "elementwise/"), percent((*row).ofRead), "%", 0, 85)
	}},
	{"LoRA step, 0.5b, q and v, 1 × 512, f32", "≥ 80 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "step/qwen2.5-0.5b/f32/qv/rank32/1x512"), computed, "%", 0, 80)
	}},
	{"the same in bf16", "≥ 1.5 × PyTorch + PEFT in bf16", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "step/qwen2.5-0.5b/bf16/qv/rank32/1x512"), (*row).ratio, "×", 0, 1.5)
	}},
	{"LoRA step, mini, q and v, 1 × 128, f32", "≥ 75 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "step/mini/f32/qv/rank32/1x128"), computed, "%", 0, 75)
	}},
	{"SEAL's workload, mini, 16 adapters at once, f32", "≥ 70 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "seal/mini/f32/", "/adapters16/together"), computed, "%", 0, 70)
	}},
	{"the same against ours one by one", "≥ 1.0 ×", func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, "seal/mini/", "/adapters16/together")
		return spread(rows, func(r *row) float64 { return b.against(r, strings.Replace(r.Case, "/together/", "/one-by-one/", 1)) }, "×", 0, 1)
	}},
	{"the same in bf16 against PyTorch + PEFT, f32 or bf16", "≥ 6 ×", func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, "seal/mini/bf16/", "/adapters16/together")
		return spread(rows, func(r *row) float64 { return b.sealRatio(r, "bf16", "f32") }, "×", 0, 6)
	}},
	{"decoding 0.5b, f32, batch 1", "≥ 1.0 × llama.cpp", decoding("f32", 1, 1)},
	{"decoding 0.5b, f32, batch 8", "≥ 2.0 × llama.cpp", decoding("f32", 8, 2)},
	{"decoding 0.5b, f32, batch 32", "≥ 1.5 × llama.cpp", decoding("f32", 32, 1.5)},
	{"decoding 0.5b, bf16, batch 1", "≥ 1.0 × llama.cpp", decoding("bf16", 1, 1)},
	{"decoding 0.5b, bf16, batch 8", "≥ 2.0 × llama.cpp", decoding("bf16", 8, 2)},
	{"decoding 0.5b, bf16, batch 32", "≥ 1.5 × llama.cpp", decoding("bf16", 32, 1.5)},
	{"training all of mini, 16 × 128", "≥ 75 % of FMA peak", func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, "full/mini/"), computed, "%", 0, 75)
	}},
}

func cold(kind string, rows int, least float64) func(*book, int) (string, bool, bool) {
	return func(b *book, threads int) (string, bool, bool) {
		return spread(b.find(threads, fmt.Sprintf("products/%s/cold/rows%d/", kind, rows)), percent((*row).ofRead), "%", 0, least)
	}
}

func decoding(kind string, batch int, least float64) func(*book, int) (string, bool, bool) {
	return func(b *book, threads int) (string, bool, bool) {
		rows := b.find(threads, fmt.Sprintf("decode/qwen2.5-0.5b/%s/batch%d/", kind, batch))
		return spread(rows, func(r *row) float64 { return r.median("llama.cpp") / r.ours() }, "×", 0, least)
	}
}

func percent(f func(*row) float64) func(*row) float64 {
	return func(r *row) float64 { return 100 * f(r) }
}

// computed is the percentage of the peak that products reach. None reaches more
// than all: such a row's peak was measured while the machine was busy, and the
// row counts as not measured.
func computed(r *row) float64 {
	if x := 100 * r.ofPeak(); x <= 102 {
		return x
	}
	return 0
}

// spread sums up a figure of rows: with several, their geometric mean and the
// least of them, which must reach mean and least. Rows whose figure is 0 were
// not measured.
func spread(rows []*row, figure func(*row) float64, unit string, mean, least float64) (measured string, met, ok bool) {
	logs, low, n, where := 0.0, math.Inf(1), 0, ""
	for _, r := range rows {
		x := figure(r)
		if x <= 0 || math.IsNaN(x) || math.IsInf(x, 0) {
			continue
		}
		logs += math.Log(x)
		n++
		if x < low {
			low, where = x, r.Case
		}
	}
	if n == 0 {
		return "", false, false
	}
	geo := math.Exp(logs / float64(n))
	format := func(x float64) string {
		if unit == "%" {
			return fmt.Sprintf("%.0f %%", x)
		}
		return fmt.Sprintf("%.2f %s", x, unit)
	}
	if n == 1 {
		return format(low), low >= least && geo >= mean, true
	}
	_, where, _ = strings.Cut(where, "/")
	return fmt.Sprintf("%s; least %s (%s)", format(geo), format(low), where), low >= least && geo >= mean, true
}

// against returns how many times as fast a row is as another of ours; 0: that
// was not measured.
func (b *book) against(r *row, other string) float64 {
	for _, o := range b.find(r.Threads, other) {
		if o.Case == other {
			return o.ours() / r.ours()
		}
	}
	return 0
}

// sealRatio returns PyTorch's time for an adapter of SEAL's workload, the better
// of those in the types named, over ours for one of many.
func (b *book) sealRatio(r *row, types ...string) float64 {
	best := 0.0
	for _, t := range types {
		for _, o := range b.find(r.Threads, "seal/mini/"+t+"/"+strings.Split(r.Case, "/")[3]+"/", "/adapters1/") {
			if m := o.median("torch"); m > 0 && (best == 0 || m < best) {
				best = m
			}
		}
	}
	return best / (r.ours() / float64(r.Spec.Adapters))
}
