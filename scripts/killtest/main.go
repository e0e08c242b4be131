// Killtest shows that a run survives being killed: it runs a command once
// undisturbed and again with SIGKILL at random moments, starting the same command
// anew after each, and compares the files that both leave.
//
//	go run ./scripts/killtest -kills 20 -seed 1 -- seal-run demo --out {DIR}
//
// {DIR} stands for the run's folder. The command must be a program that works in
// its own process (build it first: killing go run would not reach it). What a
// journal or a clock writes is not compared: journal.jsonl, timings.jsonl, locks
// and report.html. The exit status is 0 only when all else has equal bytes.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	t := trial{log: func(s string) { fmt.Fprintln(os.Stderr, s) }}
	flag.IntVar(&t.kills, "kills", 20, "how many kills altogether; a run that ends before its kills are used up is followed by another")
	flag.Uint64Var(&t.seed, "seed", 1, "chooses the moments")
	flag.StringVar(&t.work, "work", "", "folder for the runs, kept afterwards; default: a temporary one, removed when all is well")
	result := flag.String("result", "", "file for the result in Markdown")
	flag.Parse()
	if t.command = flag.Args(); len(t.command) == 0 || t.kills < 1 {
		fmt.Fprintln(os.Stderr, "usage: killtest [-kills N] [-seed S] [-work DIR] [-result FILE] -- COMMAND … {DIR} …")
		os.Exit(2)
	}
	temporary := t.work == ""
	if temporary {
		dir, err := os.MkdirTemp("", "killtest")
		if err != nil {
			fail(err)
		}
		t.work = dir
	}
	if err := t.run(); err != nil {
		fail(fmt.Errorf("%w\nthe runs are in %s", err, t.work))
	}
	text := t.markdown()
	fmt.Print(text)
	if *result != "" {
		if err := os.WriteFile(*result, []byte(text), 0o666); err != nil {
			fail(err)
		}
	}
	if temporary {
		if err := os.RemoveAll(t.work); err != nil {
			fail(err)
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "killtest:", err)
	os.Exit(1)
}

// trial is a comparison of killed runs with an undisturbed one.
type trial struct {
	command []string
	kills   int
	seed    uint64
	work    string
	log     func(string)

	took  time.Duration // of the undisturbed run
	files int
	bytes int64
	hits  []hit
	runs  int
}

// hit is one kill.
type hit struct {
	run      int
	after    time.Duration // since the process began
	finished int           // of the files compared, that were there already
}

func (t *trial) run() error {
	whole := filepath.Join(t.work, "whole")
	t.log("running undisturbed: " + strings.Join(t.command, " "))
	began := time.Now()
	if killed, err := t.start(whole, time.Hour); err != nil {
		return err
	} else if killed {
		return errors.New("the undisturbed run took more than an hour")
	}
	t.took = time.Since(began)
	want, err := readRun(whole)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		return fmt.Errorf("the command left no files in %s: does it name {DIR}?", whole)
	}
	t.files = len(want)
	for _, data := range want {
		t.bytes += int64(len(data))
	}
	random := rand.New(rand.NewPCG(t.seed, 0))
	for len(t.hits) < t.kills {
		if t.runs++; t.runs > t.kills+10 {
			return fmt.Errorf("only %d kills in %d runs: each ends before its kill", len(t.hits), t.runs-1)
		}
		dir := filepath.Join(t.work, fmt.Sprintf("killed-%d", t.runs))
		if err := t.killed(dir, random); err != nil {
			return err
		}
		got, err := readRun(dir)
		if err != nil {
			return err
		}
		if err := compare(want, got); err != nil {
			return fmt.Errorf("%s after kills is not %s: %w", dir, whole, err)
		}
	}
	return nil
}

// killed brings one run to its end, killing it until the kills are used up. The
// moments are spread over the time that the undisturbed run took.
func (t *trial) killed(dir string, random *rand.Rand) error {
	for {
		after := time.Hour
		if left := t.kills - len(t.hits); left > 0 {
			// Twice the run's time over its kills, or enough to get anywhere.
			after = time.Duration(random.Float64() * max(2*float64(t.took)/float64(left+1), float64(t.took)/4))
		}
		killed, err := t.start(dir, after)
		if err != nil || !killed {
			return err
		}
		files, err := readRun(dir)
		if err != nil {
			return err
		}
		t.hits = append(t.hits, hit{t.runs, after, len(files)})
		t.log(fmt.Sprintf("kill %d after %.1f s, with %d of %d files there", len(t.hits), after.Seconds(), len(files), t.files))
	}
}

// start runs the command in a folder and kills it after a time unless it ends
// before.
func (t *trial) start(dir string, after time.Duration) (killed bool, err error) {
	args := make([]string, len(t.command))
	for i, a := range t.command {
		args[i] = strings.ReplaceAll(a, "{DIR}", dir)
	}
	cmd := exec.Command(args[0], args[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return false, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
		}
		return false, err
	case <-time.After(after):
		killErr := cmd.Process.Kill()
		err := <-ended
		if err == nil || errors.Is(killErr, os.ErrProcessDone) { // it was just ending
			return false, err
		}
		return true, nil
	}
}

// compared reports whether a file's bytes belong to the result of a run.
func compared(name string) bool {
	switch base := filepath.Base(name); base {
	case "journal.jsonl", "timings.jsonl", "report.html", ".lock":
		return false
	default:
		return filepath.Ext(base) != ".lock"
	}
}

// readRun returns the files of a run that are compared.
func readRun(dir string) (map[string][]byte, error) {
	files := map[string][]byte{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil // killed before it began
		}
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil && compared(name) {
			files[name], err = os.ReadFile(path)
		}
		return err
	})
	return files, err
}

// compare says how the files of two runs differ.
func compare(want, got map[string][]byte) error {
	var errs []error
	names := map[string]bool{}
	for _, files := range []map[string][]byte{want, got} {
		for name := range files {
			names[name] = true
		}
	}
	sorted := make([]string, 0, len(names))
	for name := range names {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		a, inWant := want[name]
		b, inGot := got[name]
		switch {
		case !inGot:
			errs = append(errs, fmt.Errorf("%s is missing", name))
		case !inWant:
			errs = append(errs, fmt.Errorf("%s should not be there", name))
		case !bytes.Equal(a, b):
			at := 0
			for at < min(len(a), len(b)) && a[at] == b[at] {
				at++
			}
			errs = append(errs, fmt.Errorf("%s has %d bytes, want %d, and differs from byte %d on", name, len(b), len(a), at))
		}
	}
	return errors.Join(errs...)
}

// markdown is the result, for people.
func (t *trial) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Kill test\n\n")
	fmt.Fprintf(&b, "    killtest -kills %d -seed %d -- %s\n\n", t.kills, t.seed, strings.Join(t.command, " "))
	fmt.Fprintf(&b, "%s, %s/%s, %s, %d processors: %d kills (SIGKILL) in %d run%s; an undisturbed run takes %.1f s.\n",
		time.Now().UTC().Format("2006-01-02"), runtime.GOOS, runtime.GOARCH, processor(), runtime.NumCPU(),
		len(t.hits), t.runs, map[bool]string{false: "s", true: ""}[t.runs == 1], t.took.Seconds())
	fmt.Fprintf(&b, "All %d files that are compared (%d bytes) are the same to the last byte in every run.\n\n", t.files, t.bytes)
	fmt.Fprintf(&b, "| kill | run | seconds after its start | files there |\n| ---: | ---: | ---: | ---: |\n")
	for i, h := range t.hits {
		fmt.Fprintf(&b, "| %d | %d | %.2f | %d of %d |\n", i+1, h.run, h.after.Seconds(), h.finished, t.files)
	}
	return b.String()
}

// processor is the processor's name, where the system tells it.
func processor() string {
	data, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}
