package half

import (
	"math"
	"sort"
	"testing"

	"pgregory.net/rapid"
)

// format describes one 16-bit float by its definition, independent of the bit
// tricks under test.
type format struct {
	name     string
	expBits  int
	fracBits int
	widen    func(uint16) float32
	narrow   func(float32) uint16
}

var formats = []format{
	{"bf16", 8, 7, BF16ToFloat32, BF16FromFloat32},
	{"f16", 5, 10, F16ToFloat32, F16FromFloat32},
}

func (f format) quietBit() uint16 { return 1 << (f.fracBits - 1) }
func (f format) infinity() uint16 { return uint16(1<<f.expBits-1) << f.fracBits }

// value is the real number that the bits stand for, by the IEEE definition.
func (f format) value(h uint16) float64 {
	exp := int(h>>f.fracBits) & (1<<f.expBits - 1)
	frac := float64(h & (1<<f.fracBits - 1))
	bias := 1<<(f.expBits-1) - 1
	var v float64
	switch {
	case exp == 1<<f.expBits-1 && frac != 0:
		return math.NaN()
	case exp == 1<<f.expBits-1:
		v = math.Inf(1)
	case exp == 0:
		v = math.Ldexp(frac, 1-bias-f.fracBits)
	default:
		v = math.Ldexp(frac+math.Ldexp(1, f.fracBits), exp-bias-f.fracBits)
	}
	if h&0x8000 != 0 {
		v = math.Copysign(v, -1)
	}
	return v
}

// nearest rounds by search among all finite values of the format: the nearest,
// of two equally near the one with an even last bit.
func (f format) nearest(x float32) uint16 {
	sign := uint16(math.Float32bits(x) >> 16 & 0x8000)
	abs := math.Abs(float64(x))
	inf := int(f.infinity())
	above := sort.Search(inf, func(i int) bool { return f.value(uint16(i)) >= abs })
	if above == 0 {
		return sign
	}
	lower, upper := f.value(uint16(above-1)), f.value(uint16(above))
	if above == inf { // where the next value would lie if the format went on
		upper = 2*lower - f.value(uint16(above-2))
	}
	switch down, up := abs-lower, upper-abs; {
	case down < up || down == up && above&1 == 1:
		return sign | uint16(above-1)
	default:
		return sign | uint16(above)
	}
}

func TestEveryValue(t *testing.T) {
	for _, f := range formats {
		for i := 0; i < 1<<16; i++ {
			h := uint16(i)
			wide := f.widen(h)
			want := f.value(h)
			if math.IsNaN(want) {
				if wide == wide {
					t.Fatalf("%s %#04x widens to %v, want NaN", f.name, h, wide)
				}
				if got := f.narrow(wide); got != h|f.quietBit() {
					t.Fatalf("%s NaN %#04x comes back as %#04x, want it quiet: %#04x", f.name, h, got, h|f.quietBit())
				}
				continue
			}
			if float64(wide) != want || math.Signbit(float64(wide)) != math.Signbit(want) {
				t.Fatalf("%s %#04x widens to %v, want %v", f.name, h, wide, want)
			}
			if got := f.narrow(wide); got != h {
				t.Fatalf("%s %#04x comes back as %#04x", f.name, h, got)
			}
		}
	}
}

// Between each two neighbours: the midpoint goes to the even one, a hair beside
// it to the nearer one.
func TestEveryTie(t *testing.T) {
	for _, f := range formats {
		for i := 0; i < int(f.infinity()); i++ {
			low, high := uint16(i), uint16(i+1)
			top := f.value(high)
			if high == f.infinity() {
				top = 2*f.value(low) - f.value(low-1)
			}
			mid := float32((f.value(low) + top) / 2) // exact in float32
			even := low + low&1
			for _, c := range []struct {
				x    float32
				want uint16
			}{
				{mid, even},
				{math.Nextafter32(mid, 0), low},
				{math.Nextafter32(mid, float32(math.Inf(1))), high},
			} {
				if got := f.narrow(c.x); got != c.want {
					t.Fatalf("%s: %g between %#04x and %#04x rounds to %#04x, want %#04x", f.name, c.x, low, high, got, c.want)
				}
				if got := f.narrow(-c.x); got != c.want|0x8000 {
					t.Fatalf("%s: %g rounds to %#04x, want %#04x", f.name, -c.x, got, c.want|0x8000)
				}
			}
		}
	}
}

func TestNearest(t *testing.T) {
	for _, f := range formats {
		t.Run(f.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				x := math.Float32frombits(rapid.Uint32().Draw(t, "bits"))
				got := f.narrow(x)
				if x != x {
					bits := math.Float32bits(x)
					if !math.IsNaN(f.value(got)) || got&f.quietBit() == 0 || uint32(got>>15) != bits>>31 {
						t.Fatalf("NaN %#08x becomes %#04x", bits, got)
					}
					return
				}
				if want := f.nearest(x); got != want {
					t.Fatalf("%g (%#08x) becomes %#04x, want %#04x", x, math.Float32bits(x), got, want)
				}
			})
		})
	}
}

func TestRoundIsIdempotent(t *testing.T) {
	for _, round := range []func(float32) float32{RoundBF16, RoundF16} {
		for _, x := range []float32{0, 1, 1.00390625, -3.1415927, 1e-7, 6e-8, 65519, 65520, 1e38, float32(math.Inf(-1))} {
			if once := round(x); round(once) != once {
				t.Errorf("rounding %g twice gives %g, once %g", x, round(once), once)
			}
		}
	}
}
