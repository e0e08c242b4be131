package kerneltest

import (
	"fmt"

	"github.com/selkie-ml/selkie/kernels"
)

// Cases lists the names of the cases that Run tries: those of the ops, and of the
// promises that concern several.
func Cases() []string {
	names := make([]string, len(cases))
	for i, c := range cases {
		names[i] = c.name
	}
	return names
}

// Try puts a backend on trial in one case and returns the first thing that is wrong:
// what Run would report, without a test. The backend stays open.
func Try(name string, k kernels.Backend, opt Options) (err error) {
	for _, c := range cases {
		if c.name != name {
			continue
		}
		defer func() {
			switch r := recover().(type) {
			case nil:
			case firstFailure:
				err = r.err
			default:
				panic(r)
			}
		}()
		runCase(untilFailure{}, c, k, opt)
		return nil
	}
	return fmt.Errorf("kerneltest: no case %q; there are %v", name, Cases())
}

// untilFailure ends a trial at its first failure.
type untilFailure struct{}

type firstFailure struct{ err error }

func (untilFailure) Helper()             {}
func (untilFailure) Logf(string, ...any) {}
func (untilFailure) Errorf(format string, args ...any) {
	panic(firstFailure{fmt.Errorf(format, args...)})
}
func (u untilFailure) Fatalf(format string, args ...any) { u.Errorf(format, args...) }
