// Package emu executes PTX on the CPU, thread by thread, and reports what a GPU
// would let pass: races, uninitialised values, accesses out of bounds, barriers
// that do not match.
//
// A Device holds memory; Load lowers a ptx.Module to specialised Go functions, each
// of which runs one instruction for the lanes of a warp; Launch runs a grid.
//
//	dev := emu.New(emu.Config{GPU: emu.H100, Checks: emu.AllChecks})
//	mod, err := dev.Load(m)
//	p, err := dev.Alloc(4 * n)
//	err = dev.CopyIn(p, bytes)
//	err = mod.Launch(emu.Launch{Kernel: "add", Grid: emu.Dim{8}, Block: emu.Dim{128}}, p, int32(n))
//	for _, f := range dev.Findings() { … }
//
// The package imports ptx and what lies in ptx/emu/internal, nothing of tensors.
package emu

//go:generate go run gen_alu.go
