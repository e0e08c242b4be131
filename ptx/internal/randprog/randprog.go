// Package randprog makes random well-typed kernels through ptx.Builder: straight code,
// branches and loops over the typed methods, found by reflection, so that each
// instruction with a method takes part. It imports ptx only.
package randprog

import (
	"math"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/selkie-ml/selkie/ptx"
)

// A Method is a typed method of ptx.Builder that computes registers from registers.
type Method struct {
	Name string
	fn   reflect.Value // of the method expression
	ins  []reflect.Type
	outs []reflect.Type
}

var (
	operandType = reflect.TypeFor[ptx.AnyOperand]()
	regType     = reflect.TypeFor[ptx.AnyReg]()
	addressType = reflect.TypeFor[ptx.Address]()
	intType     = reflect.TypeFor[int]()
)

// Methods lists the methods whose results and operands are all registers, constants or
// small numbers: not those that touch memory or control flow, or that need warps to be
// converged.
func Methods() []*Method {
	var all []*Method
	t := reflect.TypeFor[*ptx.Builder]()
next:
	for i := range t.NumMethod() {
		m := t.Method(i)
		for _, p := range []string{"Param", "Var", "Mma", "Redux", "Match", "Vote", "Ballot", "ActiveMask", "Elect", "Clock", "Global", "Sm", "Mapa", "Movmatrix", "Cluster", "Dynamic", "Lane", "Tid", "Ntid", "Cta", "Ncta", "Addc", "Subc", "Madc", "Wgmma",
			"FmaRnOob", // the emulator does not have .oob
		} {
			if strings.HasPrefix(m.Name, p) {
				continue next
			}
		}
		if strings.Contains(m.Name, "Cc") || strings.HasSuffix(m.Name, "To") || m.Type.NumOut() == 0 || m.Type.IsVariadic() || m.Type.NumIn() < 2 {
			continue
		}
		me := &Method{Name: m.Name, fn: m.Func}
		for i := 1; i < m.Type.NumIn(); i++ {
			in := m.Type.In(i)
			switch {
			case in == intType:
			case in.Kind() == reflect.Array && in.Elem().Implements(regType):
			case in.Implements(operandType) && !in.Implements(addressType):
			default:
				continue next
			}
			me.ins = append(me.ins, in)
		}
		for i := range m.Type.NumOut() {
			out := m.Type.Out(i)
			if !out.Implements(regType) && !(out.Kind() == reflect.Array && out.Elem().Implements(regType)) {
				continue next
			}
			me.outs = append(me.outs, out)
		}
		all = append(all, me)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}

// Source gives the choices that make a program: numbers below n.
type Source interface{ IntN(n int) int }

// Bytes is a Source that reads a fuzzer's input, zero after its end.
type Bytes struct{ data []byte }

// NewBytes starts at the beginning of data.
func NewBytes(data []byte) *Bytes { return &Bytes{data} }

// IntN takes two bytes.
func (b *Bytes) IntN(n int) int {
	if len(b.data) < 2 {
		b.data = nil
		return 0
	}
	v := int(b.data[0]) | int(b.data[1])<<8
	b.data = b.data[2:]
	return v % n
}

// Program writes a kernel p(out): each thread of a block computes by random
// instructions of methods and stores every register of 32 or 64 bits that it has at the
// end. It gives the bytes that a thread stores, a multiple of 8.
func Program(target ptx.Target, methods []*Method, src Source, length int) (m *ptx.Module, perThread int) {
	mod := ptx.NewModule(target)
	k := mod.Entry("p")
	g := &generator{k: k, src: src, methods: methods, left: length, pool: map[reflect.Type][]reflect.Value{}}
	out := k.ParamGlobal("out")
	tid := k.TidX()
	g.seed(tid)
	g.code(length, 0)
	var regs []ptx.AnyReg
	for _, t := range g.types {
		for _, v := range g.pool[t] {
			regs = append(regs, v.Interface().(ptx.AnyReg))
		}
	}
	to := out.At(tid.Mul(k.VarU32(ptx.I(8 * len(regs)))))
	for i, r := range regs {
		switch r := r.(type) {
		case interface{ AsB32() ptx.RegB32 }:
			k.StB32(to.Plus(8*i), r.AsB32())
		case interface{ AsB64() ptx.RegB64 }:
			k.StB64(to.Plus(8*i), r.AsB64())
		case interface{ AsB16() ptx.RegB16 }:
			k.StB16(to.Plus(8*i), r.AsB16())
		case ptx.RegPred:
			k.StB32(to.Plus(8*i), k.SelpB32(ptx.I(1), ptx.I(0), r))
		}
	}
	return mod.Module(), 8 * len(regs)
}

type generator struct {
	k       *ptx.Builder
	src     Source
	methods []*Method
	left    int                              // instructions to come
	pool    map[reflect.Type][]reflect.Value // registers that hold something, by type
	types   []reflect.Type                   // of the pool, in order
}

func (g *generator) keep(v any) {
	r := reflect.ValueOf(v)
	if _, ok := g.pool[r.Type()]; !ok {
		g.types = append(g.types, r.Type())
	}
	g.pool[r.Type()] = append(g.pool[r.Type()], r)
}

// seed gives each type of register a value that differs by thread.
func (g *generator) seed(tid ptx.RegU32) {
	k := g.k
	x := k.MadLoU32(tid, ptx.I(0x9e3779b9), ptx.I(0x7f4a7c15))
	f := k.CvtRnF32S32(x)
	small := k.MulF32(f, ptx.F(1e-7))
	h, bh := k.CvtRnF16F32(small), k.CvtRnBF16F32(small)
	w := k.MulWideU32(x, x)
	d := k.CvtF64F32(small)
	for _, v := range []any{
		tid, x, x.AsS32(), x.AsB32(), f, small, d, w, w.AsS64(), w.AsB64(), w.AsF32x2(), h, bh, k.CvtRnF16x2F32(small, small), k.CvtRnBF16x2F32(small, f),
		k.CvtU16U32(x), k.CvtU16U32(x).AsS16(), k.CvtU16U32(x).AsB16(), k.SetpLtU32(x, ptx.I(1<<31)),
	} {
		g.keep(v)
	}
}

func (g *generator) code(n, depth int) {
	for range n {
		if g.left--; g.left < 0 {
			return
		}
		switch c := g.src.IntN(20); {
		case c == 0 && depth < 3:
			g.branch(1+g.src.IntN(8), depth)
		case c == 1 && depth < 2:
			g.loop(1+g.src.IntN(6), depth)
		default:
			g.instruction()
		}
	}
}

// mark and restore keep registers that only some threads have written out of the pool.
func (g *generator) mark() map[reflect.Type]int {
	m := map[reflect.Type]int{}
	for t, v := range g.pool {
		m[t] = len(v)
	}
	return m
}

func (g *generator) restore(m map[reflect.Type]int) {
	for t := range g.pool {
		g.pool[t] = slices.Clip(g.pool[t][:m[t]])
	}
}

func (g *generator) branch(n, depth int) {
	p := g.pick(reflect.TypeFor[ptx.RegPred]()).Interface().(ptx.RegPred)
	acc := g.k.VarU32(ptx.I(g.src.IntN(1000)))
	arm := func() {
		m := g.mark()
		g.code(n, depth+1)
		g.k.XorB32To(acc, acc, g.pick(reflect.TypeFor[ptx.RegU32]()).Interface().(ptx.RegU32))
		g.restore(m)
	}
	if g.src.IntN(2) == 0 {
		g.k.If(p, arm)
	} else {
		g.k.IfElse(p.Not(), arm, arm)
	}
	g.keep(acc)
}

func (g *generator) loop(n, depth int) {
	// At most 15 turns, another number for each thread.
	turns := g.pick(reflect.TypeFor[ptx.RegU32]()).Interface().(ptx.RegU32).And(ptx.I(15))
	acc := g.k.VarF32(ptx.F(1))
	g.k.For(ptx.I(0), turns, ptx.I(1+g.src.IntN(3)), func(i ptx.RegU32) {
		m := g.mark()
		g.keep(i)
		g.code(n, depth+1)
		g.k.FmaRnF32To(acc, acc, ptx.F(0.5), g.pick(reflect.TypeFor[ptx.RegF32]()).Interface().(ptx.RegF32))
		if g.src.IntN(3) == 0 {
			g.k.Break(g.pick(reflect.TypeFor[ptx.RegPred]()).Interface().(ptx.RegPred))
		}
		g.restore(m)
	})
	g.keep(acc)
}

// pick chooses a register that is, or implements, the type.
func (g *generator) pick(t reflect.Type) reflect.Value {
	var fit []reflect.Type
	for _, u := range g.types {
		if u == t || t.Kind() == reflect.Interface && u.Implements(t) {
			if len(g.pool[u]) > 0 {
				fit = append(fit, u)
			}
		}
	}
	if len(fit) == 0 {
		return reflect.Value{}
	}
	regs := g.pool[fit[g.src.IntN(len(fit))]]
	return regs[g.src.IntN(len(regs))]
}

func (g *generator) instruction() {
	m := g.methods[g.src.IntN(len(g.methods))]
	args := []reflect.Value{reflect.ValueOf(g.k)}
	for _, in := range m.ins {
		a := g.operand(in)
		if !a.IsValid() {
			return // no register of this type yet
		}
		args = append(args, a)
	}
	for _, r := range m.fn.Call(args) {
		if r.Kind() == reflect.Array {
			for i := range r.Len() {
				g.keep(r.Index(i).Interface())
			}
			continue
		}
		g.keep(r.Interface())
	}
}

func (g *generator) operand(t reflect.Type) reflect.Value {
	switch {
	case t == intType:
		return reflect.ValueOf(g.src.IntN(256))
	case t.Kind() == reflect.Array:
		v := reflect.New(t).Elem()
		for i := range t.Len() {
			e := g.pick(t.Elem())
			if !e.IsValid() {
				return e
			}
			v.Index(i).Set(e)
		}
		return v
	case t.Kind() != reflect.Interface: // a register of one type
	case reflect.TypeFor[ptx.I]().Implements(t) && g.src.IntN(4) == 0:
		return reflect.ValueOf(ptx.I(g.src.IntN(256)))
	case reflect.TypeFor[ptx.F]().Implements(t) && g.src.IntN(4) == 0:
		return reflect.ValueOf(ptx.F([]float64{0, 1, -1, 0.5, 3e38, math.Inf(1), 1e-40, 1.0 / 3}[g.src.IntN(8)]))
	}
	return g.pick(t)
}
