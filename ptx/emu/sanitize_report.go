package emu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu/internal/race"
)

// The kinds of findings.
const (
	KindOutOfBounds   = "out-of-bounds"    // an address in no allocation or variable
	KindUseAfterFree  = "use-after-free"   // an address in memory that was freed
	KindMisaligned    = "misaligned"       // an address that is no multiple of the access
	KindUninitialised = "uninitialised"    // a value that nobody wrote reaches where it shows
	KindRace          = "race"             // two accesses, of which neither happens before the other
	KindUnfinished    = "unfinished-async" // an access of memory that an asynchronous operation still uses
	KindProxyFence    = "proxy-fence"      // an asynchronous access to data that fence.proxy.async must precede
	KindLifetime      = "block-lifetime"   // an access of shared memory of a block that may not have begun, or may have ended
	KindDivergence    = "divergence"       // lanes missing where an instruction needs them
	KindMask          = "mask"             // a membermask that does not name the executing lane
	KindBarrier       = "barrier"          // wrong counts and misuse of barriers
	KindDeadlock      = "deadlock"         // threads that wait for each other
	KindMBarrier      = "mbarrier"         // misuse of an mbarrier object
	KindAsync         = "async"            // misuse of asynchronous copies and their groups
	KindWgmma         = "wgmma"            // registers or memory touched while wgmma uses them
	KindLeak          = "leak"             // memory or operations that are left over
)

type seenKey struct {
	in    *inst
	kind  string
	other uint32
}

// find begins a finding at an instruction of lanes, or counts it if it was found before: then it
// returns nil. Of the same finding in several blocks, the first block's is kept.
func (s *watch) find(x *exec, in *inst, lanes uint32, kind string, other uint32) *Finding {
	s.mu.Lock()
	k := seenKey{in, kind, other}
	old := s.seen[k]
	if old != nil {
		old.Count++
		if blockLess(old.Block, x.b.idx) || old.Block == x.b.idx {
			s.mu.Unlock()
			return nil
		}
	}
	s.mu.Unlock()
	f := &Finding{Kind: kind, Count: 1, Lanes: lanes, Block: x.b.idx}
	if lanes != 0 {
		f.Thread = x.w.thread(firstLane(lanes))
	}
	if in != nil && in.src != nil {
		f.Line, f.GoLine, f.Instr = in.src.Pos.Line, in.src.Pos.GoLine(), instrString(in.src)
	}
	return f
}

// keep adds a finding that find began.
func (s *watch) keep(in *inst, other uint32, f *Finding) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := seenKey{in, f.Kind, other}
	if old := s.seen[k]; old != nil {
		n := old.Count
		*old = *f
		old.Count = n
	} else {
		s.seen[k] = f
		s.l.findings = append(s.l.findings, f)
	}
	slices.SortStableFunc(s.l.findings, func(a, b *Finding) int {
		switch {
		case blockLess(a.Block, b.Block):
			return -1
		case blockLess(b.Block, a.Block):
			return 1
		}
		return 0
	})
}

func blockLess(a, b [3]uint32) bool {
	for i := 2; i >= 0; i-- {
		if a[i] != b[i] {
			return a[i] < b[i]
		}
	}
	return false
}

// addr is the address that a program uses for an offset of a segment.
func (s *segment) addr(off uint64) uint64 {
	if s.space == spaceLocal {
		return off
	}
	return s.base + off
}

// memory describes what lies at an offset of a segment, for messages.
func (s *watch) memory(seg *segment, off uint64) string {
	if seg.space != spaceShared {
		return seg.describe()
	}
	for v, at := range s.l.layout.off {
		if !v.dynamic && off >= uint64(at) && off < uint64(at+v.size) {
			return fmt.Sprintf("shared variable %s (%d bytes) at offset %d", v.name, v.size, off-uint64(at))
		}
	}
	if d := uint64(s.l.layout.dynamic); s.l.dynamic > 0 && off >= d {
		return fmt.Sprintf("dynamic shared memory (%d bytes) at offset %d", s.l.dynamic, off-d)
	}
	return seg.describe()
}

func (s *watch) outside(x *exec, a *access, lanes uint32) {
	f := s.find(x, a.in, lanes, KindOutOfBounds, 0)
	if f == nil {
		return
	}
	off := a.off[firstLane(lanes)]
	near, dist := "", ^uint64(0)
	consider := func(name string, lo, hi int) {
		d := uint64(0)
		where := "behind"
		switch {
		case off < uint64(lo):
			d, where = uint64(lo)-off, "before"
		case off >= uint64(hi):
			d = off - uint64(hi)
		}
		if d < dist {
			dist = d
			near = fmt.Sprintf(": %d bytes %s %s (%d bytes)", d, where, name, hi-lo)
			if off >= uint64(lo) && off < uint64(hi) {
				near = fmt.Sprintf(": it crosses the end of %s (%d bytes)", name, hi-lo)
			}
		}
	}
	for v, at := range s.l.layout.off {
		if !v.dynamic {
			consider("shared variable "+v.name, at, at+v.size)
		}
	}
	if s.l.dynamic > 0 {
		consider("dynamic shared memory", s.l.layout.dynamic, s.l.layout.dynamic+s.l.dynamic)
	}
	f.Space, f.Size, f.Address = a.space.String(), a.size(), a.seg.addr(off)
	f.Message = fmt.Sprintf("%s of %d bytes at shared address 0x%x lies in no variable%s", a.in.src.Op, a.size(), f.Address, near)
	s.keep(a.in, 0, f)
}

func (s *watch) fault(x *exec, in *inst, lanes uint32, space memSpace, size int) bool {
	if s.checks&CheckBounds == 0 {
		return false
	}
	lane := firstLane(lanes)
	addr := x.addr[lane]
	kind := KindOutOfBounds
	if space == spaceGlobal && s.l.dev.freedAt(addr) != nil {
		kind = KindUseAfterFree
	}
	f := s.find(x, in, lanes, kind, 0)
	if f == nil {
		return true
	}
	f.Message = x.describeFault(in, space, size, lane)
	f.Space, f.Size, f.Address = space.String(), size, addr
	switch space {
	case spaceGlobal, spaceConst:
		if o := s.l.dev.freedAt(addr); o != nil {
			f.Memory = o.describe()
		} else if o, d := s.l.table.nearest(addr); o != nil && d < 1<<20 {
			f.Memory = "the neighbourhood of " + o.describe()
		}
	}
	s.keep(in, 0, f)
	return true
}

func (s *watch) misaligned(x *exec, in *inst, lanes uint32, space memSpace, align int) bool {
	if s.checks&CheckAlignment == 0 {
		return false
	}
	if f := s.find(x, in, lanes, KindMisaligned, 0); f != nil {
		f.Address, f.Space, f.Size = x.addr[firstLane(lanes)], space.String(), align
		f.Message = fmt.Sprintf("%s at %s address 0x%x, which is no multiple of %d", in.src.Op, space, f.Address, align)
		s.keep(in, 0, f)
	}
	return true
}

var useWords = map[undefinedUse]string{
	useAddress: "is used as an address", useBranch: "decides a branch or a guard",
	useStore: "is stored", useTensor: "enters a matrix product", useSync: "is an operand of a synchronisation",
}

func (s *watch) undefined(x *exec, in *inst, lanes uint32, use undefinedUse, reg int32) {
	if s.checks&CheckUninit == 0 {
		return
	}
	f := s.find(x, in, lanes, KindUninitialised, uint32(reg))
	if f == nil {
		return
	}
	name := fmt.Sprint("register ", reg)
	if int(reg) < len(x.f.fn.names) {
		name = x.f.fn.names[reg]
	}
	f.Message = fmt.Sprintf("%s %s, but has no defined value", name, useWords[use])
	s.blame(x, f, lanes)
	s.keep(in, uint32(reg), f)
}

// blame names the load from which an undefined value may come.
func (s *watch) blame(x *exec, f *Finding, lanes uint32) {
	o := watchOf(x.w).uninit[firstLane(lanes)]
	if o == nil {
		f.Message += ": it was never written"
		return
	}
	f.Message += fmt.Sprintf("; the thread loaded bytes that nobody wrote, at %s address 0x%x", o.seg.space, o.seg.addr(o.addr))
	f.Memory = s.memory(o.seg, o.addr)
	f.Address, f.Space = o.seg.addr(o.addr), o.seg.space.String()
	f.Other = &Other{What: "load of uninitialised bytes", Line: o.in.src.Pos.Line, GoLine: o.in.src.Pos.GoLine(), Instr: instrString(o.in.src), Block: f.Block, Thread: f.Thread}
}

func (s *watch) undefinedStore(x *exec, a *access, lanes uint32, def []uint32) {
	f := s.find(x, a.in, lanes, KindUninitialised, 0)
	if f == nil {
		return
	}
	what := "a value"
	if m, ok := a.in.aux.(*memOp); ok {
		for e, d := range def {
			if lanes&^d != 0 && e < len(m.shadow) {
				if r := x.f.fn.shadowOf(m.shadow[e]); r >= 0 && int(r) < len(x.f.fn.names) {
					what = x.f.fn.names[r]
				}
				lanes &^= d
				break
			}
		}
	}
	f.Lanes = lanes
	f.Thread = x.w.thread(firstLane(lanes))
	f.Message = fmt.Sprintf("%s is stored to %s memory, but has no defined value", what, a.space)
	s.blame(x, f, lanes)
	s.keep(a.in, 0, f)
}

func (s *watch) undefinedMemory(x *exec, a *access, lanes uint32, what string) {
	f := s.find(x, a.in, lanes, KindUninitialised, 1)
	if f == nil {
		return
	}
	o := watchOf(x.w).uninit[firstLane(lanes)]
	f.Space, f.Size, f.Address = a.space.String(), a.size(), a.seg.addr(o.addr)
	f.Memory = s.memory(a.seg, o.addr)
	f.Message = fmt.Sprintf("%s bytes that nobody wrote, at %s address 0x%x", what, a.space, f.Address)
	s.keep(a.in, 1, f)
}

func (s *watch) diverged(x *exec, in *inst, have, want uint32) {
	if s.checks&CheckConvergence == 0 {
		return
	}
	if f := s.find(x, in, have, KindDivergence, 0); f != nil {
		missing := want &^ have
		t := x.w.thread(firstLane(missing))
		state := "wait elsewhere"
		if missing&x.w.live == 0 {
			state = "have exited"
		}
		f.Message = fmt.Sprintf("lanes 0x%x execute it without lanes 0x%x, which %s (thread (%d,%d,%d) first)", have, missing, state, t[0], t[1], t[2])
		s.keep(in, 0, f)
	}
}

func (s *watch) badMask(x *exec, in *inst, lanes uint32, mask uint32) {
	if s.checks&CheckConvergence == 0 {
		return
	}
	if f := s.find(x, in, lanes, KindMask, 0); f != nil {
		f.Message = fmt.Sprintf("mask 0x%x does not name lanes 0x%x, which execute the instruction", mask, lanes)
		s.keep(in, 0, f)
	}
}

func (s *watch) barrier(x *exec, in *inst, problem string) {
	if s.checks&CheckBarriers == 0 {
		return
	}
	if f := s.find(x, in, x.mask, KindBarrier, 0); f != nil {
		f.Message = problem
		s.keep(in, 0, f)
	}
}

func (s *watch) deadlock(u *unit, waiting []*group) {
	if len(waiting) == 0 {
		return
	}
	g := waiting[0]
	x := u.x
	x.b, x.w, x.f = g.w.b, g.w, g.f
	kind, bit := KindDeadlock, CheckBarriers
	for _, o := range waiting {
		if w, ok := o.wait.(*mbarWaiter); ok && w.unbalanced() {
			kind, bit, g = KindMBarrier, CheckAsync, o
			x.b, x.w, x.f = g.w.b, g.w, g.f
			break
		}
	}
	if s.checks&bit == 0 {
		return
	}
	f := s.find(x, g.in, g.mask, kind, 0)
	if f == nil {
		return
	}
	if e, ok := u.deadlockError(waiting).(*LaunchError); ok {
		f.Message = e.Msg
	}
	for _, o := range waiting {
		if o.in != nil && o.in != g.in {
			f.Other = &Other{What: "another wait", Line: o.in.src.Pos.Line, GoLine: o.in.src.Pos.GoLine(), Instr: instrString(o.in.src),
				Block: o.w.b.idx, Thread: o.w.thread(firstLane(o.mask))}
			break
		}
	}
	s.keep(g.in, 0, f)
}

// siteOf numbers an instruction for the happens-before engine.
func siteOf(x *exec, in *inst) uint32 { return uint32(x.f.fn.index)<<20 | uint32(in.pc) }

func (s *watch) instAt(site uint32) *ptx.Instr {
	fns := s.l.kernel.mod.byAddr
	if i := int(site >> 20); i < len(fns) && int(site&(1<<20-1)) < len(fns[i].code) {
		return fns[i].code[site&(1<<20-1)].src
	}
	return nil
}

// other describes the earlier access of a conflict.
func (s *watch) other(e *race.Earlier) *Other {
	o := &Other{What: [...]string{"read", "write", "atomic operation"}[e.Kind]}
	if e.Async {
		o.What = "asynchronous " + o.What
	}
	if in := s.instAt(e.Site); in != nil {
		o.Line, o.GoLine, o.Instr = in.Pos.Line, in.Pos.GoLine(), instrString(in)
	}
	g := s.l.grid
	b := uint32(e.Block.ID)
	o.Block = [3]uint32{b % g[0], b / g[0] % g[1], b / g[0] / g[1]}
	t := uint32(e.Warp*warpSize + e.Lane)
	bl := s.l.block
	o.Thread = [3]uint32{t % bl[0], t / bl[0] % bl[1], t / bl[0] / bl[1]}
	return o
}

// conflict turns what the happens-before engine found into a finding.
func (u *unitWatch) conflict(c *race.Conflict) {
	s, x, a := u.s, u.x, u.a
	kind, bit := KindRace, CheckRaces
	switch c.Problem {
	case race.Unfinished:
		kind, bit = KindUnfinished, CheckAsync
	case race.NoProxy:
		kind, bit = KindProxyFence, CheckAsync
	}
	if s.checks&bit == 0 {
		return
	}
	f := s.find(x, a.in, 1<<c.Lane, kind, c.Earlier.Site+1)
	if f == nil {
		return
	}
	f.Space, f.Size, f.Address = a.space.String(), a.size(), a.seg.addr(c.Off)
	f.Memory = s.memory(a.seg, c.Off)
	f.Other = s.other(&c.Earlier)
	this := [...]string{"read", "write", "atomic operation"}[u.op.Kind]
	if u.op.Async != nil {
		this = "asynchronous " + this
	}
	at := fmt.Sprintf("%s address 0x%x", a.space, f.Address)
	switch c.Problem {
	case race.Unfinished:
		f.Message = fmt.Sprintf("%s at %s before the %s of another instruction is known to be complete", this, at, f.Other.What)
	case race.NoProxy:
		if c.Earlier.Init {
			f.Message = fmt.Sprintf("the copy completes at the mbarrier of another block at %s; neither fence.mbarrier_init nor fence.proxy.async has made its initialisation visible", at)
			break
		}
		f.Message = fmt.Sprintf("%s at %s of data written through the generic proxy; no fence.proxy.async lies between", this, at)
	default:
		f.Message = fmt.Sprintf("%s at %s is not ordered after the %s of the same bytes", this, at, f.Other.What)
	}
	s.keep(a.in, c.Earlier.Site+1, f)
}

func hasMod(in *ptx.Instr, name string) bool {
	for _, m := range in.Mods {
		if m == name || strings.HasPrefix(m, name+"::") {
			return true
		}
	}
	return false
}

// reportLeaks finds memory that is still allocated when the device is closed.
func reportLeaks(d *Device) {
	if d.cfg.Checks&CheckLeaks == 0 {
		return
	}
	for _, seg := range d.table.list {
		if seg.alloc == 0 {
			continue
		}
		d.findings.add(&Finding{Kind: KindLeak, GoLine: seg.site, Memory: seg.describe(), Address: seg.base, Size: len(seg.data), Space: "global",
			Message: fmt.Sprintf("allocation %d of %d bytes was never freed", seg.alloc, len(seg.data))})
	}
}
