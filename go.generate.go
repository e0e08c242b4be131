//go:build generate

// Package selkie lists the generators of the repository, in order: go generate .
// runs them all. Each stands beside the code that it is for.
package selkie

//go:generate go generate ./internal/peak
//go:generate go generate ./kernels/cpu/internal/gemm
//go:generate go generate ./kernels/cpu/internal/vec
//go:generate go generate ./ptx
//go:generate go generate ./ptx/emu/internal/num
//go:generate go generate ./ptx/emu/internal/mma
//go:generate go generate ./ptx/emu
//go:generate go generate ./kernels/cuda
