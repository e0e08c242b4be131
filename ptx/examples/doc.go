// Package examples is a ladder of kernels, from vector addition to a warp-specialised
// matrix product on Hopper: each is a Go struct of tile sizes whose Module method emits
// the PTX. docs/writing-kernels.md walks up the ladder; the tests run every rung on the
// emulator. It imports ptx only.
package examples

import "github.com/selkie-ml/selkie/ptx"

var (
	sm75  = ptx.Target{SM: 75}
	sm80  = ptx.Target{SM: 80}
	sm90a = ptx.Target{SM: 90, Class: 'a'}
)

// Launch is how a kernel wants to be started.
type Launch struct {
	Grid, Block [3]int
	Cluster     [3]int // blocks; zero for none
	Shared      int    // bytes of dynamic shared memory
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
