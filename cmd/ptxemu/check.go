package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
	"github.com/selkie-ml/selkie/ptx/emu/ptxcase"
)

// complaint is what --json prints of an error of check.
type complaint struct {
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

func newCheck(a *app) *cobra.Command {
	var target, version string
	c := &cobra.Command{
		Use:     "check FILE.ptx",
		Short:   "Check a module against a target, and that the emulator knows its instructions",
		Example: "  ptxemu check kernel.ptx --target sm_90a --version 8.0",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			var t ptx.Target
			if target != "" {
				if t, err = ptx.ParseTarget(target); err != nil {
					return err
				}
			}
			var v ptx.Version
			if version != "" {
				if _, err := fmt.Sscanf(version, "%d.%d", &v.Major, &v.Minor); err != nil {
					return fmt.Errorf("--version %q: a PTX ISA version is expected, as 8.0", version)
				}
			}
			var all []*ptx.Error
			add := func(err error) {
				var list ptx.ErrorList
				var one *ptx.Error
				switch {
				case err == nil:
				case errors.As(err, &list):
					all = append(all, list...)
				case errors.As(err, &one):
					all = append(all, flatten(err)...)
				default:
					all = append(all, &ptx.Error{File: args[0], Msg: err.Error()})
				}
			}
			m, err := ptx.Parse(args[0], text)
			add(err)
			if err == nil {
				add(m.Check(t, v))
				if g, err := gpuFor(m.Target); err != nil {
					add(err)
				} else {
					_, err := emu.New(emu.Config{GPU: g}).Load(m)
					add(err)
				}
			}
			return a.complain(all, string(text))
		},
	}
	c.Flags().StringVar(&target, "target", "", "target to check for, as sm_80 or sm_90a; default: the module's")
	c.Flags().StringVar(&version, "version", "", "PTX ISA version to check for, as 8.0; default: the module's")
	return c
}

// flatten lists the errors that errors.Join put together.
func flatten(err error) (list []*ptx.Error) {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range j.Unwrap() {
			list = append(list, flatten(e)...)
		}
		return list
	}
	var e *ptx.Error
	if errors.As(err, &e) {
		return []*ptx.Error{e}
	}
	return []*ptx.Error{{Msg: err.Error()}}
}

func (a *app) complain(all []*ptx.Error, text string) error {
	fatal := false
	out := []complaint{}
	for _, e := range all {
		fatal = fatal || !e.Warning
		out = append(out, complaint{e.Pos.Line, e.Pos.Col, e.Msg, e.Warning})
		if a.json {
			continue
		}
		word := a.paint(red, "error")
		if e.Warning {
			word = a.paint(bold, "warning")
		}
		fmt.Fprintf(a.out, "%s: %s\n", word, e.Error())
		if s := sourceLine(text, e.Pos.Line); s != "" {
			fmt.Fprintf(a.out, "%s %s\n", a.paint(dim, fmt.Sprintf("%6d |", e.Pos.Line)), s)
		}
	}
	if a.json {
		if err := a.printJSON(out); err != nil {
			return err
		}
	}
	if fatal {
		return errFindings
	}
	if !a.json {
		fmt.Fprintln(a.out, a.paint(green, "ok"))
	}
	return nil
}

func newPrint(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "print FILE.ptx",
		Short: "Parse a module and print it in canonical form",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := ptx.ParseFile(args[0])
			if err != nil {
				return err
			}
			return ptx.Print(a.out, m)
		},
	}
}

func newProfile(a *app) *cobra.Command {
	var gpu string
	var workers int
	c := &cobra.Command{
		Use:     "profile CASE",
		Short:   "Run a case and count what it does, with the least time per GPU",
		Example: "  ptxemu profile --json testdata/softmax",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := ptxcase.Open(args[0])
			if err != nil {
				return err
			}
			m, err := c.Module()
			if err != nil {
				return err
			}
			cfg := emu.Config{Profile: true, Workers: workers}
			if gpu != "" {
				cfg.GPU, err = gpuByName(gpu)
			} else {
				cfg.GPU, err = gpuFor(m.Target)
			}
			if err != nil {
				return err
			}
			dev := emu.New(cfg)
			r, err := c.Prepare(dev, m)
			if err != nil {
				return err
			}
			if err := r.Launch(); err != nil {
				return err
			}
			p := dev.Profile()
			if !a.json {
				_, err := fmt.Fprint(a.out, p)
				return err
			}
			type kernel struct {
				*emu.KernelProfile
				Roofline map[string]*emu.Estimate
			}
			var out []kernel
			for _, k := range p.Kernels {
				o := kernel{k, map[string]*emu.Estimate{}}
				for _, g := range emu.GPUs {
					if e := k.Roofline(g); e != nil {
						o.Roofline[g.Name] = e
					}
				}
				out = append(out, o)
			}
			return a.printJSON(out)
		},
	}
	c.Flags().StringVar(&gpu, "gpu", "", "GPU to be, by a part of its name; default: the oldest that runs the target")
	c.Flags().IntVar(&workers, "workers", 0, "goroutines; 0: one per core")
	return c
}
