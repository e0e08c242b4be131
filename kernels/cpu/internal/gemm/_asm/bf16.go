package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// VDPBF16PS adds the dot products of pairs of bf16 to dst:
//
//	dst[i] += x[2i+1]·src[2i+1], then dst[i] += x[2i]·src[2i]
//
// src is a register or memory; x and dst are registers of the same size, YMM or
// ZMM. Neither avo nor Go's assembler has the instruction: avo allocates its
// registers like any other's, and encodeBF16 then writes it as bytes.
func VDPBF16PS(src Op, x, dst reg.VecVirtual) { vectorBF16("VDPBF16PS", src, x, dst) }

// VDPBF16PS_BCST is VDPBF16PS with the same pair of src, 4 bytes of memory, for every i.
func VDPBF16PS_BCST(src Mem, x, dst reg.VecVirtual) {
	vectorBF16("VDPBF16PS", src, x, dst, "BCST")
}

// VCVTNE2PS2BF16 rounds src's elements to the lower half of dst and x's to the
// upper half. Subnormals become zeros.
func VCVTNE2PS2BF16(src Op, x, dst reg.VecVirtual) { vectorBF16("VCVTNE2PS2BF16", src, x, dst) }

// bf16Codes are the instructions' prefixes and opcodes.
var bf16Codes = map[string]struct{ pp, opcode byte }{
	"VDPBF16PS":      {2, 0x52},
	"VCVTNE2PS2BF16": {3, 0x72},
}

func vectorBF16(opcode string, src Op, x, dst reg.VecVirtual, suffixes ...string) {
	inputs := []Op{src, x}
	if opcode == "VDPBF16PS" {
		inputs = append(inputs, dst)
	}
	Instruction(&ir.Instruction{
		Opcode: opcode, Suffixes: suffixes,
		Operands: []Op{src, x, dst}, Inputs: inputs, Outputs: []Op{dst},
		ISA: []string{"AVX512_BF16", "AVX512VL"},
	})
}

// encodeBF16 replaces the instructions above by their bytes. It is a pass that
// runs after registers are allocated.
func encodeBF16(i *ir.Instruction) error {
	if _, ok := bf16Codes[i.Opcode]; !ok {
		return nil
	}
	x, dst := i.Operands[1].(reg.Physical), i.Operands[2].(reg.Physical)
	code, err := encode(i.Opcode, i.Operands[0], x, dst, len(i.Suffixes) > 0)
	if err != nil {
		return fmt.Errorf("%s: %w", i.OpcodeWithSuffixes(), err)
	}
	*i = ir.Instruction{Opcode: asBytes(code, fmt.Sprintf("%s %s, %s, %s", i.OpcodeWithSuffixes(), i.Operands[0].Asm(), x.Asm(), dst.Asm()))}
	return nil
}

// encode gives EVEX.{256,512}.{F3,F2}.0F38.W0 {52,72} /r (Intel, Software
// Developer's Manual, volume 2, 2.7 "Intel AVX-512 encoding" and the instructions' pages).
func encode(name string, src Op, x, dst reg.Physical, broadcast bool) ([]byte, error) {
	if x.Size() != dst.Size() || x.Size() != 32 && x.Size() != 64 {
		return nil, fmt.Errorf("registers %s and %s: want two YMM or two ZMM", x.Asm(), dst.Asm())
	}
	// Bits that EVEX stores inverted: of the register in ModRM.reg, of the
	// second source, and of the base or register in ModRM.rm and the index.
	inverted := func(v reg.Index, bit int) byte { return byte(^v>>bit) & 1 }
	d, v := dst.PhysicalIndex(), x.PhysicalIndex()
	modrm, tail := byte(d&7)<<3, []byte(nil)
	var base, index reg.Index // with bit 3 in EVEX.B and EVEX.X
	switch s := src.(type) {
	case reg.Physical:
		if s.Size() != dst.Size() || broadcast {
			return nil, fmt.Errorf("source %s for %s", s.Asm(), dst.Asm())
		}
		base = s.PhysicalIndex()
		index = base >> 1 // bit 4 of a vector register takes the index's place
		modrm |= 0xc0 | byte(base&7)
	case Mem:
		unit := int(dst.Size())
		if broadcast {
			unit = 4
		}
		b, ok := s.Base.(reg.Physical)
		if !ok || b.Kind() != reg.KindGP || s.Symbol.Name != "" {
			return nil, fmt.Errorf("source %s: want a general register as base", s.Asm())
		}
		base = b.PhysicalIndex()
		rm := byte(base & 7)
		if s.Index != nil {
			index = s.Index.(reg.Physical).PhysicalIndex()
			scale := map[uint8]byte{1: 0, 2: 1, 4: 2, 8: 3}[s.Scale]
			rm, tail = 4, []byte{scale<<6 | byte(index&7)<<3 | byte(base&7)}
		} else if rm == 4 {
			tail = []byte{0x24} // a stack pointer's code is taken: base alone, by SIB
		}
		switch small := s.Disp / unit; {
		case s.Disp == 0 && base&7 != 5:
		case s.Disp%unit == 0 && small == int(int8(small)):
			modrm |= 0x40
			tail = append(tail, byte(small))
		default:
			modrm |= 0x80
			u := uint32(s.Disp)
			tail = append(tail, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
		}
		modrm |= rm
	default:
		return nil, fmt.Errorf("source %s: want a register or memory", src.Asm())
	}
	p0 := inverted(d, 3)<<7 | inverted(index, 3)<<6 | inverted(base, 3)<<5 | inverted(d, 4)<<4 | 0x02
	p1 := byte(^v&15)<<3 | 0x04 | bf16Codes[name].pp
	p2 := byte(dst.Size()/32)<<5 | inverted(v, 4)<<3
	if broadcast {
		p2 |= 0x10
	}
	return append([]byte{0x62, p0, p1, p2, bf16Codes[name].opcode, modrm}, tail...), nil
}
