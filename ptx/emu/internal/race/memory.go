package race

import (
	"encoding/binary"
	"runtime"
	"sync/atomic"
)

// A Memory is the shadow of a segment: for every byte, which accesses a later one
// must be ordered after. Addresses are offsets in the segment.
//
// Shadow lies in pages of 256 bytes, each with a palette of histories and one byte
// of index for every four bytes of memory, or for every byte where accesses are
// narrower.
type Memory struct {
	pages  []atomic.Pointer[page]
	gen    uint32
	shared bool // goroutines share it: pages are locked
}

const (
	pageBytes = 256
	pageShift = 8
)

type page struct {
	lock  atomic.Uint32
	gen   uint32
	limit int
	next  int        // from where to look for a free place in the palette
	pal   []*history // [0] is nil
	idx   []uint8    // for each word; for each byte where accesses are narrower
}

// NewMemory makes the shadow of a segment of size bytes. Shared says that blocks
// which run at the same time reach it.
func NewMemory(size int, shared bool) *Memory {
	return &Memory{pages: make([]atomic.Pointer[page], (size+pageBytes-1)/pageBytes), gen: 1, shared: shared}
}

// Reset forgets everything: whatever comes is ordered after what was.
func (m *Memory) Reset() { m.gen++ }

// An Op is an access of lanes of a warp.
type Op struct {
	Kind  Kind
	Scope Scope // Weak for a plain access
	Mask  uint32
	Off   *[32]uint64 // of the lanes of Mask
	Lo    uint64      // lowest address, if End is not 0
	End   uint64      // behind the highest byte, if the caller knows; else 0
	Size  int         // bytes per lane
	Site  uint32      // what the caller knows the instruction by
	Async *Async      // of an asynchronous operation, else nil
	Proxy bool        // through the async proxy
	Init  bool        // initialises an mbarrier
	// Value is byte i that a lane stores, Current the byte that memory holds:
	// stores of the value that is there already do not count. Either may be nil.
	Value   func(lane, i int) byte
	Current func(off uint64) byte
}

// Problem says how a conflict came about.
type Problem uint8

const (
	Race       Problem = iota // neither happens before the other
	Unfinished                // the earlier access is asynchronous and nobody waited for it
	NoProxy                   // ordered, but no fence.proxy.async lies between
)

// A Conflict is an access that an earlier one is not ordered before.
type Conflict struct {
	Problem Problem
	Off     uint64 // of the first byte
	Lane    int    // of the access
	Earlier Earlier
}

// Earlier is the access before.
type Earlier struct {
	Block *Ident
	Warp  int
	Lane  int
	Site  uint32
	Kind  Kind
	Async bool
	Init  bool
}

func (m *Memory) page(i uint64) *page {
	p := m.pages[i].Load()
	if p == nil {
		p = &page{gen: m.gen, limit: 4, pal: make([]*history, 1, 4), idx: make([]uint8, pageBytes/4)}
		if !m.pages[i].CompareAndSwap(nil, p) {
			p = m.pages[i].Load()
		}
	}
	if m.shared {
		for n := 0; !p.lock.CompareAndSwap(0, 1); n++ {
			if n > 20 {
				runtime.Gosched()
			}
		}
	}
	if p.gen != m.gen {
		p.gen = m.gen
		clear(p.pal)
		p.pal = p.pal[:1]
		p.next = 0
		p.limit = 4
		clear(p.idx)
	}
	return p
}

// narrow gives every byte an index of its own.
func (p *page) narrow() {
	idx := make([]uint8, pageBytes)
	for i, s := range p.idx {
		binary.LittleEndian.PutUint32(idx[4*i:], uint32(s)*0x01010101)
	}
	p.idx = idx
}

func fill(b []uint8, v uint8) {
	all := uint64(v) * 0x0101010101010101
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, all)
		b = b[8:]
	}
	for i := range b {
		b[i] = v
	}
}

// slot finds or makes a place for h in the palette.
func (p *page) slot(h *history) uint8 {
	idx := p.idx
	for i := len(p.pal) - 1; i > 0 && i >= len(p.pal)-8; i-- {
		if p.pal[i] == h {
			return uint8(i)
		}
	}
	if p.next > 0 { // places are free below len
		for i := p.next; i < len(p.pal); i++ {
			if p.pal[i] == nil {
				p.pal[i] = h
				p.next = i + 1
				return uint8(i)
			}
			if p.pal[i] == h {
				return uint8(i)
			}
		}
		p.next = 0
	}
	if len(p.pal) < p.limit {
		p.pal = append(p.pal, h)
		return uint8(len(p.pal) - 1)
	}
	// Free what no byte refers to any more.
	var used [4]uint64
	if len(p.pal) <= 64 { // in a register
		var u uint64
		for _, s := range idx {
			u |= 1 << (s & 63)
		}
		used[0] = u
	} else {
		for _, s := range idx {
			used[s>>6] |= 1 << (s & 63)
		}
	}
	for i := 1; i < len(p.pal); i++ {
		if used[i>>6]>>(i&63)&1 != 0 {
			continue
		}
		p.pal[i] = nil
		if p.next == 0 {
			p.next = i
		}
	}
	if p.next == 0 {
		// A history for each place, one to come, and none.
		if most := min(len(idx)+2, 256); len(p.pal) < most {
			p.limit = min(most, max(8, p.limit*3/2))
			p.pal = append(append(make([]*history, 0, p.limit), p.pal...), h)
			return uint8(len(p.pal) - 1)
		}
		// Every byte has a history of its own: forget one.
		for i, s := range idx {
			if s == 1 {
				idx[i] = 0
			}
		}
		p.next = 1
	}
	i := p.next
	p.pal[i] = h
	p.next++
	return uint8(i)
}
