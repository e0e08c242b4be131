package examples

import (
	"testing"

	"github.com/selkie-ml/selkie/ptx"
)

// TestCheck: every kernel passes Check for every target that it claims, and is the same
// after printing and parsing.
func TestCheck(t *testing.T) {
	for _, r := range ladder() {
		for _, name := range r.targets {
			target, err := ptx.ParseTarget(name)
			if err != nil {
				t.Fatal(err)
			}
			m := *r.module
			m.Target = target
			if err := m.Check(ptx.Target{}, ptx.Version{}); err != nil {
				t.Errorf("%s for %s:\n%v", r.name, name, err)
			}
		}
		parsed, err := ptx.Parse(r.name, r.module.String())
		if err != nil {
			t.Fatalf("%s: %v", r.name, err)
		}
		made := *r.module
		made.Version = parsed.Version // the printer chose one
		if d := ptx.Diff(&made, parsed); d != "" {
			t.Errorf("%s differs after printing and parsing: %s", r.name, d)
		}
	}
}
