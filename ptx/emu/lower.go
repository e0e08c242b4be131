package emu

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/selkie-ml/selkie/ptx"
)

// slot is where a register lies: a file of a frame, and the index in it.
type slot struct {
	file regFile
	i    int32
}

type regFile uint8

const (
	file32 regFile = iota // 32 lanes of up to 32 bits; narrower values are zero-extended
	file64                // of 64 bits; a .b128 register takes two slots, low half first
	fileP                 // predicates, a bit per lane
)

// lowerer turns the body of a function into insts.
//
// Operands become slots: constants and addresses of variables lie in slots that
// are filled when a frame is made, special registers are read into a slot before
// the instruction. Every lowering function calls in32, in64, inP, out32 … for its operands, which
// note the registers read and written, and then emit.
type lowerer struct {
	mod    *Module
	fn     *fn
	errs   []error
	slots  map[*ptx.Register]slot
	scopes []*names
	code   []inst
	src    *ptx.Instr
	mods   mods
	guard  int32
	not    uint32

	c32                            map[uint32]int32
	c64                            map[uint64]int32
	cp                             map[bool]int32
	const32                        []constant
	const64                        []constant
	symSlot                        map[string]int32
	scratch32, scratch64, scratchP []int32
	used32, used64, usedP          int

	uses, sets, addrs []int32
	post              []func()
	patches           []func()    // run when the positions of labels are known
	kinds             [3][]string // names of the slots of each file
	defined           [3][]bool   // slots that need no write: constants, scratch
	local             int
}

type constant struct {
	slot int32
	v    uint64
}

// names is what a block in braces declares besides registers.
type names struct {
	labels  map[string]*labelRef
	vars    map[string]*variable
	targets map[string]*ptx.BranchTargets
	calls   map[string]*ptx.CallTargets
	protos  map[string]*ptx.CallPrototype
}

type labelRef struct {
	name string
	pc   int32
}

// lowerError is panicked by lowering functions and caught per instruction.
type lowerError struct{ msg string }

func (lw *lowerer) fail(format string, args ...any) {
	panic(lowerError{fmt.Sprintf(format, args...)})
}

// lowerers are the lowering functions by mnemonic.
var lowerers = map[string]func(lw *lowerer, in *ptx.Instr){}

// register enters a lowering function for mnemonics; called from init functions.
func register(f func(lw *lowerer, in *ptx.Instr), ops ...string) {
	for _, op := range ops {
		lowerers[op] = f
	}
}

func lowerFunc(mod *Module, f *fn) []error {
	lw := &lowerer{mod: mod, fn: f, slots: map[*ptx.Register]slot{}, c32: map[uint32]int32{}, c64: map[uint64]int32{}, cp: map[bool]int32{}, symSlot: map[string]int32{}}
	lw.push(&ptx.Block{})
	lw.parameters()
	lw.directives()
	lw.block(f.src.Body)
	lw.guard, lw.src = -1, &ptx.Instr{Op: "ret", Pos: ptx.Pos{Line: f.src.Body.End.Line}}
	if f.src.Entry {
		lw.emit(inst{run: runExit})
	} else {
		lw.emit(inst{run: runRet})
	}
	for _, p := range lw.patches {
		p()
	}
	if len(lw.errs) > 0 {
		return lw.errs
	}
	lw.finish()
	return nil
}

func (lw *lowerer) directives() {
	for _, d := range lw.fn.src.Directives {
		switch d.Name {
		case "maxntid":
			lw.fn.maxTid = d.Args
		case "reqntid":
			lw.fn.reqTid = d.Args
		case "reqnctapercluster":
			lw.fn.reqCluster = d.Args
		}
	}
}

// parameters places parameters and return values.
func (lw *lowerer) parameters() {
	f := lw.fn
	sc := lw.scopes[0]
	place := func(v *ptx.Var, at *int, kind varKind) paramVar {
		size, unsized := varSize(v)
		if unsized {
			size = 0
		}
		p := paramVar{v: v, size: size}
		if v.Reg != nil {
			p.slot = lw.slotOf(v.Reg)
			p.size = max(v.Reg.Type.Size(), 1)
			return p
		}
		align := varAlign(v)
		*at = alignUp(*at, align)
		p.off = *at
		*at += size
		sc.vars[v.Name] = &variable{v: v, kind: kind, off: p.off, size: size, align: align}
		return p
	}
	if f.src.Entry {
		for _, v := range f.src.Params {
			f.params = append(f.params, place(v, &f.size, varEntryParam))
		}
		return
	}
	for _, v := range f.src.Returns {
		f.rets = append(f.rets, place(v, &lw.local, varLocal))
	}
	for _, v := range f.src.Params {
		f.params = append(f.params, place(v, &lw.local, varLocal))
	}
}

func (lw *lowerer) push(b *ptx.Block) {
	n := &names{labels: map[string]*labelRef{}, vars: map[string]*variable{}}
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *ptx.Label:
			n.labels[s.Name] = &labelRef{name: s.Name, pc: -1}
		case *ptx.BranchTargets:
			if n.targets == nil {
				n.targets = map[string]*ptx.BranchTargets{}
			}
			n.targets[s.Name] = s
		case *ptx.CallTargets:
			if n.calls == nil {
				n.calls = map[string]*ptx.CallTargets{}
			}
			n.calls[s.Name] = s
		case *ptx.CallPrototype:
			if n.protos == nil {
				n.protos = map[string]*ptx.CallPrototype{}
			}
			n.protos[s.Name] = s
		}
	}
	lw.scopes = append(lw.scopes, n)
}

func (lw *lowerer) block(b *ptx.Block) {
	lw.push(b)
	sc := lw.scopes[len(lw.scopes)-1]
	for _, s := range b.Stmts {
		switch s := s.(type) {
		case *ptx.Label:
			sc.labels[s.Name].pc = int32(len(lw.code))
		case *ptx.Var:
			lw.declare(sc, s)
		case *ptx.Block:
			lw.block(s)
		case *ptx.Instr:
			lw.instr(s)
		}
	}
	lw.scopes = lw.scopes[:len(lw.scopes)-1]
}

func (lw *lowerer) declare(sc *names, v *ptx.Var) {
	size, unsized := varSize(v)
	vr := &variable{v: v, size: size, align: varAlign(v)}
	switch v.Space {
	case ptx.Local, ptx.Param, ptx.ParamFunc:
		vr.kind = varLocal
		lw.local = alignUp(lw.local, vr.align)
		vr.off = lw.local
		lw.local += size
	case ptx.Shared, ptx.SharedCTA:
		vr.kind = varShared
		vr.sh = &sharedVar{name: v.Name, size: size, align: vr.align, dynamic: unsized || v.Linkage == ptx.Extern}
		if vr.sh.dynamic {
			vr.sh.size = 0
		}
		lw.mod.shared = append(lw.mod.shared, vr.sh)
	case ptx.Global, ptx.Const:
		vr.kind = varGlobal
		space := spaceGlobal
		if v.Space == ptx.Const {
			vr.kind, space = varConst, spaceConst
		}
		if unsized {
			for _, it := range v.Init {
				vr.size = max(vr.size, size*(it.Index+1))
			}
		}
		vr.seg = lw.mod.dev.place(vr.size, vr.align, v.Name, space)
		if err := lw.mod.initialise(vr); err != nil {
			lw.errs = append(lw.errs, err)
		}
	case ptx.RegSpace:
		return
	default:
		lw.errs = append(lw.errs, lw.mod.errorAt(v.Pos, "variable %s: state space .%s in a function is not supported", v.Name, v.Space))
		return
	}
	sc.vars[v.Name] = vr
}

// lookup finds a variable by the name that is visible here; nil if there is none.
func (lw *lowerer) lookup(name string) *variable {
	for i := len(lw.scopes) - 1; i >= 0; i-- {
		if v := lw.scopes[i].vars[name]; v != nil {
			return v
		}
	}
	return lw.mod.vars[name]
}

func (lw *lowerer) label(name string) *labelRef {
	for i := len(lw.scopes) - 1; i >= 0; i-- {
		if l := lw.scopes[i].labels[name]; l != nil {
			return l
		}
	}
	lw.fail("label %s is not defined here", name)
	return nil
}

// instr lowers one instruction.
func (lw *lowerer) instr(in *ptx.Instr) {
	start := len(lw.code)
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(lowerError)
			if !ok {
				panic(r)
			}
			lw.code = lw.code[:start]
			lw.errs = append(lw.errs, lw.mod.errorAt(in.Pos, "emu: %s: %s", mnemonic(in), e.msg))
		}
	}()
	lw.src = in
	lw.uses, lw.sets, lw.addrs, lw.post = lw.uses[:0], lw.sets[:0], lw.addrs[:0], lw.post[:0]
	lw.used32, lw.used64, lw.usedP = 0, 0, 0
	lw.guard, lw.not = -1, 0
	if g := in.Guard; g.Reg != nil {
		lw.guard = lw.slotOf(g.Reg).i
		if g.Not {
			lw.not = fullMask
		}
	}
	f := lowerers[in.Op]
	if f == nil {
		lw.fail("the emulator does not know this instruction%s", refusals[in.Op])
	}
	lw.mods = parseMods(in.Mods)
	f(lw, in)
	if left := lw.mods.left(); left != "" {
		lw.fail("the emulator does not know .%s here", left)
	}
}

// refusals say why an instruction of the table is not executed.
var refusals = map[string]string{
	"multimem": ": it needs memory that several GPUs share",
	"tex":      noTextures, "tld4": noTextures, "txq": noTextures, "istypep": noTextures,
	"suld": noTextures, "sust": noTextures, "sured": noTextures, "suq": noTextures,
}

const noTextures = ": textures and surfaces are not emulated"

// mnemonic is the opcode with its modifiers.
func mnemonic(in *ptx.Instr) string {
	s := in.Op
	for _, m := range in.Mods {
		s += "." + m
	}
	return s
}

// emit appends an instruction with the operands noted so far, and what must follow it.
func (lw *lowerer) emit(in inst) *inst {
	in.guard, in.not = lw.guard, lw.not
	in.src = lw.src
	in.uses = slices.Clone(lw.uses)
	in.sets = slices.Clone(lw.sets)
	in.addr = slices.Clone(lw.addrs)
	lw.code = append(lw.code, in)
	lw.uses, lw.sets, lw.addrs = lw.uses[:0], lw.sets[:0], lw.addrs[:0]
	at := len(lw.code) - 1
	post := lw.post
	lw.post = nil
	for _, p := range post {
		p()
	}
	return &lw.code[at]
}

// helper appends an instruction that prepares operands; it runs for all lanes of the group.
func (lw *lowerer) helper(in inst, uses, sets []int32) {
	in.guard = -1
	in.src = lw.src
	in.flags |= flagHelper
	in.uses, in.sets = uses, sets
	lw.code = append(lw.code, in)
}

// Shadow numbers are file<<28 | slot until finish knows the sizes of the files.
func shadowOf(s slot) int32 { return int32(s.file)<<28 | s.i }

func (lw *lowerer) newSlot(f regFile, n int32, name string, defined bool) int32 {
	var i int32
	switch f {
	case file32:
		i = int32(lw.fn.n32)
		lw.fn.n32 += int(n)
	case file64:
		i = int32(lw.fn.n64)
		lw.fn.n64 += int(n)
	case fileP:
		i = int32(lw.fn.np)
		lw.fn.np += int(n)
	}
	for k := range n {
		nm := name
		if n > 1 {
			nm = fmt.Sprintf("%s[%d]", name, k)
		}
		lw.kinds[f] = append(lw.kinds[f], nm)
		lw.defined[f] = append(lw.defined[f], defined)
	}
	return i
}

// slotOf gives the slot of a register, the first of a vector's or of a .b128's.
func (lw *lowerer) slotOf(r *ptx.Register) slot {
	if s, ok := lw.slots[r]; ok {
		return s
	}
	n := int32(max(r.Vec, 1))
	s := slot{file: fileOf(r.Type)}
	if r.Type.Bits() == 128 {
		n *= 2
	}
	s.i = lw.newSlot(s.file, n, r.Name, false)
	lw.slots[r] = s
	return s
}

func fileOf(t ptx.Type) regFile {
	switch b := t.Bits(); {
	case t == ptx.Pred:
		return fileP
	case b <= 32:
		return file32
	}
	return file64
}

// regSlot gives the slot of a register operand, an element of a vector included.
func (lw *lowerer) regSlot(r ptx.Reg) (slot, ptx.Type) {
	s := lw.slotOf(r.R)
	if r.Elem != 0 {
		i := int32(0)
		for i < 4 && "xyzw"[i] != r.Elem {
			i++
		}
		if r.R.Type.Bits() == 128 {
			i *= 2
		}
		s.i += i
	} else if r.R.Vec > 0 {
		lw.fail("vector register %s is used as a scalar", r.R.Name)
	}
	return s, r.R.Type
}

func (lw *lowerer) temp(f regFile) int32 {
	var list *[]int32
	var used *int
	switch f {
	case file32:
		list, used = &lw.scratch32, &lw.used32
	case file64:
		list, used = &lw.scratch64, &lw.used64
	default:
		list, used = &lw.scratchP, &lw.usedP
	}
	if *used == len(*list) {
		*list = append(*list, lw.newSlot(f, 1, "temporary", true))
	}
	*used++
	return (*list)[*used-1]
}

func (lw *lowerer) const32slot(v uint32) int32 {
	s, ok := lw.c32[v]
	if !ok {
		s = lw.newSlot(file32, 1, "constant", true)
		lw.c32[v] = s
		lw.const32 = append(lw.const32, constant{s, uint64(v)})
	}
	return s
}

func (lw *lowerer) const64slot(v uint64) int32 {
	s, ok := lw.c64[v]
	if !ok {
		s = lw.newSlot(file64, 1, "constant", true)
		lw.c64[v] = s
		lw.const64 = append(lw.const64, constant{s, v})
	}
	return s
}

func (lw *lowerer) constP(v bool) int32 {
	s, ok := lw.cp[v]
	if !ok {
		s = lw.newSlot(fileP, 1, "constant", true)
		lw.cp[v] = s
	}
	return s
}

func (lw *lowerer) note(s slot) { lw.uses = append(lw.uses, shadowOf(s)) }

// need fails unless the instruction has n operands.
func (lw *lowerer) need(n int) {
	if len(lw.src.Args) != n {
		lw.fail("has %d operands, %d are expected", len(lw.src.Args), n)
	}
}

// finish sizes the files, fills the templates of frames and finds where diverged
// lanes meet.
func (lw *lowerer) finish() {
	f := lw.fn
	f.code = lw.code
	f.local = alignUp(lw.local, 16)
	if !f.src.Entry {
		f.local = max(f.local, minFrame)
	}
	f.shadowP = int32(f.n32 + f.n64)
	base := [3]int32{0, int32(f.n32), int32(f.n32 + f.n64)}
	number := func(list []int32) {
		for i, v := range list {
			list[i] = base[v>>28] + v&(1<<28-1)
		}
	}
	for i := range f.code {
		in := &f.code[i]
		in.pc = int32(i)
		if in.flags&flagHelper == 0 {
			in.counts = 1
		}
		number(in.uses)
		number(in.sets)
		number(in.addr)
		if in.flags&flagOrdered != 0 {
			f.ordered = true
		}
	}
	f.names = slices.Concat(lw.kinds[file32], lw.kinds[file64], lw.kinds[fileP])
	f.tmpl32 = make([]vec32, f.n32)
	for i := range f.tmpl32 {
		for l := range f.tmpl32[i] {
			f.tmpl32[i][l] = poison32
		}
	}
	f.tmpl64 = make([]vec64, f.n64)
	for i := range f.tmpl64 {
		for l := range f.tmpl64[i] {
			f.tmpl64[i][l] = poison64
		}
	}
	f.tmplP = make([]uint32, f.np)
	for i := range f.tmplP {
		f.tmplP[i] = poisonP & -uint32(bits.OnesCount(uint(i))&1)
	}
	for _, c := range lw.const32 {
		for l := range f.tmpl32[c.slot] {
			f.tmpl32[c.slot][l] = uint32(c.v)
		}
	}
	for _, c := range lw.const64 {
		for l := range f.tmpl64[c.slot] {
			f.tmpl64[c.slot][l] = c.v
		}
	}
	for v, s := range lw.cp {
		f.tmplP[s] = 0
		if v {
			f.tmplP[s] = fullMask
		}
	}
	f.tmplD = make([]uint32, 0, len(f.names))
	for _, list := range lw.defined {
		for _, d := range list {
			m := uint32(0)
			if d {
				m = fullMask
			}
			f.tmplD = append(f.tmplD, m)
		}
	}
	reconverge(f)
}

// minFrame is the least that a call takes of the stack, so that recursion ends.
const minFrame = 64

// What registers hold that nobody wrote.
const (
	poison32 = 0xdeadbeef
	poison64 = 0xdeadbeefdeadbeef
	poisonP  = 0xdeadbeef
)
