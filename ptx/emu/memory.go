package emu

import (
	"fmt"
	"slices"
	"sort"
)

// Generic addresses fall into windows, as on the GPU. An address of the shared
// space is rank<<24 | offset, where rank is the block's in its cluster, so that
// addresses of shared::cta and shared::cluster agree.
const (
	funcWindow   = 0x7d00_0000_0000
	sharedWindow = 0x7e00_0000_0000
	localWindow  = 0x7e01_0000_0000
	paramWindow  = 0x7e02_0000_0000
	constWindow  = 0x7e03_0000_0000
	globalBase   = 0x7f00_0000_0000

	windowMask = 0xffff_ffff_0000_0000
	rankShift  = 24
	rankMask   = 1<<rankShift - 1

	redZone     = 256 // bytes at least between allocations of global memory
	sharedStart = 1024
	sharedGap   = 64 // bytes between shared variables
)

// A segment is a piece of memory with one owner: an allocation, a variable of a
// module, the shared memory of a block, the local memory of a warp, the parameters of a kernel.
type segment struct {
	base     uint64 // generic address of data[0]; of shared memory, address in its window
	data     []byte
	name     string // of a variable
	space    memSpace
	alloc    int64 // number of the allocation, from 1; 0 for variables
	readOnly bool
	site     string // who allocated, for messages
	san      any
	gone     int // bytes of memory that was freed; data is nil then
}

func (s *segment) size() int { return len(s.data) + s.gone }

func (s *segment) end() uint64 { return s.base + uint64(s.size()) }

// describe names a segment in messages.
func (s *segment) describe() string {
	if s.name != "" {
		return fmt.Sprintf("%s variable %s (%d bytes)", s.space, s.name, len(s.data))
	}
	switch s.space {
	case spaceGlobal:
		return fmt.Sprintf("allocation %d (%d bytes at 0x%x)", s.alloc, s.size(), s.base)
	case spaceShared:
		return fmt.Sprintf("shared memory of the block (%d bytes)", len(s.data)-sharedStart)
	case spaceLocal:
		return "local memory"
	}
	return fmt.Sprintf("%s memory (%d bytes)", s.space, len(s.data))
}

// segmentTable finds segments of global and constant memory by address.
type segmentTable struct {
	list []*segment // by base
}

func (t *segmentTable) insert(s *segment) {
	i := sort.Search(len(t.list), func(i int) bool { return t.list[i].base > s.base })
	t.list = append(t.list, nil)
	copy(t.list[i+1:], t.list[i:])
	t.list[i] = s
}

func (t *segmentTable) remove(s *segment) {
	i := sort.Search(len(t.list), func(i int) bool { return t.list[i].base >= s.base })
	for ; i < len(t.list); i++ {
		if t.list[i] == s {
			t.list = slices.Delete(t.list, i, i+1)
			return
		}
	}
}

// find gives the segment that holds the byte at a, or nil.
func (t *segmentTable) find(a uint64) *segment {
	lo, hi := 0, len(t.list)
	for lo < hi {
		m := int(uint(lo+hi) / 2)
		if t.list[m].base <= a {
			lo = m + 1
		} else {
			hi = m
		}
	}
	if lo == 0 {
		return nil
	}
	if s := t.list[lo-1]; a < s.end() {
		return s
	}
	return nil
}

// nearest gives the segment whose bounds lie closest to a, for messages.
func (t *segmentTable) nearest(a uint64) (s *segment, distance uint64) {
	distance = ^uint64(0)
	for _, o := range t.list {
		d := uint64(0)
		switch {
		case a < o.base:
			d = o.base - a
		case a >= o.end():
			d = a - o.end() + 1
		}
		if d < distance {
			s, distance = o, d
		}
	}
	return s, distance
}

// addressesOf fills x.addr with the addresses that the lanes give: register
// plus constant offset.
func (x *exec) addresses(m *memOp) {
	off := uint64(m.offset)
	if m.wide {
		a := &x.r64[m.base]
		for i := range a {
			x.addr[i] = a[i] + off
		}
		return
	}
	a := &x.r32[m.base]
	for i := range a {
		x.addr[i] = uint64(a[i] + uint32(off))
	}
}

// segCache is how many segments an exec remembers, by instruction.
const segCache = 64

// quick is span for the usual case, in one pass: all lanes active, in shared or global
// memory, in one segment, aligned. Then it gives the access, else nil.
func (x *exec) quick(in *inst, m *memOp, size int) *access {
	if x.mask != fullMask {
		return nil
	}
	acc := &x.acc
	off := &acc.off
	var bad, or uint32
	switch {
	case m.space == spaceShared && !m.wide:
		s := x.b.shared
		base := &x.r32[m.base]
		k := uint32(m.offset) - uint32(x.b.rank)<<rankShift
		lim := uint32(len(s.data) - size - sharedStart)
		for i := range base {
			o := base[i] + k
			if o-sharedStart > lim {
				bad = 1
			}
			or |= o
			off[i] = uint64(o)
		}
		if bad != 0 || or&uint32(size-1) != 0 || len(s.data) < size+sharedStart {
			return nil
		}
		acc.seg = s
	case m.space == spaceGlobal && in.flags&flagOrdered == 0:
		s := x.segs[in.pc%segCache]
		if s == nil || len(s.data) < size {
			return nil
		}
		base := &x.r64[m.base]
		k := uint64(m.offset) - s.base
		lim := uint64(len(s.data) - size)
		for i := range base {
			o := base[i] + k
			if o > lim {
				bad = 1
			}
			or |= uint32(o)
			off[i] = o
		}
		if bad != 0 || or&uint32(size-1) != 0 || s.readOnly {
			return nil
		}
		acc.seg = s
	default:
		return nil
	}
	acc.in, acc.mask, acc.space = in, fullMask, m.space
	acc.elem, acc.count = m.elem, m.count
	return acc
}

// span takes from rest the lanes whose access of size bytes at x.addr lies in the
// same segment as that of the first lane, and fills x.acc with them. Lanes whose
// address is in no segment are reported and dropped: then mask may be empty.
func (x *exec) span(in *inst, m *memOp, size, align int, rest *uint32) *access {
	acc := &x.acc
	acc.in = in
	acc.elem, acc.count = m.elem, m.count
	lane := firstLane(*rest)
	space, a := m.space, x.addr[lane]
	if space == spaceGeneric {
		space = windowOf(a)
	}
	acc.space = space
	var got, or uint32
	switch space {
	case spaceGlobal, spaceConst:
		base := uint64(0)
		if m.space == spaceConst {
			base = constWindow
		}
		s := x.segs[in.pc%segCache]
		if s == nil || a+base-s.base >= uint64(len(s.data)) {
			if s = x.l.table.find(a + base); s == nil {
				x.faultLane(in, space, size, lane, rest)
				return nil
			}
			x.segs[in.pc%segCache] = s
		}
		acc.seg = s
		base = s.base - base
		lim := uint64(len(s.data)) - uint64(size)
		if len(s.data) < size {
			x.faultLane(in, space, size, lane, rest)
			return nil
		}
		for i := range x.addr {
			o := x.addr[i] - base
			if o <= lim {
				got |= 1 << i
				or |= uint32(o) & -(*rest >> i & 1)
			}
			acc.off[i] = o
		}
		got &= *rest
	case spaceShared:
		a = a &^ windowMask
		rank := int(a >> rankShift)
		if rank != x.b.rank && (rank >= len(x.u.blocks) || m.own) {
			x.faultLane(in, space, size, lane, rest)
			return nil
		}
		s := x.u.blocks[rank].shared
		acc.seg = s
		base := uint64(rank) << rankShift
		lim := uint64(len(s.data) - size)
		for r := *rest; r != 0; r &= r - 1 {
			i := firstLane(r)
			b := x.addr[i]
			if m.space == spaceGeneric && windowOf(b) != spaceShared {
				continue
			}
			o := b&^windowMask - base
			if o <= lim && o >= sharedStart {
				got |= 1 << i
				or |= uint32(o)
			}
			acc.off[i] = o
		}
	case spaceLocal:
		s := x.w.local
		acc.seg = s
		lim := uint64(x.w.stride - size)
		if x.w.stride < size {
			x.faultLane(in, space, size, lane, rest)
			return nil
		}
		for r := *rest; r != 0; r &= r - 1 {
			i := firstLane(r)
			b := x.addr[i]
			if m.space == spaceGeneric && windowOf(b) != spaceLocal {
				continue
			}
			o := b &^ windowMask
			if o <= lim {
				got |= 1 << i
				or |= uint32(o)
			}
			acc.off[i] = o + uint64(i*x.w.stride)
		}
	case spaceParam:
		s := x.l.params
		acc.seg = s
		for r := *rest; r != 0; r &= r - 1 {
			i := firstLane(r)
			b := x.addr[i]
			if m.space == spaceGeneric && windowOf(b) != spaceParam {
				continue
			}
			o := b &^ windowMask
			if o+uint64(size) <= uint64(len(s.data)) {
				got |= 1 << i
				or |= uint32(o)
			}
			acc.off[i] = o
		}
	default:
		x.faultLane(in, space, size, lane, rest)
		return nil
	}
	if got&(1<<lane) == 0 { // the segment holds its first byte, but not its last
		x.faultLane(in, space, size, lane, rest)
		return nil
	}
	*rest &^= got
	if or&uint32(align-1) != 0 {
		got = x.misalignedLanes(in, acc, got, align)
		if got == 0 {
			return nil
		}
	}
	acc.mask = got
	return acc
}

func windowOf(a uint64) memSpace {
	switch a & windowMask {
	case sharedWindow:
		return spaceShared
	case localWindow:
		return spaceLocal
	case paramWindow:
		return spaceParam
	case constWindow:
		return spaceConst
	}
	return spaceGlobal
}

// faultLane drops a lane whose address is bad.
func (x *exec) faultLane(in *inst, space memSpace, size, lane int, rest *uint32) {
	m := uint32(1) << lane
	if x.san == nil || !x.san.fault(x, in, m, space, size) {
		x.fail(in, lane, x.describeFault(in, space, size, lane))
		*rest = 0
		return
	}
	*rest &^= m
}

func (x *exec) describeFault(in *inst, space memSpace, size, lane int) string {
	a := x.addr[lane]
	msg := fmt.Sprintf("%s of %d bytes at %s address 0x%x is outside of any memory", in.src.Op, size, space, a)
	switch space {
	case spaceGlobal, spaceConst:
		if space == spaceConst && a < constWindow {
			a += constWindow
		}
		if s := x.l.dev.freedAt(a); s != nil {
			return msg + fmt.Sprintf(": it was freed; %s", s.describe())
		}
		if s, d := x.l.table.nearest(a); s != nil && d < 1<<20 {
			where := "behind"
			if a < s.base {
				where = "before"
			} else if a < s.end() {
				return msg + fmt.Sprintf(": it crosses the end of %s", s.describe())
			}
			return msg + fmt.Sprintf(": %d bytes %s %s", d, where, s.describe())
		}
	case spaceShared:
		return msg + fmt.Sprintf(": the block has %d bytes from 0x%x", len(x.b.shared.data)-sharedStart, x.b.rank<<rankShift+sharedStart)
	case spaceLocal:
		return msg + fmt.Sprintf(": the thread has %d bytes", x.w.stride)
	}
	return msg
}

// misalignedLanes reports lanes whose offset is no multiple of align and drops them.
func (x *exec) misalignedLanes(in *inst, acc *access, got uint32, align int) uint32 {
	var bad uint32
	for r := got; r != 0; r &= r - 1 {
		i := firstLane(r)
		o := acc.off[i]
		if acc.space == spaceLocal {
			o = x.addr[i]
		}
		if o&uint64(align-1) != 0 {
			bad |= 1 << i
		}
	}
	if bad == 0 {
		return got
	}
	if x.san == nil || !x.san.misaligned(x, in, bad, acc.space, align) {
		lane := firstLane(bad)
		x.fail(in, lane, fmt.Sprintf("%s at %s address 0x%x, which is no multiple of %d: misaligned address", in.src.Op, acc.space, x.addr[lane], align))
		return 0
	}
	return got &^ bad
}
