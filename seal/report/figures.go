package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// painter draws into a plot's data area. x and y turn data into places.
type painter func(c draw.Canvas, x, y func(float64) vg.Length)

// Plot makes painter a plot.Plotter.
func (f painter) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	f(c, x, y)
}

func stroke(c draw.Canvas, i ink, width vg.Length, from, to vg.Point) {
	c.StrokeLine2(draw.LineStyle{Color: i.color(), Width: width}, from.X, from.Y, to.X, to.Y)
}

func dot(c draw.Canvas, i ink, radius vg.Length, at vg.Point) {
	c.DrawGlyph(draw.GlyphStyle{Color: i.color(), Radius: radius, Shape: draw.CircleGlyph{}}, at)
}

// percentTicks marks a range in fractions with at most about six per cent labels.
type percentTicks struct{}

// Ticks implements plot.Ticker.
func (percentTicks) Ticks(low, high float64) []plot.Tick {
	step := 0.01
	for _, s := range []float64{0.02, 0.05, 0.1, 0.2, 0.25, 0.5, 1} {
		if (high-low)/step <= 6 {
			break
		}
		step = s
	}
	var ticks []plot.Tick
	for i := int(math.Ceil(low/step - 1e-9)); float64(i)*step <= high+1e-9; i++ {
		at := float64(i) * step
		ticks = append(ticks, plot.Tick{Value: at, Label: fmt.Sprintf("%.0f", 100*at)})
	}
	return ticks
}

// verticals and horizontals draw a grid at the ticks of an axis.
func verticals(low, high float64) painter {
	return func(c draw.Canvas, x, _ func(float64) vg.Length) {
		for _, t := range (percentTicks{}).Ticks(low, high) {
			stroke(c, inkGrid, 1, vg.Point{X: x(t.Value), Y: c.Min.Y}, vg.Point{X: x(t.Value), Y: c.Max.Y})
		}
	}
}

func horizontals(low, high float64) painter {
	return func(c draw.Canvas, _, y func(float64) vg.Length) {
		for _, t := range (percentTicks{}).Ticks(low, high) {
			stroke(c, inkGrid, 1, vg.Point{X: c.Min.X, Y: y(t.Value)}, vg.Point{X: c.Max.X, Y: y(t.Value)})
		}
	}
}

// forest draws rows beneath each other: label, interval, mean; and a lozenge for
// the paper's value. Differences have a line at zero and signs.
func forest(rows []Row, paper Paper, differences bool, about string) (string, error) {
	low, high := 0.0, 0.0
	for _, r := range rows {
		low, high = min(low, r.Low), max(high, r.High)
		if v, ok := paper.value(r.Name); ok {
			low, high = min(low, v), max(high, v)
		}
	}
	high = max(high, low+0.05)
	p := newPlot()
	p.X.Min, p.X.Max = low-0.02*(high-low), high+0.16*(high-low) // room for the number
	p.Y.Min, p.Y.Max = -0.5, float64(len(rows))-0.5
	p.X.Tick.Marker = percentTicks{}
	p.X.Label.Text = "per cent"
	if differences {
		p.X.Label.Text = "percentage points"
	}
	p.HideY()
	p.Add(verticals(p.X.Min, p.X.Max), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		if differences {
			stroke(c, inkMuted, 1.5, vg.Point{X: x(0), Y: c.Min.Y}, vg.Point{X: x(0), Y: c.Max.Y})
		}
		for i, r := range rows {
			middle := float64(len(rows) - 1 - i)
			line := y(middle - 0.22)
			c.FillText(textStyle(inkText, draw.XLeft, draw.YCenter), vg.Point{X: c.Min.X, Y: y(middle + 0.2)}, fit(r.label(), 52))
			if v, ok := paper.value(r.Name); ok {
				lozenge(c, inkSeries+1, 5, vg.Point{X: x(v), Y: line})
			}
			stroke(c, inkSeries, 2, vg.Point{X: x(r.Low), Y: line}, vg.Point{X: x(r.High), Y: line})
			dot(c, inkSeries, 4, vg.Point{X: x(r.Mean), Y: line})
			number := percent(r.Mean)
			if differences {
				number = points(r.Mean)
			}
			c.FillText(textStyle(inkMuted, draw.XLeft, draw.YCenter), vg.Point{X: max(x(r.High), x(r.Mean)+4) + 5, Y: line}, number)
		}
	}))
	return render(p, vg.Length(44+36*len(rows)), about)
}

func lozenge(c draw.Canvas, i ink, radius vg.Length, at vg.Point) {
	var path vg.Path
	path.Move(vg.Point{X: at.X - radius, Y: at.Y})
	path.Line(vg.Point{X: at.X, Y: at.Y + radius})
	path.Line(vg.Point{X: at.X + radius, Y: at.Y})
	path.Line(vg.Point{X: at.X, Y: at.Y - radius})
	path.Close()
	c.SetLineStyle(draw.LineStyle{Color: i.color(), Width: 1.5})
	c.Stroke(path)
}

// fit shortens a label that would leave the figure.
func fit(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// rounds draws accuracies over rounds, with intervals.
func rounds(all []Series) (string, error) {
	high, last := 0.05, 1
	for _, s := range all {
		last = max(last, len(s.Points)-1)
		for _, r := range s.Points {
			high = max(high, r.High)
		}
	}
	p := newPlot()
	p.X.Min, p.X.Max = -0.15, float64(last)+0.15
	p.Y.Min, p.Y.Max = 0, 1.05*high
	p.X.Label.Text, p.Y.Label.Text = "rounds of reinforcement", "accuracy, per cent"
	var ticks []plot.Tick
	step := 1 + last/10
	for i := 0; i <= last; i += step {
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: fmt.Sprint(i)})
	}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.ConstantTicks(ticks), percentTicks{}
	p.Add(horizontals(p.Y.Min, p.Y.Max), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for i, s := range all {
			// Intervals stand beside each other, not on each other.
			aside := vg.Length(5 * (float64(i) - float64(len(all)-1)/2))
			var before vg.Point
			for j, r := range s.Points {
				at := vg.Point{X: x(float64(j)) + aside, Y: y(r.Mean)}
				stroke(c, series(i), 1.5, vg.Point{X: at.X, Y: y(r.Low)}, vg.Point{X: at.X, Y: y(r.High)})
				if j > 0 {
					stroke(c, series(i), 2, before, at)
				}
				dot(c, series(i), 4, at)
				before = at
			}
		}
	}))
	return render(p, 230, "Accuracy after each round of reinforcement")
}

const rewardBins = 10

// histogram counts rewards in tenths, as shares; the last tenth has both ends.
func histogram(values []float64) [rewardBins]float64 {
	var shares [rewardBins]float64
	for _, v := range values {
		// A thousandth of a bin keeps 0.3, which binary fractions miss, in its bin.
		shares[min(int(v*rewardBins+1e-3), rewardBins-1)] += 1 / float64(len(values))
	}
	return shares
}

// rewards draws the distributions as bars beside each other.
func rewards(all []Distribution) (string, error) {
	high := 0.05
	for _, d := range all {
		for _, s := range histogram(d.Values) {
			high = max(high, s)
		}
	}
	p := newPlot()
	p.X.Min, p.X.Max = 0, 1
	p.Y.Min, p.Y.Max = 0, 1.05*high
	p.X.Label.Text, p.Y.Label.Text = "reward of a self-edit, per cent", "share, per cent"
	p.X.Tick.Marker, p.Y.Tick.Marker = percentTicks{}, percentTicks{}
	p.Add(horizontals(p.Y.Min, p.Y.Max), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for i, d := range all {
			for bin, share := range histogram(d.Values) {
				width := (x(1) - x(0)) / rewardBins
				each := (width - 4) / vg.Length(len(all))
				left := x(float64(bin)/rewardBins) + 2 + each*vg.Length(i)
				bar(c, series(i), left, y(0), left+each, y(share))
			}
		}
	}))
	return render(p, 220, "Distribution of the rewards of self-edits")
}

// styles draws, for each style of self-edit, its share at each time.
func styles(names []string, all []Style) (string, error) {
	high := 0.05
	for _, s := range all {
		for _, share := range s.Shares {
			high = max(high, share)
		}
	}
	p := newPlot()
	p.X.Min, p.X.Max = 0, 1.05*high
	p.Y.Min, p.Y.Max = 0, float64(len(names))
	p.X.Label.Text = "share of self-edits, per cent"
	p.X.Tick.Marker = percentTicks{}
	p.HideY()
	const label, each, gap = 18, 8, 8
	height := vg.Length(label + each*len(all) + gap)
	p.Add(verticals(p.X.Min, p.X.Max), painter(func(c draw.Canvas, x, y func(float64) vg.Length) {
		for i, name := range names {
			top := y(float64(len(names) - i))
			c.FillText(textStyle(inkText, draw.XLeft, draw.YTop), vg.Point{X: x(0), Y: top - 2}, fit(name, 52))
			for j, s := range all {
				from := top - label - vg.Length(each*j)
				bar(c, series(j), x(0), from-each+1, max(x(s.Shares[i]), x(0)+1), from)
			}
		}
	}))
	return render(p, 40+height*vg.Length(len(names)), "Share of each style among the self-edits")
}

func bar(c draw.Canvas, i ink, left, bottom, right, top vg.Length) {
	if top > bottom && right > left {
		c.FillPolygon(i.color(), []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}})
	}
}
