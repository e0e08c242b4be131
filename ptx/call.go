package ptx

import "fmt"

// ReturnValue gives the device function's result, of the same size at every place, and
// leaves it. (PTX ISA, "Function Declarations and Definitions")
func (k *Builder) ReturnValue(v AnyReg) {
	if k.f.Entry {
		k.fail("ReturnValue", "%s is a kernel, which returns nothing", k.f.Name)
	}
	t := v.Type()
	if _, decl := declared(t); len(k.f.Returns) == 0 {
		k.f.Returns = []*Var{{Name: k.f.Name + "_result", Space: Param, Type: decl, Pos: Pos{PC: authorPC()}}}
	} else if k.f.Returns[0].Type != decl {
		k.fail("ReturnValue", "%s returns a .%v here and a .%v before", k.f.Name, decl, k.f.Returns[0].Type)
	}
	r := k.f.Returns[0]
	k.emit("st.param."+r.Type.String(), Mem{Base: Sym{Name: r.Name}}, v.op())
	k.emit("ret")
}

// call emits a call sequence in a scope of its own.
func (k *Builder) call(f *Builder, result reg, t Type, args []AnyReg) {
	if f.mod != k.mod {
		k.fail("call "+f.f.Name, "a function of another module")
	}
	if f.f.Entry {
		k.fail("call "+f.f.Name, "a kernel cannot be called")
	}
	if len(args) != len(f.f.Params) {
		k.fail("call "+f.f.Name, "%d arguments, expected %d", len(args), len(f.f.Params))
	}
	if k.guard.Reg != nil {
		k.fail("call "+f.f.Name, "inside Guard; use If")
	}
	k.count["call"]++
	n := k.count["call"]
	outer := k.cur
	k.cur = &Block{}
	pos := Pos{PC: authorPC()}
	var in, out List
	for i, a := range args {
		p := f.f.Params[i]
		if p.Type.Bits() != a.Type().Bits() || (p.Type.Kind() == KindFloat) != (a.Type().Kind() == KindFloat) {
			k.fail("call "+f.f.Name, "argument %s is a .%v, expected .%v", p.Name, a.Type(), p.Type)
		}
		name := fmt.Sprintf("arg%d_%d", n, i)
		k.cur.Stmts = append(k.cur.Stmts, &Var{Name: name, Space: Param, Type: p.Type, Pos: pos})
		k.emit("st.param."+p.Type.String(), Mem{Base: Sym{Name: name}}, a.op())
		in = append(in, Sym{Name: name})
	}
	ops := []Operand{}
	ret := fmt.Sprintf("result%d", n)
	if t != NoType {
		if len(f.f.Returns) == 0 {
			k.fail("call "+f.f.Name, "it returns nothing (ReturnValue comes before the call)")
		}
		if rt := f.f.Returns[0].Type; rt.Bits() != t.Bits() {
			k.fail("call "+f.f.Name, "it returns a .%v, not a .%v", rt, t)
		}
		k.cur.Stmts = append(k.cur.Stmts, &Var{Name: ret, Space: Param, Type: f.f.Returns[0].Type, Pos: pos})
		out = List{Sym{Name: ret}}
		ops = append(ops, out)
	}
	ops = append(ops, Sym{Name: f.f.Name})
	if len(in) > 0 {
		ops = append(ops, in)
	}
	k.emit("call", ops...)
	if t != NoType {
		k.emit("ld.param."+f.f.Returns[0].Type.String(), Reg{R: result.r}, Mem{Base: Sym{Name: ret}})
	}
	outer.Stmts = append(outer.Stmts, k.cur)
	k.cur = outer
}

// CallVoid calls a device function for what it does.
func (k *Builder) CallVoid(f *Builder, args ...AnyReg) { k.call(f, reg{}, NoType, args) }

// Call calls a device function of the same module, written before: y :=
// ptx.Call[ptx.RegF32](k, gelu, x).
func Call[R any, P regPtr[R]](k *Builder, f *Builder, args ...AnyReg) R {
	d := New[R, P](k)
	k.call(f, AnyReg(any(d).(AnyReg)).base(), P(&d).Type(), args)
	return d
}
