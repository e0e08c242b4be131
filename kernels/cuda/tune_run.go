package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// tuning is a case on the GPU, with the results of the table's choice.
type tuning struct {
	*problem
	b      *Backend
	of     TuneCase
	choice variant // the table's
	want   [][]byte
	flush  kernels.Buffer // larger than L2
}

func (b *Backend) newTuning(c TuneCase) (*tuning, error) {
	p, err := newProblem(b, c, 0)
	if err != nil {
		return nil, err
	}
	t := &tuning{problem: p, b: b, of: c}
	if _, emulated := b.api.(*driver.Emulated); !emulated {
		t.flush = p.alloc(kernels.F32, max(b.info.L2, 1<<20)/2)
	}
	if err = p.failed; err == nil {
		b.tuner.made = nil
		t.want, err = p.results()
	}
	if made := b.tuner.kernels(c.Op); err == nil && len(made) == 0 {
		err = fmt.Errorf("tune %v: no kernel of the op was launched", c)
	} else if err == nil {
		t.choice = made[len(made)-1].row
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// agrees holds the results of the table's choice to those of another backend.
func (t *tuning) agrees(other kernels.Backend) error {
	p, err := newProblem(other, t.of, 0)
	if err != nil {
		return err
	}
	defer p.close()
	want, err := p.results()
	if err != nil {
		return err
	}
	for i, r := range p.out {
		if err := near(t.of, r.DType, t.want[i], want[i]); err != nil {
			return fmt.Errorf("%v: result %d differs from that of backend %s: %w", t.of, i, other.Name(), err)
		}
	}
	return nil
}

// near compares results as far as finding a kernel that is wrong takes; tolerances of ops
// are the conformance suite's business.
func near(c TuneCase, dt kernels.DType, got, want []byte) error {
	relative, absolute := 1e-5, 2e-4
	if dt != kernels.F32 {
		relative = 0x1p-7
	}
	switch {
	case c.DType == kernels.F32:
	case c.attention():
		absolute = 2e-3 // O, of which the backward makes use, may differ in its last bit
	case strings.HasPrefix(c.Op, "loss"):
		absolute = 0x1p-5 // the gradient of logits is bf16
	}
	g, w := decode(dt, got), decode(dt, want)
	sum := 0.0
	for _, v := range w {
		sum += v * v
	}
	size := math.Sqrt(sum / float64(max(1, len(w))))
	for i := range w {
		if !(math.Abs(g[i]-w[i]) <= relative*math.Abs(w[i])+absolute*size) {
			return fmt.Errorf("element %d is %v, want %v", i, g[i], w[i])
		}
	}
	return nil
}

// decode reads numbers of a storage.
func decode(dt kernels.DType, raw []byte) (x []float64) {
	for i := 0; i < len(raw); i += dt.Size() {
		switch dt {
		case kernels.BF16:
			x = append(x, float64(half.BF16ToFloat32(binary.LittleEndian.Uint16(raw[i:]))))
		case kernels.F16:
			x = append(x, float64(half.F16ToFloat32(binary.LittleEndian.Uint16(raw[i:]))))
		default:
			x = append(x, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw[i:]))))
		}
	}
	return x
}

// appendFloat writes a number in a storage.
func appendFloat(raw []byte, dt kernels.DType, v float32) []byte {
	switch dt {
	case kernels.BF16:
		return binary.LittleEndian.AppendUint16(raw, half.BF16FromFloat32(v))
	case kernels.F16:
		return binary.LittleEndian.AppendUint16(raw, half.F16FromFloat32(v))
	}
	return binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
}

// same reports a variant that cannot be, cannot run, or whose bits are not those wanted.
func (t *tuning) same() (err error) {
	defer func() { // kernels say by a panic which sizes they cannot have
		if r := recover(); r != nil {
			text, ok := r.(string)
			if !ok {
				panic(r)
			}
			err = errors.New(text)
		}
	}()
	t.b.tuner.made = nil
	got, err := t.results()
	if err != nil {
		return err
	}
	for i := range got {
		if !bytes.Equal(got[i], t.want[i]) {
			return errors.New("other bits than the table's choice")
		}
	}
	for _, k := range t.b.tuner.kernels(t.of.Op) {
		n, err := t.b.api.FuncGetAttribute(driver.FuncLocalBytes, t.b.functions[k.Any].handle)
		if err == nil && n > 0 {
			err = fmt.Errorf("kernel %s spills %d bytes of registers", k.Name(), n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// time measures the op, or estimates it.
func (t *tuning) time(samples int) (seconds, spread float64, estimated bool, err error) {
	if api, ok := t.b.api.(*driver.Emulated); ok {
		seconds, err = t.estimate(api)
		return seconds, 0, true, err
	}
	defer t.b.enter()()
	var ev [2]driver.Event
	for i := range ev {
		if ev[i], err = t.b.api.EventCreate(true); err != nil {
			return 0, 0, false, err
		}
		defer t.b.api.EventDestroy(ev[i])
	}
	var all []float64
	for range samples + 1 { // the first is not counted
		t.reset()
		t.b.Fill(kernels.FillArgs{Dst: t.flush, N: int(t.flush.Mem.Size() / 4), Value: 1})
		t.b.catchUp()
		err = t.b.api.EventRecord(ev[0], t.b.stream)
		t.op()
		t.b.catchUp()
		err = errors.Join(err, t.b.api.EventRecord(ev[1], t.b.stream), t.b.wait())
		ms, e := t.b.api.EventElapsed(ev[0], ev[1])
		if err = errors.Join(err, e); err != nil {
			return 0, 0, false, err
		}
		all = append(all, float64(ms)/1e3)
	}
	all = all[1:]
	slices.Sort(all)
	seconds = all[len(all)/2]
	return seconds, (all[len(all)-1] - all[0]) / seconds, false, nil
}

// estimate runs the op once more and takes the roofline of what its kernels did.
func (t *tuning) estimate(api *driver.Emulated) (float64, error) {
	dev := api.Emulator()
	t.reset()
	if err := t.b.Sync(); err != nil {
		return 0, err
	}
	if dev.TakeProfile() == nil {
		return 0, errors.New("the emulator keeps no profile: open it with one")
	}
	t.op()
	if err := t.b.Sync(); err != nil {
		return 0, err
	}
	seconds := 0.0
	for _, k := range dev.TakeProfile().Kernels {
		e := k.Roofline(dev.GPU())
		if e == nil {
			return 0, fmt.Errorf("kernel %s uses what %s lacks", k.Kernel, dev.GPU().Name)
		}
		seconds += e.Seconds
	}
	return seconds, nil
}
