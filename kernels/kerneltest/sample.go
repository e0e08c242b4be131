package kerneltest

import (
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
)

func testSample(t *trial) {
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
}

func sampleProblem(t *trial, rows, vocab int, kind string) {
	scale := 2.0
	if kind == "wide" {
		scale = 60
	}
	logits := t.floats("logits", kernels.F32, rows*vocab, scale).per(vocab)
	z := func(i int) float64 { return decode(kernels.F32, getBits(kernels.F32, logits.data, i)) }
	for i := range logits.len() {
		switch kind {
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
		}
	}
	settings := t.floats("settings", kernels.F32, rows*kernels.SampleColumns, 1).per(kernels.SampleColumns)
	var draws []int32
	for i := range rows {
		pick := func(v ...float64) float64 { return v[t.rng.IntN(len(v))] }
		settings.set(i*kernels.SampleColumns+kernels.SampleTemperature, pick(0, 0.3, 0.7, 1, 1, 2.5, 1e-6, 100))
		settings.set(i*kernels.SampleColumns+kernels.SampleTopP, pick(1, 1, 2, 0.95, 0.9, 0.5, 0.1, 0.999, 1e-6))
		settings.set(i*kernels.SampleColumns+kernels.SampleTopK, pick(0, 0, 0, 1, 2, 5, 50, float64(vocab-1), float64(vocab), float64(vocab+1)))
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
