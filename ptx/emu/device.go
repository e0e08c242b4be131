package emu

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// A Ptr is an address in the device's global memory.
type Ptr uint64

// A Device is an emulated GPU. Its methods may be called from several goroutines;
// launches run one after the other, each to its end.
type Device struct {
	mu       sync.Mutex
	cfg      Config
	gpu      *GPU
	table    segmentTable
	freed    segmentTable
	next     uint64
	nextC    uint64
	allocs   int64
	mods     []*Module
	launches int64
	findings findingList
	profile  *Profile
	used     int64
	closed   bool

	threadInsts, warpInsts int64 // executed
}

// New makes a device.
func New(cfg Config) *Device {
	if cfg.GPU == nil {
		cfg.GPU = H100
	}
	if cfg.Workers <= 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Budget <= 0 {
		cfg.Budget = 1 << 33
	}
	if cfg.MaxFindings <= 0 {
		cfg.MaxFindings = 1000
	}
	if cfg.StackLimit <= 0 {
		cfg.StackLimit = 512 << 10
	}
	d := &Device{cfg: cfg, gpu: cfg.GPU, next: globalBase, nextC: constWindow + 64}
	d.findings.max = cfg.MaxFindings
	return d
}

// GPU is the model that the device emulates.
func (d *Device) GPU() *GPU { return d.gpu }

// place gives memory to a variable.
func (d *Device) place(size, align int, name string, space memSpace) *segment {
	s := &segment{data: make([]byte, size), name: name, space: space}
	next := &d.next
	if space == spaceConst {
		next = &d.nextC
	}
	s.base = uint64(alignUp(int(*next), max(align, 256)))
	*next = s.end() + redZone
	d.table.insert(s)
	return s
}

// Alloc allocates global memory, aligned to 256 bytes. Its contents are undefined, as
// cuMemAlloc leaves them; here they are a pattern. Zero bytes are an error, as there.
func (d *Device) Alloc(bytes int) (Ptr, error) {
	if bytes <= 0 {
		return 0, fmt.Errorf("emu: Alloc of %d bytes; at least 1 is expected", bytes)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.place(bytes, 256, "", spaceGlobal)
	d.allocs++
	s.alloc = d.allocs
	fillPattern(s.data)
	d.used += int64(bytes)
	if _, file, line, ok := runtime.Caller(1); ok {
		s.site = fmt.Sprintf("%s:%d", file, line)
	}
	shadowAlloc(d, s)
	return Ptr(s.base), nil
}

// fillPattern makes memory that nobody wrote recognisable: as f32, f16 and bf16 it is NaN.
func fillPattern(b []byte) {
	for len(b) > 0 {
		b = b[copy(b, pattern):]
	}
}

var pattern = bytes.Repeat([]byte{0xff}, 4096)

// maxFreed is how many freed allocations are remembered, so that their use is reported as such.
const maxFreed = 1 << 16

// Free gives an allocation back. Its addresses are not used again, so that a later
// access is reported as one of freed memory.
func (d *Device) Free(p Ptr) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.table.find(uint64(p))
	if s == nil || s.base != uint64(p) || s.alloc == 0 {
		if f := d.freed.find(uint64(p)); f != nil {
			return fmt.Errorf("emu: Free of 0x%x: allocation %d was freed before", uint64(p), f.alloc)
		}
		return fmt.Errorf("emu: Free of 0x%x, which Alloc did not give", uint64(p))
	}
	d.table.remove(s)
	d.used -= int64(len(s.data))
	if len(d.freed.list) >= maxFreed {
		d.freed.list = slices.Delete(d.freed.list, 0, maxFreed/2)
	}
	d.freed.insert(&segment{base: s.base, gone: len(s.data), space: s.space, alloc: s.alloc, site: s.site})
	return nil
}

func (d *Device) freedAt(a uint64) *segment { return d.freed.find(a) }

func (d *Device) host(p Ptr, n int, what string) (*segment, int, error) {
	s := d.table.find(uint64(p))
	if s == nil {
		if f := d.freed.find(uint64(p)); f != nil {
			return nil, 0, fmt.Errorf("emu: %s at 0x%x: allocation %d was freed", what, uint64(p), f.alloc)
		}
		return nil, 0, fmt.Errorf("emu: %s at 0x%x, which lies in no allocation", what, uint64(p))
	}
	off := int(uint64(p) - s.base)
	if off+n > len(s.data) {
		return nil, 0, fmt.Errorf("emu: %s of %d bytes at offset %d of %s", what, n, off, s.describe())
	}
	return s, off, nil
}

// CopyIn copies from the host to the device.
func (d *Device) CopyIn(p Ptr, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, off, err := d.host(p, len(b), "CopyIn")
	if err != nil {
		return err
	}
	copy(s.data[off:], b)
	shadowWrite(s, off, len(b))
	return nil
}

// CopyOut copies from the device to the host.
func (d *Device) CopyOut(b []byte, p Ptr) error {
	if len(b) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s, off, err := d.host(p, len(b), "CopyOut")
	if err != nil {
		return err
	}
	copy(b, s.data[off:])
	return nil
}

// Memset fills n bytes with a value.
func (d *Device) Memset(p Ptr, value byte, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, off, err := d.host(p, n, "Memset")
	if err != nil {
		return err
	}
	if b := s.data[off : off+n]; n > 0 {
		b[0] = value
		for done := 1; done < n; done *= 2 {
			copy(b[done:], b[:done])
		}
	}
	shadowWrite(s, off, n)
	return nil
}

// Copy copies n bytes within the device's memory. What nobody has written stays so.
func (d *Device) Copy(to, from Ptr, n int) error {
	if n == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	src, at, err := d.host(from, n, "Copy")
	if err != nil {
		return err
	}
	dst, off, err := d.host(to, n, "Copy")
	if err != nil {
		return err
	}
	copy(dst.data[off:off+n], src.data[at:at+n])
	shadowCopy(dst, off, src, at, n)
	return nil
}

// Executed is the number of thread-instructions and warp-instructions that all launches executed.
// A warp-instruction counts even where its guard lets no lane execute it.
func (d *Device) Executed() (threads, warps int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.threadInsts, d.warpInsts
}

// Used is the bytes of global memory that are allocated now, without variables.
func (d *Device) Used() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.used
}

// Global is the address and size of a .global or .const variable of a module.
func (mod *Module) Global(name string) (Ptr, int, error) {
	v := mod.vars[name]
	if v == nil || v.seg == nil {
		return 0, 0, fmt.Errorf("emu: %s has no .global or .const variable %q", fileName(mod.src), name)
	}
	return Ptr(v.seg.base), len(v.seg.data), nil
}

// SetGlobal copies bytes to the beginning of a .global or .const variable.
func (mod *Module) SetGlobal(name string, b []byte) error {
	p, size, err := mod.Global(name)
	if err != nil {
		return err
	}
	if len(b) > size {
		return fmt.Errorf("emu: SetGlobal of %d bytes: variable %s has %d", len(b), name, size)
	}
	return mod.dev.CopyIn(p, b)
}

// Findings are what the sanitiser found since the device was made or ClearFindings called, in the order they were found.
func (d *Device) Findings() []Finding {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.findings.sorted()
}

// ClearFindings forgets them.
func (d *Device) ClearFindings() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.findings = findingList{max: d.cfg.MaxFindings}
}

// Close ends the use of a device: memory that is still allocated is a finding, if leaks are checked.
func (d *Device) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		reportLeaks(d)
	}
	d.closed = true
}

// Allocation is the beginning and the size of the memory that an address lies in.
func (d *Device) Allocation(p Ptr) (base Ptr, size int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.table.find(uint64(p))
	if s == nil || uint64(p)-s.base >= uint64(len(s.data)) {
		return 0, 0, false
	}
	return Ptr(s.base), len(s.data), true
}
