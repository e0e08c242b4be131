package cuda

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/selkie-ml/selkie/internal/half"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
)

// fill puts numbers of both signs, up to one, into a buffer.
func (t *tuning) fill(buf kernels.Buffer, n int) {
	raw := make([]byte, 0, n*buf.DType.Size())
	state := uint64(len(t.own))
	for range n {
		state = state*6364136223846793005 + 1442695040888963407
		v := float32(int32(state>>32)) * 0x1p-31
		switch buf.DType {
		case kernels.BF16:
			raw = binary.LittleEndian.AppendUint16(raw, half.BF16FromFloat32(v))
		case kernels.F16:
			raw = binary.LittleEndian.AppendUint16(raw, half.F16FromFloat32(v))
		default:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
	}
	t.b.CopyIn(buf, raw)
}

// result runs the op and returns what it wrote over NaN.
func (t *tuning) result() ([]byte, error) {
	t.b.Fill(kernels.FillArgs{Dst: t.y, N: t.n, Value: float32(math.NaN())})
	t.op()
	out := make([]byte, t.n*t.y.DType.Size())
	return out, t.b.CopyOut(out, t.y)
}

// same reports a variant that cannot be, cannot run, or whose bits are not those wanted.
func (t *tuning) same(want []byte) (err error) {
	defer func() { // kernels say by a panic which sizes they cannot have
		if r := recover(); r != nil {
			text, ok := r.(string)
			if !ok {
				panic(r)
			}
			err = errors.New(text)
		}
	}()
	got, err := t.result()
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return errors.New("other bits than the table's choice")
	}
	k := t.b.tuner.launched // the op's product is its last kernel
	n, err := t.b.api.FuncGetAttribute(driver.FuncLocalBytes, t.b.functions[k].handle)
	if err == nil && n > 0 {
		err = fmt.Errorf("kernel %s spills %d bytes of registers", k.Name(), n)
	}
	return err
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
	profile := dev.Profile()
	if profile == nil {
		return 0, errors.New("the emulator keeps no profile: open it with one")
	}
	before := map[string]int{}
	for _, k := range profile.Kernels {
		before[k.Kernel] = k.Launches
	}
	t.op()
	if err := t.b.Sync(); err != nil {
		return 0, err
	}
	seconds := 0.0
	for _, k := range dev.Profile().Kernels {
		if more := k.Launches - before[k.Kernel]; more > 0 {
			e := k.Roofline(dev.GPU())
			if e == nil {
				return 0, fmt.Errorf("kernel %s uses what %s lacks", k.Kernel, dev.GPU().Name)
			}
			seconds += e.Seconds * float64(more) / float64(k.Launches)
		}
	}
	return seconds, nil
}
