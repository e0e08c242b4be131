package emu

// waitTurn stops the unit where an instruction that other units see must wait for
// its turn; true if it does. The instruction is executed again then.
func (x *exec) waitTurn(in *inst, m *memOp) bool {
	if !x.parallel || in.flags&flagOrdered == 0 {
		return false
	}
	if m.space == spaceGeneric {
		for k := x.mask; k != 0; k &= k - 1 {
			if windowOf(x.addr[firstLane(k)]) == spaceGlobal {
				x.pc--
				x.stop = stopOrdered
				return true
			}
		}
		return false
	}
	x.pc--
	x.stop = stopOrdered
	return true
}

func loadRun(m *memOp) func(x *exec, in *inst) {
	if m.file == file32 && m.elem == 4 && m.count == 1 {
		return runLoad32
	}
	return runLoad
}

func storeRun(m *memOp) func(x *exec, in *inst) {
	if m.file == file32 && m.elem == 4 && m.count == 1 {
		return runStore32
	}
	return runStore
}

// checkLoad tells the sanitiser of a load and records which lanes of the registers it
// defines. It returns the lanes that go on.
func (x *exec) checkLoad(acc *access, m *memOp, kind accessKind) uint32 {
	acc.kind, acc.order, acc.scope, acc.async = kind, m.order, m.scope, false
	ok := x.san.access(x, acc)
	for e, s := range m.shadow {
		if s = x.f.fn.shadowOf(s); s >= 0 {
			x.def[s] = x.def[s]&^acc.mask | acc.def[e]&ok
		}
	}
	return ok
}

// checkStore tells the sanitiser of a store.
func (x *exec) checkStore(acc *access, m *memOp, kind accessKind) uint32 {
	acc.kind, acc.order, acc.scope, acc.async = kind, m.order, m.scope, false
	for e, s := range m.shadow {
		acc.def[e] = fullMask
		if s = x.f.fn.shadowOf(s); s >= 0 {
			acc.def[e] = x.def[s]
		}
	}
	return x.san.access(x, acc)
}

// shadowOf gives the shadow number of a slot as shadowOf made it in lowering.
func (f *fn) shadowOf(s int32) int32 {
	if s < 0 {
		return s
	}
	switch i := s & (1<<28 - 1); regFile(s >> 28) {
	case file64:
		return int32(f.n32) + i
	case fileP:
		return f.shadowP + i
	default:
		return i
	}
}

// each calls f for the accesses of an instruction, one per segment.
func (x *exec) each(in *inst, m *memOp, size int, f func(x *exec, in *inst, m *memOp, acc *access)) {
	if acc := x.quick(in, m, size); acc != nil {
		if m.order != orderWeak {
			x.w.tries++
		}
		f(x, in, m, acc)
		return
	}
	x.addresses(m)
	if x.parallel && in.flags&flagOrdered != 0 && x.waitTurn(in, m) {
		return
	}
	if m.order != orderWeak {
		x.w.tries++
	}
	rest := x.mask
	for rest != 0 {
		if acc := x.span(in, m, size, size, &rest); acc != nil {
			f(x, in, m, acc)
		}
	}
}

// tell tells of an access that has happened.
func (x *exec) tell(in *inst, acc *access) {
	if x.prof != nil {
		x.prof.access(x, in, acc)
	}
	if x.san != nil && acc.order != orderWeak {
		x.san.after(x, acc)
	}
}

func runLoad32(x *exec, in *inst) { x.each(in, in.aux.(*memOp), 4, load32) }

func load32(x *exec, in *inst, m *memOp, acc *access) {
	mask := acc.mask
	if x.san != nil {
		mask = x.checkLoad(acc, m, accLoad)
	}
	data, d, off := acc.seg.data, &x.r32[m.regs[0]], &acc.off
	if mask == fullMask {
		for i := range d {
			o := off[i]
			d[i] = le.Uint32(data[o : o+4])
		}
	} else {
		for k := mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			o := off[i]
			d[i] = le.Uint32(data[o : o+4])
		}
	}
	if !x.untold {
		x.tell(in, acc)
	}
}

// runLoad loads elements of any size.
func runLoad(x *exec, in *inst) {
	m := in.aux.(*memOp)
	x.each(in, m, m.elem*m.count, loadAny)
}

func loadAny(x *exec, in *inst, m *memOp, acc *access) {
	mask := acc.mask
	if x.san != nil {
		mask = x.checkLoad(acc, m, accLoad)
	}
	data, off := acc.seg.data, &acc.off
	for e, r := range m.regs {
		at := uint64(e * m.elem)
		switch {
		case m.file == file64 && m.elem == 8 && mask == fullMask:
			d := &x.r64[r]
			for i := range d {
				o := off[i] + at
				d[i] = le.Uint64(data[o : o+8])
			}
		case m.file == file64:
			d := &x.r64[r]
			for k := mask; k != 0; k &= k - 1 {
				i := firstLane(k)
				d[i] = loadElement(data, off[i]+at, m)
			}
		case m.elem == 4 && mask == fullMask:
			d := &x.r32[r]
			for i := range d {
				o := off[i] + at
				d[i] = le.Uint32(data[o : o+4])
			}
		default:
			d := &x.r32[r]
			for k := mask; k != 0; k &= k - 1 {
				i := firstLane(k)
				d[i] = uint32(loadElement(data, off[i]+at, m))
			}
		}
	}
	if !x.untold {
		x.tell(in, acc)
	}
}

// loadElement reads an element, extended to 64 bits.
func loadElement(data []byte, o uint64, m *memOp) uint64 {
	switch {
	case m.elem == 8:
		return le.Uint64(data[o : o+8])
	case m.elem == 4 && m.signed:
		return uint64(int64(int32(le.Uint32(data[o : o+4]))))
	case m.elem == 4:
		return uint64(le.Uint32(data[o : o+4]))
	case m.elem == 2 && m.signed:
		return uint64(int64(int16(le.Uint16(data[o : o+2]))))
	case m.elem == 2:
		return uint64(le.Uint16(data[o : o+2]))
	case m.signed:
		return uint64(int64(int8(data[o])))
	}
	return uint64(data[o])
}

func (x *exec) refuseStore(in *inst, acc *access) uint32 {
	x.fail(in, firstLane(acc.mask), "store to "+acc.seg.describe()+", which is read-only")
	return 0
}

// storeMask gives the lanes that store.
func (x *exec) storeMask(in *inst, m *memOp, acc *access) uint32 {
	mask := acc.mask
	if acc.seg.readOnly {
		mask = x.refuseStore(in, acc)
	}
	if x.san != nil && mask != 0 {
		mask = x.checkStore(acc, m, accStore)
	}
	return mask
}

func runStore32(x *exec, in *inst) { x.each(in, in.aux.(*memOp), 4, store32) }

func store32(x *exec, in *inst, m *memOp, acc *access) {
	mask := x.storeMask(in, m, acc)
	data, s, off := acc.seg.data, &x.r32[m.regs[0]], &acc.off
	if mask == fullMask {
		for i := range s {
			o := off[i]
			le.PutUint32(data[o:o+4], s[i])
		}
	} else {
		for k := mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			o := off[i]
			le.PutUint32(data[o:o+4], s[i])
		}
	}
	if !x.untold {
		x.tell(in, acc)
	}
}

// runStore stores elements of any size.
func runStore(x *exec, in *inst) {
	m := in.aux.(*memOp)
	x.each(in, m, m.elem*m.count, storeAny)
}

func storeAny(x *exec, in *inst, m *memOp, acc *access) {
	mask := x.storeMask(in, m, acc)
	data, off := acc.seg.data, &acc.off
	for e, r := range m.regs {
		at := uint64(e * m.elem)
		s := slot{m.file, r}
		for k := mask; k != 0; k &= k - 1 {
			i := firstLane(k)
			o := off[i] + at
			v := x.get(s, i)
			switch m.elem {
			case 8:
				le.PutUint64(data[o:o+8], v)
			case 4:
				le.PutUint32(data[o:o+4], uint32(v))
			case 2:
				le.PutUint16(data[o:o+2], uint16(v))
			default:
				data[o] = byte(v)
			}
		}
	}
	if !x.untold {
		x.tell(in, acc)
	}
}
