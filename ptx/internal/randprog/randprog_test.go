package randprog

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/ptxas"
	"github.com/selkie-ml/selkie/ptx"
	"github.com/selkie-ml/selkie/ptx/emu"
)

var target = ptx.Target{SM: 90, Class: 'a'}

// alone is a program of one method's instruction.
func alone(tgt ptx.Target, m *Method) *ptx.Module {
	r := rand.New(rand.NewPCG(1, 1))
	mod, _ := Program(tgt, []*Method{m}, r, 3)
	return mod
}

// usable are the methods that the target has.
func usable(t testing.TB) []*Method {
	var all []*Method
	for _, m := range Methods() {
		if fatal(alone(target, m).Check(ptx.Target{}, ptx.Version{})) == nil {
			all = append(all, m)
		}
	}
	if len(all) < 500 {
		t.Fatalf("only %d methods of %v", len(all), target)
	}
	return all
}

func fatal(err error) error {
	if l, ok := err.(ptx.ErrorList); ok {
		return l.Fatal()
	}
	return err
}

// TestMethods: each typed method makes an instruction that Check accepts for some
// target, that the emulator knows if its target is emulated, and that prints and
// parses as itself.
func TestMethods(t *testing.T) {
	known, unknown := 0, []string{}
	dev := emu.New(emu.Config{})
	for _, m := range Methods() {
		var err error
		for _, name := range []string{"sm_90a", "sm_100a", "sm_120a"} {
			tgt, _ := ptx.ParseTarget(name)
			mod := alone(tgt, m)
			if err = fatal(mod.Check(ptx.Target{}, ptx.Version{})); err != nil {
				continue
			}
			if tgt != target {
				break
			}
			if _, lerr := dev.Load(mod); lerr != nil {
				unknown = append(unknown, fmt.Sprintf("%s: %v", m.Name, lerr))
			} else {
				known++
			}
			break
		}
		if err != nil {
			t.Errorf("%s: %v", m.Name, err)
		}
	}
	t.Logf("%d methods; of those for %v, the emulator knows %d", len(Methods()), target, known)
	for i, u := range unknown {
		if i < 10 {
			t.Errorf("the emulator does not load %s", u)
		}
	}
}

// TestPtxas assembles the instructions of all methods.
func TestPtxas(t *testing.T) {
	bin := ptxas.Find(t)[0]
	ms := usable(t)
	r := rand.New(rand.NewPCG(2, 2))
	for len(ms) > 0 {
		n := min(40, len(ms))
		mod, _ := Program(target, ms[:n], r, 3*n)
		file := filepath.Join(t.TempDir(), "k.ptx")
		if err := os.WriteFile(file, []byte(mod.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(bin, "-O0", "-arch="+target.String(), "-o", file+".cubin", file).CombinedOutput(); err != nil {
			text := strings.Split(mod.String(), "\n")
			var line int
			if i := bytes.Index(out, []byte("line ")); i >= 0 {
				fmt.Sscanf(string(out[i:]), "line %d", &line)
			}
			t.Errorf("%v\n%s%s", err, out, text[max(line-1, 0)])
		}
		ms = ms[n:]
	}
}

const threads = 37

// outputs runs a program. The error tells what else happened.
func outputs(mod *ptx.Module, perThread int, cfg emu.Config) (raw []byte, err error) {
	cfg.Budget = 1 << 20
	dev := emu.New(cfg)
	loaded, err := dev.Load(mod)
	if err != nil {
		return nil, err
	}
	p, err := dev.Alloc(threads * perThread)
	if err != nil {
		return nil, err
	}
	raw = make([]byte, threads*perThread)
	if err := dev.CopyIn(p, raw); err != nil {
		return nil, err
	}
	if err := loaded.Launch(emu.Launch{Grid: emu.Dim{1, 1, 1}, Block: emu.Dim{threads, 1, 1}}, p); err != nil {
		return nil, err
	}
	if err := dev.CopyOut(raw, p); err != nil {
		return nil, err
	}
	if err := dev.Free(p); err != nil {
		return nil, err
	}
	if f := dev.Findings(); len(f) > 0 {
		return raw, fmt.Errorf("finding: %v", f[0])
	}
	return raw, nil
}

// check runs a program as made, and printed and parsed, under several schedules: all
// give the same bytes, and nobody finds anything.
func check(t *testing.T, mod *ptx.Module, perThread int) {
	if err := fatal(mod.Check(ptx.Target{}, ptx.Version{})); err != nil {
		t.Fatalf("check: %v", err)
	}
	text := mod.String()
	parsed, err := ptx.Parse("p", text)
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, text)
	}
	if again := parsed.String(); again != text {
		t.Fatalf("printed, parsed and printed:\n%s\nat first:\n%s", again, text)
	}
	want, err := outputs(mod, perThread, emu.Config{Checks: emu.AllChecks})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, cfg := range []emu.Config{{}, {Checks: emu.AllChecks, Schedule: emu.Random, Seed: 3}, {Schedule: emu.Adversarial, Seed: 4}} {
		got, err := outputs(parsed, perThread, cfg)
		if err != nil {
			t.Fatalf("parsed, %v: %v\n%s", cfg.Schedule, err, text)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("parsed, %v: another result\n%s", cfg.Schedule, text)
		}
	}
}

// TestPrograms runs random programs from a fixed seed.
func TestPrograms(t *testing.T) {
	ms := usable(t)
	n := 150
	switch {
	case testing.Short():
		n = 20
	case os.Getenv("SELKIE_HEAVY") == "1":
		n = 6000 // some minutes
	}
	for seed := range n {
		r := rand.New(rand.NewPCG(uint64(seed), 9))
		mod, per := Program(target, ms, r, 10+seed%60)
		check(t, mod, per)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// FuzzPrograms wants -fuzzminimizetime 1x: the emulator's goroutines make coverage
// waver, and minimising inputs for it takes all the time.
func FuzzPrograms(f *testing.F) {
	ms := usable(f)
	for seed := range 8 {
		r := rand.New(rand.NewPCG(uint64(seed), 10))
		data := make([]byte, 400)
		for i := range data {
			data[i] = byte(r.UintN(256))
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		mod, per := Program(target, ms, NewBytes(data), min(len(data)/8, 200))
		check(t, mod, per)
	})
}
