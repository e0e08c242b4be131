package f32math

import (
	"math"
	"testing"
)

func TestLog32(t *testing.T) {
	worst := 0.0
	for b := uint32(0x00800000); b < 0x7f800000; b += 2003 {
		x := math.Float32frombits(b)
		want := math.Log(float64(x))
		ulp := float64(math.Nextafter32(float32(math.Abs(want)), 1e9)) - math.Abs(float64(float32(want)))
		if e := math.Abs(float64(Log32(x))-want) / ulp; !(e <= 1) {
			t.Fatalf("Log32(%v) is off by %.2f ulp", x, e)
		} else {
			worst = max(worst, e)
		}
	}
	t.Logf("largest error %.3f ulp", worst)
	inf := float32(math.Inf(1))
	if Log32(1) != 0 || Log32(0) != -inf || Log32(inf) != inf || Log32(float32(math.NaN())) == Log32(1) {
		t.Error("special values")
	}
}
