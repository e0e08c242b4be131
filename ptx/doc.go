// Package ptx is a macro assembler, parser, printer and checker for PTX, the
// virtual instruction set of NVIDIA GPUs. It knows nothing of tensors.
//
// A Module comes from text by Parse or from Go by NewModule; both give the same form,
// which Print writes as text, Check proves right for a target and ptx/emu runs. What
// instructions there are, which modifiers and operands they take and which version
// and target they need stands in one table of text, isa/*.txt (Forms), from which the
// parser's checks, the target gate and the assembler's typed methods follow. Tests
// hold it against ptxas where that is found.
//
// NewFlow gives a function's control-flow graph with post-dominators and liveness,
// SM.Occupancy how many blocks a multiprocessor holds.
//
// Sections cited are those of the PTX ISA 9.1.
package ptx
