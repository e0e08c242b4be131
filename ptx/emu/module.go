package emu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/selkie-ml/selkie/ptx"
)

// A Module is a ptx.Module that is loaded on a device: its variables have memory,
// its functions are lowered.
type Module struct {
	dev    *Device
	src    *ptx.Module
	fns    map[string]*fn
	byAddr []*fn
	vars   map[string]*variable
	shared []*sharedVar

	// Of earlier launches, to be used again:
	idle          []*exec
	shadows       []*segShadow
	marked, async bool // by the sanitiser: the code was looked at; it has asynchronous operations
}

// fn is a lowered function.
type fn struct {
	name    string
	src     *ptx.Func
	mod     *Module
	index   int
	code    []inst
	n32     int // slots of each file, constants included
	n64     int
	np      int
	shadowP int32   // shadow number of the first predicate
	tmpl32  []vec32 // what a new frame begins with
	tmpl64  []vec64
	tmplP   []uint32
	tmplD   []uint32 // initial shadow: constants are defined
	names   []string // of registers by shadow number
	fixes   []fix
	local   int // bytes of local memory of a frame
	params  []paramVar
	rets    []paramVar
	size    int // of the parameters of an entry

	sharedUse map[*sharedVar]bool
	calls     map[*fn]bool
	indirect  bool // calls functions whose address is taken
	ordered   bool // has instructions whose order among blocks matters
	takesAddr map[*fn]bool

	maxTid, reqTid []int64
	reqCluster     []int64
	layout         *kernelLayout
}

// A fix is a constant that depends on the kernel, the block or the frame.
type fix struct {
	slot   int32
	wide   bool
	shared *sharedVar // address in shared memory
	local  bool       // offset in the local memory of the frame
	off    int64
}

// paramVar is a parameter or a return value of a function.
type paramVar struct {
	v    *ptx.Var
	off  int // in local memory of the frame, or in the parameters of an entry
	size int
	slot slot // of a parameter in the .reg space
}

type sharedVar struct {
	name    string
	size    int
	align   int
	dynamic bool
}

type variable struct {
	v     *ptx.Var
	seg   *segment
	sh    *sharedVar
	off   int // in local memory of a frame
	kind  varKind
	size  int
	align int
}

type varKind uint8

const (
	varGlobal varKind = iota
	varConst
	varShared
	varLocal      // .local, and .param of functions and calls
	varEntryParam // .param of an entry
	varReg
)

// kernelLayout is where the shared variables that a kernel can reach lie.
type kernelLayout struct {
	off     map[*sharedVar]int
	static  int // end of the last static variable
	dynamic int // where dynamic shared memory begins
	used    int // bytes of static variables, without gaps
	ordered bool
	local   int // local memory, where no recursion is possible; else a first guess
}

// Load checks that every instruction of a module is known, lowers it, and gives
// memory to its variables. The error names each instruction that the emulator does not know, with its line.
func (d *Device) Load(m *ptx.Module) (*Module, error) {
	if m.AddrSize == 32 {
		return nil, fmt.Errorf("emu: %s: .address_size 32 is not supported; compile for 64-bit addresses", fileName(m))
	}
	if err := d.checkTarget(m); err != nil {
		return nil, err
	}
	mod := &Module{dev: d, src: m, fns: map[string]*fn{}, vars: map[string]*variable{}}
	var errs []error
	for _, decl := range m.Decls {
		if f, ok := decl.(*ptx.Func); ok {
			old := mod.fns[f.Name]
			if old == nil {
				old = &fn{name: f.Name, mod: mod, src: f, index: len(mod.byAddr),
					sharedUse: map[*sharedVar]bool{}, calls: map[*fn]bool{}, takesAddr: map[*fn]bool{}}
				mod.fns[f.Name] = old
				mod.byAddr = append(mod.byAddr, old)
			} else if old.src.Body == nil {
				old.src = f
			}
		}
	}
	for _, decl := range m.Decls {
		if v, ok := decl.(*ptx.Var); ok {
			if err := mod.declare(v); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if len(errs) == 0 {
		for _, v := range mod.vars {
			if err := mod.initialise(v); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for _, f := range mod.byAddr {
		if f.src.Body == nil {
			continue
		}
		errs = append(errs, lowerFunc(mod, f)...)
		if len(errs) >= 20 {
			break
		}
	}
	if len(errs) > 0 {
		mod.unload()
		return nil, errors.Join(errs...)
	}
	for _, f := range mod.byAddr {
		if f.src.Entry && f.src.Body != nil {
			f.layout = mod.layout(f)
		}
	}
	d.mods = append(d.mods, mod)
	return mod, nil
}

func fileName(m *ptx.Module) string {
	if m.File != "" {
		return m.File
	}
	return "module"
}

func (d *Device) checkTarget(m *ptx.Module) error {
	t := m.Target
	if t.SM == 0 {
		return nil
	}
	ok := t.SM <= d.gpu.SM
	switch t.Class {
	case 'a':
		ok = t.SM == d.gpu.SM
	case 'f':
		ok = t.SM/10 == d.gpu.SM/10 && t.SM <= d.gpu.SM
	}
	if !ok {
		return fmt.Errorf("emu: %s: .target %s does not run on %s (sm_%d); choose another Config.GPU", fileName(m), t, d.gpu.Name, d.gpu.SM)
	}
	return nil
}

func varSize(v *ptx.Var) (size int, unsized bool) {
	size = v.Type.Size()
	if v.Vec > 0 {
		size *= v.Vec
	}
	for i, n := range v.Dims {
		if n == ptx.Unsized {
			if i == 0 {
				unsized = true
				continue
			}
		}
		size *= n
	}
	return size, unsized
}

func varAlign(v *ptx.Var) int {
	a := v.Type.Size()
	if v.Vec > 0 {
		a *= v.Vec
	}
	if v.Align > 0 {
		a = v.Align
	}
	return max(a, 1)
}

func (mod *Module) errorAt(p ptx.Pos, format string, args ...any) error {
	return &ptx.Error{File: mod.src.File, Pos: p, Msg: fmt.Sprintf(format, args...)}
}

// declare gives memory to a variable of module scope.
func (mod *Module) declare(v *ptx.Var) error {
	size, unsized := varSize(v)
	vr := &variable{v: v, size: size, align: varAlign(v)}
	if unsized && v.Space != ptx.Shared {
		n := 0
		for _, it := range v.Init {
			n = max(n, it.Index+1)
		}
		vr.size = size * n
		if v.Linkage == ptx.Extern || n == 0 {
			if old := mod.vars[v.Name]; old != nil || v.Linkage == ptx.Extern {
				return nil // an extern that is never used needs no memory
			}
		}
	}
	if old := mod.vars[v.Name]; old != nil && (v.Linkage == ptx.Extern || len(v.Init) == 0 && v.Linkage != ptx.Internal) {
		return nil
	}
	switch v.Space {
	case ptx.Global:
		if v.Linkage == ptx.Extern {
			return nil
		}
		vr.kind = varGlobal
		vr.seg = mod.dev.place(vr.size, vr.align, v.Name, spaceGlobal)
	case ptx.Const:
		if v.Linkage == ptx.Extern {
			return nil
		}
		vr.kind = varConst
		vr.seg = mod.dev.place(vr.size, vr.align, v.Name, spaceConst)
		vr.seg.readOnly = true
	case ptx.Shared, ptx.SharedCTA:
		vr.kind = varShared
		vr.sh = &sharedVar{name: v.Name, size: size, align: vr.align, dynamic: unsized || v.Linkage == ptx.Extern}
		if vr.sh.dynamic {
			vr.sh.size = 0
		}
		mod.shared = append(mod.shared, vr.sh)
	case ptx.Local:
		// Allowed by the grammar; no ABI gives it memory, and no compiler emits it.
		return mod.errorAt(v.Pos, "variable %s: .local at module scope is not supported; declare it in the function", v.Name)
	default:
		if v.Type.Kind() == ptx.KindOpaque {
			return mod.errorAt(v.Pos, "variable %s: textures, surfaces and samplers are not supported", v.Name)
		}
		return mod.errorAt(v.Pos, "variable %s: state space .%s at module scope is not supported", v.Name, v.Space)
	}
	mod.vars[v.Name] = vr
	return nil
}

func (mod *Module) initialise(vr *variable) error {
	if vr.seg == nil {
		return nil
	}
	es := vr.v.Type.Size()
	for _, it := range vr.v.Init {
		at := it.Index * es
		if at+es > len(vr.seg.data) {
			return mod.errorAt(vr.v.Pos, "variable %s: %d initial values are more than its %d bytes hold", vr.v.Name, it.Index+1, len(vr.seg.data))
		}
		var bits uint64
		switch val := it.Value.(type) {
		case ptx.Imm:
			bits = immBits(val, vr.v.Type)
		case ptx.Sym:
			a, err := mod.symbolAddress(val.Name, it.Generic, vr.v.Pos)
			if err != nil {
				return err
			}
			bits = a + uint64(val.Offset)
		default:
			return mod.errorAt(vr.v.Pos, "variable %s: initial value %T is not supported", vr.v.Name, val)
		}
		if it.Mask != 0 {
			sh := 0
			for m := it.Mask; m&1 == 0; m >>= 1 {
				sh++
			}
			bits = bits & it.Mask >> sh
		}
		putBits(vr.seg.data[at:at+es], bits)
	}
	return nil
}

func putBits(b []byte, bits uint64) {
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], bits)
	copy(b, buf[:])
}

// symbolAddress is the address of a variable or function of module scope that an
// initialiser names: in its state space, or generic.
func (mod *Module) symbolAddress(name string, generic bool, pos ptx.Pos) (uint64, error) {
	if v := mod.vars[name]; v != nil {
		switch v.kind {
		case varGlobal:
			return v.seg.base, nil
		case varConst:
			if generic {
				return v.seg.base, nil
			}
			return v.seg.base - constWindow, nil
		}
		return 0, mod.errorAt(pos, "the address of %s in .%s is not a constant", name, v.v.Space)
	}
	if f := mod.fns[name]; f != nil {
		return f.address(), nil
	}
	return 0, mod.errorAt(pos, "%s is not defined", name)
}

func (f *fn) address() uint64 { return funcWindow + uint64(f.index+1)*16 }

// functionAt is the function with this address, or nil.
func (mod *Module) functionAt(a uint64) *fn {
	if a&^(windowMask|15) != a&^windowMask || a&windowMask != funcWindow {
		return nil
	}
	if i := (a&^windowMask)/16 - 1; i < uint64(len(mod.byAddr)) {
		return mod.byAddr[i]
	}
	return nil
}

// immBits converts a constant to the bits of a type.
func immBits(v ptx.Imm, t ptx.Type) uint64 {
	bits := v.Bits
	switch t {
	case ptx.F32:
		if v.Kind == ptx.ImmF64 {
			bits = uint64(math.Float32bits(float32(math.Float64frombits(v.Bits))))
		}
	case ptx.F64:
		if v.Kind == ptx.ImmF32 {
			bits = math.Float64bits(float64(math.Float32frombits(uint32(v.Bits))))
		}
	default:
		if v.Kind == ptx.ImmF64 && t.Bits() == 32 {
			bits = uint64(math.Float32bits(float32(math.Float64frombits(v.Bits))))
		}
	}
	if w := t.Bits(); w > 0 && w < 64 {
		bits &= 1<<w - 1
	}
	return bits
}

// layout places the shared variables that a kernel can reach.
func (mod *Module) layout(k *fn) *kernelLayout {
	l := &kernelLayout{off: map[*sharedVar]int{}}
	seen := map[*fn]bool{}
	use := map[*sharedVar]bool{}
	var visit func(f *fn)
	visit = func(f *fn) {
		if seen[f] {
			return
		}
		seen[f] = true
		l.ordered = l.ordered || f.ordered
		l.local += f.local
		for v := range f.sharedUse {
			use[v] = true
		}
		for c := range f.calls {
			visit(c)
		}
		for c := range f.takesAddr {
			visit(c)
		}
		if f.indirect {
			for _, c := range mod.byAddr {
				if c.src.Body != nil && !c.src.Entry {
					visit(c)
				}
			}
		}
	}
	visit(k)
	at := sharedStart
	dynAlign := 1024
	for _, v := range mod.shared {
		if !use[v] || v.dynamic {
			continue
		}
		at = alignUp(at, max(v.align, 16))
		l.off[v] = at
		at += v.size
		l.used += v.size
		l.static = at
		at += sharedGap
	}
	if l.static == 0 {
		l.static = sharedStart
	} else {
		l.dynamic = alignUp(at, dynAlign)
	}
	if l.dynamic == 0 {
		l.dynamic = sharedStart
	}
	for _, v := range mod.shared {
		if use[v] && v.dynamic {
			l.off[v] = l.dynamic
		}
	}
	return l
}

func alignUp(n, a int) int { return (n + a - 1) / a * a }

func (mod *Module) unload() {
	for _, v := range mod.vars {
		if v.seg != nil {
			mod.dev.table.remove(v.seg)
		}
	}
}

// Kernels lists the entries of the module in the order of its text.
func (mod *Module) Kernels() []string {
	var names []string
	for _, f := range mod.byAddr {
		if f.src.Entry && f.src.Body != nil {
			names = append(names, f.name)
		}
	}
	return names
}

// Param is where a parameter of a kernel lies in the block of them.
type Param struct {
	Name      string
	Off, Size int
}

// Params lists the parameters of a kernel in their order.
func (mod *Module) Params(kernel string) ([]Param, error) {
	k := mod.fns[kernel]
	if k == nil || !k.src.Entry {
		return nil, fmt.Errorf("emu: %s has no kernel %q; it has %v", fileName(mod.src), kernel, mod.Kernels())
	}
	list := make([]Param, len(k.params))
	for i, p := range k.params {
		list[i] = Param{Name: p.v.Name, Off: p.off, Size: p.size}
	}
	return list, nil
}
