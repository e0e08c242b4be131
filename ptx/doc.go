// Package ptx is a macro assembler, parser, printer and checker for PTX, the
// virtual instruction set of NVIDIA GPUs. It knows nothing of tensors.
package ptx
