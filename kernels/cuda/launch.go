package cuda

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/ptx"
)

// function is a kernel that was loaded.
type function struct {
	handle driver.Function
	module driver.Module
	shared int // dynamic shared memory that it may have
}

// function returns a kernel, which is loaded when it is first asked for.
func (b *Backend) function(k kernel.Any) (*function, error) {
	if f := b.functions[k]; f != nil {
		return f, nil
	}
	var text bytes.Buffer
	m := b.emit(k)
	if err := ptx.Print(&text, m); err != nil {
		return nil, err
	}
	text.WriteByte(0) // the driver wants a C string
	mod, err := b.api.ModuleLoad(text.Bytes())
	if err != nil {
		if isCode(err, driver.UnsupportedPTX) {
			err = b.tooOld(m.LowestVersion(), err)
		}
		return nil, fmt.Errorf("kernel %s for %s: %w", k.Name(), b.info.Name, explain(err))
	}
	handle, err := b.api.ModuleGetFunction(mod, k.Name())
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Name(), err)
	}
	f := &function{handle: handle, module: mod, shared: 48 << 10}
	b.functions[k] = f
	return f, nil
}

// argBlock is the parameters of a launch, each at a multiple of its size.
type argBlock struct {
	buf [512]byte
	n   int
}

func (a *argBlock) u32(v uint32) {
	binary.LittleEndian.PutUint32(a.buf[a.n:], v)
	a.n += 4
}

func (a *argBlock) u64(v uint64) {
	a.n = (a.n + 7) &^ 7
	binary.LittleEndian.PutUint64(a.buf[a.n:], v)
	a.n += 8
}

// arg is a parameter: address (a buffer, nil for an absent one), integer or float.
type arg struct {
	bits uint64
	wide bool
}

// ptr is the address of a buffer, 0 for an absent one.
func ptr(buf kernels.Buffer) arg { return arg{uint64(address(buf)), true} }

// num is a size or another u32.
func num(v int) arg {
	if v < 0 || v > math.MaxUint32 {
		panic(fmt.Sprintf("kernels/cuda: %d does not fit a parameter of 32 bits", v))
	}
	return arg{bits: uint64(v)}
}

// float is an f32.
func float(v float32) arg { return arg{bits: uint64(math.Float32bits(v))} }

// launch enqueues a kernel. A launch without blocks or threads does nothing. The
// parameters of a kernel that may refuse data end with refusals(…).
func (b *Backend) launch(op string, k kernel.Any, l kernel.Launch, args ...arg) {
	for i := range 3 {
		if l.Grid[i] <= 0 || l.Block[i] <= 0 {
			return
		}
	}
	if b.lost != nil {
		b.fail(op, b.lost)
		return
	}
	defer b.enter()()
	f, err := b.function(k)
	if err != nil {
		b.fail(op, err)
		return
	}
	if l.Shared > f.shared {
		if err := b.api.FuncSetAttribute(f.handle, driver.FuncDynamicShared, l.Shared); err != nil {
			b.fail(op, fmt.Errorf("kernel %s wants %d bytes of shared memory, %s has %d for a block: %w", k.Name(), l.Shared, b.info.Name, b.info.SharedPerBlock, err))
			return
		}
		f.shared = l.Shared
	}
	b.args.n = 0
	for _, a := range args {
		if a.wide {
			b.args.u64(a.bits)
		} else {
			b.args.u32(uint32(a.bits))
		}
	}
	b.tuner.note(k, l)
	err = b.replay.enqueue(origin{op, k}, &driver.Launch{Function: f.handle, Grid: dim(l.Grid), Block: dim(l.Block), Shared: uint32(l.Shared),
		Stream: b.stream, Args: b.args.buf[:b.args.n]})
	if err != nil {
		b.fail("", err)
	}
}

func dim(d kernel.Dim3) [3]uint32 { return [3]uint32{uint32(d[0]), uint32(d[1]), uint32(d[2])} }

// aligned reports how many elements of a buffer its address is a multiple of, at most most.
func aligned(buf kernels.Buffer, most int) int {
	if buf.IsNil() {
		return most
	}
	for n := most; n > 1; n /= 2 {
		if uint64(address(buf))%uint64(n*buf.DType.Size()) == 0 {
			return n
		}
	}
	return 1
}

// vector is the largest number of neighbours, at most 16 bytes of each, that every
// buffer can be read by at once.
func vector(most int, bufs ...kernels.Buffer) int {
	for _, buf := range bufs {
		most = aligned(buf, min(most, 16/buf.DType.Size()))
	}
	return most
}

// dividing is the largest number up to most, a power of two, that divides every size.
func dividing(most int, sizes ...int) int {
	for _, n := range sizes {
		for n%most != 0 {
			most /= 2
		}
	}
	return most
}
