// Package mutatetest runs the tests of kernels against mutants of them and keeps
// the list of survivors, each with the reason why it is no defect. Tests import it.
package mutatetest

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/selkie-ml/selkie/ptx/mutate"
)

// Job is a mutant and what to ask about it.
type Job struct {
	Group  string // what the mutant is counted under
	Kernel string // which of the group's, for its identity; may be empty
	Mutant *mutate.Mutant
	// Killed runs the kernel's tests until something notices, and says what did; ""
	// for a survivor.
	Killed func() string
}

func (j Job) id() string {
	if j.Kernel == "" {
		return j.Group + ": " + j.Mutant.ID()
	}
	return j.Group + ": " + j.Kernel + ": " + j.Mutant.ID()
}

// Sample returns how many mutants to try: usual, or what SELKIE_MUTANTS says, a number
// or all (0).
func Sample(t testing.TB, usual int) int {
	switch v := os.Getenv("SELKIE_MUTANTS"); v {
	case "":
		return usual
	case "all":
		return 0
	default:
		n, err := strconv.Atoi(v)
		if err != nil || n <= 0 {
			t.Fatalf("SELKIE_MUTANTS=%s: expected a number of mutants, or all", v)
		}
		return n
	}
}

// Pick shuffles jobs by a fixed seed and keeps n of them; all, in order, if n is 0.
func Pick(jobs []Job, n int) []Job {
	if n > 0 {
		r := rand.New(rand.NewPCG(7, 7))
		r.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
		jobs = jobs[:min(n, len(jobs))]
	}
	return jobs
}

// Run tries the jobs on all cores. At least 95 of a hundred must be killed, and a
// survivor must be argued in file. With all, file is written anew, with the reasons
// that it had.
func Run(t *testing.T, file, title string, jobs []Job, total int, all bool) {
	t.Helper()
	verdicts := make([]string, len(jobs))
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				verdicts[i] = jobs[i].Killed()
			}
		})
	}
	for i := range jobs {
		next <- i
	}
	close(next)
	wg.Wait()

	argued, err := readArguments(file)
	if err != nil {
		t.Fatal(err)
	}
	r := result{groups: map[string]*count{}, by: map[string]int{}}
	for i, v := range verdicts {
		if r.note(jobs[i], v) == "" && argued[jobs[i].id()] == "" && !all {
			t.Errorf("survived: %s", jobs[i].id())
		}
	}
	t.Logf("%d of %d mutants run, %d killed, %d survived", len(jobs), total, r.dead, len(r.survivors))
	if 100*r.dead < 95*len(jobs) {
		t.Errorf("%d of %d mutants killed, expected at least 95 %%", r.dead, len(jobs))
	}
	if !all {
		return
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(r.text(title, len(jobs), argued)), 0o666); err != nil {
		t.Fatal(err)
	}
}

type count struct{ killed, survived int }

type result struct {
	dead      int
	order     []string
	groups    map[string]*count
	by        map[string]int // killed by what
	survivors []string
}

func (r *result) note(j Job, verdict string) string {
	c := r.groups[j.Group]
	if c == nil {
		c = new(count)
		r.groups[j.Group] = c
		r.order = append(r.order, j.Group)
	}
	if verdict == "" {
		c.survived++
		r.survivors = append(r.survivors, j.id())
		return ""
	}
	r.dead++
	c.killed++
	how, rest, _ := strings.Cut(verdict, ": ")
	if how == "finding" {
		kind, _, _ := strings.Cut(rest, ":")
		how += " " + kind
	}
	r.by[how]++
	return how
}

func (r *result) text(title string, n int, argued map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %d, of which %d killed (%.1f %%).\n#\n", title, n, r.dead, 100*float64(r.dead)/float64(n))
	for _, g := range r.order {
		fmt.Fprintf(&b, "# %-10s %5d killed %4d survived\n", g, r.groups[g].killed, r.groups[g].survived)
	}
	b.WriteString("#\n# Killed by:\n")
	var hows []string
	for h := range r.by {
		hows = append(hows, h)
	}
	slices.SortFunc(hows, func(a, b string) int { return cmp.Or(r.by[b]-r.by[a], strings.Compare(a, b)) })
	for _, h := range hows {
		fmt.Fprintf(&b, "# %5d %s\n", r.by[h], h)
	}
	b.WriteString("#\n# Survivors, each with the reason why it is no defect.\n")
	slices.Sort(r.survivors)
	for _, s := range r.survivors {
		fmt.Fprintf(&b, "%s\n\t%s\n", s, cmp.Or(argued[s], notArgued))
	}
	return b.String()
}

const notArgued = "NOT ARGUED"

// readArguments reads the survivors' reasons: a line of the mutant's identity, then one
// that begins with a tab.
func readArguments(file string) (map[string]string, error) {
	f, err := os.Open(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	argued := map[string]string{}
	id := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			if reason := strings.TrimSpace(line); reason != notArgued {
				argued[id] = reason
			}
		default:
			id = line
		}
	}
	return argued, lines.Err()
}
