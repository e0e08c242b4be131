package seal

import (
	"math"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
)

func TestMeanStd(t *testing.T) {
	for _, c := range []struct {
		x         []float64
		mean, std float64
	}{
		{nil, 0, 0}, {[]float64{3}, 3, 0}, {[]float64{1, 3}, 2, math.Sqrt2}, {[]float64{2, 4, 4, 4, 5, 5, 7, 9}, 5, math.Sqrt(32.0 / 7)},
	} {
		if Mean(c.x) != c.mean || Std(c.x) != c.std {
			t.Errorf("%v: mean %v, deviation %v; want %v, %v", c.x, Mean(c.x), Std(c.x), c.mean, c.std)
		}
	}
}

func stream(seed uint64) *philox.Stream {
	return philox.NewStream(philox.ID{Seed: seed, Purpose: philox.PurposeTest, Item: "bootstrap"})
}

func TestBootstrap(t *testing.T) {
	if got := Bootstrap(nil, 100, stream(1)); got != (Interval{}) {
		t.Errorf("no units: %+v", got)
	}
	if got := Bootstrap([]float64{0.5, 0.5}, 100, stream(1)); got != (Interval{0.5, 0.5, 0.5, 2}) {
		t.Errorf("equal units: %+v", got)
	}
	units := []float64{0, 0.25, 0.5, 1}
	a, b := Bootstrap(units, 1000, stream(1)), Bootstrap(units, 1000, stream(1))
	if a != b || a.Low >= a.Mean || a.High <= a.Mean || a.N != 4 {
		t.Errorf("%+v, again %+v", a, b)
	}
}

// The interval of the mean of 64 fair coins should hold 1/2 about 95 times of 100.
func TestBootstrapCovers(t *testing.T) {
	coins, covered := stream(2), 0
	const trials = 300
	for i := range trials {
		units := make([]float64, 64)
		for j := range units {
			units[j] = float64(coins.IntN(2))
		}
		iv := Bootstrap(units, 400, stream(uint64(100+i)))
		if iv.Low <= 0.5 && 0.5 <= iv.High {
			covered++
		}
	}
	if covered < trials*90/100 || covered > trials*98/100 {
		t.Errorf("covered %d of %d", covered, trials)
	}
}

func TestPairedDifference(t *testing.T) {
	// Units differ widely, the difference does not: the interval has no width.
	a, b := []float64{0.25, 0.5, 1}, []float64{0, 0.25, 0.75}
	if got := PairedDifference(a, b, 200, stream(3)); got != (Interval{0.25, 0.25, 0.25, 3}) {
		t.Errorf("%+v", got)
	}
	defer func() {
		if recover() == nil {
			t.Error("no panic for different lengths")
		}
	}()
	PairedDifference(a, b[:1], 1, stream(3))
}

func TestSummarise(t *testing.T) {
	s := func(correct int) []Score { return []Score{{correct, 4}, {correct, 4}} }
	got := Summarise([][]EditResult{
		{{s(1), s(2)}, {s(1), s(4)}},
		nil, // not measured
		{{s(3), []Score{{1, 4}, {3, 4}}}},
	})
	seeds := math.Sqrt(0.125) // of 1/4 and 3/4
	want := Summary{
		Overall: OverallStats{
			Baseline: 0.5, BaselineStd: seeds, Adapter: 0.625, AdapterStd: Std([]float64{0.75, 0.5}),
			AdapterStdOver: seeds / 2, AdapterStdWithin: seeds / 3, Gain: 0.125,
		},
		Articles: []ArticleStats{
			{Baseline: 0.25, Adapter: 0.75, AdapterStdOver: seeds, Gain: 0.5}, {},
			{Baseline: 0.75, Adapter: 0.5, AdapterStdWithin: seeds, Gain: -0.25},
		},
		Edits: [][]EditStats{
			{{BaselineMean: 0.25, AdapterMean: 0.5, GainMean: 0.25}, {BaselineMean: 0.25, AdapterMean: 1, GainMean: 0.75}}, {},
			{{BaselineMean: 0.75, AdapterMean: 0.5, AdapterStd: seeds, GainMean: -0.25}},
		},
	}
	if d := diff(want, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	if got := (EditResult{Adapter: []Score{{1, 4}, {3, 4}}}).Reward(); got != (Score{4, 8}) {
		t.Errorf("reward %v", got)
	}
}

func TestFirstQuestions(t *testing.T) {
	q := func(s string) Question { return Question{s, "g"} }
	articles := []Article{{Title: "A", Questions: []Question{q("1"), q("2")}}, {Title: "B"}, {Title: "A", Questions: []Question{q("3"), q("4")}}}
	if d := diff([]Question{{"Topic: A\n1", "g"}, {"Topic: A\n2", "g"}, {"Topic: A\n3", "g"}}, AskedQuestions(LimitQuestions(articles, 3))); d != "" {
		t.Error(d)
	}
	if got := AskedQuestions(LimitQuestions(articles, 0)); len(got) != 4 {
		t.Errorf("no limit: %v", got)
	}
	parts := PerArticle(LimitQuestions(articles, 3), []bool{true, false, true})
	if d := diff([][]bool{{true, false}, {}, {true}}, parts); d != "" {
		t.Error(d)
	}
}
