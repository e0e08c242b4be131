package bench

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/nn"
)

// A model small enough to count by hand: 3 inputs, one layer, one head of 2,
// intermediate 4, vocabulary 5.
func handModel() nn.Config {
	return nn.Config{HiddenSize: 3, Intermediate: 4, Layers: 1, Heads: 1, KVHeads: 1, HeadDim: 2, VocabSize: 5}
}

func TestWorkCountedByHand(t *testing.T) {
	c := handModel()
	// Multiply-adds per row: q, k, v 3·2 each, o 2·3, gate and up 3·4 each,
	// down 4·3: 6+6+6+6+12+12+12 = 60. Logits: 15.
	// Sequences of 2 and 3 tokens: 5 rows, 3 of them with a target,
	// 3+6 = 9 pairs of 2 multiply-adds, 18 a product of attention.
	lengths := []int{2, 3}
	for _, c2 := range []struct {
		name string
		got  float64
		want int // multiply-adds
	}{
		{"forward and backward, all parameters",
			stepWork(c, lengths, 0, nil, false).FLOPs,
			3*5*60 + 3*3*15 + 7*18},
		// The base: 5·60 forward; 5·(60−18) backward, for q, k and v need no
		// input gradient; logits twice. q's adapter of rank 2: x·Aᵀ 5·3·2, h·Bᵀ
		// 5·2·2, g 5·2·2, dA 5·2·3, dB 5·2·2. o's: the same with 2 inputs and 3
		// outputs, and dx 5·2·2.
		{"adapters of rank 2 on q and o",
			stepWork(c, lengths, 2, []nn.Projection{nn.QProj, nn.OProj}, false).FLOPs,
			5*60 + 5*42 + 2*3*15 + 7*18 + (30 + 20 + 20 + 30 + 20) + (20 + 30 + 30 + 20 + 30 + 20)},
		// k and v of 3 rows, the rest of one; the last row has 3 pairs.
		{"prompt of 3", promptWork(c, 3, false).FLOPs, 3*12 + 48 + 15 + 2*3*2},
		{"decoding 2 texts of 4 tokens", decodeWork(c, 2, 4, 4, 4, false).FLOPs, 2*75 + 2*2*4*2},
		{"attention forward", attentionFLOPs(3, 2, lengths, false), 2 * 3 * 18},
	} {
		if c2.got != 2*float64(c2.want) {
			t.Errorf("%s: %v operations, want %d", c2.name, c2.got, 2*c2.want)
		}
	}
	// 75 weights in 2 bytes; keys and values of 2 texts, 4 tokens of 2 numbers in 4 bytes.
	if got := decodeWork(c, 2, 4, 2, 4, false).Bytes; got != 75*2+2*2*4*2*4 {
		t.Errorf("decoding reads %v bytes", got)
	}
}

// A step of the 0.5b shape is close to four operations per weight and token.
func TestWorkOfKnownModel(t *testing.T) {
	c, err := Shape("qwen2.5-0.5b")
	if err != nil {
		t.Fatal(err)
	}
	w := stepWork(c, []int{512}, 32, []nn.Projection{nn.QProj, nn.VProj}, false)
	if simple := 4 * 512 * float64(c.NumParameters()); math.Abs(w.FLOPs/simple-1) > 0.06 {
		t.Errorf("%.4g operations, 4 per weight and token are %.4g", w.FLOPs, simple)
	}
	if w.Tokens != 512 {
		t.Errorf("%v tokens", w.Tokens)
	}
}

func TestPeakSeconds(t *testing.T) {
	p := Peak{FMA: 100, BF16: 200, Read: 10}
	for _, c := range []struct {
		w    Work
		want float64
	}{{Work{FLOPs: 50}, 0.5}, {Work{FLOPs: 50, BF16: true}, 0.25}, {Work{FLOPs: 50, Bytes: 20}, 2}, {Work{FLOPs: 500, Bytes: 20}.Times(2), 10}} {
		if got := p.Seconds(c.w); got != c.want {
			t.Errorf("%+v takes %v s, want %v", c.w, got, c.want)
		}
	}
}

func TestMemoryIsChecked(t *testing.T) {
	err := fits("a model of everything", 1<<50)
	if !errors.Is(err, ErrMemory) || !strings.Contains(err.Error(), "a model of everything needs") {
		t.Errorf("%v", err)
	}
	if err := fits("a number", 4); err != nil {
		t.Error(err)
	}
}

func TestTwoUnits(t *testing.T) {
	for _, c := range []struct {
		wide, narrow float64
		want         bool
	}{{170, 85, true}, {116, 115, false}, {58, 0, false}} {
		if got := (Peak{FMA: c.wide, FMA256: c.narrow}).TwoUnits(); got != c.want {
			t.Errorf("FMA %v, of 256 bits %v: two units %v, want %v", c.wide, c.narrow, got, c.want)
		}
	}
}
