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

// A file is to be read at one sitting: about 500 lines.
const maxLines = 600

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

// checkFiles returns what is wrong with Go and assembly files: their length, the
// mark of generated ones, and package comments.
func checkFiles(files tree) (findings []string) {
	find := func(format string, args ...any) { findings = append(findings, fmt.Sprintf(format, args...)) }
	for _, p := range slices.Sorted(maps.Keys(files)) {
		text := files[p]
		if ext := path.Ext(p); ext != ".go" && ext != ".s" {
			continue
		}
		named := strings.HasPrefix(path.Base(p), "z")
		switch marked := generated.MatchString(text); {
		case named && !marked:
			find("%s: the name says generated, but the header is missing", p)
		case marked && !named:
			find("%s: generated files have names that begin with z", p)
		case !marked && strings.Count(text, "\n") > maxLines:
			find("%s: %d lines, more than %d: divide it by subject", p, strings.Count(text, "\n"), maxLines)
		}
	}
	return append(findings, checkPackageComments(files)...)
}

func checkPackageComments(files tree) (findings []string) {
	comments := map[string][]string{} // by folder, the files that have one
	names := map[string]string{}
	for p, text := range files.goFiles("", false) {
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			findings = append(findings, err.Error())
			continue
		}
		dir := path.Dir(p)
		names[dir] = f.Name.Name
		if f.Doc == nil || constrained(f.Doc) {
			continue
		}
		comments[dir] = append(comments[dir], p)
		want := "Package " + f.Name.Name + " "
		if f.Name.Name == "main" {
			want = strings.ToUpper(path.Base(dir)[:1]) + path.Base(dir)[1:] + " "
			if strings.HasPrefix(path.Base(dir), "_") {
				continue // a generator's folder has no name to begin with
			}
		}
		if !strings.HasPrefix(f.Doc.Text(), want) {
			findings = append(findings, fmt.Sprintf("%s: the package comment should begin with %q", p, want))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(names)) {
		if n := len(comments[dir]); n != 1 {
			slices.Sort(comments[dir])
			findings = append(findings, fmt.Sprintf("%s: package %s has %d package comments, want 1 %v", dir, names[dir], n, comments[dir]))
		}
	}
	return findings
}

// constrained reports whether a comment is a build constraint alone.
func constrained(doc *ast.CommentGroup) bool { return strings.TrimSpace(doc.Text()) == "" }

// unwanted are texts that say where or how a file was written, or name hosts
// that are nobody's business. Written in halves, so that this file has none.
var unwanted = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`/wor` + `k/`, `/ro` + `ot/`, `/tm` + `p/brief`,
	`sub` + `agent`, `this ses` + `sion`, `lang` + `uage model assistant`, `as an ` + `AI\b`, `generated ` + `by (an )?AI`,
	`proxy\.go` + `lang\.org`, `py` + `pi\.org`, `issue` + `s? #?[0-9]+\b`, `(?-i:TO` + `DO)\b`, `(?-i:FIX` + `ME)\b`,
}, "|"))

func checkWords(files tree) (findings []string) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if path.Base(p) == "go.sum" || strings.Contains("/"+p, "/testdata/") {
			continue
		}
		for i, line := range strings.Split(files[p], "\n") {
			if word := unwanted.FindString(line); word != "" {
				findings = append(findings, fmt.Sprintf("%s:%d: %q has no place in the repository", p, i+1, word))
			}
		}
	}
	return findings
}

// checkGenerators returns the packages with generators that go.generate.go does
// not run.
func checkGenerators(files tree) (findings []string) {
	for p, text := range files.goFiles("", false) {
		if p != "go.generate.go" && strings.Contains(text, "\n//go:gene"+"rate ") &&
			!strings.Contains(files["go.generate.go"], "go generate ./"+path.Dir(p)+"\n") {
			findings = append(findings, fmt.Sprintf("go.generate.go does not run the generator of %s", path.Dir(p)))
		}
	}
	return findings
}

// checkDataTests returns tests on the shared reference data whose name does not
// say so: CI and users choose them by -run TestData.
func checkDataTests(files tree) (findings []string) {
	for p, text := range files.goFiles("", true) {
		f, err := parser.ParseFile(token.NewFileSet(), p, text, parser.SkipObjectResolution)
		if err != nil {
			findings = append(findings, err.Error())
			continue
		}
		for _, d := range f.Decls {
			d, ok := d.(*ast.FuncDecl)
			if !ok || d.Recv != nil || !strings.HasPrefix(d.Name.Name, "Test") || strings.HasPrefix(d.Name.Name, "TestData") {
				continue
			}
			ast.Inspect(d, func(n ast.Node) bool {
				if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Dir" {
					if x, ok := s.X.(*ast.Ident); ok && x.Name == "testdata" {
						findings = append(findings, fmt.Sprintf("%s: %s reads the reference data, so its name should begin with TestData", p, d.Name.Name))
					}
				}
				return true
			})
		}
		if variable := "SELKIE_" + "DATA"; strings.Contains(text, variable) && path.Dir(p) != "internal/testdata" {
			findings = append(findings, fmt.Sprintf("%s: only internal/testdata reads %s", p, variable))
		}
	}
	slices.Sort(findings)
	return findings
}

func TestFiles(t *testing.T) {
	files := readTree(t)
	report(t, checkFiles(files))
	report(t, checkGenerators(files))
	report(t, checkDataTests(files))
	long := map[int]string{}
	for p, text := range files.goFiles("", true) {
		if !generated.MatchString(text) {
			long[strings.Count(text, "\n")] = p
		}
	}
	most := slices.Max(slices.Collect(maps.Keys(long)))
	t.Logf("%d files; the longest has %d lines: %s", len(files), most, long[most])
}

func TestWords(t *testing.T) { report(t, checkWords(readTree(t))) }

func TestFilesFindsFaults(t *testing.T) {
	files := readTree(t)
	plant := func(name, text string) tree {
		out := maps.Clone(files)
		out[name] = text
		return out
	}
	header := "// Code generated by x. DO NOT " + "EDIT.\n\npackage nn\n"
	mustFind(t, checkFiles(plant("nn/ztable.go", "package nn\n")), "nn/ztable.go: the name says generated")
	mustFind(t, checkFiles(plant("nn/table.go", header)), "nn/table.go: generated files have names")
	mustFind(t, checkFiles(plant("nn/long.go", "package nn\n"+strings.Repeat("\n", maxLines))), "nn/long.go: 601 lines")
	mustFind(t, checkFiles(plant("nn/again.go", "// Package nn again.\npackage nn\n")), "nn: package nn has 2 package comments")
	mustFind(t, checkFiles(plant("absent/absent.go", "package absent\n")), "absent: package absent has 0 package comments")
	mustFind(t, checkFiles(plant("absent/absent.go", "// It is not there.\npackage absent\n")), `should begin with "Package absent "`)
	mustFind(t, checkWords(plant("docs/a.md", "see\n/wor"+"k/main\n")), "docs/a.md:2")
	mustFind(t, checkGenerators(plant("absent/absent.go", "package absent\n\n//go:gene"+"rate x\n")), "generator of absent")
	mustFind(t, checkDataTests(plant("nn/x_test.go", "package nn\nfunc TestX(t *testing.T) { testdata.Dir(t) }\n")), "TestX reads the reference data")
	mustFind(t, checkDataTests(plant("nn/x.go", "package nn\nconst x = \"SELKIE_"+"DATA\"\n")), "nn/x.go: only internal/testdata")
}
