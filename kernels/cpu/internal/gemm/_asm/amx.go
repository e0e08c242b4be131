package main

import (
	"fmt"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The instructions of AMX, and PREFETCHW, which neither avo nor Go's assembler
// has: avo allocates the general registers of their addresses, and encodeAMX then
// writes them as bytes. Tiles are named, not allocated.

// tileRegister is one of the eight tiles. To avo it is a constant.
type tileRegister struct{ U8 }

func tmm(n int) tileRegister { return tileRegister{U8(n)} }

func (t tileRegister) Asm() string { return fmt.Sprintf("TMM%d", t.U8) }

// LDTILECFG sets the shapes of all tiles from 64 bytes, and clears them.
func LDTILECFG(m Mem) { amx("LDTILECFG", m) }

// TILERELEASE gives up all tiles: threads that hold none are cheaper to switch.
func TILERELEASE() { amx("TILERELEASE") }

// TILEZERO clears a tile.
func TILEZERO(t tileRegister) { amx("TILEZERO", t) }

// TILELOADD loads a tile's rows: from m's base and displacement, its index apart.
func TILELOADD(m Mem, t tileRegister) { amx("TILELOADD", m, t) }

// TILESTORED stores a tile as TILELOADD loads it.
func TILESTORED(t tileRegister, m Mem) { amx("TILESTORED", t, m) }

// TDPBF16PS adds the products of a [rows, pairs] and b [pairs, columns], of pairs of bf16, to dst.
func TDPBF16PS(b, a, dst tileRegister) { amx("TDPBF16PS", b, a, dst) }

// PREFETCHW asks for a line that will be written.
func PREFETCHW(m Mem) { amx("PREFETCHW", m) }

func amx(opcode string, operands ...Op) {
	i := &ir.Instruction{Opcode: opcode, Operands: operands, ISA: []string{"AMX_TILE"}}
	for _, o := range operands {
		if m, ok := o.(Mem); ok {
			i.Inputs = append(i.Inputs, m)
		}
	}
	switch opcode {
	case "TDPBF16PS":
		i.ISA = []string{"AMX_BF16"}
	case "PREFETCHW":
		i.ISA = []string{"PREFETCHW"}
	}
	Instruction(i)
}

// encodeAMX replaces instructions of AMX by their bytes. It is a pass that runs
// after registers are allocated.
func encodeAMX(i *ir.Instruction) error {
	if len(i.ISA) != 1 || !strings.HasPrefix(i.ISA[0], "AMX_") && i.ISA[0] != "PREFETCHW" {
		return nil
	}
	code, err := encodeTile(i.Opcode, i.Operands)
	if err != nil {
		return fmt.Errorf("%s: %w", i.Opcode, err)
	}
	var names []string
	for _, o := range i.Operands {
		names = append(names, o.Asm())
	}
	*i = ir.Instruction{Opcode: asBytes(code, strings.TrimSpace(i.Opcode+" "+strings.Join(names, ", ")))}
	return nil
}

// asBytes is a line of Go's assembler that consists of bytes.
func asBytes(code []byte, comment string) string {
	var line strings.Builder
	for n, c := range code {
		if n > 0 {
			line.WriteString("; ")
		}
		fmt.Fprintf(&line, "BYTE $%#02x", c)
	}
	fmt.Fprintf(&line, " // %s", comment)
	return line.String()
}

// encodeTile gives VEX.128.{NP,F2,F3}.0F38.W0 (Intel, Software Developer's
// Manual, volume 2, 2.3 "Intel AVX" and the pages of the instructions).
func encodeTile(opcode string, operands []Op) ([]byte, error) {
	const np, f3, f2 = 0, 2, 3
	var m Mem
	var tiles []byte
	for _, o := range operands {
		switch o := o.(type) {
		case Mem:
			m = o
		case tileRegister:
			if o.U8 > 7 {
				return nil, fmt.Errorf("there is no tile %s", o.Asm())
			}
			tiles = append(tiles, byte(o.U8))
		default:
			return nil, fmt.Errorf("operand %s: want a tile or memory", o.Asm())
		}
	}
	shape := func(memory bool, n int) error {
		if (m.Base != nil) != memory || len(tiles) != n || len(operands) > n+1 {
			return fmt.Errorf("%d operands: want %d tiles, memory: %v", len(operands), n, memory)
		}
		return nil
	}
	registers := func(pp, opcode, r, v, rm byte) []byte {
		return []byte{0xc4, 0xe2, (^v&15)<<3 | pp, opcode, 0xc0 | r<<3 | rm}
	}
	switch opcode {
	case "TILERELEASE":
		return registers(np, 0x49, 0, 0, 0), shape(false, 0)
	case "TILEZERO":
		if err := shape(false, 1); err != nil {
			return nil, err
		}
		return registers(f2, 0x49, tiles[0], 0, 0), nil
	case "TDPBF16PS":
		if err := shape(false, 3); err != nil {
			return nil, err
		}
		if tiles[0] == tiles[1] || tiles[0] == tiles[2] || tiles[1] == tiles[2] {
			return nil, fmt.Errorf("tiles %v: want three different ones", tiles)
		}
		return registers(f3, 0x5c, tiles[2], tiles[0], tiles[1]), nil
	case "LDTILECFG":
		if err := shape(true, 0); err != nil {
			return nil, err
		}
		if m.Index != nil {
			return nil, fmt.Errorf("address %s: want no index", m.Asm())
		}
		return tileMemory(np, 0x49, 0, m)
	case "PREFETCHW":
		if err := shape(true, 0); err != nil {
			return nil, err
		}
		x, b, tail, err := address(m, 1)
		code := []byte{0x0f, 0x0d}
		if x|b > 0 {
			code = []byte{0x40 | x<<1 | b, 0x0f, 0x0d}
		}
		return append(code, tail...), err
	case "TILELOADD", "TILESTORED":
		if err := shape(true, 1); err != nil {
			return nil, err
		}
		if m.Index == nil {
			return nil, fmt.Errorf("address %s: want an index, the distance of rows", m.Asm())
		}
		if opcode == "TILELOADD" {
			return tileMemory(f2, 0x4b, tiles[0], m)
		}
		return tileMemory(f3, 0x4b, tiles[0], m)
	}
	return nil, fmt.Errorf("no such instruction of AMX")
}

// tileMemory encodes an instruction with one tile and memory.
func tileMemory(pp, opcode, tile byte, m Mem) ([]byte, error) {
	x, b, tail, err := address(m, tile)
	if err != nil {
		return nil, err
	}
	return append([]byte{0xc4, 0x80 | (x^1)<<6 | (b^1)<<5 | 0x02, 0x78 | pp, opcode}, tail...), nil
}

// address encodes memory with displacements as they are: the numbers' highest
// bits of index and base, and ModRM with field r, SIB and displacement.
func address(m Mem, r byte) (x, b byte, tail []byte, err error) {
	register, ok := m.Base.(reg.Physical)
	if !ok || register.Kind() != reg.KindGP || m.Symbol.Name != "" {
		return 0, 0, nil, fmt.Errorf("address %s: want a general register as base", m.Asm())
	}
	base, index := register.PhysicalIndex(), reg.Index(4) // no index
	if m.Index != nil {
		i, ok := m.Index.(reg.Physical)
		if !ok || i.Kind() != reg.KindGP || i.PhysicalIndex() == 4 || m.Scale != 1 {
			return 0, 0, nil, fmt.Errorf("address %s: want a general register as index, times 1", m.Asm())
		}
		index = i.PhysicalIndex()
	}
	modrm := r<<3 | byte(base&7)
	tail = []byte{modrm}
	if m.Index != nil || base&7 == 4 {
		modrm = r<<3 | 4
		tail = []byte{modrm, byte(index&7)<<3 | byte(base&7)}
	}
	switch {
	case m.Disp == 0 && base&7 != 5:
	case m.Disp == int(int8(m.Disp)):
		tail[0] |= 0x40
		tail = append(tail, byte(m.Disp))
	default:
		tail[0] |= 0x80
		u := uint32(m.Disp)
		tail = append(tail, byte(u), byte(u>>8), byte(u>>16), byte(u>>24))
	}
	return byte(index>>3) & 1, byte(base>>3) & 1, tail, nil
}
