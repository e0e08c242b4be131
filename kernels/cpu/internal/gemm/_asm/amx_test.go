package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileCase is an instruction of AMX as a disassembler in Intel's syntax prints it.
type tileCase struct {
	text     string
	opcode   string
	operands []operand.Op
}

// tileCases are all combinations of tiles, and every shape of address.
func tileCases() []tileCase {
	cases := []tileCase{{"tilerelease", "TILERELEASE", nil}}
	for d := range 8 {
		cases = append(cases, tileCase{fmt.Sprintf("tilezero tmm%d", d), "TILEZERO", []operand.Op{tmm(d)}})
		for a := range 8 {
			for b := range 8 {
				if a != b && a != d && b != d {
					cases = append(cases, tileCase{fmt.Sprintf("tdpbf16ps tmm%d,tmm%d,tmm%d", d, a, b), "TDPBF16PS", []operand.Op{tmm(b), tmm(a), tmm(d)}})
				}
			}
		}
	}
	n := 0
	for b, base := range names {
		for _, disp := range []int{0, 64, -64, 127, 128, -128, -129, 1 << 20} {
			tail := ""
			if disp > 0 {
				tail = fmt.Sprintf("+%#x", disp)
			} else if disp < 0 {
				tail = fmt.Sprintf("-%#x", -disp)
			}
			plain := operand.Mem{Base: general[b], Disp: disp}
			cases = append(cases, tileCase{fmt.Sprintf("ldtilecfg [%s%s]", base, tail), "LDTILECFG", []operand.Op{plain}},
				tileCase{fmt.Sprintf("prefetchw BYTE PTR [%s%s]", base, tail), "PREFETCHW", []operand.Op{plain}})
			for i, index := range names {
				if index == "rsp" { // cannot be one
					continue
				}
				m, t := operand.Mem{Base: general[b], Index: general[i], Scale: 1, Disp: disp}, n%8
				address := fmt.Sprintf("[%s+%s*1%s]", base, index, tail)
				n++
				cases = append(cases, tileCase{"prefetchw BYTE PTR " + address, "PREFETCHW", []operand.Op{m}})
				if n%2 == 0 {
					cases = append(cases, tileCase{fmt.Sprintf("tileloadd tmm%d,%s", t, address), "TILELOADD", []operand.Op{m, tmm(t)}})
				} else {
					cases = append(cases, tileCase{fmt.Sprintf("tilestored %s,tmm%d", address, t), "TILESTORED", []operand.Op{tmm(t), m}})
				}
			}
		}
	}
	return cases
}

func TestDisassemblerAgreesOnTiles(t *testing.T) {
	objdump, err := exec.LookPath("objdump")
	if err != nil {
		t.Skip("there is no objdump to compare with")
	}
	cases := tileCases()
	var all []byte
	for _, c := range cases {
		code, err := encodeTile(c.opcode, c.operands)
		if err != nil {
			t.Fatalf("%s: %v", c.text, err)
		}
		all = append(all, code...)
	}
	found := disassemble(t, objdump, all)
	for n, c := range cases {
		if n >= len(found) || found[n] != c.text {
			t.Fatalf("instruction %d of %d: %q, want %q", n, len(found), found[min(n, len(found)-1)], c.text)
		}
	}
}

// disassemble gives the instructions of code, in Intel's syntax.
func disassemble(t *testing.T, objdump string, code []byte) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "code")
	if err := os.WriteFile(file, code, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(objdump, "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "--no-show-raw-insn", file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for line := range strings.Lines(string(out)) {
		if _, text, ok := strings.Cut(strings.TrimSpace(line), ":\t"); ok {
			text = spaces.ReplaceAllString(strings.TrimSpace(text), " ")
			found = append(found, strings.Replace(text, "+0x0]", "]", 1))
		}
	}
	return found
}

// Without a disassembler: a sample whose bytes GNU as made.
func TestTableOfTiles(t *testing.T) {
	table := readTable(t, "testdata/amx.txt")
	seen := 0
	for _, c := range tileCases() {
		want, ok := table[c.text]
		if !ok {
			continue
		}
		seen++
		code, err := encodeTile(c.opcode, c.operands)
		if got := fmt.Sprintf("%x", code); err != nil || got != want {
			t.Errorf("%s: %s (%v), want %s", c.text, got, err, want)
		}
	}
	if seen < 250 {
		t.Errorf("only %d instructions of the table were tried", seen)
	}
}

func TestEncodeTileRefuses(t *testing.T) {
	plain := operand.Mem{Base: reg.RAX}
	indexed := operand.Mem{Base: reg.RAX, Index: reg.RCX, Scale: 1}
	for _, c := range []tileCase{
		{"a tile that is not there", "TILEZERO", []operand.Op{tmm(8)}},
		{"one tile twice", "TDPBF16PS", []operand.Op{tmm(1), tmm(1), tmm(2)}},
		{"too few tiles", "TDPBF16PS", []operand.Op{tmm(1), tmm(2)}},
		{"a register", "TILEZERO", []operand.Op{reg.RAX}},
		{"no index", "TILELOADD", []operand.Op{plain, tmm(0)}},
		{"a scaled index", "TILELOADD", []operand.Op{operand.Mem{Base: reg.RAX, Index: reg.RCX, Scale: 2}, tmm(0)}},
		{"the stack pointer as index", "TILESTORED", []operand.Op{tmm(0), operand.Mem{Base: reg.RAX, Index: reg.RSP, Scale: 1}}},
		{"the frame", "LDTILECFG", []operand.Op{operand.Mem{Base: reg.FramePointer}}},
		{"shapes with an index", "LDTILECFG", []operand.Op{indexed}},
		{"memory", "TILERELEASE", []operand.Op{plain}},
		{"another instruction", "TDPBSSD", []operand.Op{tmm(0), tmm(1), tmm(2)}},
	} {
		if code, err := encodeTile(c.opcode, c.operands); err == nil {
			t.Errorf("%s: encoded as %x", c.text, code)
		}
	}
}

// readTable reads the bytes of instructions, by their text.
func readTable(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if code, name, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			table[name] = code
		}
	}
	return table
}
