package emu

// Runs of instructions that are rare enough for a call per lane.

type runFn = func(x *exec, in *inst)

func map1(f func(a uint32) uint32) runFn {
	return func(x *exec, in *inst) {
		d, a := &x.r32[in.d], &x.r32[in.a]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i])
		}
	}
}

func map2(f func(a, b uint32) uint32) runFn {
	return func(x *exec, in *inst) {
		d, a, b := &x.r32[in.d], &x.r32[in.a], &x.r32[in.b]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i], b[i])
		}
	}
}

func map3(f func(a, b, c uint32) uint32) runFn {
	return func(x *exec, in *inst) {
		d, a, b, c := &x.r32[in.d], &x.r32[in.a], &x.r32[in.b], &x.r32[in.c]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i], b[i], c[i])
		}
	}
}

func map1w(f func(a uint64) uint64) runFn {
	return func(x *exec, in *inst) {
		d, a := &x.r64[in.d], &x.r64[in.a]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i])
		}
	}
}

func map2w(f func(a, b uint64) uint64) runFn {
	return func(x *exec, in *inst) {
		d, a, b := &x.r64[in.d], &x.r64[in.a], &x.r64[in.b]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i], b[i])
		}
	}
}

func map3w(f func(a, b, c uint64) uint64) runFn {
	return func(x *exec, in *inst) {
		d, a, b, c := &x.r64[in.d], &x.r64[in.a], &x.r64[in.b], &x.r64[in.c]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i], b[i], c[i])
		}
	}
}

// map1n narrows: 64 bits to 32.
func map1n(f func(a uint64) uint32) runFn {
	return func(x *exec, in *inst) {
		d, a := &x.r32[in.d], &x.r64[in.a]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i])
		}
	}
}

// mapW3 is for bit fields of 64 bits: a value and two 32-bit numbers.
func mapW3(f func(a uint64, b, c uint32) uint64) runFn {
	return func(x *exec, in *inst) {
		d, a, b, c := &x.r64[in.d], &x.r64[in.a], &x.r32[in.b], &x.r32[in.c]
		for m := x.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			d[i] = f(a[i], b[i], c[i])
		}
	}
}

func map16(f func(a uint16) uint16) runFn {
	return map1(func(a uint32) uint32 { return uint32(f(uint16(a))) })
}

func map16x2(f func(a, b uint16) uint16) runFn {
	return map2(func(a, b uint32) uint32 { return uint32(f(uint16(a), uint16(b))) })
}

func map16x3(f func(a, b, c uint16) uint16) runFn {
	return map3(func(a, b, c uint32) uint32 { return uint32(f(uint16(a), uint16(b), uint16(c))) })
}

// any64 gives access to a slot of either file, zero-extended: for instructions whose
// operands come in many widths.
func (x *exec) get(s slot, i int) uint64 {
	if s.file == file64 {
		return x.r64[s.i][i]
	}
	return uint64(x.r32[s.i][i])
}

func (x *exec) put(s slot, i int, v uint64) {
	if s.file == file64 {
		x.r64[s.i][i] = v
	} else {
		x.r32[s.i][i] = uint32(v)
	}
}

// setP writes the lanes of the mask of a predicate.
func (x *exec) setP(d int32, v uint32) { x.p[d] = x.p[d]&^x.mask | v&x.mask }

// runWiden moves a narrow result to a 64-bit register; imm: the bits to sign-extend from, or 0.
func runWiden(x *exec, in *inst) {
	d, a := &x.r64[in.d], &x.r32[in.a]
	for m := x.mask; m != 0; m &= m - 1 {
		i := firstLane(m)
		v := uint64(a[i])
		if in.imm != 0 {
			sh := 64 - in.imm
			v = uint64(int64(v<<sh) >> sh)
		}
		d[i] = v
	}
}
