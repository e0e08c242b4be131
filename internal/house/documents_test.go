package house

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```")
	goBlock = regexp.MustCompile("(?ms)^```go\n(.*?)^```")
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	noSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors returns the fragments that the headings of a document give.
func anchors(text string) []string {
	var out []string
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		out = append(out, strings.ReplaceAll(noSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return out
}

// checkLinks returns the relative links of Markdown files that lead nowhere.
func checkLinks(files tree, exists func(path string) bool) (findings []string, links int) {
	for _, p := range slices.Sorted(maps.Keys(files)) {
		if path.Ext(p) != ".md" {
			continue
		}
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(files[p], ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			links++
			to := p
			if target != "" {
				to = path.Join(path.Dir(p), target)
			}
			if !exists(to) {
				findings = append(findings, fmt.Sprintf("%s links to %s, which does not exist", p, m[1]))
			} else if fragment != "" && path.Ext(to) == ".md" && !slices.Contains(anchors(files[to]), fragment) {
				findings = append(findings, fmt.Sprintf("%s links to %s, but no heading gives #%s", p, m[1], fragment))
			}
		}
	}
	return findings, links
}

func TestLinks(t *testing.T) {
	dir := root(t)
	findings, links := checkLinks(readTree(t), func(p string) bool {
		_, err := os.Stat(filepath.Join(dir, filepath.FromSlash(p)))
		return err == nil
	})
	report(t, findings)
	t.Logf("%d links", links)
}

// tested is where the README's Go code runs as a test.
const tested = "nn/example_test.go"

// checkReadme returns what the README lacks: its two commands at the beginning,
// and Go code that is not the tested example, line by line.
func checkReadme(files tree) (findings []string) {
	text := files["README.md"]
	lines := strings.SplitAfter(text, "\n")
	beginning := strings.Join(lines[:min(20, len(lines))], "")
	for _, command := range []string{"go run ./cmd/seal-run demo\n", "go test ./...\n"} {
		if !strings.Contains(beginning, command) {
			findings = append(findings, fmt.Sprintf("README.md does not begin with %q", strings.TrimSpace(command)))
		}
	}
	blocks := goBlock.FindAllStringSubmatch(text, -1)
	if len(blocks) == 0 && files[tested] != "" {
		findings = append(findings, "README.md does not show the example of "+tested)
	}
	for _, m := range blocks {
		if !strings.Contains(flat(files[tested]), flat(m[1])) {
			findings = append(findings, "README.md: this code is not in "+tested+", so no test runs it:\n"+m[1])
		}
		if n := strings.Count(m[1], "\n"); n > 40 {
			findings = append(findings, fmt.Sprintf("README.md: the example has %d lines, more than 40", n))
		}
	}
	return findings
}

// flat is code without indentation and blank lines.
func flat(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

func TestReadme(t *testing.T) { report(t, checkReadme(readTree(t))) }

func TestDocumentsFindsFaults(t *testing.T) {
	files := tree{
		"README.md": "# A\n[b](docs/b.md#the-end) [c](c.md) [d](docs/b.md#middle) [e](https://example.org/x) [f](#a) [g](#b)\n```\n[x](none.md)\n```\n",
		"docs/b.md": "## The end\n[up](../README.md)\n",
	}
	findings, links := checkLinks(files, func(p string) bool { _, ok := files[p]; return ok })
	if links != 6 || len(findings) != 3 {
		t.Errorf("%d links, %q", links, findings)
	}
	mustFind(t, findings, "README.md links to c.md")
	mustFind(t, findings, "README.md links to docs/b.md#middle")
	mustFind(t, findings, "README.md links to #b")

	mustFind(t, checkReadme(files), "go test")
	files[tested] = "func Example() {}\n"
	mustFind(t, checkReadme(files), "does not show the example")
	begin := "# A\n```\ngo run ./cmd/seal-run demo\ngo test ./...\n```\n"
	good := tree{"README.md": begin + strings.Repeat("\n", 20) + "```go\nif x {\n\ty()\n}\n```\n", tested: "func Example() {\n\tif x {\n\t\ty()\n\t}\n}\n"}
	report(t, checkReadme(good))
	good["README.md"] = strings.Replace(good["README.md"], "y()", "z()", 1)
	mustFind(t, checkReadme(good), "no test runs it")
}
