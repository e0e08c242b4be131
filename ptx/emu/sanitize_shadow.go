package emu

import "github.com/selkie-ml/selkie/ptx/emu/internal/shadow"

// Which bytes somebody has written, where others than kernels' instructions change that.

// shadowAlloc begins to keep which bytes of an allocation were written. The device is locked.
func shadowAlloc(d *Device, s *segment) {
	if d.cfg.Checks&CheckUninit != 0 {
		s.san = &segShadow{init: shadow.New(len(s.data))}
	}
}

// shadowWrite notes that the host wrote n bytes.
func shadowWrite(s *segment, off, n int) {
	if sh, ok := s.san.(*segShadow); ok && sh.init != nil {
		sh.init.Set(uint64(off), uint64(n))
	}
}

// shadowCopy lets a copy be as initialised as what was copied.
func shadowCopy(dst *segment, off int, src *segment, at, n int) {
	d, _ := dst.san.(*segShadow)
	s, _ := src.san.(*segShadow)
	if d == nil || d.init == nil {
		return
	}
	if s == nil || s.init == nil {
		d.init.Set(uint64(off), uint64(n))
		return
	}
	d.init.Copy(uint64(off), s.init, uint64(at), uint64(n))
}

// copyParamShadow follows the passing of parameters through local memory.
func copyParamShadow(x *exec, dst, src, n int, fromReg bool) {
	seg := x.w.local
	sh, _ := seg.san.(*segShadow)
	if sh == nil {
		sh = &segShadow{init: shadow.New(len(seg.data))}
		seg.san = sh
	}
	if sh.init == nil {
		return
	}
	for m := x.mask; m != 0; m &= m - 1 {
		base := firstLane(m) * x.w.stride
		if fromReg {
			sh.init.Set(uint64(base+dst), uint64(n))
		} else {
			sh.init.Copy(uint64(base+dst), sh.init, uint64(base+src), uint64(n))
		}
	}
}

// growShadow lays the shadow of local memory out anew.
func growShadow(w *warp, from, to int) {
	sh, _ := w.local.san.(*segShadow)
	if sh == nil || sh.init == nil {
		return
	}
	init := shadow.New(to * warpSize)
	for l := range warpSize {
		init.Copy(uint64(l*to), sh.init, uint64(l*from), uint64(from))
	}
	sh.init = init
}
