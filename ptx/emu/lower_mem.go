package emu

import (
	"encoding/binary"

	"github.com/selkie-ml/selkie/ptx"
)

// memOp is the aux of instructions that access memory.
type memOp struct {
	space  memSpace
	own    bool // shared::cta: the block's own
	wide   bool // the base is a 64-bit register
	base   int32
	offset int64
	elem   int // bytes of an element
	count  int // elements
	order  memOrder
	scope  memScope

	regs   []int32 // slots of the elements
	file   regFile
	shadow []int32 // shadow numbers of the elements' registers, -1 for constants
	signed bool    // sign-extend elements
}

var le = binary.LittleEndian

func init() {
	register(lowerLd, "ld", "ldu")
	register(lowerSt, "st")
	register(lowerCvta, "cvta")
	register(lowerIsspacep, "isspacep")
	register(lowerMapa, "mapa", "getctarank")
	register(lowerPrefetch, "prefetch", "prefetchu", "applypriority", "discard")
	register(lowerFence, "membar", "fence")
	register(lowerAlloca, "alloca", "stacksave", "stackrestore")
	register(lowerCreatePolicy, "createpolicy")
}

// order takes the modifiers of the memory consistency model.
func (lw *lowerer) order(m *memOp) {
	switch lw.mods.one("weak", "volatile", "relaxed", "acquire", "release", "acq_rel", "sc", "mmio") {
	case "volatile":
		m.order = orderVolatile
	case "relaxed":
		m.order = orderRelaxed
	case "acquire":
		m.order = orderAcquire
	case "release":
		m.order = orderRelease
	case "acq_rel":
		m.order = orderAcqRel
	case "sc":
		m.order = orderSeqCst
	case "mmio":
		m.order = orderRelaxed
		lw.mods.has("relaxed")
	}
	m.scope = lw.scope()
}

// scope takes the modifier that names a scope.
func (lw *lowerer) scope() memScope {
	switch lw.mods.one("cta", "cluster", "gpu", "sys") {
	case "cta":
		return scopeCTA
	case "cluster":
		return scopeCluster
	case "gpu":
		return scopeGPU
	case "sys":
		return scopeSys
	}
	return scopeNone
}

// cacheHints takes what only speeds an access up. It says whether an operand with
// a cache policy follows.
func (lw *lowerer) cacheHints() bool {
	m := &lw.mods
	m.one("ca", "cg", "cs", "lu", "cv", "wb", "wt")
	m.prefix("L1::")
	hint := m.has("L2::cache_hint")
	m.prefix("L2::")
	m.prefix("L2::")
	m.has("unified")
	return hint
}

// memSpaceOf maps the state space of an instruction.
func (lw *lowerer) memSpaceOf(s ptx.Space, mem ptx.Mem) (space memSpace, own bool) {
	switch s {
	case ptx.NoSpace:
		return spaceGeneric, false
	case ptx.Global:
		return spaceGlobal, false
	case ptx.Const:
		return spaceConst, false
	case ptx.Local:
		return spaceLocal, false
	case ptx.Shared, ptx.SharedCTA:
		return spaceShared, true
	case ptx.SharedCluster:
		return spaceShared, false
	case ptx.ParamEntry:
		return spaceParam, false
	case ptx.ParamFunc:
		return spaceLocal, false
	case ptx.Param:
		if sym, ok := mem.Base.(ptx.Sym); ok {
			if v := lw.lookup(sym.Name); v != nil && v.kind == varLocal {
				return spaceLocal, false
			}
		}
		if lw.fn.src.Entry {
			return spaceParam, false
		}
		return spaceLocal, false
	}
	lw.fail("state space .%s is not supported", s)
	return 0, false
}

// address sets base and offset from an operand in brackets.
func (lw *lowerer) address(op ptx.Operand, m *memOp) {
	mem, ok := op.(ptx.Mem)
	if !ok {
		lw.fail("operand %s: an address in brackets is expected", operandString(op))
	}
	if mem.Coords != nil || mem.Sampler != nil {
		lw.fail("textures are not supported")
	}
	m.offset = mem.Offset
	n := len(lw.uses)
	switch b := mem.Base.(type) {
	case ptx.Reg:
		s, t := lw.regSlot(b)
		m.wide = s.file == file64
		if s.file == fileP || t.Bits() < 32 {
			lw.fail("register %s of type .%s holds no address", b.R.Name, t)
		}
		if !m.wide && (m.space == spaceGeneric || m.space == spaceGlobal) {
			lw.fail("register %s of type .%s is too narrow for an address of .%s", b.R.Name, t, m.space)
		}
		m.base = s.i
		lw.note(s)
	case ptx.Sym:
		sym := b
		sym.Offset = 0
		m.offset += b.Offset
		m.wide = m.space != spaceShared && m.space != spaceLocal && m.space != spaceParam
		v := lw.lookup(b.Name)
		if v == nil && lw.mod.fns[b.Name] == nil {
			lw.fail("%s is not defined", b.Name)
		}
		if v != nil {
			lw.checkSpace(v, m)
		}
		if m.wide {
			m.base = lw.symbol(sym, file64)
		} else {
			m.base = lw.symbol(sym, file32)
		}
	case ptx.Imm:
		m.wide = true
		m.base = lw.const64slot(b.Bits)
	default:
		lw.fail("operand %s holds no address", operandString(op))
	}
	lw.addrs = append(lw.addrs, lw.uses[n:]...)
}

// checkSpace refuses an access of a variable through another state space.
func (lw *lowerer) checkSpace(v *variable, m *memOp) {
	ok := true
	switch v.kind {
	case varGlobal:
		ok = m.space == spaceGlobal || m.space == spaceGeneric
	case varConst:
		ok = m.space == spaceConst
	case varShared:
		ok = m.space == spaceShared
	case varLocal:
		ok = m.space == spaceLocal
	case varEntryParam:
		ok = m.space == spaceParam
	}
	if !ok {
		lw.fail("variable %s lies in .%s, the instruction accesses .%s", v.v.Name, v.v.Space, m.space)
	}
}

// vectorWidth takes .v2, .v4 or .v8.
func (lw *lowerer) vectorWidth() int {
	switch lw.mods.one("v2", "v4", "v8") {
	case "v2":
		return 2
	case "v4":
		return 4
	case "v8":
		return 8
	}
	return 1
}

// accessOf reads what a load and a store have in common: space, order, width and type,
// the number of operands, and which of them is the address.
func (lw *lowerer) accessOf(in *ptx.Instr, m *memOp, address int) ptx.Type {
	space := lw.mods.space()
	hint := lw.cacheHints()
	lw.order(m)
	m.count = lw.vectorWidth()
	t := lw.mods.lastType()
	if t == ptx.NoType || t == ptx.Pred {
		lw.fail("the type is missing")
	}
	n := 2
	if hint {
		n = 3
	}
	if len(in.Args) < 2 || len(in.Args) > n {
		lw.need(n)
	}
	if len(in.Args) == 3 {
		lw.in64(in.Args[2], ptx.B64)
	}
	mem, _ := in.Args[address].(ptx.Mem)
	m.space, m.own = lw.memSpaceOf(space, mem)
	return t
}

func lowerLd(lw *lowerer, in *ptx.Instr) {
	m := &memOp{}
	nc := lw.mods.has("nc")
	t := lw.accessOf(in, m, 1)
	if nc && m.space != spaceGlobal && m.space != spaceGeneric {
		lw.fail(".nc needs .global")
	}
	lw.elements(in.Args[0], t, m, false)
	lw.address(in.Args[1], m)
	flags := flagSelfDef | flagMemory
	if m.order != orderWeak && m.space != spaceShared && m.space != spaceLocal {
		flags |= flagOrdered
	}
	i := inst{run: loadRun(m), aux: m, flags: flags, sink: useAddress}
	lw.emit(i)
}

// elements notes the registers of a load or a store.
func (lw *lowerer) elements(op ptx.Operand, t ptx.Type, m *memOp, store bool) {
	list := []ptx.Operand{op}
	if v, ok := op.(ptx.Vec); ok {
		list = v
	} else if r, ok := op.(ptx.Reg); ok && r.R.Vec > 0 && r.Elem == 0 {
		list = nil
		for i := range r.R.Vec {
			list = append(list, ptx.Reg{R: r.R, Elem: "xyzw"[i]})
		}
	}
	if len(list) != m.count {
		lw.fail("%d registers for %d elements", len(list), m.count)
	}
	m.elem = t.Size()
	m.signed = t.Kind() == ptx.KindSigned && t.Bits() < 64
	if size := m.elem * m.count; size > 32 || size > 16 && lw.mod.dev.gpu.SM < 100 {
		lw.fail("%d bytes in one access are not supported on %s", size, lw.mod.dev.gpu.Name)
	}
	if t.Bits() == 128 { // two halves
		m.elem = 8
		m.count *= 2
		m.file = file64
		for _, o := range list {
			r, ok := o.(ptx.Reg)
			if !ok || r.R.Type.Bits() != 128 {
				lw.fail("operand %s: a .b128 register is expected", operandString(o))
			}
			s, _ := lw.regSlot(r)
			for h := range int32(2) {
				m.regs = append(m.regs, s.i+h)
				lw.touch(m, slot{file64, s.i + h}, store)
			}
		}
		return
	}
	// The file of the first register decides; others are converted.
	m.file = fileOf(t)
	for _, o := range list {
		if r, ok := o.(ptx.Reg); ok {
			s, rt := lw.regSlot(r)
			if s.file == fileP {
				lw.fail("predicate %s cannot be loaded or stored", r.R.Name)
			}
			if rt.Bits() < t.Bits() {
				lw.fail("register %s of type .%s is too narrow for .%s", r.R.Name, rt, t)
			}
			if s.file == file64 {
				m.file = file64
			}
		}
	}
	for _, o := range list {
		if store {
			n := len(lw.uses)
			var i int32
			if m.file == file64 {
				i = lw.in64Loose(o, t)
			} else {
				i = lw.in32Raw(o, t)
			}
			m.regs = append(m.regs, i)
			if len(lw.uses) > n {
				m.shadow = append(m.shadow, lw.uses[n])
			} else {
				m.shadow = append(m.shadow, -1)
			}
			continue
		}
		if _, ok := o.(ptx.Sink); ok {
			m.regs = append(m.regs, lw.temp(m.file))
			m.shadow = append(m.shadow, -1)
			continue
		}
		r, ok := o.(ptx.Reg)
		if !ok {
			lw.fail("operand %s: a register to load is expected", operandString(o))
		}
		s, rt := lw.regSlot(r)
		if s.file != m.file { // a 32-bit register beside 64-bit ones
			lw.fail("registers of different widths in one vector: %s", r.R.Name)
		}
		if m.signed && rt.Bits() < 32 && rt.Bits() > t.Bits() {
			// Sign-extended only as far as the register reaches.
			d, mask := s.i, lw.const32slot(1<<rt.Bits()-1)
			lw.post = append(lw.post, func() { lw.emit(inst{run: runAnd32, d: d, a: d, b: mask, flags: flagHelper | flagSelfDef}) })
		} else if m.signed && rt.Bits() == t.Bits() {
			m.signed = rt.Bits() == 32 && false
		}
		m.regs = append(m.regs, s.i)
		lw.touch(m, s, false)
	}
}

func (lw *lowerer) touch(m *memOp, s slot, store bool) {
	m.shadow = append(m.shadow, shadowOf(s))
	if store {
		lw.uses = append(lw.uses, shadowOf(s))
	} else {
		lw.sets = append(lw.sets, shadowOf(s))
	}
}

// in32Raw is in32 without truncation: stores take the low bytes themselves.
func (lw *lowerer) in32Raw(op ptx.Operand, t ptx.Type) int32 {
	if r, ok := op.(ptx.Reg); ok && r.Sel == "" {
		if s, _ := lw.regSlot(r); s.file == file32 {
			lw.note(s)
			return s.i
		}
	}
	return lw.in32(op, t)
}

// in64Loose reads an element of a store from a 64-bit register, or constant, whatever its type.
func (lw *lowerer) in64Loose(op ptx.Operand, t ptx.Type) int32 {
	switch v := op.(type) {
	case ptx.Imm:
		return lw.const64slot(immBits(v, t))
	case ptx.Reg:
		if s, _ := lw.regSlot(v); s.file == file32 {
			d := lw.temp(file64)
			lw.note(s)
			lw.helper(inst{run: runZext64, d: d, a: s.i}, []int32{shadowOf(s)}, []int32{shadowOf(slot{file64, d})})
			return d
		}
	}
	return lw.in64(op, t)
}

func lowerSt(lw *lowerer, in *ptx.Instr) {
	m := &memOp{}
	if lw.mods.peek("async") {
		lowerRemote(lw, in, false)
		return
	}
	if lw.mods.peek("bulk") {
		lw.fail("st.bulk is not supported")
	}
	t := lw.accessOf(in, m, 0)
	switch m.space {
	case spaceConst, spaceParam:
		lw.fail("stores to .%s are not allowed", m.space)
	}
	lw.elements(in.Args[1], t, m, true)
	lw.address(in.Args[0], m)
	flags := flagMemory
	if m.order != orderWeak && m.space != spaceShared && m.space != spaceLocal {
		flags |= flagOrdered
	}
	lw.emit(inst{run: storeRun(m), aux: m, flags: flags, sink: useAddress})
}
