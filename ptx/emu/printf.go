package emu

import (
	"fmt"
	"math"
	"strings"
)

// bytesAt gives memory from a generic address on, as a lane sees it; nil where there
// is none.
func (x *exec) bytesAt(a uint64, lane int) []byte {
	o := a &^ windowMask
	switch windowOf(a) {
	case spaceLocal:
		if o < uint64(x.w.stride) {
			return x.w.local.data[lane*x.w.stride+int(o) : (lane+1)*x.w.stride]
		}
	case spaceShared:
		if r := int(o >> rankShift); r < len(x.u.blocks) && o&rankMask < uint64(len(x.u.blocks[r].shared.data)) {
			return x.u.blocks[r].shared.data[o&rankMask:]
		}
	case spaceParam:
		if o < uint64(len(x.l.params.data)) {
			return x.l.params.data[o:]
		}
	default:
		if s := x.l.table.find(a); s != nil {
			return s.data[a-s.base:]
		}
	}
	return nil
}

// cString reads a zero-terminated string at a generic address.
func (x *exec) cString(a uint64, lane int) string {
	b := x.bytesAt(a, lane)
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// runPrintf is vprintf(format, arguments): the arguments lie one behind the other,
// each aligned to its size; floats are f64.
func runPrintf(x *exec, in *inst, c *callSite) {
	if len(c.args) != 2 {
		x.fail(in, firstLane(x.mask), fmt.Sprintf("vprintf takes 2 arguments, %d are passed", len(c.args)))
		return
	}
	for m := x.mask; m != 0; m &= m - 1 {
		lane := firstLane(m)
		text, n := x.format(x.cString(x.argValue(c.args[0], lane), lane), x.bytesAt(x.argValue(c.args[1], lane), lane), lane)
		if w := x.l.dev.cfg.Stdout; w != nil {
			x.l.mu.Lock()
			fmt.Fprint(w, text)
			x.l.mu.Unlock()
		}
		if len(c.rets) > 0 {
			x.setResult(c.rets[0], lane, uint64(n))
		}
	}
	if x.san != nil && len(c.rets) > 0 {
		if r := c.rets[0]; r.isReg {
			x.def[x.f.shadow(r.reg)] |= x.mask
		} else {
			copyParamShadow(x, int(x.f.base)+r.off, 0, r.size, true)
		}
	}
}

// setResult writes a result of a function that has no frame.
func (x *exec) setResult(r callArg, lane int, v uint64) {
	if r.isReg {
		x.f.setLane(r.reg, lane, v)
		return
	}
	at := lane*x.w.stride + int(x.f.base) + r.off
	putBits(x.w.local.data[at:at+min(r.size, 8)], v)
}

// format is printf of C for the conversions that CUDA knows.
func (x *exec) format(f string, args []byte, lane int) (string, int) {
	var b strings.Builder
	at, n := 0, 0
	next := func(size int) uint64 {
		at = alignUp(at, size)
		var v uint64
		if at+size <= len(args) {
			for i := size - 1; i >= 0; i-- {
				v = v<<8 | uint64(args[at+i])
			}
		}
		at += size
		n++
		return v
	}
	for i := 0; i < len(f); i++ {
		if f[i] != '%' {
			b.WriteByte(f[i])
			continue
		}
		j := i + 1
		for j < len(f) && strings.IndexByte("-+ #0123456789.*", f[j]) >= 0 {
			j++
		}
		spec := f[i:j]
		for strings.Contains(spec, "*") {
			spec = strings.Replace(spec, "*", fmt.Sprint(int32(next(4))), 1)
		}
		size := 4
		for j < len(f) && strings.IndexByte("hlLzjt", f[j]) >= 0 {
			if f[j] != 'h' {
				size = 8
			}
			j++
		}
		if j == len(f) {
			b.WriteString(f[i:])
			break
		}
		switch c := f[j]; c {
		case '%':
			b.WriteByte('%')
		case 'd', 'i':
			v := next(size)
			if size == 4 {
				v = uint64(int64(int32(v)))
			}
			fmt.Fprintf(&b, spec+"d", int64(v))
		case 'u':
			fmt.Fprintf(&b, spec+"d", next(size))
		case 'x', 'X', 'o':
			fmt.Fprintf(&b, spec+string(c), next(size))
		case 'c':
			fmt.Fprintf(&b, spec+"c", rune(next(4)&0xff))
		case 'p':
			fmt.Fprintf(&b, "%#x", next(8))
		case 's':
			fmt.Fprintf(&b, spec+"s", x.cString(next(8), lane))
		case 'e', 'E', 'f', 'F', 'g', 'G', 'a', 'A':
			verb := string(c)
			if c == 'a' {
				verb = "x"
			} else if c == 'A' {
				verb = "X"
			}
			fmt.Fprintf(&b, spec+verb, math.Float64frombits(next(8)))
		default:
			b.WriteString(f[i : j+1])
		}
		i = j
	}
	return b.String(), n
}
