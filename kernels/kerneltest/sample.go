package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

// sampleKinds are kinds of logits; steps has settings of its own.
var sampleKinds = []string{"normal", "ties", "equal", "masked", "wide", "broken", "steps"}

func testSample(t *trial) {
	sampleProblem(t, 2*len(sampleKinds), 1000, "all") // row by row
	for _, vocab := range []int{1, 2, 5, 63, 100, 1000, 4097} {
		for _, kind := range []string{"normal", "ties", "equal", "masked", "wide", "broken"} {
			sampleProblem(t, 0, vocab, kind)
			sampleProblem(t, 24, vocab, kind)
		}
	}
	for _, kind := range []string{"normal", "masked"} { // few rows: also where the size of problems is limited
		sampleProblem(t, 5, 4097, kind)
		sampleProblem(t, 5, 4100, kind)
	}
	sampleProblem(t, 3, 151_936, "normal")
	sampleProblem(t, 2, 151_936, "ties")
	// More words than a warp reads at once, and more than it takes to find the word drawn.
	sampleProblem(t, 4, 8_000, "ties")
	sampleProblem(t, 1, 60_000, "late")
}

func sampleProblem(t *trial, rows, vocab int, kind string) {
	kindOf := func(row int) string {
		if kind == "all" {
			return sampleKinds[row%len(sampleKinds)]
		}
		return kind
	}
	logits := t.floats("logits", kernels.F32, rows*vocab, 2).per(vocab)
	z := func(i int) float64 { return decode(kernels.F32, getBits(kernels.F32, logits.data, i)) }
	for i := range logits.len() {
		switch kindOf(i / vocab) {
		case "wide":
			logits.set(i, 30*z(i))
		case "ties":
			logits.set(i, math.Round(z(i)))
		case "equal":
			logits.set(i, -0.5)
		case "masked":
			if i%vocab != 0 && t.rng.IntN(4) > 0 {
				logits.set(i, math.Inf(-1))
			}
		case "broken": // row by row: NaN, all −Inf, +Inf, signed zeros, as it is
			switch row := i / vocab; row % 5 {
			case 0:
				if i%vocab == row%vocab {
					logits.set(i, math.NaN())
				}
			case 1:
				logits.set(i, math.Inf(-1))
			case 2:
				if i%vocab == row%vocab {
					logits.set(i, math.Inf(1))
				}
			case 3:
				logits.set(i, math.Copysign(0, float64(t.rng.IntN(2))-0.5))
			}
		case "steps": // most words are equal and come second, by a single float where the temperature is low
			if logits.set(i, 5); t.rng.IntN(4) > 0 {
				logits.set(i, 5-[]float64{0x1p-21, 1}[i/vocab%2])
			}
		case "late": // a kernel of 2048 words at a time cannot draw from the first ones of a part of the row
			if i%vocab%3840 < 2048 {
				logits.set(i, math.Inf(-1))
			}
		}
	}
	settings := t.floats("settings", kernels.F32, rows*kernels.SampleColumns, 1).per(kernels.SampleColumns)
	var draws []int32
	for i := range rows {
		pick := func(v ...float64) float64 { return v[t.rng.IntN(len(v))] }
		temperature, topP := pick(0, 0.3, 0.7, 1, 1, 2.5, 1e-6, 100, math.MaxFloat32), pick(1, 1, 2, 0.95, 0.9, 0.5, 0.1, 0.999, 1e-6)
		topK := pick(0, 0, 0, 1, 2, 5, 50, float64(vocab-1), float64(vocab), float64(vocab+1))
		switch kindOf(i) {
		case "steps": // top-p cuts among the words that come second
			temperature, topP, topK = []float64{1e-6, 1}[i%2], pick(0.95, 0.9, 0.999), pick(0, 0, float64(vocab-1))
		case "late":
			temperature, topP, topK = 1, 1, 0
		}
		settings.set(i*kernels.SampleColumns+kernels.SampleTemperature, temperature)
		settings.set(i*kernels.SampleColumns+kernels.SampleTopP, topP)
		settings.set(i*kernels.SampleColumns+kernels.SampleTopK, topK)
		draws = append(draws, int32(t.rng.Uint32()), int32(t.rng.Uint32()), int32(t.rng.Uint32()))
	}
	ids := t.output("ids", kernels.I32, rows).per(1)
	logProb := t.output("logprob", kernels.F32, rows).per(1)
	identity := t.ints("draws", draws...).per(kernels.DrawColumns)
	try := func(logProb *array) {
		t.check(&problem{op: "Sample", shape: fmt.Sprintf("%d rows, vocab %d, %s", rows, vocab, kind), rows: rows,
			arrays: []*array{ids, logProb, logits, settings, identity},
			call: func(c *call) {
				c.Sample(kernels.SampleArgs{IDs: c.at(ids), LogProb: c.at(logProb), Logits: c.at(logits), Settings: c.at(settings), Draws: c.at(identity),
					Rows: c.rows, Vocab: vocab})
			}})
	}
	try(logProb)
	if kind == "normal" {
		try(nil)
	}
}
