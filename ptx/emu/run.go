package emu

import (
	"fmt"

	"github.com/selkie-ml/selkie/ptx"
)

// enter makes g the group that x executes.
func (x *exec) enter(g *group) {
	x.g, x.w, x.b = g, g.w, g.w.b
	x.active, x.pc = g.mask, g.pc
	x.stop = stopNone
	x.setFrame(g.f)
}

func (x *exec) setFrame(f *frame) {
	x.f, x.code = f, f.fn.code
	x.r32, x.r64, x.p, x.def = f.r32, f.r64, f.p, f.def
}

// leave puts the state of execution back into the group.
func (x *exec) leave() {
	x.g.mask, x.g.pc, x.g.f = x.active, x.pc, x.f
}

// loop executes at most n instructions of the group, until something stops it.
func (x *exec) loop(n int) {
	for ; n > 0; n-- {
		in := &x.code[x.pc]
		if in.flags&flagJoin != 0 && x.arrive() {
			return
		}
		x.pc++
		m := x.active
		if in.guard >= 0 {
			m &= x.p[in.guard] ^ in.not
			if m == 0 {
				x.warpInsts += int64(in.counts)
				continue
			}
		}
		x.mask = m
		x.warpInsts += int64(in.counts)
		x.threads += int64(popcount(m) * int(in.counts))
		in.run(x, in)
		if x.stop != stopNone {
			return
		}
	}
	x.stop = stopYield
}

// loopChecked is loop with the shadow of registers, the sanitiser and the profile.
func (x *exec) loopChecked(n int) {
	prof := x.prof
	for ; n > 0; n-- {
		in := &x.code[x.pc]
		if in.flags&flagJoin != 0 && x.arrive() {
			return
		}
		x.pc++
		m := x.active
		if in.guard >= 0 {
			if x.san != nil {
				if bad := x.active &^ x.def[x.f.fn.shadowP+in.guard]; bad != 0 {
					x.san.undefined(x, in, bad, useBranch, x.f.fn.shadowP+in.guard)
					x.def[x.f.fn.shadowP+in.guard] |= bad
				}
			}
			m &= x.p[in.guard] ^ in.not
		}
		x.warpInsts += int64(in.counts)
		if prof != nil {
			prof.count(x, in, m)
		}
		if m == 0 {
			continue
		}
		x.mask = m
		x.threads += int64(popcount(m) * int(in.counts))
		if x.san == nil {
			in.run(x, in)
			if x.stop != stopNone {
				return
			}
			continue
		}
		if x.w.inflight {
			x.san.(*watch).touched(x, in, m)
		}
		if in.sink != useNone {
			x.checkSink(in, m)
		}
		def := x.def
		ok := uint32(fullMask)
		for _, s := range in.uses {
			ok &= def[s]
		}
		if in.flags&flagSelfDef == 0 {
			for _, s := range in.sets {
				def[s] = def[s]&^m | ok&m
			}
		}
		in.run(x, in)
		if x.stop != stopNone {
			return
		}
	}
	x.stop = stopYield
}

// checkSink reports operands that were never written, where their value shows.
func (x *exec) checkSink(in *inst, m uint32) {
	list := in.addr
	if in.sink != useAddress {
		list = in.uses
	}
	for _, s := range list {
		if bad := m &^ x.def[s]; bad != 0 {
			use := in.sink
			if use != useAddress {
				for _, a := range in.addr {
					if a == s {
						use = useAddress
					}
				}
			}
			x.san.undefined(x, in, bad, use, s)
		}
	}
}

// fail ends the launch with an error at an instruction of a lane.
func (x *exec) fail(in *inst, lane int, msg string) {
	if x.err == nil {
		x.err = &LaunchError{Kernel: x.l.kernel.name, File: x.l.kernel.mod.src.File, Pos: in.src.Pos, Instr: instrString(in.src),
			Block: x.b.idx, Thread: x.w.thread(lane), Msg: msg}
	}
	x.stop = stopFault
}

// thread is %tid of a lane.
func (w *warp) thread(lane int) [3]uint32 {
	return [3]uint32{w.tid[0][lane], w.tid[1][lane], w.tid[2][lane]}
}

// A LaunchError is why a launch failed.
type LaunchError struct {
	Kernel string
	File   string
	Pos    ptx.Pos
	Instr  string
	Block  [3]uint32
	Thread [3]uint32
	Msg    string
}

func (e *LaunchError) Error() string {
	where := ""
	if e.Pos.Line > 0 {
		where = fmt.Sprintf("%s:%d: ", orElse(e.File, "ptx"), e.Pos.Line)
	}
	if g := e.Pos.GoLine(); g != "" {
		where += "(" + g + ") "
	}
	return fmt.Sprintf("%skernel %s, block (%d,%d,%d), thread (%d,%d,%d): %s: %s", where, e.Kernel,
		e.Block[0], e.Block[1], e.Block[2], e.Thread[0], e.Thread[1], e.Thread[2], e.Instr, e.Msg)
}

func orElse(s, alt string) string {
	if s == "" {
		return alt
	}
	return s
}

// instrString is the instruction as it is printed in messages.
func instrString(in *ptx.Instr) string {
	if in == nil {
		return ""
	}
	return in.String()
}
