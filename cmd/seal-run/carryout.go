package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/report"
)

// experimentFlags are the flags of a command that runs an experiment in a folder.
type experimentFlags struct {
	out                            string
	dryRun, acceptNumerics, asJSON bool
}

// carryOut does what plan says: it runs the experiment, with progress shown, or tells
// for a dry run what that would take and returns nil. hint says what makes it smaller.
func (a *app) carryOut(c *cobra.Command, k experimentFlags, m *nn.Model, plan seal.Plan, hint string, run func(seal.Options) (*seal.Experiment, error)) (*seal.Experiment, error) {
	if k.dryRun {
		plan.Print(a.out)
		train, decode, err := measureSpeed(c, m)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(a.out, "time                      about %v, at %.0f tokens/s trained and %.0f generated, measured now\n", plan.Time(train, decode), train, decode)
		return nil, nil
	}
	if err := a.checkMemory("this run", plan.Bytes(), hint); err != nil {
		return nil, err
	}
	phases := newPhaseMeter(a)
	defer phases.stop()
	return run(seal.Options{
		AcceptNumerics: k.acceptNumerics, Progress: phases.show, Say: func(line string) { a.say("%s", line) },
	})
}

// showReport writes a run's page and prints its tables, or encodes them.
func (a *app) showReport(dir string, d report.Data, asJSON bool, encode func(io.Writer, report.Data) error) error {
	page := filepath.Join(dir, "report.html")
	if err := report.Write(page, d); err != nil {
		return err
	}
	if asJSON {
		return encode(a.out, d)
	}
	if err := report.Text(a.out, d); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "\nreport: %s\n", page)
	return nil
}
