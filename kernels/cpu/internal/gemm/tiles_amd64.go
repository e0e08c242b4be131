package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

// hasTiles tells whether pairs are multiplied in tile registers.
func hasTiles() bool { return vec.Active() >= vec.AMX }

// tilesKernels are by the height and width of the block of sums, in tiles, less one.
var tilesKernels = [2][2]tilesFunc{{tiles1x1, tiles1x2}, {tiles2x1, tiles2x2}}
