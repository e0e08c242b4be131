package ptx

import "fmt"

// ParamOpt refines a parameter.
type ParamOpt func(*Var)

// PtrAlign says that a pointer parameter is a multiple of n bytes.
func PtrAlign(n int) ParamOpt {
	return func(v *Var) { v.Ptr = &PtrAttr{Space: Global, Align: n} }
}

func (k *Builder) param(name string, t Type, opts []ParamOpt) *Var {
	for _, p := range k.f.Params {
		if p.Name == name {
			k.fail("parameter "+name, "declared twice in %s", k.f.Name)
		}
	}
	v := &Var{Name: name, Space: Param, Type: t, Pos: Pos{PC: authorPC()}}
	for _, o := range opts {
		o(v)
	}
	k.f.Params = append(k.f.Params, v)
	return v
}

func (k *Builder) loadParam(name string, t Type, opts []ParamOpt) reg {
	v := k.param(name, t, opts)
	d := k.newReg(t)
	k.emit("ld.param."+t.String(), d.op(), Mem{Base: Sym{Name: v.Name}})
	return d
}

// ParamGlobal declares a parameter that points to global memory, and loads it.
func (k *Builder) ParamGlobal(name string, opts ...ParamOpt) GlobalPtr {
	p := k.loadParam(name, U64, opts)
	d := k.newReg(U64)
	k.emit("cvta.to.global.u64", d.op(), p.op())
	return GlobalPtr{addr{r: d}}
}

// ParamU32 declares a parameter, and loads it.
func (k *Builder) ParamU32(name string) RegU32 { return RegU32{reg32{k.loadParam(name, U32, nil)}} }

// ParamS32 declares a parameter, and loads it.
func (k *Builder) ParamS32(name string) RegS32 { return RegS32{reg32{k.loadParam(name, S32, nil)}} }

// ParamF32 declares a parameter, and loads it.
func (k *Builder) ParamF32(name string) RegF32 { return RegF32{reg32{k.loadParam(name, F32, nil)}} }

// ParamU64 declares a parameter, and loads it.
func (k *Builder) ParamU64(name string) RegU64 { return RegU64{reg64{k.loadParam(name, U64, nil)}} }

// ParamS64 declares a parameter, and loads it.
func (k *Builder) ParamS64(name string) RegS64 { return RegS64{reg64{k.loadParam(name, S64, nil)}} }

// ParamF64 declares a parameter, and loads it.
func (k *Builder) ParamF64(name string) RegF64 { return RegF64{reg64{k.loadParam(name, F64, nil)}} }

func (k *Builder) directive(name string, args ...int) {
	d := Directive{Name: name, Pos: Pos{PC: authorPC()}}
	for _, a := range args {
		if a < 1 {
			k.fail("."+name, "%d, expected a positive number", a)
		}
		d.Args = append(d.Args, int64(a))
	}
	k.f.Directives = append(k.f.Directives, d)
}

// MaxThreads promises that blocks have at most x*y*z threads (.maxntid).
func (k *Builder) MaxThreads(xyz ...int) { k.directive("maxntid", xyz...) }

// RequireThreads demands blocks of exactly this shape (.reqntid).
func (k *Builder) RequireThreads(xyz ...int) { k.directive("reqntid", xyz...) }

// MinBlocks asks that n blocks fit on a multiprocessor at once (.minnctapersm).
func (k *Builder) MinBlocks(n int) { k.directive("minnctapersm", n) }

// MaxRegisters bounds the registers per thread (.maxnreg).
func (k *Builder) MaxRegisters(n int) { k.directive("maxnreg", n) }

// RequireCluster demands clusters of exactly this shape, in blocks (.reqnctapercluster).
func (k *Builder) RequireCluster(xyz ...int) { k.directive("reqnctapercluster", xyz...) }

// Shared declares a static array of n elements in shared memory, aligned to align
// bytes (0: naturally), and gives its address. (PTX ISA, "Shared State Space"; at most
// 48 KiB of static shared memory per block, more must be dynamic.)
func (k *Builder) Shared(name string, t Type, n, align int) SharedPtr {
	return SharedPtr{addr{r: k.variable(name, Shared, t, n, align, U32)}}
}

// Local declares an array of n elements in each thread's local memory.
func (k *Builder) Local(name string, t Type, n, align int) LocalPtr {
	return LocalPtr{addr{r: k.variable(name, Local, t, n, align, U64)}}
}

func (k *Builder) variable(name string, s Space, t Type, n, align int, at Type) reg {
	if n < 1 {
		k.fail(name, "%d elements", n)
	}
	for _, st := range k.f.Body.Stmts {
		if v, ok := st.(*Var); ok && v.Name == name {
			k.fail(name, "declared twice in %s", k.f.Name)
		}
	}
	k.f.Body.Stmts = append(k.f.Body.Stmts, &Var{Name: name, Space: s, Type: t, Align: align, Dims: []int{n}, Pos: Pos{PC: authorPC()}})
	return k.address(name, at)
}

func (k *Builder) address(name string, t Type) reg {
	d := k.newReg(t)
	k.emit("mov."+t.String(), d.op(), Sym{Name: name})
	return d
}

// Global declares a module variable of n elements in global memory. See Builder.GlobalVar.
func (m *ModuleBuilder) Global(name string, t Type, n, align int, init ...InitItem) {
	m.moduleVar(&Var{Name: name, Linkage: Visible, Space: Global, Type: t, Align: align, Dims: []int{n}, Init: init})
}

// Const declares a module variable of n elements in constant memory. See Builder.ConstVar.
func (m *ModuleBuilder) Const(name string, t Type, n, align int, init ...InitItem) {
	m.moduleVar(&Var{Name: name, Linkage: Visible, Space: Const, Type: t, Align: align, Dims: []int{n}, Init: init})
}

// InitU32 is the initialiser of an array of 32-bit integers.
func InitU32(values ...uint32) []InitItem {
	items := make([]InitItem, len(values))
	for i, v := range values {
		items[i] = InitItem{Index: i, Value: Imm{Kind: ImmInt, Bits: uint64(v)}}
	}
	return items
}

// InitF32 is the initialiser of an array of f32.
func InitF32(values ...float32) []InitItem {
	items := make([]InitItem, len(values))
	for i, v := range values {
		items[i] = InitItem{Index: i, Value: immF32(v)}
	}
	return items
}

func (m *ModuleBuilder) moduleVar(v *Var) {
	m.declare(v.Name)
	v.Pos = Pos{PC: authorPC()}
	if v.Dims[0] < 1 && v.Dims[0] != Unsized {
		panic(fmt.Sprintf("ptx: %s: variable %s of %d elements", authorLine(), v.Name, v.Dims[0]))
	}
	// Before the functions: PTX wants names declared before their use.
	at := 0
	for at < len(m.m.Decls) {
		if _, ok := m.m.Decls[at].(*Func); ok {
			break
		}
		at++
	}
	m.m.Decls = append(m.m.Decls[:at], append([]Decl{v}, m.m.Decls[at:]...)...)
}

func (k *Builder) moduleName(name string, s Space) {
	for _, d := range k.mod.m.Decls {
		if v, ok := d.(*Var); ok && v.Name == name && v.Space == s {
			return
		}
	}
	k.fail(name, "the module has no variable of this name in .%v", s)
}

// GlobalVar is the address of a module variable in global memory.
func (k *Builder) GlobalVar(name string) GlobalPtr {
	k.moduleName(name, Global)
	return GlobalPtr{addr{r: k.address(name, U64)}}
}

// ConstVar is the address of a module variable in constant memory.
func (k *Builder) ConstVar(name string) ConstPtr {
	k.moduleName(name, Const)
	return ConstPtr{addr{r: k.address(name, U64)}}
}

// A SharedLayout places arrays in the dynamic shared memory of a kernel, one after
// the other, at offsets known in Go: for more than the 48 KiB that static arrays may
// have. The launch passes Bytes.
type SharedLayout struct {
	k     *Builder
	base  reg
	bytes int
	align int
}

// DynamicShared declares the kernel's dynamic shared memory (an .extern array), whose
// start is aligned to align bytes: 1024 for 128-byte swizzles.
func (k *Builder) DynamicShared(align int) *SharedLayout {
	if k.dynamic != nil {
		k.fail("DynamicShared", "called twice in %s", k.f.Name)
	}
	name := k.f.Name + "_shared"
	k.mod.moduleVar(&Var{Name: name, Linkage: Extern, Space: Shared, Type: B8, Align: align, Dims: []int{Unsized}})
	k.dynamic = &SharedLayout{k: k, base: k.address(name, U32), align: align}
	return k.dynamic
}

// Alloc takes the next n bytes at a multiple of align.
func (l *SharedLayout) Alloc(n, align int) SharedPtr {
	if align < 1 || align&(align-1) != 0 || align > l.align {
		l.k.fail("SharedLayout.Alloc", "alignment %d: expected a power of two, at most the %d of DynamicShared", align, l.align)
	}
	at := (l.bytes + align - 1) &^ (align - 1)
	l.bytes = at + n
	return SharedPtr{addr{r: l.base, off: int64(at)}}
}

// Bytes is the dynamic shared memory that the launch must give.
func (l *SharedLayout) Bytes() int { return l.bytes }
