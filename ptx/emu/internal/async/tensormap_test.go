package async

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func matrixMap() TensorMap {
	return TensorMap{
		Elem: ElemF16, Rank: 2, Addr: 0x1000,
		Dim: [5]uint64{160, 64, 1, 1, 1}, Stride: [5]uint64{2, 320},
		Box: [5]uint32{64, 64}, Step: [5]uint32{1, 1, 1, 1, 1}, Swizzle: Swizzle128,
	}
}

func TestTensorMapEncode(t *testing.T) {
	m := matrixMap()
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b[:])
	if err != nil || got != m {
		t.Errorf("decoded %+v, %v; want %+v", got, err, m)
	}
	if err := Replace(b[:], "global_dim", 1, 1<<32); err != nil {
		t.Fatal(err)
	}
	if got, _ = Decode(b[:]); got.Dim[1] != 1<<32 {
		t.Errorf("replaced dimension reads %d", got.Dim[1])
	}
	if _, err := Decode(make([]byte, 128)); err == nil {
		t.Error("zeros decoded as a tensor map")
	}
}

func TestTensorMapCheck(t *testing.T) {
	for want, spoil := range map[string]func(*TensorMap){
		"rank 6":                func(m *TensorMap) { m.Rank = 6 },
		"no multiple of 16":     func(m *TensorMap) { m.Addr++ },
		"stride 1 is 328":       func(m *TensorMap) { m.Stride[1] = 328 },
		"but a row takes 320":   func(m *TensorMap) { m.Stride[1] = 304 },
		"box dimension 1":       func(m *TensorMap) { m.Box[1] = 257 },
		"more than the swizzle": func(m *TensorMap) { m.Swizzle = Swizzle64 },
		"takes 14 bytes":        func(m *TensorMap) { m.Box[0] = 7 },
		"element stride 1 is 9": func(m *TensorMap) { m.Step[1] = 9 },
		"floating-point type":   func(m *TensorMap) { m.Elem, m.OOBNaN = ElemU16, true },
		"dimension 0 has 0":     func(m *TensorMap) { m.Dim[0] = 0 },
		"element type 13":       func(m *TensorMap) { m.Elem = 13 },
	} {
		m := matrixMap()
		spoil(&m)
		if _, err := m.Encode(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestRuns compares the runs with an element by element walk of random maps.
func TestRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		m := TensorMap{Elem: ElemF32, Rank: 1 + r.IntN(5), Addr: 1 << 20, Step: [5]uint32{1, 1, 1, 1, 1}}
		coords := make([]int32, m.Rank)
		m.Stride[0] = 4
		for d := range m.Rank {
			m.Dim[d] = 1 + uint64(r.IntN(9))
			m.Box[d] = 1 + uint32(r.IntN(4))
			if d > 0 {
				m.Step[d] = 1 + uint32(r.IntN(3))
				m.Stride[d] = (m.Stride[d-1]*m.Dim[d-1] + 15) / 16 * 16
			} else {
				m.Box[0] *= 4
			}
			coords[d] = int32(r.IntN(14) - 5)
		}
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		got := map[int]uint64{} // by offset; 0 outside
		next := 0
		m.Runs(coords, func(run Run) {
			if run.Offset != next {
				t.Fatalf("run at %d, want %d", run.Offset, next)
			}
			next += run.Bytes
			for i := 0; i < run.Bytes; i += 4 {
				got[run.Offset+i] = 0
				if run.Inside {
					got[run.Offset+i] = run.Addr + uint64(i)
				}
			}
		})
		if next != m.BoxBytes() {
			t.Fatalf("runs cover %d bytes of %d", next, m.BoxBytes())
		}
		n := [5]int{1, 1, 1, 1, 1}
		for d := range m.Rank {
			n[d] = m.count(d)
		}
		offset := 0
		for a := range n[4] {
			for b := range n[3] {
				for c := range n[2] {
					for d := range n[1] {
						for e := range n[0] {
							idx := [5]int{e, d, c, b, a}
							addr := m.Addr
							for k := range m.Rank {
								x := int64(coords[k]) + int64(idx[k])*int64(m.Step[k])
								if x < 0 || x >= int64(m.Dim[k]) {
									addr = 0
									break
								}
								addr += uint64(x) * m.Stride[k]
							}
							if got[offset] != addr {
								t.Fatalf("%+v at %v: offset %d is %#x, want %#x", m, coords, offset, got[offset], addr)
							}
							offset += 4
						}
					}
				}
			}
		}
	}
}

func TestSwizzle(t *testing.T) {
	// Row r of a 128-byte pattern has its 16-byte unit c at unit c ^ r%8.
	for r := range uint64(16) {
		for c := range uint64(8) {
			if got, want := Swizzle128.Apply(r*128+c*16), r*128+(c^r%8)*16; got != want {
				t.Errorf("128: row %d unit %d lies at %d, want %d", r, c, got, want)
			}
		}
	}
	if got := Swizzle64.Apply(0x180); got != 0x1b0 {
		t.Errorf("64: %#x", got)
	}
	if got := Swizzle32.Apply(0x180); got != 0x190 {
		t.Errorf("32: %#x", got)
	}
	m := matrixMap()
	m.OOBNaN = true
	b := make([]byte, 4)
	m.Fill(b)
	if b[0] != 0xff || b[1] != 0x7f {
		t.Errorf("NaN fill % x", b)
	}
}
