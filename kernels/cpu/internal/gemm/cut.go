package gemm

import (
	"runtime"

	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
)

// maxCols is the most columns of a task.
const maxCols = 8 * panel

var l2 = vec.CacheL2()

// maxRows is the most rows of a task of so many columns, so that a chunk of a and
// the sums take three quarters of the L2 cache.
func maxRows(cols, l2 int) int {
	const tallest = 12
	return min(max(l2*3/16/(cols+KC), 48), 1536) / tallest * tallest
}

// cut chooses the blocks and returns their number. A block wants to be large,
// since packing b takes the time of a few rows, and copying a that of a few
// columns; but a pool wants blocks enough that its threads end together.
func (j *job) cut(p Parallel, k int) (tasks int) {
	const (
		call  = 1 << 15 // what a task costs besides, in products
		worth = 1 << 18 // products that are worth a goroutine's while
		low   = 48      // rows of a block that may be cut further
	)
	packing, copying := 7, 1
	if j.form == FormNN {
		packing = 3
	}
	if j.copied(j.m) || j.aKind != KindF32 && !j.pairs {
		copying = 9
	}
	threads := 1
	if p != nil && (j.m+packing)*j.n*k > 2*worth {
		threads = runtime.GOMAXPROCS(0)
	}
	tall := kernels(j.n, j.pairs).tall[0].rows
	best := 0
	for cols := maxCols; cols > 0; cols -= panel {
		if cols-panel >= j.n {
			continue
		}
		across := ceil(j.n, cols)
		for down := ceil(j.m, maxRows(cols, l2)); ; down++ {
			rows := ceil(ceil(j.m, down), tall) * tall
			n := across * ceil(j.m, rows)
			one := (min(rows, j.m)+packing)*(min(cols, j.n)+copying)*k + call
			all := (j.m+packing*down)*(j.n+copying*across)*k + n*call
			// The last blocks run while other threads idle.
			time := max(all/threads, ceil(n, threads)*one-one/4)
			if threads > 1 {
				time += one / 4
			}
			if best == 0 || time < best {
				best, tasks = time, n
				j.rows, j.cols, j.rowBlocks = rows, cols, ceil(j.m, rows)
			}
			if threads == 1 || rows <= low || n > 16*threads {
				break
			}
		}
	}
	return tasks
}
