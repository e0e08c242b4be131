// Ptxemu runs, checks and profiles PTX without a GPU. It holds flags and printing;
// the work is done by packages ptx and ptx/emu.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/ptx/emu"
)

// Exit codes.
const (
	exitFindings = 1 // findings, wrong outputs, complaints of check
	exitError    = 2 // a file that cannot be read, a wrong flag
)

// errFindings ends a command whose findings are printed already.
var errFindings = errors.New("findings")

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// app is what all commands share.
type app struct {
	out    io.Writer
	json   bool
	colour string
}

func run(args []string, out, errOut io.Writer) int {
	a := &app{out: out}
	root := &cobra.Command{
		Use:           "ptxemu",
		Short:         "Run, check and profile PTX kernels without a GPU",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.PersistentFlags().StringVar(&a.colour, "colour", "auto", "auto, always or never; auto heeds NO_COLOR")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newRun(a), newCheck(a), newProfile(a), newPrint(a))
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	switch err := root.Execute(); {
	case err == nil:
		return 0
	case errors.Is(err, errFindings):
		return exitFindings
	default:
		fmt.Fprintln(errOut, "ptxemu:", err)
		return exitError
	}
}

func (a *app) printJSON(v any) error {
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// paint wraps text in an ANSI colour where colours are wanted.
func (a *app) paint(code, text string) string {
	if !a.coloured() {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

const (
	red   = "1;31"
	green = "32"
	dim   = "2"
	bold  = "1"
)

func (a *app) coloured() bool {
	switch a.colour {
	case "always":
		return true
	case "never":
		return false
	}
	if os.Getenv("NO_COLOR") != "" {
		return false
	}
	f, ok := a.out.(*os.File)
	if !ok {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}

// gpuByName finds a GPU of the table by a part of its name, as "4090" or "h100".
func gpuByName(name string) (*emu.GPU, error) {
	var names []string
	for _, g := range emu.GPUs {
		if strings.Contains(strings.ToLower(strings.ReplaceAll(g.Name, " ", "")), strings.ToLower(strings.ReplaceAll(name, " ", ""))) {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return nil, fmt.Errorf("--gpu %q: expected one of %s", name, strings.Join(names, ", "))
}

// sourceLine is a line of a file, from 1, without blanks around it; empty where there is none.
func sourceLine(text string, line int) string {
	if line <= 0 {
		return ""
	}
	for ; line > 1; line-- {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return ""
		}
		text = rest
	}
	text, _, _ = strings.Cut(text, "\n")
	return strings.TrimSpace(text)
}
