// Command asm writes the assembly of package peak. Run it by go generate.
package main

import (
	"fmt"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	fma("fmaAVX2", ymm, 12)
	fma("fmaAVX512", zmm, 24)
	fmaLoads("fmaLoadsAVX2", ymm, 6)
	fmaLoads("fmaLoadsAVX512", zmm, 12)
	dotBF16("dotBF16", 24)
	dotAMX("dotAMX")
	read("readAVX2", ymm)
	read("readAVX512", zmm)
	Generate()
}

// ymm and zmm name registers that are free to use, in order.
func ymm(i int) reg.Register { return zmm(i).(reg.VecPhysical).AsY() }
func zmm(i int) reg.Register {
	return []reg.VecPhysical{
		reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
	}[i]
}

func begin(name, doc, signature string) {
	TEXT(name, attr.NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
}

func end() {
	VZEROUPPER()
	RET()
}

// fma writes n independent chains of multiply-adds, more than latency times throughput.
func fma(name string, vec func(i int) reg.Register, n int) {
	begin(name, fmt.Sprintf("does rounds times %d vector multiply-adds.", n), "func(rounds int)")
	rounds := Load(Param("rounds"), GP64())
	for i := range n + 2 {
		VXORPS(ymm(i%16), ymm(i%16), ymm(i%16))
		if i >= 16 {
			VPXORD(zmm(i), zmm(i), zmm(i))
		}
	}
	Label("loop")
	for i := range n {
		VFMADD231PS(vec(n), vec(n+1), vec(i))
	}
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	end()
}

// fmaLoads writes the multiply-adds of a product's tile of two vectors by so many
// rows, with the reads that they cannot do without: 2 vectors and an element a row.
func fmaLoads(name string, vec func(i int) reg.Register, rows int) {
	begin(name, fmt.Sprintf("does rounds times %d vector multiply-adds of what it reads at p, %d bytes.", 2*rows, loadedBytes), "func(p *byte, rounds int)")
	p := Load(Param("p"), GP64())
	rounds := Load(Param("rounds"), GP64())
	for i := range 2*rows + 3 {
		if i < 16 {
			VXORPS(ymm(i), ymm(i), ymm(i))
		} else {
			VPXORD(zmm(i), zmm(i), zmm(i))
		}
	}
	left, right, a := vec(2*rows), vec(2*rows+1), vec(2*rows+2)
	Label("loop")
	VMOVUPS(Mem{Base: p}, left)
	VMOVUPS(Mem{Base: p, Disp: int(left.Size())}, right)
	for i := range rows {
		VBROADCASTSS(Mem{Base: p, Disp: loadedBytes - 4 - 4*i}, a)
		VFMADD231PS(left, a, vec(2*i))
		VFMADD231PS(right, a, vec(2*i+1))
	}
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	end()
}

const loadedBytes = 256

// dotBF16 writes n independent chains of VDPBF16PS, which neither avo nor Go's
// assembler knows: EVEX.512.F3.0F38.W0 52 /r of registers zmm30, zmm31 and zmm0 … n-1.
func dotBF16(name string, n int) {
	begin(name, fmt.Sprintf("does rounds times %d vector dot products of pairs of bf16.", n), "func(rounds int)")
	rounds := Load(Param("rounds"), GP64())
	for i := range 32 {
		VPXORD(zmm(i), zmm(i), zmm(i))
	}
	Label("loop")
	for i := range n {
		p0 := 0x02 | ^i>>3&1<<7 | ^i>>4&1<<4 // extensions of the registers' numbers, inverted
		line := fmt.Sprintf("BYTE $0x62; BYTE $%#02x; BYTE $0x0e; BYTE $0x40; BYTE $0x52; BYTE $%#02x // VDPBF16PS Z31, Z30, Z%d", p0, 0xc0|i&7<<3|7, i)
		Instruction(&ir.Instruction{Opcode: line})
	}
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	end()
}

// dotAMX writes four independent products of tiles, by instructions that neither
// avo nor Go's assembler knows. Zeros would take less power, and let the clock be
// higher than any use does.
func dotAMX(name string) {
	begin(name, "multiplies and adds rounds times 4 tiles of pairs of bf16, of the shapes given, factors having 16 rows of 64 bytes.",
		"func(shape, factors *byte, rounds int)")
	Load(Param("shape"), reg.RAX)
	line := func(code, text string) {
		var b []string
		for i := 0; i < len(code); i += 2 {
			b = append(b, "BYTE $0x"+code[i:i+2])
		}
		Instruction(&ir.Instruction{Opcode: strings.Join(b, "; ") + " // " + text})
	}
	line("c4e2784900", "LDTILECFG (AX)")
	Load(Param("factors"), reg.RAX)
	MOVQ(U32(64), reg.RCX)
	line("c4e27b4b3408", "TILELOADD (AX)(CX*1), TMM6")
	line("c4e27b4b3c08", "TILELOADD (AX)(CX*1), TMM7")
	rounds := Load(Param("rounds"), reg.RCX)
	Label("loop")
	for i := range 4 {
		line(fmt.Sprintf("c4e2425c%02x", 0xc0|i<<3|6), fmt.Sprintf("TDPBF16PS TMM7, TMM6, TMM%d", i))
	}
	DECQ(rounds)
	JNZ(LabelRef("loop"))
	line("c4e27849c0", "TILERELEASE")
	RET()
}

// read writes loads of consecutive lines into registers that nothing waits for.
func read(name string, vec func(i int) reg.Register) {
	begin(name, "reads blocks times 512 bytes.", "func(p *byte, blocks int)")
	p := Load(Param("p"), GP64())
	blocks := Load(Param("blocks"), GP64())
	size := int(vec(0).Size())
	Label("loop")
	for at := 0; at < 512; at += size {
		VMOVUPS(Mem{Base: p, Disp: at}, vec(at/size%8))
	}
	ADDQ(U32(512), p)
	DECQ(blocks)
	JNZ(LabelRef("loop"))
	end()
}
