package emu_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// A defect is a small kernel with one seeded defect, and its repaired twin. Lines that
// begin with - are in the defective kernel alone, those with + in the twin. Every finding
// must be of the kind and at a line marked //! of the defective kernel. Of a race, either access
// may come second: both are marked.
type defect struct {
	name    string
	kind    string
	also    string // a kind that may come with it, as what follows from the defect
	body    string
	decls   string
	block   int // threads; 0: 32
	grid    int // blocks; 0: 1
	cluster int
	shared  int  // dynamic shared memory
	in      int  // bytes of the input; 0: 4096
	blank   bool // the input is not written, but for the twin
	freed   bool // the input is freed before the launch, but for the twin
	leak    bool // the input is not freed before the device is closed, but for the twin
}

// Shared variables of all kernels; those that a kernel does not use take no space.
const sharedDecls = `
.shared .align 128 .b8 s[4096];
.shared .align 128 .b8 s2[4096];
.shared .align 8 .b64 bar;
.shared .align 8 .b64 bar2;
.extern .shared .align 1024 .b8 dyn[];
`

var marked = regexp.MustCompile(`//!`)

// text is one of the two kernels, and the lines marked in it.
func (d *defect) text(bad bool) (string, []int) {
	var keep []string
	for _, l := range strings.Split(d.body, "\n") {
		switch t := strings.TrimSpace(l); {
		case strings.HasPrefix(t, "- "):
			if !bad {
				continue
			}
			l = t[2:]
		case strings.HasPrefix(t, "+ "):
			if bad {
				continue
			}
			l = t[2:]
		}
		keep = append(keep, l)
	}
	text := module(sharedDecls+d.decls, strings.Join(keep, "\n"))
	var lines []int
	for i, l := range strings.Split(text, "\n") {
		if marked.MatchString(l) {
			lines = append(lines, i+1)
		}
	}
	return text, lines
}

// run gives the findings of one of the two kernels, and the error of its launch.
func (d *defect) run(t *testing.T, cfg emu.Config, bad bool) ([]emu.Finding, []int, error) {
	t.Helper()
	text, lines := d.text(bad)
	m, err := ptx.Parse(d.name+".ptx", text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	dev := emu.New(cfg)
	mod, err := dev.Load(m)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	alloc := func(n int, value bool) emu.Ptr {
		p, err := dev.Alloc(n)
		if err != nil {
			t.Fatal(err)
		}
		if value {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(i / 4)
			}
			if err := dev.CopyIn(p, b); err != nil {
				t.Fatal(err)
			}
		}
		return p
	}
	out := alloc(4096, true)
	n := d.in
	if n == 0 {
		n = 4096
	}
	in := alloc(n, !(d.blank && bad))
	if d.freed && bad {
		if err := dev.Free(in); err != nil {
			t.Fatal(err)
		}
	}
	l := emu.Launch{Kernel: "k", Grid: emu.Dim{max(d.grid, 1)}, Block: emu.Dim{orInt(d.block, 32)}, Shared: d.shared}
	if d.cluster > 0 {
		l.Cluster = emu.Dim{d.cluster}
	}
	launch := mod.Launch(l, out, in)
	if !(d.freed && bad) && !(d.leak && bad) {
		if err := dev.Free(in); err != nil {
			t.Fatal(err)
		}
	}
	if err := dev.Free(out); err != nil {
		t.Fatal(err)
	}
	dev.Close()
	return dev.Findings(), lines, launch
}

func orInt(v, alt int) int {
	if v == 0 {
		return alt
	}
	return v
}

func TestDefects(t *testing.T) {
	kinds := map[string]int{}
	for i := range defects {
		d := &defects[i]
		kinds[d.kind]++
		t.Run(d.name, func(t *testing.T) {
			for _, s := range schedules {
				cfg := s.cfg
				cfg.Checks, cfg.Budget = emu.AllChecks, 1<<20
				found, _, err := d.run(t, cfg, false)
				if err != nil || len(found) > 0 {
					t.Fatalf("%s: the repaired kernel: error %v, findings %v", s.name, err, found)
				}
				found, lines, err := d.run(t, cfg, true)
				if len(found) == 0 {
					t.Fatalf("%s: nothing found (launch: %v)", s.name, err)
				}
				for _, f := range found {
					if f.Kind != d.kind && f.Kind != d.also || len(lines) > 0 && !slices.Contains(lines, f.Line) {
						t.Fatalf("%s: found\n%v\nwant %s at lines %v", s.name, f, d.kind, lines)
					}
					if f.Message == "" || f.Kind != emu.KindLeak && (f.Kernel != "k" || f.Instr == "") {
						t.Errorf("%s: a finding that says too little: %+v", s.name, f)
					}
					if f.Kind == emu.KindRace && (f.Other == nil || f.Other.Line == 0 || f.Memory == "") {
						t.Errorf("%s: a race that says too little: %+v", s.name, f)
					}
				}
			}
		})
	}
	var list []string
	for k, n := range kinds {
		list = append(list, fmt.Sprintf("%s %d", k, n))
	}
	slices.Sort(list)
	t.Logf("%d pairs under %d schedules: %s", len(defects), len(schedules), strings.Join(list, ", "))
	if len(defects) < 60 {
		t.Errorf("%d pairs", len(defects))
	}
}

// checkOf is the check that a kind of finding belongs to.
var checkOf = map[string]emu.Checks{
	emu.KindOutOfBounds: emu.CheckBounds, emu.KindUseAfterFree: emu.CheckBounds, emu.KindMisaligned: emu.CheckAlignment,
	emu.KindUninitialised: emu.CheckUninit, emu.KindRace: emu.CheckRaces, emu.KindUnfinished: emu.CheckAsync, emu.KindProxyFence: emu.CheckAsync,
	emu.KindDivergence: emu.CheckConvergence, emu.KindMask: emu.CheckConvergence, emu.KindBarrier: emu.CheckBarriers, emu.KindDeadlock: emu.CheckBarriers,
	emu.KindMBarrier: emu.CheckAsync, emu.KindAsync: emu.CheckAsync, emu.KindLifetime: emu.CheckRaces, emu.KindWgmma: emu.CheckAsync, emu.KindLeak: emu.CheckLeaks,
}

// TestChecksOff switches off, for every defect, the check that finds it; then nothing is found. What
// cannot go on without the check fails the launch.
func TestChecksOff(t *testing.T) {
	for i := range defects {
		d := &defects[i]
		cfg := emu.Config{Checks: emu.AllChecks &^ (checkOf[d.kind] | checkOf[d.also]), Budget: 1 << 20}
		if found, _, _ := d.run(t, cfg, true); len(found) > 0 {
			t.Errorf("%s without its check: %v", d.name, found[0])
		}
	}
}
