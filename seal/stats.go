package seal

import (
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/internal/philox"
)

// Mean is the arithmetic mean, 0 of nothing.
func Mean(x []float64) float64 {
	if len(x) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range x {
		sum += v
	}
	return sum / float64(len(x))
}

// Std is the sample standard deviation (n−1), 0 of fewer than two values.
func Std(x []float64) float64 {
	if len(x) < 2 {
		return 0
	}
	mean, sum := Mean(x), 0.0
	for _, v := range x {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum / float64(len(x)-1))
}

// Interval is a mean over units with a 95 % confidence interval.
type Interval struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
	N    int     `json:"n"` // units
}

// Bootstrap gives the mean over units (passages) and its 95 % percentile
// interval: units are drawn with replacement, resamples times, and the lowest
// and highest 2.5 % of the means are left out. Without units, or resamples, the
// interval has no width.
func Bootstrap(units []float64, resamples int, draw *philox.Stream) Interval {
	mean := Mean(units)
	if len(units) == 0 || resamples <= 0 {
		return Interval{mean, mean, mean, len(units)}
	}
	means := make([]float64, resamples)
	for i := range means {
		sum := 0.0
		for range units {
			sum += units[draw.IntN(len(units))]
		}
		means[i] = sum / float64(len(units))
	}
	slices.Sort(means)
	cut := resamples / 40
	return Interval{mean, means[cut], means[resamples-1-cut], len(units)}
}

// PairedDifference is the interval of a − b over the same units. Pairing takes
// out what units differ in anyway. It panics when the lengths differ.
func PairedDifference(a, b []float64, resamples int, draw *philox.Stream) Interval {
	if len(a) != len(b) {
		panic(fmt.Sprintf("seal: PairedDifference: %d against %d units", len(a), len(b)))
	}
	d := make([]float64, len(a))
	for i := range d {
		d[i] = a[i] - b[i]
	}
	return Bootstrap(d, resamples, draw)
}
