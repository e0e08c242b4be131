package cuda

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
)

// suiteOrdeal is a case of the conformance suite.
type suiteOrdeal struct {
	of      string
	aligned bool
	limit   int
	parts   int                          // of AttentionPaged, see Backend.pagedParts
	chunks  bool                         // of CrossEntropy, small ones
	ran     map[kernel.Any]map[int]trace // by problem, filled by a run without a mutant; then of those problems that judge the kernel at first
	rest    map[kernel.Any]map[int]brief // and of the others
	uses    map[kernel.Any]int           // problems that launch it
	bits    map[string][sha256.Size]byte // of results, by problem and array
	pinned
}

// newSuiteOrdeal is a case that has not run yet.
func newSuiteOrdeal(name string, aligned bool, limit, parts int) *suiteOrdeal {
	return &suiteOrdeal{of: name, aligned: aligned, limit: limit, parts: parts,
		ran: map[kernel.Any]map[int]trace{}, rest: map[kernel.Any]map[int]brief{}, uses: map[kernel.Any]int{}, bits: map[string][sha256.Size]byte{}}
}

func (o *suiteOrdeal) name() string {
	name := fmt.Sprintf("%s, aligned %t, up to %d elements, %d parts", o.of, o.aligned, o.limit, o.parts)
	if o.chunks {
		name += ", small chunks"
	}
	return name
}

func (o *suiteOrdeal) covers(m place) bool {
	for n := range o.ran[m.Any] {
		if _, ok := o.judges(m, n); ok && !m.rest {
			return true
		}
	}
	for n := range o.rest[m.Any] {
		if _, ok := o.judges(m, n); ok && m.rest {
			return true
		}
	}
	return false
}

// judges reports whether a problem comes to a place, and what it asks of the memories.
func (o *suiteOrdeal) judges(m place, problem int) (traffic, bool) {
	if m.rest {
		b := o.rest[m.Any][problem]
		return b.traffic, m.line/64 < len(b.lines) && b.lines[m.line/64]>>(m.line%64)&1 != 0
	}
	c := o.ran[m.Any][problem]
	return c.traffic, c.coverage[ran{m.line, reached}]
}

func (o *suiteOrdeal) run(b *Backend, m place) error {
	b.pagedParts = o.parts
	if o.chunks {
		b.lossStats, b.lossBytes = 256, 1
	}
	opt := kerneltest.Options{Seed: 5, SpreadNaN: true, Aligned: o.aligned, Limit: o.limit, DTypes: []kernels.DType{kernels.F32, kernels.BF16}}
	last := 0 // the problem that was tried
	if m.Any == nil {
		note := func() {
			for k, c := range ranSince(b) {
				if o.ran[k] == nil {
					o.ran[k] = map[int]trace{}
				}
				o.ran[k][last] = c
				o.count(k, c)
			}
		}
		opt.Only = func(n int) bool { note(); last = n; return true }
		opt.Result = func(n int, array string, contents []byte) error {
			o.bits[fmt.Sprint(n, array)] = sha256.Sum256(contents)
			o.digest(contents)
			return nil
		}
		if err := kerneltest.Try(o.of, b, opt); err != nil {
			return err
		}
		note()
		for k, list := range o.ran {
			o.uses[k] = len(list)
			if o.of != errorsOf || len(list) > 4*mostProblems { // all bad data of an op
				o.ran[k] = telling(list)
				o.rest[k] = map[int]brief{}
				for n, c := range list {
					if _, ok := o.ran[k][n]; !ok {
						o.rest[k][n] = c.brief()
					}
				}
			}
		}
		return nil
	}
	var other error
	compare := func() {
		if was, tried := o.judges(m, last); tried && other == nil {
			if all := ranSince(b); all != nil && all[m.Any].traffic != was {
				other = errTraffic
			}
		}
		last = -1
	}
	opt.Only = func(n int) bool {
		compare()
		if _, ok := o.judges(m, n); ok && other == nil {
			last = n
		}
		return last == n
	}
	opt.Result = func(n int, array string, contents []byte) error {
		if sha256.Sum256(contents) != o.bits[fmt.Sprint(n, array)] {
			other = errBits
		}
		return other
	}
	if err := kerneltest.Try(o.of, b, opt); err != nil {
		return err
	}
	compare()
	return other
}

// errorsOf is the case of data that ops must refuse.
const errorsOf = "Errors"

// mostProblems and fewProblems of a case judge a kernel at first.
const fewProblems, mostProblems = 12, 24

// telling chooses problems that together run what all of them run of a kernel, as few as will do
// or up to fewProblems.
func telling(all map[int]trace) map[int]trace {
	chosen, seen := map[int]trace{}, coverage{}
	for len(chosen) < min(len(all), mostProblems) {
		best, most := -1, -1
		for _, n := range slices.Sorted(maps.Keys(all)) {
			if _, ok := chosen[n]; ok {
				continue
			}
			gain := 0
			for r := range all[n].coverage {
				if !seen[r] {
					gain++
				}
			}
			if gain > most {
				best, most = n, gain
			}
		}
		if most == 0 { // any others, here and there
			var left []int
			for _, n := range slices.Sorted(maps.Keys(all)) {
				if _, ok := chosen[n]; !ok {
					left = append(left, n)
				}
			}
			more := min(fewProblems-len(chosen), len(left))
			for i := range more {
				n := left[(2*i+1)*len(left)/(2*more)]
				chosen[n] = all[n]
			}
			break
		}
		chosen[best] = all[best]
		for r := range all[best].coverage {
			seen[r] = true
		}
	}
	return chosen
}

// suiteOrdeals are the ordeals of the conformance suite.
func suiteOrdeals() (list []*suiteOrdeal) {
	for _, name := range kerneltest.Cases() {
		switch name {
		case "Memory", "MapHost", errorsOf, "PagedEqualsPrefill":
			continue // other cases have their kernels
		}
		for _, aligned := range []bool{true, false} {
			limit := 1 << 13
			switch name {
			case "AttentionPaged":
				limit = 1 << 19 // caches have pages
				list = append(list, newSuiteOrdeal(name, aligned, limit, 2))
				if aligned {
					list = append(list, newSuiteOrdeal(name, aligned, limit, 18))
				}
			case "Sample", "AdamW":
				limit = 1 << 16 // vocabularies have many words, groups many parameters
			case "GradNorm", "KVStore":
				limit = 1 << 18 // more items than are added at once, and pages here too
			case "CrossEntropy":
				limit = 14 << 10
				list = append(list, newSuiteOrdeal(name, aligned, limit, 0))
				list[len(list)-1].chunks = true
			case "RMSNormBackward":
				limit = 1 << 14
			case "Attention":
				limit = 34 << 10
			case "AttentionBackward", "Fill", "Add", "SwiGLU", "SwiGLUBackward", "Linear", "LinearBackwardInput", "EmbeddingBackward":
				limit = 1 << 15
			}
			list = append(list, newSuiteOrdeal(name, aligned, limit, 0))
		}
	}
	for _, aligned := range []bool{true, false} {
		for parts := range 3 {
			list = append(list, newSuiteOrdeal(errorsOf, aligned, 0, parts))
		}
	}
	return list
}
