package vec

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/selkie-ml/selkie/internal/half"
)

var conversions = []struct {
	name    string
	widen   func([]float32, []uint16)
	narrow  func([]uint16, []float32)
	widen1  func(uint16) float32
	narrow1 func(float32) uint16
}{
	{"bf16", WidenBF16, NarrowBF16, half.BF16ToFloat32, half.BF16FromFloat32},
	{"f16", WidenF16, NarrowF16, half.F16ToFloat32, half.F16FromFloat32},
}

// All 65,536 patterns, and around each of them, where rounding turns.
func TestConversionsAreHalfs(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for _, c := range conversions {
			all, wide := make([]uint16, 1<<16), make([]float32, 1<<16)
			for i := range all {
				all[i] = uint16(i)
			}
			c.widen(wide, all)
			near := make([]float32, 0, 1<<16*12)
			for i, w := range wide {
				want := c.widen1(uint16(i))
				if math.Float32bits(w) != math.Float32bits(want) {
					t.Fatalf("%s %#04x widens to %#08x, want %#08x", c.name, i, math.Float32bits(w), math.Float32bits(want))
				}
				b := math.Float32bits(want)
				for _, d := range []uint32{0, 1, 2, 0x0fff, 0x1000, 0x1001, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff, 0x1fff} {
					near = append(near, math.Float32frombits(b+d))
				}
			}
			got := make([]uint16, len(near))
			c.narrow(got, near)
			for i, h := range got {
				if want := c.narrow1(near[i]); h != want {
					t.Fatalf("%s: %#08x narrows to %#04x, want %#04x", c.name, math.Float32bits(near[i]), h, want)
				}
			}
		}
	})
}

// A walk through all float32: one in 4,099, or with SELKIE_HEAVY=1 every one.
func TestNarrowEverything(t *testing.T) {
	step := uint64(4099)
	if os.Getenv("SELKIE_HEAVY") == "1" {
		step = 1
	}
	const chunk = 1 << 14
	x, got := make([]float32, 0, chunk), make([]uint16, chunk)
	for b := uint64(0); b < 1<<32; {
		x = x[:0]
		for ; len(x) < chunk && b < 1<<32; b += step {
			x = append(x, math.Float32frombits(uint32(b)))
		}
		for _, c := range conversions {
			for _, level := range Levels() {
				restore := ForceLevel(level)
				c.narrow(got[:len(x)], x)
				restore()
				for i, v := range x {
					if want := c.narrow1(v); got[i] != want {
						t.Fatalf("%s, %s: %#08x narrows to %#04x, want %#04x", level, c.name, math.Float32bits(v), got[i], want)
					}
				}
			}
		}
	}
}

// Every length, unaligned, with neighbours that must stay.
func TestConversionsOfAllLengths(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for n := range 131 {
			a := &arena{rng: rand.New(rand.NewPCG(16, uint64(n))), offset: n % 7}
			for _, c := range conversions {
				x, wide := a.wild(n), a.empty(n)
				u := make([]uint16, n+2)
				u[0], u[n+1] = 0xabcd, 0xabcd
				c.narrow(u[1:n+1], x)
				c.widen(wide, u[1:n+1])
				for i, v := range x {
					if u[1+i] != c.narrow1(v) || math.Float32bits(wide[i]) != math.Float32bits(c.widen1(u[1+i])) {
						t.Fatalf("%s, n = %d: element %d, %v, becomes %#04x and %v", c.name, n, i, v, u[1+i], wide[i])
					}
				}
				if u[0] != 0xabcd || u[n+1] != 0xabcd {
					t.Fatalf("%s, n = %d: a neighbour was overwritten", c.name, n)
				}
				s := make([]uint16, n+2)
				s[0], s[n+1] = 0xabcd, 0xabcd
				Stream(s[1:n+1], u[1:n+1])
				Fence()
				for i := range u {
					if s[i] != u[i] {
						t.Fatalf("Stream, n = %d: element %d is %#04x, want %#04x", n, i-1, s[i], u[i])
					}
				}
			}
			a.check(t)
		}
	})
}

// What works on bfloat16 widens, computes and narrows: exactly.
func TestSwiGLUOfBF16(t *testing.T) {
	eachLevel(t, func(t *testing.T) {
		for n := range 131 {
			a := &arena{rng: rand.New(rand.NewPCG(17, uint64(n))), offset: n % 5}
			narrow := func(x []float32) []uint16 {
				u := make([]uint16, n%3+n+1)
				for i := range u {
					u[i] = 0xabcd
				}
				NarrowBF16(u[n%3:][:n], x)
				return u
			}
			widen := func(u []uint16) []float32 {
				x := make([]float32, n)
				WidenBF16(x, u[n%3:][:n])
				return x
			}
			values := a.normal
			if n%2 == 1 {
				values = a.wild
			}
			gate, up, dy := narrow(values(n)), narrow(values(n)), values(n)
			y, want := narrow(a.empty(n)), make([]float32, n)
			SwiGLUBF16(y[n%3:][:n], gate[n%3:][:n], up[n%3:][:n])
			swiGLUGeneric(want, widen(gate), widen(up))
			for i, got := range widen(y) {
				if !same(got, half.RoundBF16(want[i])) {
					t.Fatalf("n = %d: result %d is %v, want %v", n, i, got, half.RoundBF16(want[i]))
				}
			}
			if y[n%3+n] != 0xabcd || n%3 > 0 && y[n%3-1] != 0xabcd {
				t.Fatalf("n = %d: a neighbour was overwritten", n)
			}
			dgate, dup, wantGate, wantUp := a.empty(n), a.empty(n), make([]float32, n), make([]float32, n)
			SwiGLUBackwardBF16(dgate, dup, gate[n%3:][:n], up[n%3:][:n], dy)
			swiGLUBackwardGeneric(wantGate, wantUp, widen(gate), widen(up), dy)
			for i := range dy {
				if !same(dgate[i], wantGate[i]) || !same(dup[i], wantUp[i]) {
					t.Fatalf("n = %d: gradients %d are %v and %v, want %v and %v", n, i, dgate[i], dup[i], wantGate[i], wantUp[i])
				}
			}
			a.check(t)
		}
	})
}
