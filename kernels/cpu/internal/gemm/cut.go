package gemm

// maxRows is the most rows of a task: as many as keep the sums of a part's columns in
// half of the L2 cache from one part to the next.
func maxRows(l2 int) int { return max(l2/2/(4*partCols), 240) / maxTile * maxTile }

// cut chooses the blocks and returns their number. A block wants to be large,
// since packing b takes the time of a few rows, and copying a that of a few
// columns; but a pool wants blocks enough that its threads end together.
func (j *job) cut(p *Parallel, k int) (tasks int) {
	const (
		call  = 1 << 15 // what a task costs besides, in products
		worth = 1 << 18 // products that are worth a goroutine's while
		most  = 8       // blocks of a thread
	)
	packing, copying := 12, 8
	if j.form == FormNN {
		packing = 10
	}
	if j.ak != 1 || j.copied(j.m) || j.aKind != KindF32 && !j.pairs {
		copying = 12
	}
	least := ceil(j.m, maxRows(l2))
	if p == nil || p.Threads < 2 || (j.m+packing)*j.n*k <= 2*worth {
		j.rows, j.cols = ceil(ceil(j.m, least), maxTile)*maxTile, j.n
		j.rowBlocks = ceil(j.m, j.rows)
		return j.rowBlocks
	}
	best := 0
	for across := 1; (across == 1 || across*least <= most*p.Threads) && (across-1)*panel < j.n; across++ {
		cols := ceil(ceil(j.n, across), panel) * panel
		for down := least; (down == least || down*across <= most*p.Threads) && (down-1)*maxTile < j.m; down++ {
			rows := ceil(ceil(j.m, down), maxTile) * maxTile
			n := ceil(j.n, cols) * ceil(j.m, rows)
			one := (min(rows, j.m)+packing)*(min(cols, j.n)+copying*ceil(cols, partCols))*k + call
			all := (j.m+packing*ceil(j.m, rows))*(j.n+copying*ceil(j.n, min(cols, partCols)))*k + n*call
			// The last blocks run while other threads idle.
			time := max(all/p.Threads, ceil(n, p.Threads)*one-one/4) + one/4
			if best == 0 || time < best {
				best, tasks = time, n
				j.rows, j.cols, j.rowBlocks = rows, cols, ceil(j.m, rows)
			}
		}
	}
	return tasks
}
