//go:build unix

package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary runs itself as a process that can be killed.
func TestMain(m *testing.M) {
	if role := os.Getenv("JOURNAL_CHILD"); role != "" {
		if err := map[string]func(string) error{"work": work, "wait": wait}[role](os.Getenv("JOURNAL_DIR")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func child(role, dir string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, "JOURNAL_CHILD="+role, "JOURNAL_DIR="+dir)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

const (
	killPhases  = 3
	killRecords = 40
	killWorkers = 4
	maxKills    = 12 // of one run
)

// work is a run in small: phases of records made by several workers in a random
// order, an artifact after each. What a record holds depends on its key and on
// the phase before. Each piece of work is noted outside the run folder.
func work(dir string) error {
	seed, _ := strconv.ParseUint(os.Getenv("JOURNAL_SEED"), 10, 64)
	random := rand.New(rand.NewPCG(seed, 2))
	fmt.Println("started") // the killer's clock begins here
	done, err := os.OpenFile(dir+".work", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return err
	}
	r, err := Open(dir, []byte(config), Options{Numerics: "cpu-1"})
	if err != nil {
		return err
	}
	before := 0
	for number := range killPhases {
		p, err := r.Phase(fmt.Sprint("round", number))
		if err != nil {
			return err
		}
		var order []string
		for k := range killRecords {
			order = append(order, fmt.Sprintf("%d-%x", k, k*k))
		}
		queue := make(chan int, killRecords)
		for _, k := range random.Perm(killRecords) {
			if !p.Done(order[k]) {
				queue <- k
			}
		}
		close(queue)
		var wg sync.WaitGroup
		errs := make([]error, killWorkers)
		for w := range killWorkers {
			wg.Go(func() {
				for k := range queue {
					time.Sleep(time.Duration(500+100*w) * time.Microsecond)
					if _, err := done.Write([]byte{'.'}); err != nil {
						errs[w] = err
						return
					}
					text := strings.Repeat(fmt.Sprint(before, k, " "), k*k*k/8)
					if err := p.Put(order[k], edit{text, float64(k) / 3}); err != nil {
						errs[w] = err
						return
					}
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if err := p.Finish(order); err != nil {
			return err
		}
		last, _, err := Get[edit](p, order[killRecords-1])
		if err != nil {
			return err
		}
		before = len(last.Text)
		if _, err := r.Artifact(fmt.Sprintf("adapters/round%d", number), func(path string) error {
			if err := os.Mkdir(path, 0o777); err != nil {
				return err
			}
			for _, name := range []string{"a", "b"} {
				time.Sleep(5 * time.Millisecond) // long enough to be killed in
				if err := os.WriteFile(filepath.Join(path, name), []byte(last.Text+name), 0o666); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return r.Close()
}

// tree returns every file's bytes, but those of logs and locks.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if rel != journalFile && rel != timingsFile && rel != ".lock" {
			files[rel] = read(t, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// runAndKill starts a run, kills it that long after its start unless it ends
// before, and returns how long it ran.
func runAndKill(t *testing.T, dir string, seed uint64, after time.Duration) (ran time.Duration, killed bool) {
	t.Helper()
	cmd, _ := child("work", dir, fmt.Sprintf("JOURNAL_SEED=%d", seed))
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	killer := time.AfterFunc(after, func() { cmd.Process.Kill() })
	err = cmd.Wait()
	killer.Stop()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == -1 {
		return time.Since(began), true
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, cmd.Stderr)
	}
	return time.Since(began), false
}

func TestKilledRunsEndAlike(t *testing.T) {
	t.Parallel()
	whole := filepath.Join(t.TempDir(), "run")
	took, killed := runAndKill(t, whole, 0, time.Hour)
	if killed {
		t.Fatal("the uninterrupted run was killed")
	}
	want := tree(t, whole)
	if len(want) != 2+killPhases+2*killPhases {
		t.Fatalf("the run left %d files", len(want))
	}
	total, hit := 0, map[int]int{}
	for seed := range uint64(3) {
		dir := filepath.Join(t.TempDir(), "run")
		random := rand.New(rand.NewPCG(seed, 3))
		kills := 0
		for run := uint64(1); ; run++ {
			after := time.Duration(random.Float64() * float64(took) / 2)
			if kills == maxKills {
				after = time.Hour
			}
			if _, killed := runAndKill(t, dir, 100*(seed+1)+run, after); !killed {
				break
			}
			kills++
			finished, _ := filepath.Glob(filepath.Join(dir, "round*.jsonl"))
			hit[len(finished)]++
		}
		total += kills
		got := tree(t, dir)
		for name, text := range want {
			if got[name] != text {
				t.Errorf("seed %d, %d kills: %s has %d bytes, an uninterrupted run's %d, or they differ", seed, kills, name, len(got[name]), len(text))
			}
		}
		if len(got) != len(want) {
			t.Errorf("seed %d: %d files, want %d", seed, len(got), len(want))
		}
		// A kill costs at most what each worker had in hand.
		if n := len(read(t, dir+".work")) - killPhases*killRecords; n < 0 || n > kills*killWorkers {
			t.Errorf("seed %d: %d pieces of work done again after %d kills of %d workers", seed, n, kills, killWorkers)
		}
	}
	t.Logf("%d kills; by number of finished phases: %v", total, hit)
	if total < 3 {
		t.Errorf("only %d kills: the test proves little", total)
	}
}

// wait records until it is interrupted. With JOURNAL_STUCK the work in flight
// then never ends.
func wait(dir string) error {
	ctx, stop := Interruptible(context.Background(), func(s string) { fmt.Println(s) })
	defer stop()
	r, err := Open(dir, []byte(config), Options{})
	if err != nil {
		return err
	}
	p, err := r.Phase("p")
	if err != nil {
		return err
	}
	for k := 0; ctx.Err() == nil; k++ {
		if err := p.Put(fmt.Sprint(k), k); err != nil {
			return err
		}
		if k == 0 {
			if err := os.WriteFile(dir+".ready", nil, 0o666); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	if os.Getenv("JOURNAL_STUCK") != "" {
		time.Sleep(time.Minute)
	}
	if err := r.Close(); err != nil {
		return err
	}
	return context.Cause(ctx)
}

func TestInterrupt(t *testing.T) {
	for _, c := range []struct {
		stuck   string
		signals []os.Signal
		code    int
	}{
		{"", []os.Signal{os.Interrupt}, 1},
		{"", []os.Signal{syscall.SIGTERM}, 1},
		{"1", []os.Signal{os.Interrupt, os.Interrupt}, ExitInterrupted},
		{"1", []os.Signal{os.Interrupt, syscall.SIGTERM}, ExitInterrupted},
	} {
		dir := filepath.Join(t.TempDir(), "run")
		cmd, out := child("wait", dir, "JOURNAL_STUCK="+c.stuck)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		for i := 0; ; i++ {
			if _, err := os.Stat(dir + ".ready"); err == nil {
				break
			}
			if i == 1000 {
				t.Fatalf("the child does not begin: %s", out)
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, s := range c.signals {
			cmd.Process.Signal(s)
			time.Sleep(100 * time.Millisecond)
		}
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != c.code {
			t.Errorf("%v: exit code %d, want %d: %s", c.signals, got, c.code, out)
		}
		if !strings.Contains(out.String(), "finishing the work in flight; press again to stop at once") ||
			c.code == 1 && !strings.Contains(out.String(), ErrInterrupted.Error()) {
			t.Errorf("%v: output %q", c.signals, out)
		}
		r, err := Open(dir, []byte(config), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(phase(t, r, "p").Keys()); n == 0 || len(r.Notices()) > 0 {
			t.Errorf("%v: %d records, notices %q", c.signals, n, r.Notices())
		}
		r.Close()
	}
}

// stop gives a process its signals back; the context then ends as usual.
func TestInterruptibleStop(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	ctx, stop := Interruptible(parent, func(string) {})
	cancel()
	<-ctx.Done()
	if errors.Is(context.Cause(ctx), ErrInterrupted) {
		t.Error("a cancelled parent counts as an interrupt")
	}
	stop()
	stop()
}
