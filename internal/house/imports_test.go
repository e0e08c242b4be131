package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// room is a package, or a folder of them, and the rooms its code may import. In
// rooms, a room may name only rooms below it: imports point downward only.
type room struct {
	path   string
	under  bool // and every package below the folder
	uses   []string
	testOf bool // imported by tests only
}

var rooms = []room{
	{path: "internal/house"},
	{path: "scripts", under: true},
	{path: "bench", under: true, uses: []string{"seal", "nn", "nn/tokenizer", "nn/safetensors", "tensor", "kernels", "ptx", "internal/peak", "internal/philox", "internal/sysmem"}},
	{path: "cmd/seal-run", uses: []string{
		"seal", "seal/arc", "seal/arc/gridworld", "seal/demo", "seal/journal", "seal/judge", "seal/report", "seal/settings", "seal/world",
		"nn/pretrain", "nn/textdata", "nn", "nn/tokenizer", "nn/safetensors", "tensor", "internal/atomicfile", "internal/philox", "internal/sysmem",
	}},
	{path: "cmd/ptxemu", uses: []string{"ptx", "ptx/emu"}},

	{path: "seal/demo", uses: []string{
		"seal", "seal/arc", "seal/arc/gridworld", "seal/journal", "seal/report", "seal/settings", "seal/world",
		"nn", "nn/tokenizer", "nn/safetensors", "tensor", "internal/atomicfile", "internal/philox", "internal/sysmem",
	}},
	{path: "seal", uses: []string{"seal/arc", "seal/journal", "seal/judge", "seal/report", "seal/settings", "nn", "nn/tokenizer", "internal/atomicfile", "internal/philox", "internal/sysmem"}},
	{path: "seal/report", uses: []string{"internal/atomicfile"}},
	{path: "seal/journal", uses: []string{"internal/atomicfile"}},
	{path: "seal/judge", under: true, uses: []string{"internal/philox"}},
	{path: "seal/settings"},
	{path: "seal/arc/gridworld", uses: []string{"seal/arc", "seal/world", "nn/tokenizer", "internal/philox"}},
	{path: "seal/arc", uses: []string{"nn/tokenizer", "internal/philox"}},
	{path: "seal/world", uses: []string{"internal/philox"}},

	{path: "nn/pretrain", uses: []string{"nn/textdata", "nn", "nn/safetensors", "nn/tokenizer", "tensor", "internal/atomicfile", "internal/philox"}},
	{path: "nn/textdata", uses: []string{"nn", "nn/tokenizer"}},
	{path: "nn", uses: []string{"nn/tokenizer", "nn/safetensors", "tensor", "kernels", "internal/atomicfile", "internal/half", "internal/philox"}},
	{path: "nn/tokenizer", uses: []string{"internal/atomicfile"}},
	{path: "nn/safetensors", uses: []string{"internal/atomicfile", "internal/half"}},

	{path: "tensor", uses: []string{"kernels/cuda", "kernels/cpu", "kernels/dry", "kernels/ref", "kernels"}},
	{path: "ptx/emu/libcuda", uses: []string{"kernels/cuda", "ptx/emu"}}, // the driver's emulated one, in C's dress
	{path: "kernels/cuda", under: true, uses: []string{"ptx", "ptx/emu", "kernels/host", "kernels", "internal/f32math", "internal/half", "internal/philox"}},
	{path: "kernels/cpu", uses: []string{"kernels/cpu/internal/gemm", "kernels/cpu/internal/vec", "kernels/host", "kernels", "internal/half", "internal/peak", "internal/philox"}},
	{path: "kernels/cpu/internal/gemm", uses: []string{"kernels/cpu/internal/vec", "internal/half", "internal/peak"}},
	{path: "kernels/cpu/internal/vec", uses: []string{"internal/amx", "internal/f32math", "internal/half"}},
	{path: "kernels/kerneltest", testOf: true, uses: []string{"kernels/ref", "kernels", "internal/half", "internal/philox"}},
	{path: "kernels/ref", uses: []string{"kernels/host", "kernels", "internal/f32math", "internal/half", "internal/philox"}},
	{path: "kernels/dry", uses: []string{"kernels/host", "kernels"}},
	{path: "kernels/host", uses: []string{"kernels"}},
	{path: "kernels"},

	{path: "ptx/examples", uses: []string{"ptx"}},
	{path: "ptx/mutate/mutatetest", testOf: true, uses: []string{"ptx"}},
	{path: "ptx/emu", under: true, uses: []string{"ptx"}},
	{path: "ptx", under: true},

	{path: "internal/testdata", testOf: true},
	{path: "internal/ptxas", testOf: true},
	{path: "internal/atomicfile"},
	{path: "internal/f32math"},
	{path: "internal/half"},
	{path: "internal/peak", uses: []string{"internal/amx"}},
	{path: "internal/amx"},
	{path: "internal/philox"},
	{path: "internal/sysmem"},
}

// exceptions to the table.
var exceptions = []struct {
	from, to string
	tests    bool // for tests only
}{
	{"cmd/seal-run", "kernels/cuda", false}, // its commands tune and info
	{"cmd/ptxemu", "nn/safetensors", false},
	{"ptx", "nn/safetensors", true},
	{"ptx/examples", "ptx/emu", true},
	{"ptx", "ptx/emu", true},
}

// libraries names the rooms that may import a module from outside; one that is
// not listed may not be imported at all.
var libraries = map[string][]string{
	"codeberg.org/go-fonts/liberation":   {"seal/report"},
	"github.com/dlclark/regexp2":         {"nn/tokenizer"},
	"github.com/ebitengine/purego":       {"kernels/cuda"},
	"github.com/goccy/go-yaml":           {"cmd/seal-run", "seal/journal", "seal/settings"},
	"github.com/gofrs/flock":             {"nn/pretrain", "seal/journal"},
	"github.com/google/renameio/v2":      {"internal/atomicfile"},
	"github.com/klauspost/cpuid/v2":      {"cmd/seal-run", "internal/amx", "internal/peak", "kernels/cpu", "kernels/cpu/internal/vec", "ptx/emu"},
	"github.com/nikolalohinski/gonja/v2": {"nn/tokenizer"},
	"github.com/spf13/cobra":             {"cmd/seal-run", "cmd/ptxemu"},
	"github.com/spf13/pflag":             {"cmd/seal-run", "cmd/ptxemu"},
	"github.com/vbauerster/mpb/v8":       {"cmd/seal-run"},
	"golang.org/x/sys":                   {"cmd/seal-run", "internal/atomicfile", "internal/sysmem", "kernels/cpu", "kernels/cuda", "nn/safetensors"},
	"golang.org/x/text":                  {"nn/tokenizer"},
	"gonum.org/v1/plot":                  {"seal/report"},
}

// testLibraries may be imported by any test, and by code that only tests import.
var testLibraries = []string{"github.com/google/go-cmp", "golang.org/x/net", "pgregory.net/rapid", "testing"}

// pkg is what go list tells of a package.
type pkg struct {
	ImportPath                         string
	Imports, TestImports, XTestImports []string
}

// listPackages asks go list for the packages of the module on a platform.
func listPackages(t *testing.T, goos, goarch string) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = root(t)
	cmd.Env = append(cmd.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// roomOf returns the index of a package's room, the one with the longest path;
// −1: none.
func roomOf(path string) int {
	best := -1
	for i, r := range rooms {
		if (path == r.path || r.under && strings.HasPrefix(path, r.path+"/")) && (best < 0 || len(r.path) > len(rooms[best].path)) {
			best = i
		}
	}
	return best
}

// checkImports returns what is wrong with the imports of pkgs.
func checkImports(pkgs []pkg) (findings []string) {
	find := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		from := roomOf(path)
		if from < 0 {
			find("%s has no room: say in rooms (internal/house) where it stands and what it may import", path)
			continue
		}
		for i, list := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, imported := range list {
				if why := refuse(from, imported, i > 0); why != "" {
					find("%s%s imports %s: %s", path, [...]string{"", " (test)", " (test)"}[i], imported, why)
				}
			}
		}
	}
	return findings
}

// refuse says why a room may not import a package; empty when it may.
func refuse(from int, imported string, test bool) string {
	r := rooms[from]
	path, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		switch {
		case slices.ContainsFunc(testLibraries, func(l string) bool { return within(imported, l) }):
			if test || r.testOf {
				return ""
			}
			return "production code must not import what is for tests"
		case !strings.Contains(strings.Split(imported, "/")[0], "."):
			return "" // the standard library
		}
		for library, users := range libraries {
			if within(imported, library) && (slices.Contains(users, r.path) || test) {
				return ""
			}
		}
		return "the room may not use this library; see libraries in internal/house"
	}
	to := roomOf(path)
	if to < 0 {
		return "it has no room"
	}
	for _, e := range exceptions {
		if e.from == r.path && within(path, e.to) && (test || !e.tests) {
			return ""
		}
	}
	switch {
	case to == from, slices.Contains(r.uses, rooms[to].path):
		return ""
	case rooms[to].testOf && !test:
		return "production code must not import what is for tests"
	case test && (to > from || rooms[to].testOf):
		return ""
	case to < from:
		return "imports point downward only"
	}
	return "not among the rooms it may import; see rooms in internal/house"
}

// within reports whether a package is path or lies below it.
func within(imported, path string) bool {
	return imported == path || strings.HasPrefix(imported, path+"/")
}

func TestImportsPointDownward(t *testing.T) {
	for i, r := range rooms {
		for _, name := range r.uses {
			if j := slices.IndexFunc(rooms, func(r room) bool { return r.path == name }); j < 0 {
				t.Errorf("rooms: %s may use %s, which is not there", r.path, name)
			} else if j <= i {
				t.Errorf("rooms: %s may use %s, which does not stand below it", r.path, name)
			}
		}
	}
	for _, platform := range [][2]string{{"linux", "amd64"}, {"darwin", "arm64"}, {"windows", "amd64"}} {
		pkgs := listPackages(t, platform[0], platform[1])
		if len(pkgs) < 15 {
			t.Fatalf("only %d packages", len(pkgs))
		}
		report(t, checkImports(pkgs))
		t.Logf("%s/%s: %d packages", platform[0], platform[1], len(pkgs))
	}
}

func TestImportsFindsFaults(t *testing.T) {
	ours := func(path string) string { return module + "/" + path }
	for _, c := range []struct {
		from, to string
		test     bool
		want     string // empty: allowed
	}{
		{"tensor", ours("nn"), false, "downward"},
		{"kernels", ours("tensor"), false, "downward"},
		{"kernels", ours("internal/half"), false, "not among"},
		{"nn", ours("kernels/cpu"), false, "not among"},
		{"nn/tokenizer", ours("tensor"), false, "not among"},
		{"seal", ours("tensor"), false, "not among"},
		{"seal", ours("tensor"), true, ""},
		{"nn", ours("internal/testdata"), false, "for tests"},
		{"nn", ours("internal/testdata"), true, ""},
		{"tensor", ours("kernels/kerneltest"), false, "for tests"},
		{"kernels/ref", ours("kernels/kerneltest"), true, ""},
		{"kernels/cpu/internal/gemm", ours("kernels"), true, ""},
		{"nn", ours("seal"), true, "downward"},
		{"nn", "testing", false, "for tests"},
		{"kernels/kerneltest", "testing", false, ""},
		{"nn", "github.com/spf13/cobra", false, "library"},
		{"nn", "example.org/unknown", true, "library"},
		{"seal/report", "gonum.org/v1/plot/vg", false, ""},
		{"cmd/seal-run", ours("kernels/cuda"), false, ""},
		{"cmd/seal-run", ours("kernels/cpu"), false, "not among"},
		{"ptx", ours("nn/safetensors"), true, ""},
		{"ptx", ours("nn/safetensors"), false, "downward"},
		{"newcomer", "fmt", false, "no room"},
		{"nn", ours("newcomer"), false, "no room"},
	} {
		p := pkg{ImportPath: ours(c.from)}
		if c.test {
			p.XTestImports = []string{c.to}
		} else {
			p.Imports = []string{c.to}
		}
		got := checkImports([]pkg{p})
		if c.want == "" {
			report(t, got)
		} else {
			mustFind(t, got, c.want)
		}
	}
}
