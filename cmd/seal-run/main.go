// Seal-run is Selkie's program: it runs the self-edit loop on a model, and what
// belongs around it (pretraining, finetuning, generation, evaluation). It holds
// flags, files and printing; the work is done by packages seal and nn.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/pprof"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/tensor"
)

// Exit codes.
const (
	exitError       = 1 // with a message
	exitInternal    = 2 // a bug of this program
	exitInterrupted = journal.ExitInterrupted
)

func main() {
	if os.Getenv("GOGC") == "" {
		// Tensors are few and large, and the arena reuses them: let garbage be
		// collected before it doubles what a model takes.
		debug.SetGCPercent(25)
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// app is what all commands share.
type app struct {
	in       io.Reader
	out, err io.Writer

	threads     int
	device      string
	memoryLimit string
	quiet       bool
	progress    string
	cpuProfile  string

	startsOver bool // the command keeps nothing of a run that is interrupted
}

// addCommands makes the commands of the program, in the order of its help.
var addCommands = []func(*app) *cobra.Command{newDemo, newKnowledge, newContinue, newContinual, newAblate, newJudge, newFewshot, newReport, newGenerate, newFinetune, newPretrain, newEval, newInit, newPlan, newTune, newInfo, newVersion}

// run is the program; it returns its exit code.
func run(args []string, in io.Reader, out, errOut io.Writer) (code int) {
	a := &app{in: in, out: out, err: errOut}
	if os.Getenv("SELKIE_DEBUG") == "" {
		defer func() {
			if r := recover(); r != nil {
				fmt.Fprintf(errOut, "seal-run: internal error: %v\nplease report this; SELKIE_DEBUG=1 shows where it happened\n", r)
				code = exitInternal
			}
		}()
	}
	ctx, stop := journal.Interruptible(context.Background(), func(line string) { fmt.Fprintln(errOut, "\nseal-run: "+line) })
	defer stop()
	root := newRoot(a)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	pprof.StopCPUProfile()
	interrupted := errors.Is(err, journal.ErrInterrupted) || errors.Is(context.Cause(ctx), journal.ErrInterrupted) && errors.Is(err, context.Canceled)
	switch {
	case err == nil:
		return 0
	case interrupted && a.startsOver:
		fmt.Fprintln(errOut, "seal-run: interrupted")
		return exitInterrupted
	case interrupted:
		fmt.Fprintln(errOut, "seal-run:", journal.ErrInterrupted)
		return exitInterrupted
	}
	fmt.Fprintln(errOut, "seal-run:", err)
	return exitError
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "seal-run",
		Short: "Self-adapting language models from one binary",
		Long: `Seal-run runs Self-Adapting Language Models (SEAL): a model writes its own
finetuning data, is finetuned on it, is tested, and learns which self-edits help.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error { return a.startProfile() }
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.IntVar(&a.threads, "threads", 0, "worker threads; 0 for all cores")
	f.StringVar(&a.device, "device", "auto", "where to compute: auto (the first GPU, or the CPU), cpu, cuda, cuda:1, emulated (a GPU, slowly) or ref (slow, for comparison)")
	f.StringVar(&a.memoryLimit, "memory-limit", "", "most memory for tensors, such as 3GiB")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print results and errors only")
	f.StringVar(&a.progress, "progress", "auto", "how progress is shown: bar, lines, none, or auto (bar on a terminal)")
	f.StringVar(&a.cpuProfile, "cpuprofile", "", "write a profile for go tool pprof")
	_ = f.MarkHidden("cpuprofile")
	for _, add := range addCommands {
		root.AddCommand(add(a))
	}
	return root
}

// open returns the device asked for.
func (a *app) open() (*tensor.Device, error) {
	if a.threads < 0 {
		return nil, fmt.Errorf("--threads %d: expected 0 or more", a.threads)
	}
	limit, err := parseBytes(a.memoryLimit)
	if err != nil {
		return nil, fmt.Errorf("--memory-limit: %w", err)
	}
	dev, err := tensor.Open(a.device, tensor.Options{Threads: a.threads, MemoryLimit: limit})
	if err == nil && a.device == "auto" {
		on := "the CPU: there is no NVIDIA GPU (seal-run info says more)"
		if dev.IsGPU() {
			on = dev.Describe()
		}
		a.say("computing on %s", on)
	}
	return dev, err
}

// say prints a line about what is going on.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

func (a *app) startProfile() error {
	if a.cpuProfile == "" {
		return nil
	}
	f, err := os.Create(a.cpuProfile)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}
