package ptx

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
)

// assemble gives the cubin, or what ptxas says.
func assemble(t testing.TB, tool, text string, target Target) (cubin []byte, out string, ok bool) {
	dir := t.TempDir()
	in, bin := filepath.Join(dir, "in.ptx"), filepath.Join(dir, "out.cubin")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	msg, err := exec.Command(tool, "-arch="+target.String(), in, "-o", bin).CombinedOutput()
	if err != nil {
		return nil, string(msg), false
	}
	cubin, err = os.ReadFile(bin)
	if err != nil {
		t.Fatal(err)
	}
	return cubin, string(msg), true
}

// machineCode is the sections of a cubin that the GPU sees.
func machineCode(t testing.TB, cubin []byte) map[string][]byte {
	f, err := elf.NewFile(bytes.NewReader(cubin))
	if err != nil {
		t.Fatal(err)
	}
	code := map[string][]byte{}
	for _, s := range f.Sections {
		for _, p := range []string{".text", ".nv.constant", ".nv.global.init", ".nv.shared"} {
			if strings.HasPrefix(s.Name, p) && s.Type != elf.SHT_NOBITS {
				if code[s.Name], err = s.Data(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return code
}

// TestDataPTXAssembles: what is printed assembles to the same machine code as the text
// that was parsed, also under the lowest version.
func TestDataPTXAssembles(t *testing.T) {
	files := dataFiles(t)
	tools := ptxas.Find(t)
	for _, f := range files {
		t.Run(filepath.Base(filepath.Dir(f)), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			m, err := Parse(f, text)
			if err != nil {
				t.Fatal(err)
			}
			for _, tool := range tools {
				want, _, ok := assemble(t, tool, string(text), m.Target)
				if !ok {
					continue // too old for the version
				}
				got, msg, ok := assemble(t, tool, m.String(), m.Target)
				if !ok {
					t.Fatalf("the printed module does not assemble: %s", msg)
				}
				a, b := machineCode(t, want), machineCode(t, got)
				if len(a) == 0 || len(a) != len(b) {
					t.Fatalf("%d and %d sections", len(a), len(b))
				}
				for name := range a {
					if !bytes.Equal(a[name], b[name]) {
						t.Errorf("section %s differs", name)
					}
				}
				low := *m
				low.Version = m.LowestVersion()
				if _, msg, ok := assemble(t, tool, low.String(), m.Target); !ok {
					t.Errorf("does not assemble as .version %s, the lowest by the table: %s", low.Version, msg)
				}
				return
			}
			t.Fatalf("no ptxas of %v takes the file", tools)
		})
	}
	t.Logf("%d files", len(files))
}

// probe is one instruction of the table in text, with the least version and target.
type probe struct {
	text    string
	form    *Form
	version Version
	target  Target
}

// immFor is a constant that is right for the operand.
func immFor(f *Form, a *Arg) string {
	switch a.Name {
	case "cp_size":
		return "16"
	case "imm_reg_count":
		return "64"
	case "imm_scale_a", "imm_scale_b", "ord":
		return "1"
	case "size":
		return "128"
	case "immAlign":
		return "16"
	case "lut":
		return "0x3f"
	}
	return "0"
}

// operandFor writes an operand for the place, from the registers that probeModule
// declares; next numbers them.
func operandFor(m *match, a *Arg, next map[string]int) string {
	reg := func(t Type) string {
		names := map[int]string{1: "p", 8: "c", 16: "h", 32: "r", 64: "d", 128: "q"}
		n := names[t.Bits()]
		if t == Pred {
			n = "p"
		}
		next[n]++
		return fmt.Sprintf("%%%s%d", n, next[n])
	}
	switch a.Kind {
	case ArgImm:
		return immFor(m.form, a)
	case ArgMem:
		switch m.argSpace(a) {
		case Shared, SharedCTA, SharedCluster:
			return "[%r0]"
		case Param, ParamEntry:
			return "[p]"
		}
		return "[%d0]"
	case ArgTensor:
		return "[%d0, {" + strings.TrimSuffix(strings.Repeat("%r1, ", m.coords()), ", ") + "}]"
	case ArgLabel:
		return "L"
	case ArgTargets:
		return "T"
	}
	t, n := m.argType(a), m.argCount(a)
	if a.Name == "fraction" {
		return "0.5"
	}
	if n == 0 {
		s := reg(t)
		if a.DestSel {
			s += ".b0"
			if strings.HasSuffix(m.form.Op, "2") {
				s = strings.TrimSuffix(s, "b0") + "h0"
			}
		}
		return s
	}
	list := make([]string, n)
	for i := range list {
		list[i] = reg(t)
	}
	return "{" + strings.Join(list, ", ") + "}"
}

func instrText(m *match, omit bool) string {
	f := m.form
	mods := []string{f.Op}
	for i, s := range m.sel {
		if s >= 0 {
			mods = append(mods, f.Slots[i].Values[s].Text)
		}
	}
	next := map[string]int{}
	var args []string
	for i := range f.Args {
		a := &f.Args[i]
		if a.Optional && (omit && m.mayOmit(a) || !m.wanted(a)) {
			continue
		}
		s := operandFor(m, a, next)
		if a.Name == "state" && a.Dir == Out && m.value("space") != nil && m.value("space").Space == SharedCluster {
			s = "_" // a remote barrier returns no state
		}
		if a.Pair != nil && !(a.Pair.Optional && omit) {
			s += "|" + operandFor(m, a.Pair, next)
		}
		args = append(args, s)
	}
	return strings.Join(mods, ".") + " " + strings.Join(args, ", ") + ";"
}

// heavy asks for the whole grid.
var heavy = os.Getenv("SELKIE_HEAVY") != ""

// choices enumerates modifiers of a form: every value of every slot beside the first
// ones of the others; all combinations, up to a bound, when heavy.
func choices(f *Form) (list []*match) {
	for _, m := range allChoices(f) {
		ok := true
		for i := range f.Slots {
			ok = ok && !(f.Slots[i].With && (m.sel[i] < 0) != (m.sel[i-1] < 0))
		}
		if ok {
			list = append(list, m)
		}
	}
	return list
}

func allChoices(f *Form) (list []*match) {
	base := make([]int8, len(f.Slots))
	for i, s := range f.Slots {
		if s.Optional {
			base[i] = -1
		}
	}
	if heavy {
		total := 1
		for _, s := range f.Slots {
			total *= len(s.Values) + int(-base[f.slot(s.Name)])
			total = min(total, 1<<20)
		}
		step := max(1, total/400)
		if step > 1 {
			step |= 1
		}
		for k := 0; k < total; k += step {
			sel := make([]int8, len(f.Slots))
			for i, r := 0, k; i < len(sel); i++ {
				n := len(f.Slots[i].Values)
				if f.Slots[i].Optional {
					n++
				}
				sel[i] = int8(r%n) + base[i]
				r /= n
			}
			list = append(list, &match{f, sel})
		}
	}
	list = append(list, &match{f, base})
	for i, s := range f.Slots {
		for v := range s.Values {
			if int8(v) != base[i] {
				sel := append([]int8(nil), base...)
				sel[i] = int8(v)
				if i+1 < len(f.Slots) && f.Slots[i+1].With {
					sel[i+1] = 0
				}
				if s.With {
					sel[i-1] = 0
				}
				list = append(list, &match{f, sel})
			}
		}
	}
	return list
}

// oracleTargets are those that the table is confirmed for.
var oracleTargets = []Target{{75, 0}, {80, 0}, {86, 0}, {89, 0}, {90, 0}, {90, 'a'}, {100, 0}, {100, 'a'}, {120, 'a'}}

// probes samples the table, once for all tests.
var probes = sync.OnceValue(sampleTable)

func sampleTable() (list []probe) {
	seen := map[string]bool{}
	for _, f := range Forms() {
		if len(f.Args) == 1 && f.Args[0].Kind == ArgCall {
			continue
		}
		for _, m := range choices(f) {
			if f.Op == "st" && (m.argSpace(&f.Args[0]) == Param || m.argSpace(&f.Args[0]) == ParamFunc) {
				continue // needs a call
			}
			if f.Op == "cvta" && m.value("size").Text == "u32" {
				continue // ptxas takes no 32-bit addresses any more
			}
			if f.Op == "ld" && m.argSpace(&f.Args[1]) == ParamFunc {
				continue
			}
			for _, omit := range []bool{true, false} {
				text := instrText(m, omit)
				if seen[text] {
					continue
				}
				seen[text] = true
				p := probe{text: text, form: f}
				mod, err := Parse("probe", probeModule(probeVersion(text), Target{90, 'a'}, []string{text}))
				if err != nil {
					p.version = Version{-1, 0}
					p.text += " // " + err.Error()
					list = append(list, p)
					continue
				}
				for _, t := range oracleTargets {
					mod.Target = t
					if onlyUnwritten(mod.Check(t, Version{9, 1})) {
						p.target, p.version = t, mod.LowestVersion()
						break
					}
				}
				list = append(list, p)
			}
		}
	}
	return list
}

// probeVersion is the version whose module declares the registers that the text has.
func probeVersion(text string) Version {
	if strings.Contains(text, "%q") {
		return Version{9, 1}
	}
	return Version{8, 2}
}

// onlyUnwritten reports whether nothing is wrong but that probes set no registers.
func onlyUnwritten(err error) bool {
	l, _ := err.(ErrorList)
	for _, e := range l {
		if !strings.Contains(e.Msg, "nothing has written it") {
			return false
		}
	}
	return true
}

const probeHead = 16 // lines before the first instruction

func probeModule(v Version, t Target, instrs []string) string {
	return fmt.Sprintf(`.version %s
.target %s
.address_size 64
.visible .entry k(.param .align 16 .b8 p[1024])
.maxntid 128
.minnctapersm 1
{
.reg .pred %%p<16>;
.reg .b8 %%c<16>;
.reg .b16 %%h<64>;
.reg .b32 %%r<400>;
.reg .b64 %%d<200>;
%s
T: .branchtargets L, M;
L:
%s
M: ret;
}
`, v, t, map[bool]string{true: ".reg .b128 %q<8>;", false: ""}[!v.Less(Version{8, 3})], strings.Join(instrs, "\n"))
}

var ptxasLine = regexp.MustCompile(`, line (\d+); error\s*: (.*)`)

// complaints runs ptxas over instructions and gives its error for each, by index.
func complaints(t *testing.T, tool string, v Version, target Target, instrs []string) map[int]string {
	_, out, ok := assemble(t, tool, probeModule(v, target, instrs), target)
	bad := map[int]string{}
	for _, m := range ptxasLine.FindAllStringSubmatch(out, -1) {
		n, _ := strconv.Atoi(m[1])
		if i := n - probeHead; i >= 0 && i < len(instrs) && bad[i] == "" {
			bad[i] = m[2]
		} else if i < 0 || i >= len(instrs) {
			t.Fatalf("ptxas complains outside the instructions: %s", out)
		}
	}
	if !ok && len(bad) == 0 {
		if len(instrs) == 1 {
			return map[int]string{0: strings.TrimSpace(out)}
		}
		// An error without a line: find it by halves.
		h := len(instrs) / 2
		for i, msg := range complaints(t, tool, v, target, instrs[:h]) {
			bad[i] = msg
		}
		for i, msg := range complaints(t, tool, v, target, instrs[h:]) {
			bad[h+i] = msg
		}
	}
	return bad
}
