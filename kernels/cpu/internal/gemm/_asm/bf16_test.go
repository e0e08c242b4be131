package main

import (
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// An instruction as a disassembler in Intel's syntax prints it, and its operands.
type dotCase struct {
	name      string
	text      string
	src       operand.Op
	x, dst    reg.Physical
	broadcast bool
}

var (
	zmm = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
		reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31}
	general = []reg.GPPhysical{reg.RAX, reg.RCX, reg.RDX, reg.RBX, reg.RSP, reg.RBP, reg.RSI, reg.RDI,
		reg.R8, reg.R9, reg.R10, reg.R11, reg.R12, reg.R13, reg.R14, reg.R15}
	names = []string{"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"}
)

// dotCases are all combinations of registers, and every shape of address.
func dotCases(name string) []dotCase {
	mnemonic := strings.ToLower(name)
	var cases []dotCase
	for s, src := range zmm {
		for x := range zmm {
			for d := range zmm {
				cases = append(cases,
					dotCase{name, fmt.Sprintf(mnemonic+" zmm%d,zmm%d,zmm%d", d, x, s), src, zmm[x], zmm[d], false},
					dotCase{name, fmt.Sprintf(mnemonic+" ymm%d,ymm%d,ymm%d", d, x, s), src.AsY().(reg.Physical), zmm[x].AsY().(reg.Physical), zmm[d].AsY().(reg.Physical), false})
			}
		}
	}
	n := 0
	memory := func(address string, m operand.Mem) {
		d, x := n%32, (n/32+n)%32
		switch n++; n % 3 {
		case 0:
			cases = append(cases, dotCase{name, fmt.Sprintf(mnemonic+" zmm%d,zmm%d,ZMMWORD PTR [%s]", d, x, address), m, zmm[x], zmm[d], false})
		case 1:
			cases = append(cases, dotCase{name, fmt.Sprintf(mnemonic+" ymm%d,ymm%d,YMMWORD PTR [%s]", d, x, address), m, zmm[x].AsY().(reg.Physical), zmm[d].AsY().(reg.Physical), false})
		case 2:
			cases = append(cases, dotCase{name, fmt.Sprintf(mnemonic+" zmm%d,zmm%d,DWORD BCST [%s]", d, x, address), m, zmm[x], zmm[d], true})
		}
	}
	for b, base := range names {
		for _, disp := range []int{0, 4, -4, 32, 64, -64, 128 * 32, 127 * 64, 128 * 64, -128 * 64, -129 * 64, 508, 512, 1 << 20, 7} {
			tail := ""
			if disp > 0 {
				tail = fmt.Sprintf("+%#x", disp)
			} else if disp < 0 {
				tail = fmt.Sprintf("-%#x", -disp)
			}
			for range 3 {
				memory(base+tail, operand.Mem{Base: general[b], Disp: disp})
			}
			for i, index := range names {
				if index != "rsp" { // cannot be one
					scale := 1 << (n % 4)
					memory(fmt.Sprintf("%s+%s*%d%s", base, index, scale, tail), operand.Mem{Base: general[b], Index: general[i], Scale: uint8(scale), Disp: disp})
				}
			}
		}
	}
	return cases
}

var spaces = regexp.MustCompile(`\s+`)

// The disassembler reads the bytes back as the instructions that they are for.
func TestDisassemblerAgrees(t *testing.T) {
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("there is no objdump to compare with")
	}
	cases := append(dotCases("VDPBF16PS"), dotCases("VCVTNE2PS2BF16")...)
	var all []byte
	for _, c := range cases {
		code, err := encode(c.name, c.src, c.x, c.dst, c.broadcast)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		all = append(all, code...)
	}
	n := 0
	for _, text := range disassemble(t, objdump, all) {
		// Older ones write a broadcast as a suffix.
		text = strings.Replace(text, "DWORD PTR", "DWORD BCST", 1)
		text = strings.TrimSuffix(text, "{1to16}")
		if n >= len(cases) || text != cases[n].text {
			t.Fatalf("instruction %d: %q, want %q", n, text, cases[min(n, len(cases)-1)].text)
		}
		n++
	}
	if n != len(cases) {
		t.Fatalf("the disassembler found %d instructions, want %d", n, len(cases))
	}
}

// Without a disassembler: a sample whose bytes GNU as made.
func TestTableOfGNUAs(t *testing.T) {
	table := readTable(t, "testdata/vdpbf16ps.txt")
	maps.Copy(table, readTable(t, "testdata/vcvtne2ps2bf16.txt"))
	seen := 0
	for _, c := range append(dotCases("VDPBF16PS"), dotCases("VCVTNE2PS2BF16")...) {
		want, ok := table[c.text]
		if !ok {
			continue
		}
		seen++
		code, err := encode(c.name, c.src, c.x, c.dst, c.broadcast)
		if got := fmt.Sprintf("%x", code); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", c.text, got, err, want)
		}
	}
	if seen < 1300 {
		t.Errorf("only %d instructions of the table were tried", seen)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, c := range []dotCase{
		{"VDPBF16PS", "sizes", reg.Z0, reg.Y1, reg.Z2, false},
		{"VDPBF16PS", "source's size", reg.X0, reg.Z1, reg.Z2, false},
		{"VDPBF16PS", "XMM", reg.X0, reg.X1, reg.X2, false},
		{"VDPBF16PS", "broadcast of a register", reg.Z0, reg.Z1, reg.Z2, true},
		{"VDPBF16PS", "frame", operand.Mem{Base: reg.FramePointer}, reg.Z1, reg.Z2, false},
		{"VDPBF16PS", "constant", operand.U8(1), reg.Z1, reg.Z2, false},
	} {
		if code, err := encode(c.name, c.src, c.x, c.dst, c.broadcast); err == nil {
			t.Errorf("%s: encoded as %x", c.text, code)
		}
	}
}
