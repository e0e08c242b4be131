package emu

import (
	"cmp"
	"maps"
	"math/bits"
	"slices"

	"github.com/selkie-ml/selkie/ptx"
)

// A Profile holds counters of the launches since the device was made, by kernel.
type Profile struct {
	Kernels []*KernelProfile
}

// KernelProfile holds the counters of all launches of a kernel.
type KernelProfile struct {
	Kernel      string
	Launches    int
	Blocks      int64
	WarpInsts   int64 // executed by warps
	Longest     int64 // of WarpInsts, in one launch: what Config.Budget limits
	ThreadInsts int64 // executed by threads whose guard let them
	Divergences int64 // branches that split a group of lanes
	Mix         map[string]int64
	Insts       []InstProfile // of instructions that were executed, in the order of the program

	Bytes     map[string]int64 // moved by threads, as "global load" or "shared store"
	DRAMBytes int64            // distinct 32-byte sectors of global memory that were touched

	F32Flops, F64Flops, F16Flops int64            // outside of tensor cores
	TensorFlops                  map[string]int64 // by type of the operands

	index map[instKey]int // of Insts
}

// instKey is what tells instructions apart.
type instKey struct {
	fn           string
	line         int
	goLine, text string
}

// InstProfile holds the counters of one instruction.
type InstProfile struct {
	Func   string
	Line   int
	GoLine string
	Text   string

	Warps, Threads int64
	Requests       int64 // accesses of memory by warps
	Sectors        int64 // 32-byte sectors of global and local memory
	Wavefronts     int64 // passes through the banks of shared memory
	Ideal          int64 // passes that it would take without conflicts
	Bytes          int64
}

// Efficiency is the share of lanes that were active.
func (k *KernelProfile) Efficiency() float64 {
	if k.WarpInsts == 0 {
		return 0
	}
	return float64(k.ThreadInsts) / float64(k.WarpInsts) / warpSize
}

// BankConflicts is the number of passes through the banks of shared memory beyond
// those needed.
func (k *KernelProfile) BankConflicts() (extra, total int64) {
	for _, i := range k.Insts {
		extra += i.Wavefronts - i.Ideal
		total += i.Wavefronts
	}
	return extra, total
}

// SectorsPerRequest is the average number of 32-byte sectors that an access of
// global or local memory by a warp touches.
func (k *KernelProfile) SectorsPerRequest() float64 {
	var s, r int64
	for _, i := range k.Insts {
		if i.Sectors > 0 {
			s += i.Sectors
			r += i.Requests
		}
	}
	if r == 0 {
		return 0
	}
	return float64(s) / float64(r)
}

// TensorShare is the share of floating-point operations that tensor cores did.
func (k *KernelProfile) TensorShare() float64 {
	var t int64
	for _, n := range k.TensorFlops {
		t += n
	}
	if all := t + k.F32Flops + k.F64Flops + k.F16Flops; all > 0 {
		return float64(t) / float64(all)
	}
	return 0
}

// Profile gives the counters of all launches; nil unless Config.Profile is set.
func (d *Device) Profile() *Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.profile
}

// TakeProfile is Profile, whose counters start from zero again.
func (d *Device) TakeProfile() *Profile {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.profile
	d.profile = nil
	return p
}

// instCost counts one instruction in one exec.
type instCost struct {
	warps, threads, requests, sectors, wavefronts, ideal, bytes int64
}

// unitProfile is the counters of an exec, so that counting needs no locks.
type unitProfile struct {
	fns     [][]instCost // by function and program counter
	touched map[*segment][]uint64
	bytes   [6][2]int64 // by space; load, store
}

// launchProfile is the counters of a launch.
type launchProfile struct {
	l     *launch
	units []*unitProfile
	execs []*exec
}

func newLaunchProfile(l *launch) *launchProfile { return &launchProfile{l: l} }

func (p *launchProfile) newUnit(x *exec) *unitProfile {
	fns := p.l.kernel.mod.byAddr
	u := &unitProfile{fns: make([][]instCost, len(fns)), touched: map[*segment][]uint64{}}
	for i, f := range fns {
		u.fns[i] = make([]instCost, len(f.code))
	}
	p.units = append(p.units, u)
	p.execs = append(p.execs, x)
	return u
}

func (p *unitProfile) count(x *exec, in *inst, m uint32) {
	c := &p.fns[x.f.fn.index][in.pc]
	c.warps++
	c.threads += int64(popcount(m))
}

// access counts an access of memory by lanes of a warp.
func (p *unitProfile) access(x *exec, in *inst, acc *access) {
	c := &p.fns[x.f.fn.index][in.pc]
	size := acc.size()
	n := int64(popcount(acc.mask) * size)
	c.requests++
	c.bytes += n
	dir := 0
	if acc.kind == accStore || acc.kind == accReduction || acc.kind == accMatrixStore || in.src.Op == "st" || in.src.Op == "red" {
		dir = 1
	}
	p.bytes[acc.space][dir] += n
	switch acc.space {
	case spaceShared:
		w, ideal := bankPasses(acc, size)
		c.wavefronts += w
		c.ideal += ideal
	case spaceGlobal:
		p.sectors(c, acc, size)
	case spaceLocal: // words of the lanes lie side by side
		var words int64
		seen := map[uint64]bool{}
		for m := acc.mask; m != 0; m &= m - 1 {
			i := firstLane(m)
			o := acc.off[i] - uint64(i*x.w.stride)
			for w := o / 4; w <= (o+uint64(size)-1)/4; w++ {
				if s := w*4 + uint64(i)/8; !seen[s] {
					seen[s] = true
					words++
				}
			}
		}
		c.sectors += words
	}
}

func (p *unitProfile) sectors(c *instCost, acc *access, size int) {
	t := p.touched[acc.seg]
	if t == nil {
		t = make([]uint64, len(acc.seg.data)/32/64+1)
		p.touched[acc.seg] = t
	}
	var list [64]uint64
	n := 0
	for m := acc.mask; m != 0; m &= m - 1 {
		o := acc.off[firstLane(m)]
		for s := o / 32; s <= (o+uint64(size)-1)/32; s++ {
			if n > 0 && list[n-1] == s || slices.Contains(list[:n], s) {
				continue
			}
			t[s/64] |= 1 << (s % 64)
			if n < len(list) {
				list[n] = s
				n++
			}
		}
	}
	c.sectors += int64(n)
}

// bankPasses counts passes through the 32 banks of 4 bytes: lanes that access
// 8 bytes go in halves of the warp, those of 16 bytes in quarters; in a pass, a bank
// gives one word to any number of lanes.
func bankPasses(acc *access, size int) (passes, ideal int64) {
	per := warpSize
	if size > 4 {
		per = max(warpSize*4/size, 1)
	}
	for first := 0; first < warpSize; first += per {
		part := acc.mask >> first & uint32(1<<per-1)
		if part == 0 {
			continue
		}
		ideal++
		// The words of a bank are a chain, from the last to be seen.
		var words [2 * warpSize]uint64 // two of a lane, if its bytes are not aligned
		var before [2 * warpSize]uint8
		var last, count [32]uint8 // of a bank: the chain's end, from 1, and its length
		n, worst := 0, 1
		for m := part; m != 0; m &= m - 1 {
			o := acc.off[first+firstLane(m)]
			for w := o / 4; w <= (o+uint64(size)-1)/4; w++ {
				b := w % 32
				at := last[b]
				for at != 0 && words[at-1] != w {
					at = before[at-1]
				}
				if at == 0 {
					words[n], before[n] = w, last[b]
					n++
					last[b] = uint8(n)
					count[b]++
					worst = max(worst, int(count[b]))
				}
			}
		}
		passes += int64(worst)
	}
	return passes, ideal
}

// merge adds the counters of a launch to the profile of the device.
func (p *launchProfile) merge(prof *Profile) *Profile {
	if prof == nil {
		prof = &Profile{}
	}
	l := p.l
	var k *KernelProfile
	for _, o := range prof.Kernels {
		if o.Kernel == l.kernel.name {
			k = o
		}
	}
	if k == nil {
		k = &KernelProfile{Kernel: l.kernel.name, Mix: map[string]int64{}, Bytes: map[string]int64{}, TensorFlops: map[string]int64{}}
		prof.Kernels = append(prof.Kernels, k)
	}
	k.Launches++
	k.Blocks += int64(product(l.grid))
	k.Longest = max(k.Longest, l.total(p.execs))
	touched := map[*segment][]uint64{}
	for i, u := range p.units {
		k.Divergences += p.execs[i].divergences
		for sp, b := range u.bytes {
			for dir, name := range []string{"load", "store"} {
				if b[dir] > 0 {
					k.Bytes[memSpace(sp).String()+" "+name] += b[dir]
				}
			}
		}
		for s, t := range u.touched {
			if touched[s] == nil {
				touched[s] = make([]uint64, len(t))
			}
			for j := range t {
				touched[s][j] |= t[j]
			}
		}
	}
	for _, t := range touched {
		for _, w := range t {
			k.DRAMBytes += 32 * int64(bits.OnesCount64(w))
		}
	}
	for fi, f := range l.kernel.mod.byAddr {
		for pc := range f.code {
			var c instCost
			for _, u := range p.units {
				c.add(&u.fns[fi][pc])
			}
			in := &f.code[pc]
			if c.warps == 0 || in.flags&flagHelper != 0 {
				continue
			}
			k.add(f, in, &c)
		}
	}
	byFunc := func(a, b InstProfile) int { return cmp.Compare(a.Func, b.Func) }
	if !slices.IsSortedFunc(k.Insts, byFunc) {
		slices.SortStableFunc(k.Insts, byFunc)
		k.index = nil
	}
	return prof
}

func (c *instCost) add(o *instCost) {
	c.warps += o.warps
	c.threads += o.threads
	c.requests += o.requests
	c.sectors += o.sectors
	c.wavefronts += o.wavefronts
	c.ideal += o.ideal
	c.bytes += o.bytes
}

func (k *KernelProfile) add(f *fn, in *inst, c *instCost) {
	k.WarpInsts += c.warps
	k.ThreadInsts += c.threads
	k.Mix[in.src.Op] += c.warps
	k.flops(in.src, c)
	ip := &k.Insts[k.find(f, in)]
	ip.Warps += c.warps
	ip.Threads += c.threads
	ip.Requests += c.requests
	ip.Sectors += c.sectors
	ip.Wavefronts += c.wavefronts
	ip.Ideal += c.ideal
	ip.Bytes += c.bytes
}

// find is the index of an instruction in Insts, where it stands from now on.
func (k *KernelProfile) find(f *fn, in *inst) int {
	if k.index == nil {
		k.index = map[instKey]int{}
		for i, o := range k.Insts {
			k.index[instKey{o.Func, o.Line, o.GoLine, o.Text}] = i
		}
	}
	if in.key == nil {
		in.key = &instKey{f.name, in.src.Pos.Line, in.src.Pos.GoLine(), instrString(in.src)}
	}
	i, ok := k.index[*in.key]
	if !ok {
		i = len(k.Insts)
		k.index[*in.key] = i
		k.Insts = append(k.Insts, InstProfile{Func: in.key.fn, Line: in.key.line, GoLine: in.key.goLine, Text: in.key.text})
	}
	return i
}

// flops counts the floating-point operations of an instruction.
func (k *KernelProfile) flops(in *ptx.Instr, c *instCost) {
	switch in.Op {
	case "mma", "wgmma", "wmma":
		m := mods{list: in.Mods, taken: make([]bool, len(in.Mods))}
		lw := &lowerer{mods: m}
		if in.Op == "wmma" && !m.peek("mma") || in.Op == "wgmma" && !m.peek("mma_async") {
			return
		}
		M, N, K := lw.shape()
		n := 2 * int64(M) * int64(N) * int64(K) * c.warps
		if in.Op == "wgmma" {
			n /= 4
		}
		lw.mods.typ()
		t := lw.mods.typ()
		if in.Op == "wmma" && lw.mods.typ() == ptx.NoType {
			t = ptx.F16
		}
		k.TensorFlops[t.String()] += n
		return
	case "add", "sub", "mul", "fma", "mad", "div", "rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh", "min", "max":
	default:
		return
	}
	n := c.threads
	if in.Op == "fma" || in.Op == "mad" {
		n *= 2
	}
	for i := len(in.Mods) - 1; i >= 0; i-- {
		switch in.Mods[i] {
		case "f32":
			k.F32Flops += n
			return
		case "f32x2":
			k.F32Flops += 2 * n
			return
		case "f64":
			k.F64Flops += n
			return
		case "f16", "bf16":
			k.F16Flops += n
			return
		case "f16x2", "bf16x2":
			k.F16Flops += 2 * n
			return
		}
	}
}

// Tensor lists the types of TensorFlops, the most used first.
func (k *KernelProfile) Tensor() []string {
	return slices.SortedFunc(maps.Keys(k.TensorFlops), func(a, b string) int {
		return cmp.Or(cmp.Compare(k.TensorFlops[b], k.TensorFlops[a]), cmp.Compare(a, b))
	})
}
