package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// stems names the file of ops whose method does not say it.
var stems = map[string]string{
	"KVStore":        "attention",
	"AttentionPaged": "attention",
	"GradNorm":       "adamw",
	"LoRAMerge":      "lora",
}

// elsewhere says where package tensor, or nn, uses an op that has no file of its
// own in tensor: it is a part of another subject.
var elsewhere = map[string]string{
	"Copy":      "tensor/view.go",
	"Fill":      "tensor/tensor.go",
	"Gather":    "tensor/sample.go",
	"LoRAMerge": "nn/merge.go",
}

var derived = regexp.MustCompile(`(Backward|BackwardInput|BackwardWeight)?(Scratch)?$`)

// stemOf returns the stem of an op's method: LoRABackwardScratch has lora.
func stemOf(method string) string {
	if s, ok := stems[method]; ok {
		return s
	}
	return strings.ToLower(method[:derived.FindStringIndex(method)[0]])
}

// forwardOf returns the method whose backward, or scratch size, a method is.
func forwardOf(method string) string { return method[:derived.FindStringIndex(method)[0]] }

// op is a method of kernels.Backend that computes.
type op struct{ name, args string }

// opsOf parses the methods of kernels.Backend whose only parameter is a struct
// of arguments; the others manage memory and the device.
func opsOf(files tree) (ops []op, err error) {
	f, err := parser.ParseFile(token.NewFileSet(), "kernels.go", files["kernels/kernels.go"], 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Backend" {
			return true
		}
		for _, m := range spec.Type.(*ast.InterfaceType).Methods.List {
			params := m.Type.(*ast.FuncType).Params.List
			if len(params) != 1 {
				continue
			}
			if arg, ok := params[0].Type.(*ast.Ident); ok && strings.HasSuffix(arg.Name, "Args") {
				ops = append(ops, op{m.Names[0].Name, arg.Name})
			}
		}
		return false
	})
	return ops, nil
}

// place is where a declaration stands.
type place struct {
	file string
	pos  token.Pos // grows within a file
}

// declarations returns the functions, methods and types of a package by name.
func declarations(files tree, dir string) (map[string]place, error) {
	out := map[string]place{}
	for p, text := range files.goFiles(dir, false) {
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				out[d.Name.Name] = place{p, d.Pos()}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if s, ok := s.(*ast.TypeSpec); ok {
						out[s.Name.Name] = place{p, s.Pos()}
					}
				}
			}
		}
	}
	return out, nil
}

// hasStem reports whether a file is the stem's: rope.go, rope_sm90.go.
func hasStem(file, stem string) bool {
	base := strings.TrimSuffix(path.Base(file), ".go")
	return base == stem || strings.HasPrefix(base, stem+"_")
}

// checkStems returns where an op is missing at a layer or stands in a file that
// is not its own.
func checkStems(files tree) (findings []string) {
	find := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	ops, err := opsOf(files)
	if err != nil {
		return []string{err.Error()}
	}
	layers := map[string]map[string]place{}
	for _, dir := range []string{"kernels", "kernels/ref", "kernels/cpu", "kernels/cuda", "kernels/kerneltest"} {
		if layers[dir], err = declarations(files, dir); err != nil {
			return []string{err.Error()}
		}
	}
	if len(layers["kernels/cuda"]) == 0 {
		delete(layers, "kernels/cuda")
	}
	for _, o := range ops {
		stem, scratch := stemOf(o.name), strings.HasSuffix(o.name, "Scratch")
		for _, dir := range slices.Sorted(maps.Keys(layers)) {
			name := o.name
			switch dir {
			case "kernels":
				name = o.args
			case "kernels/kerneltest":
				if name = "test" + o.name; scratch {
					continue // asked for by the test of the op
				}
			}
			at, ok := layers[dir][name]
			switch {
			case !ok:
				find("%s: %s has no %s", o.name, dir, name)
			case !hasStem(at.file, stem):
				find("%s: %s stands in %s, want a file %s*.go", o.name, name, at.file, stem)
			}
			if forward := forwardOf(o.name); ok && forward != o.name && dir != "kernels" && !scratch {
				above, ok := layers[dir][strings.Replace(name, o.name, forward, 1)]
				beneath := ok && above.file == at.file && above.pos < at.pos
				// Where both would be too long for one sitting, backward has the next file.
				next := ok && at.file == strings.TrimSuffix(above.file, ".go")+"_backward.go" &&
					strings.Count(files[at.file]+files[above.file], "\n") > maxLines
				if !beneath && !next {
					find("%s: in %s it must stand beneath %s", o.name, at.file, forward)
				}
			}
		}
		if tested := fmt.Sprintf("{%q, test%s}", o.name, o.name); !scratch && !strings.Contains(files["kernels/kerneltest/kerneltest.go"], tested) {
			find("%s: kerneltest's list of cases lacks %s", o.name, tested)
		}
		if !calledByTensor(files, o.name, stem) {
			find("%s: no file tensor/%s*.go calls it", o.name, stem)
		}
	}
	return findings
}

// calledByTensor reports whether the op is used in its own file of package
// tensor, or where elsewhere says.
func calledByTensor(files tree, name, stem string) bool {
	call := regexp.MustCompile(`(?i:backend)(\(\))?\.` + name + `\(`)
	if p, ok := elsewhere[name]; ok {
		return call.MatchString(files[p])
	}
	for p, text := range files.goFiles("tensor", false) {
		if hasStem(p, stem) && call.MatchString(text) {
			return true
		}
	}
	return false
}

func TestOneStemPerOp(t *testing.T) {
	files := readTree(t)
	ops, err := opsOf(files)
	if err != nil || len(ops) < 20 {
		t.Fatalf("%d ops, %v", len(ops), err)
	}
	report(t, checkStems(files))
	t.Logf("%d ops", len(ops))
}

func TestOneStemFindsFaults(t *testing.T) {
	files := readTree(t)
	for _, c := range []struct {
		file, old, new, want string
	}{
		{"kernels/kernels.go", "Sample(SampleArgs)", "Sample(SampleArgs)\n\tSoftmax(SoftmaxArgs)", "Softmax: kernels/ref has no Softmax"},
		{"kernels/ref/rope.go", "RopeBackward(", "RopeBack(", "RopeBackward: kernels/ref has no RopeBackward"},
		{"kernels/kerneltest/kerneltest.go", `{"Sample", testSample},`, "", "Sample: kerneltest's list of cases"},
		{"kernels/kerneltest/rope.go", "testRopeBackward(", "testRopeBack(", "kernels/kerneltest has no testRopeBackward"},
		{"tensor/swiglu.go", ".SwiGLU(", ".Something(", "SwiGLU: no file tensor/swiglu"},
		{"kernels/rope.go", "type RopeArgs", "type RotaryArgs", "Rope: kernels has no RopeArgs"},
	} {
		mustFind(t, checkStems(files.with(t, c.file, c.old, c.new)), c.want)
	}
	mustFind(t, checkStems(files.without(t, "kernels/cpu/swiglu.go")), "SwiGLU: kernels/cpu has no SwiGLU")

	moved := files.without(t, "kernels/cpu/rope.go")
	moved["kernels/cpu/rotary.go"] = files["kernels/cpu/rope.go"]
	mustFind(t, checkStems(moved), "stands in kernels/cpu/rotary.go, want a file rope*.go")

	above := files.with(t, "kernels/ref/swiglu.go", "SwiGLU(", "SwiGLUOther(")
	mustFind(t, checkStems(above), "SwiGLU: kernels/ref has no SwiGLU")
	mustFind(t, checkStems(above), "SwiGLUBackward: in kernels/ref/swiglu.go it must stand beneath SwiGLU")
}
