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

// prepare tells for a dry run what a plan would take, and else whether there is the
// memory for it; hint says what makes it smaller. Nothing is to be run unless ready.
func (a *app) prepare(c *cobra.Command, dryRun bool, m *nn.Model, plan seal.Plan, hint string) (ready bool, err error) {
	if !dryRun {
		return true, a.checkMemory(m.Device(), "this run", plan.Bytes(), hint)
	}
	plan.Print(a.out)
	train, decode, err := measureSpeed(c, m)
	if err != nil {
		return false, err
	}
	fmt.Fprintf(a.out, "time                      about %v, at %.0f tokens/s trained and %.0f generated, measured now\n", plan.Time(train, decode), train, decode)
	return false, nil
}

// options are those of a run whose phases are shown under a name; stop what shows
// them once it has ended.
func (a *app) options(acceptNumerics bool, name string) (o seal.Options, stop func()) {
	phases := newPhaseMeter(a)
	return seal.Options{
		AcceptNumerics: acceptNumerics, Say: func(line string) { a.say("%s", line) },
		Progress: func(phase string, done, total int) { phases.show(name+phase, done, total) },
	}, phases.stop
}

// showReport writes a run's page and prints its tables and more, or encodes the tables.
func (a *app) showReport(dir string, d report.Data, asJSON bool, encode func(io.Writer, report.Data) error, more ...string) error {
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
	for _, line := range more {
		fmt.Fprintln(a.out, line)
	}
	fmt.Fprintf(a.out, "\nreport: %s\n", page)
	return nil
}
