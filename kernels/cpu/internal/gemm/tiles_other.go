//go:build !amd64

package gemm

func hasTiles() bool { return false }

var tilesKernels [2][2]tilesFunc

func packTiles(*float32, *uint16, int, int, int, int)          { panic("gemm: no tiles") }
func packStrip(*float32, *uint16, int, int)                    { panic("gemm: no tiles") }
func packStripRows(*float32, *uint16, int, int, int, int)      { panic("gemm: no tiles") }
func turnF32(*float32, int, *float32, int, int, int, *float32) { panic("gemm: no tiles") }
func turnBF16(*uint16, int, *float32, int, int, int, *float32) { panic("gemm: no tiles") }
