package examples

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// problem is a kernel with arguments and what it must give.
type problem struct {
	name   string
	module *ptx.Module
	launch Launch
	args   []any // *buffer, tensorMap, uint32
}

// buffer is an argument in global memory, as large as its elements.
type buffer struct {
	elem ptx.Type // F32 or BF16
	data []float64
	want []float64 // of an output; data is nil then
	rtol float64   // 0: exact
}

// tensorMap is a map over a buffer of rows x cols with 128-byte swizzle.
type tensorMap struct {
	buf        *buffer
	rows, cols int
	box        [2]int // rows, columns
}

func input(elem ptx.Type, data []float64) *buffer { return &buffer{elem: elem, data: data} }

func output(elem ptx.Type, want []float64, rtol float64) *buffer {
	return &buffer{elem: elem, want: want, rtol: rtol}
}

func (b *buffer) bytes() []byte {
	if b.data == nil {
		return make([]byte, len(b.want)*b.elem.Size())
	}
	out := make([]byte, 0, len(b.data)*b.elem.Size())
	for _, v := range b.data {
		if b.elem == ptx.BF16 {
			out = binary.LittleEndian.AppendUint16(out, toBF16(float32(v)))
		} else {
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(float32(v)))
		}
	}
	return out
}

func (b *buffer) compare(raw []byte) error {
	for i, want := range b.want {
		var got float64
		if b.elem == ptx.BF16 {
			got = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16))
		} else {
			got = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:])))
		}
		// What is less than the smallest normal number may be flushed to zero.
		if !(math.Abs(got-want) <= b.rtol*math.Abs(want)+0x1p-125*min(1, b.rtol*1e9)) {
			return fmt.Errorf("element %d is %v, expected %v", i, got, want)
		}
	}
	return nil
}

// toBF16 rounds to nearest, ties to even.
func toBF16(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func roundBF16(v float64) float64 {
	return float64(math.Float32frombits(uint32(toBF16(float32(v))) << 16))
}

// integers are small whole numbers, whose products sum exactly in f32 in any order.
func integers(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(r.IntN(15) - 7)
	}
	return x
}

func reals(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 2))
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(float32(r.NormFloat64() * 3))
	}
	return x
}

// run executes the module on a new device with every check on. The error is a wrong
// result, a launch that failed, or a finding.
func (p *problem) run(m *ptx.Module, cfg emu.Config) error {
	if err := m.Check(ptx.Target{}, ptx.Version{}); err != nil {
		if l, ok := err.(ptx.ErrorList); !ok || l.Fatal() != nil {
			return fmt.Errorf("check: %w", err)
		}
	}
	cfg.Checks = emu.AllChecks
	if cfg.Budget == 0 {
		cfg.Budget = 3e6
	}
	dev := emu.New(cfg)
	mod, err := dev.Load(m)
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	ptrs := map[*buffer]emu.Ptr{}
	place := func(b *buffer) (emu.Ptr, error) {
		if q, ok := ptrs[b]; ok {
			return q, nil
		}
		raw := b.bytes()
		q, err := dev.Alloc(len(raw))
		if err == nil && b.data != nil {
			err = dev.CopyIn(q, raw)
		}
		ptrs[b] = q
		return q, err
	}
	var args []any
	for _, a := range p.args {
		switch a := a.(type) {
		case *buffer:
			q, err := place(a)
			if err != nil {
				return err
			}
			args = append(args, q)
		case tensorMap:
			q, err := place(a.buf)
			if err != nil {
				return err
			}
			raw, err := encodeMap(q, a)
			if err != nil {
				return err
			}
			args = append(args, emu.Bytes(raw))
		default:
			args = append(args, a)
		}
	}
	l := emu.Launch{Grid: p.launch.Grid, Block: p.launch.Block, Cluster: p.launch.Cluster, Shared: p.launch.Shared}
	if err := mod.Launch(l, args...); err != nil {
		return fmt.Errorf("launch: %w", err)
	}
	if f := dev.Findings(); len(f) > 0 {
		return fmt.Errorf("finding: %v", f[0])
	}
	for _, a := range p.args {
		b, ok := a.(*buffer)
		if m, isMap := a.(tensorMap); isMap {
			b, ok = m.buf, true
		}
		if !ok || b.want == nil {
			continue
		}
		raw := b.bytes()
		if err := dev.CopyOut(raw, ptrs[b]); err != nil {
			return err
		}
		if err := b.compare(raw); err != nil {
			return fmt.Errorf("result: %w", err)
		}
	}
	for _, q := range ptrs {
		if err := dev.Free(q); err != nil {
			return err
		}
	}
	if f := dev.Findings(); len(f) > 0 {
		return fmt.Errorf("finding: %v", f[0])
	}
	return nil
}

// schedules are those that every rung is run under.
func schedules() []emu.Config {
	return []emu.Config{
		{Schedule: emu.RoundRobin},
		{Schedule: emu.Random, Seed: 1},
		{Schedule: emu.Random, Seed: 2},
		{Schedule: emu.Adversarial, Seed: 1},
		{Schedule: emu.Adversarial, Seed: 2},
	}
}

// TestLadder runs every rung on awkward sizes under each schedule, with every check on.
func TestLadder(t *testing.T) {
	for _, p := range problems() {
		for _, cfg := range schedules() {
			t.Run(fmt.Sprintf("%s/%v%d", strings.ReplaceAll(p.name, " ", "_"), cfg.Schedule, cfg.Seed), func(t *testing.T) {
				t.Parallel()
				if err := p.run(p.module, cfg); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// encodeMap is what cuTensorMapEncodeTiled would give.
func encodeMap(p emu.Ptr, t tensorMap) ([]byte, error) {
	size := uint64(t.buf.elem.Size())
	m := emu.TensorMap{
		Elem: emu.ElemBF16, Rank: 2, Addr: uint64(p),
		Dim:     [5]uint64{uint64(t.cols), uint64(t.rows)},
		Stride:  [5]uint64{size, uint64(t.cols) * size},
		Box:     [5]uint32{uint32(t.box[1]), uint32(t.box[0])},
		Step:    [5]uint32{1, 1},
		Swizzle: emu.Swizzle128,
	}
	raw, err := m.Encode()
	return raw[:], err
}
