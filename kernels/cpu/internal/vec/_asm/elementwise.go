package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// element is a function of equally long slices, computed element by element.
type element struct {
	name, doc string
	slices    []string // in the order of the signature
	integers  bool     // the first is *uint32
	bf16      string   // names of those that are stored so, in order, as *uint16
	reads     int      // index of the first that is read
	scalars   string   // further parameters
	// prepare loads constants; the function it returns turns the values read
	// into those to be written.
	prepare func(s isa) func(in []VecVirtual) []VecVirtual
}

func (e element) write(s isa) {
	var sig []string
	var p []pointer
	for i, name := range e.slices {
		typ, size := "*float32", 4
		switch {
		case i == 0 && e.integers:
			typ = "*uint32"
		case strings.Contains(e.bf16, name):
			typ, size = "*uint16", 2
		}
		sig = append(sig, name+" "+typ)
		p = append(p, pointer{size: size})
	}
	sig = append(sig, "n int")
	if e.scalars != "" {
		sig = append(sig, e.scalars)
	}
	s.function(e.name, strings.Join(sig, ", "), e.doc)
	for i, name := range e.slices {
		p[i].GPVirtual = gp(name)
	}
	n := gp("n")
	body := e.prepare(s)
	narrow := func(v VecVirtual) VecVirtual { return v }
	if p[0].size == 2 {
		narrow = bf16.narrow(s)
	}
	step := func(mask Op) {
		var in []VecVirtual
		for _, q := range p[e.reads:] {
			switch m := (Mem{Base: q}); {
			case q.size == 4:
				in = append(in, s.load(m, mask))
			case mask == nil:
				in = append(in, bf16.widen(s, m))
			default:
				v := ZMM()
				VPMOVZXWD_Z(m, mask, v)
				VPSLLD(U8(16), v, v)
				in = append(in, v)
			}
		}
		for i, v := range body(in) {
			switch m := (Mem{Base: p[i]}); {
			case p[i].size == 4:
				s.store(v, m, mask)
			case mask == nil:
				VMOVUPS(narrow(v), m)
			default:
				VMOVDQU16(narrow(v), mask, m)
			}
		}
	}
	if e.bf16 != "" && s.lanes == 8 {
		wholes(n, s.lanes, func() { step(nil) }, p...)
		return
	}
	advancing(n, s.lanes, p, func() { step(nil) }, func(left GPVirtual) { step(s.masks(left, 1)[0]) })
	VZEROUPPER()
	RET()
}

var elementwise = []element{
	{name: "exp", doc: "Exp.", slices: []string{"dst", "x"}, reads: 1,
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			e := newExponential(s)
			if s.lanes == 16 {
				e.nan = s.bits(0x7fc00000)
			}
			return func(in []VecVirtual) []VecVirtual {
				p := e.of(in[0])
				if s.lanes == 16 {
					s.choose(unordered, in[0], in[0], e.nan, p)
				}
				return []VecVirtual{p}
			}
		}},
	{name: "weights", doc: "Weights.", slices: []string{"dst", "z"}, integers: true, reads: 1, scalars: "m, t float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			m, t := s.broadcast("m"), s.broadcast("t")
			e, unit := newExponential(s), s.constant(1<<30)
			return func(in []VecVirtual) []VecVirtual {
				VSUBPS(m, in[0], in[0])
				VDIVPS(t, in[0], in[0])
				p := e.of(in[0])
				VMULPS(unit, p, p)
				VCVTTPS2DQ(p, p)
				return []VecVirtual{p}
			}
		}},
	{name: "add", doc: "Add.", slices: []string{"dst", "a", "b"}, reads: 1,
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			return func(in []VecVirtual) []VecVirtual {
				VADDPS(in[1], in[0], in[0])
				return in[:1]
			}
		}},
	{name: "scale", doc: "Scale.", slices: []string{"dst", "x"}, reads: 1, scalars: "a float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			a := s.broadcast("a")
			return func(in []VecVirtual) []VecVirtual {
				VMULPS(a, in[0], in[0])
				return in
			}
		}},
	{name: "axpy", doc: "Axpy.", slices: []string{"y", "x"}, reads: 0, scalars: "a float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			a := s.broadcast("a")
			return func(in []VecVirtual) []VecVirtual {
				VFMADD231PS(in[1], a, in[0])
				return in[:1]
			}
		}},
	{name: "rmsNormRow", doc: "RMSNormRow.", slices: []string{"dst", "x", "w"}, reads: 1, scalars: "inv float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			inv := s.broadcast("inv")
			return func(in []VecVirtual) []VecVirtual {
				VMULPS(inv, in[0], in[0])
				VMULPS(in[1], in[0], in[0])
				return in[:1]
			}
		}},
	{name: "rmsNormGrad", doc: "RMSNormGrad that sets dx.", slices: []string{"dx", "dy", "x", "w"}, reads: 1, scalars: "inv, slope float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			inv, slope := s.broadcast("inv"), s.broadcast("slope")
			return func(in []VecVirtual) []VecVirtual {
				dx, x, w := in[0], in[1], in[2]
				VMULPS(w, dx, dx)
				VMULPS(inv, dx, dx)
				VFMADD231PS(x, slope, dx)
				return in[:1]
			}
		}},
	{name: "rmsNormGradAdd", doc: "RMSNormGrad that adds to dx.", slices: []string{"dx", "dy", "x", "w"}, reads: 0, scalars: "inv, slope float32",
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			inv, slope := s.broadcast("inv"), s.broadcast("slope")
			return func(in []VecVirtual) []VecVirtual {
				dx, dy, x, w := in[0], in[1], in[2], in[3]
				VMULPS(w, dy, dy)
				VFMADD231PS(dy, inv, dx)
				VFMADD231PS(x, slope, dx)
				return in[:1]
			}
		}},
	{name: "swiGLU", doc: "SwiGLU.", slices: []string{"dst", "gate", "up"}, reads: 1, prepare: swiGLU},
	{name: "swiGLUBF16", doc: "SwiGLUBF16; in AVX2, n is a positive multiple of 8.", slices: []string{"dst", "gate", "up"}, bf16: "dst gate up", reads: 1, prepare: swiGLU},
	{name: "swiGLUBackward", doc: "SwiGLUBackward.", slices: []string{"dgate", "dup", "gate", "up", "dy"}, reads: 2, prepare: swiGLUBackward},
	{name: "swiGLUBackwardBF16", doc: "SwiGLUBackwardBF16; in AVX2, n is a positive multiple of 8.", slices: []string{"dgate", "dup", "gate", "up", "dy"}, bf16: "gate up", reads: 2, prepare: swiGLUBackward},
	{name: "adamW", doc: "AdamW; c points to an adamCoef.", slices: []string{"p", "m", "v", "grad"}, scalars: "c *float32", reads: 0,
		prepare: func(s isa) func([]VecVirtual) []VecVirtual {
			base := gp("c")
			var c []VecVirtual
			for i := range 9 {
				v := s.vec()
				VBROADCASTSS(Mem{Base: base, Disp: 4 * i}, v)
				c = append(c, v)
			}
			decay, gscale, beta1, rest1, beta2, rest2, step, root, eps := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
			return func(in []VecVirtual) []VecVirtual {
				p, m, v, g := in[0], in[1], in[2], in[3]
				VMULPS(gscale, g, g)
				t := s.vec()
				VMULPS(rest1, g, t)
				VMULPS(beta1, m, m)
				VADDPS(t, m, m)
				VMULPS(g, g, g)
				VMULPS(rest2, g, g)
				VMULPS(beta2, v, v)
				VADDPS(g, v, v)
				VSQRTPS(v, t)
				VDIVPS(root, t, t)
				VADDPS(eps, t, t)
				u := s.vec()
				VMULPS(step, m, u)
				VDIVPS(t, u, u)
				VMULPS(decay, p, p)
				VSUBPS(u, p, p)
				return []VecVirtual{p, m, v, s.zero()}
			}
		}},
}

func swiGLU(s isa) func([]VecVirtual) []VecVirtual {
	e, one, sign := newExponential(s), s.constant(1), s.bits(1<<31)
	return func(in []VecVirtual) []VecVirtual {
		g, u := in[0], in[1]
		d := e.of(s.flipped(g, sign))
		VADDPS(one, d, d)
		VDIVPS(d, g, d)
		VMULPS(u, d, d)
		return []VecVirtual{d}
	}
}

func swiGLUBackward(s isa) func([]VecVirtual) []VecVirtual {
	e, one, sign := newExponential(s), s.constant(1), s.bits(1<<31)
	return func(in []VecVirtual) []VecVirtual {
		g, u, dy := in[0], in[1], in[2]
		d := e.of(s.flipped(g, sign))
		VADDPS(one, d, d)
		sig := s.load(one, nil)
		VDIVPS(d, sig, sig)
		y, dup, rest := s.vec(), s.vec(), s.load(one, nil)
		VMULPS(sig, g, y)
		VMULPS(y, dy, dup)
		VSUBPS(sig, rest, rest)
		VFMADD213PS(sig, rest, y)
		VMULPS(u, dy, dy)
		VMULPS(y, dy, dy)
		return []VecVirtual{dy, dup}
	}
}

// flipped is x with the bits of sign inverted.
func (s isa) flipped(x VecVirtual, sign Op) VecVirtual {
	v := s.load(x, nil)
	if s.lanes == 16 {
		VPXORD(sign, v, v)
	} else {
		VXORPS(sign, v, v)
	}
	return v
}
