// Package kernel holds the GPU kernels of Selkie as Go functions that emit PTX. A
// kernel is a comparable struct: its storage types, tile sizes and stages. A tuned
// variant is another value, not another file. The methods beside Emit say how it
// is launched.
//
// Rules for all of them: sums have an order that follows from the row's own shape;
// no atomic additions of floats; what depends on a step (starts, segments,
// positions, settings) is read from device memory; data that must be refused is
// reported (see faults) and skipped.
//
// It must not import package driver: kernels know nothing of how they are run.
package kernel

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/ptx"
)

// Kernel is one kernel with its parameters chosen.
type Kernel interface {
	comparable
	Any
}

// Any is a Kernel of any type, for tables.
type Any interface {
	// Name is the entry's name, different for different parameters.
	Name() string
	// Emit writes the entry's parameters and body.
	Emit(k *ptx.Builder)
}

// Targeted is a kernel that needs more than sm_80.
type Targeted interface{ Target() ptx.Target }

// SM80 is what kernels target unless they say otherwise: it runs on everything newer.
var SM80 = ptx.Target{SM: 80}

// Module returns a module with the one kernel.
func Module(k Any) *ptx.Module {
	target := SM80
	if t, ok := k.(Targeted); ok {
		target = t.Target()
	}
	mod := ptx.NewModule(target)
	k.Emit(mod.Entry(k.Name()))
	return mod.Module()
}

// Dim3 is a grid or a block.
type Dim3 = [3]int

// Launch is how often a kernel runs: grid, block, and bytes of dynamic shared memory.
type Launch struct {
	Grid, Block Dim3
	Shared      int
}

// lines is the launch of n blocks of so many threads.
func lines(n, threads int) Launch {
	return Launch{Grid: Dim3{n, 1, 1}, Block: Dim3{threads, 1, 1}}
}

// CeilDiv returns n/d, rounded up.
func CeilDiv(n, d int) int { return (n + d - 1) / d }

// name joins a stem and parameters.
func name(stem string, params ...any) string {
	for _, p := range params {
		switch p := p.(type) {
		case kernels.DType:
			if p == kernels.Invalid { // an array that there is not
				stem += "_none"
			} else {
				stem += "_" + p.String()
			}
		case bool:
			if p {
				stem += "_1"
			} else {
				stem += "_0"
			}
		default:
			stem += fmt.Sprintf("_%v", p)
		}
	}
	return stem
}

// ptxType is how a storage type is called in PTX.
func ptxType(dt kernels.DType) ptx.Type {
	switch dt {
	case kernels.F32:
		return ptx.F32
	case kernels.BF16:
		return ptx.BF16
	case kernels.F16:
		return ptx.F16
	case kernels.I32:
		return ptx.S32
	}
	panic(fmt.Sprintf("kernels/cuda/kernel: %v is no storage of a buffer", dt))
}
