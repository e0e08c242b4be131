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
	"os/signal"
	"path/filepath"
	"regexp"
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
	Copy   int // which of the kernel's mutants with the same identity, from 1; 0: the only one
	For    int // how many mutants it stands for, itself included; 0: 1
	// Killed runs the kernel's tests until something notices, and says what did; ""
	// for a survivor.
	Killed func() string
	// Assembled says of a survivor that it is SameCode or Refused, or "". May be nil.
	Assembled func() string
}

// verdict tries the mutant: what noticed it, or why it is no defect, or "".
func (j Job) verdict() string {
	v := j.Killed()
	if v == "" && j.Assembled != nil {
		return j.Assembled()
	}
	return v
}

// Reasons why a mutant is none.
const (
	SameCode = "The assembler makes the same machine code of it."
	Refused  = "The assembler refuses it."
)

func noMutant(verdict string) bool { return verdict == SameCode || verdict == Refused }

func (j Job) id() string {
	id := j.Mutant.ID()
	if j.Copy > 1 {
		id = fmt.Sprintf("%s #%d", id, j.Copy)
	}
	if j.Kernel != "" {
		id = j.Kernel + ": " + id
	}
	return j.Group + ": " + id
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

// First keeps n of the jobs, all if n is 0, in an order that says nothing and that other
// jobs do not change.
func First(jobs []Job, n int) []Job {
	slices.SortStableFunc(jobs, func(a, b Job) int { return cmp.Compare(mutate.Hash(a.id()), mutate.Hash(b.id())) })
	if n > 0 {
		jobs = jobs[:min(n, len(jobs))]
	}
	return jobs
}

// List is the file of survivors, and how it is made.
type List struct {
	File, Title string
	How         string // sentences for the head of the file
	Total       int    // mutants that there are
	All         bool   // all that were chosen are tried, and the file is written anew, with the reasons that it had
	// Journal, if there is one, remembers the verdicts for a run that goes on where another was
	// ended. An interrupt ends a run in good order: the file then says how far it came.
	Journal string
	// Loose lists let a survivor be where it was listed with other lines and registers.
	Loose bool
}

// Run tries the jobs on all cores. At least 95 of a hundred must be killed, and of a sample
// the list must have the survivors.
func Run(t *testing.T, l List, jobs []Job) {
	t.Helper()
	known, err := readJournal(l.Journal)
	if err != nil {
		t.Fatal(err)
	}
	verdicts, tried := make([]string, len(jobs)), make([]bool, len(jobs))
	stop := make(chan os.Signal, 1)
	var journal *os.File
	if l.Journal != "" {
		if journal, err = os.OpenFile(l.Journal, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
			t.Fatal(err)
		}
		defer journal.Close()
		signal.Notify(stop, os.Interrupt)
		defer signal.Stop(stop)
	}
	var wg sync.WaitGroup
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				verdicts[i], tried[i] = jobs[i].verdict(), true
				if journal != nil {
					if _, err := fmt.Fprintf(journal, "%s\t%s\n", jobs[i].id(), verdicts[i]); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
hand:
	for i := range jobs {
		if v, ok := known[jobs[i].id()]; ok {
			verdicts[i], tried[i] = v, true
			continue
		}
		select {
		case next <- i:
		case <-stop:
			break hand
		}
	}
	close(next)
	wg.Wait()

	was, err := l.read()
	if err != nil {
		t.Fatal(err)
	}
	r := result{groups: map[string]*count{}, by: map[string]int{}}
	n := 0
	for i, v := range verdicts {
		if !tried[i] {
			continue
		}
		n++
		if id := jobs[i].id(); r.note(jobs[i], v) == "" && !was.has(id) && !l.All {
			t.Errorf("survived: %s", id)
		}
	}
	t.Logf("%d of %d mutants run, %d killed, %d no defects by the assembler, %d survived; with those like them %.1f %% killed",
		n, l.Total, r.dead, len(r.none), len(r.survivors), r.share())
	if defects := n - len(r.none); 100*r.dead < 95*defects && (l.All || !l.Loose) { // of a sample of a loose list, the list decides
		t.Errorf("%d of %d mutants killed, expected at least 95 %%", r.dead, defects)
	}
	if !l.All {
		return
	}
	if err := os.MkdirAll(filepath.Dir(l.File), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.File, []byte(r.text(l, n, len(jobs), was)), 0o666); err != nil {
		t.Fatal(err)
	}
}

// readJournal reads the verdicts of earlier runs.
func readJournal(file string) (map[string]string, error) {
	raw, err := os.ReadFile(file)
	if file == "" || errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	known := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if id, verdict, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t"); ok && strings.HasSuffix(line, "\n") {
			known[id] = verdict
		}
	}
	return known, err
}

type count struct{ killed, survived, none int }

type result struct {
	dead      int
	standsFor int // the defects among those tried, with those like them
	deadFor   int // those of them that are killed
	order     []string
	groups    map[string]*count
	by        map[string]int // killed by what
	survivors []string
	none      []string // no mutants, each with the reason
}

// share is how many in a hundred would be killed of all the defects that those tried stand for,
// if the others are killed where the tried ones of their kind are.
func (r *result) share() float64 { return 100 * float64(r.deadFor) / float64(max(1, r.standsFor)) }

func (r *result) note(j Job, verdict string) string {
	c := r.groups[j.Group]
	if c == nil {
		c = new(count)
		r.groups[j.Group] = c
		r.order = append(r.order, j.Group)
	}
	if !noMutant(verdict) {
		r.standsFor += max(1, j.For)
	}
	if verdict == "" {
		c.survived++
		r.survivors = append(r.survivors, j.id())
		return ""
	}
	if noMutant(verdict) {
		c.none++
		r.none = append(r.none, j.id()+"\n\t"+verdict)
		return verdict
	}
	r.dead++
	r.deadFor += max(1, j.For)
	c.killed++
	how, rest, _ := strings.Cut(verdict, ": ")
	if how == "finding" {
		kind, _, _ := strings.Cut(rest, ":")
		how += " " + kind
	}
	r.by[how]++
	return how
}

func (r *result) text(l List, n, chosen int, was arguments) string {
	var b strings.Builder
	defects := n - len(r.none)
	fmt.Fprintf(&b, "# %s: %d, of which %d killed (%.1f %%).\n", l.Title, defects, r.dead, 100*float64(r.dead)/float64(defects))
	if len(r.none) > 0 {
		fmt.Fprintf(&b, "# Not counted are %d of which the assembler makes the same machine code as of the kernel, or none.\n", len(r.none))
	}
	b.WriteString("#\n")
	for line := range strings.Lines(l.How) {
		b.WriteString("# " + line)
	}
	if l.How != "" {
		fmt.Fprintf(&b, "#\n# There are %d mutants; %d of them were chosen, %d tried. These stand for %d, of which %.1f %% would be killed\n", l.Total, chosen, n, r.standsFor, r.share())
		b.WriteString("# if the others are killed where the tried ones of their kind are.\n#\n")
		slices.Sort(r.order)
	}
	widest := 0
	for _, g := range r.order {
		widest = max(widest, len(g))
	}
	for _, g := range r.order {
		c := r.groups[g]
		fmt.Fprintf(&b, "# %-*s %5d killed %4d survived", widest+2, g, c.killed, c.survived)
		if c.none > 0 {
			fmt.Fprintf(&b, " %4d no defects", c.none)
		}
		b.WriteString("\n")
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
	if len(was.rules) > 0 {
		b.WriteString("#\n# Reasons that many survivors have: those whose names match.\n")
	}
	for _, rule := range was.rules {
		fmt.Fprintf(&b, "%s%v\n\t%s\n", rulePrefix, rule.names, rule.reason)
	}
	b.WriteString("#\n# Survivors, each with the reason why it is no defect.\n")
	slices.Sort(r.survivors)
	for _, s := range r.survivors {
		fmt.Fprintf(&b, "%s\n\t%s\n", s, cmp.Or(was.reason(s), notArgued))
	}
	if len(r.none) > 0 {
		b.WriteString("#\n# No defects, as the assembler says.\n")
	}
	slices.Sort(r.none)
	for _, s := range r.none {
		b.WriteString(s + "\n")
	}
	return b.String()
}

const notArgued, rulePrefix = "NOT ARGUED", "rule: "

// arguments are what a file says of survivors, by identity.
type arguments struct {
	given map[string]string // "" for one that is listed and not argued
	rules []rule
	loose bool
}

type rule struct {
	names  *regexp.Regexp
	reason string
}

var goLine = regexp.MustCompile(`\.go:[0-9]+`)

// key is what an identity is found by.
func (a arguments) key(id string) string {
	if a.loose {
		return mutate.Abstract(goLine.ReplaceAllString(id, ".go"))
	}
	return id
}

func (a arguments) has(id string) bool {
	_, listed := a.given[a.key(id)]
	return a.reason(id) != "" || listed && a.loose
}

func (a arguments) reason(id string) string {
	if reason := a.given[a.key(id)]; reason != "" {
		return reason
	}
	for _, r := range a.rules {
		if r.names.MatchString(id) {
			return r.reason
		}
	}
	return ""
}

// read reads the survivors' reasons: a line of the mutant's identity, or of a rule, then one
// that begins with a tab.
func (l List) read() (a arguments, err error) {
	a = arguments{given: map[string]string{}, loose: l.Loose}
	f, err := os.Open(l.File)
	if errors.Is(err, os.ErrNotExist) {
		return a, nil
	}
	if err != nil {
		return a, err
	}
	defer f.Close()
	id := ""
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			reason := strings.TrimSpace(line)
			if names, ok := strings.CutPrefix(id, rulePrefix); ok {
				re, err := regexp.Compile(names)
				if err != nil {
					return a, fmt.Errorf("%s: %w", l.File, err)
				}
				a.rules = append(a.rules, rule{re, reason})
				continue
			}
			if reason == notArgued || noMutant(reason) {
				reason = ""
			}
			if key := a.key(id); a.given[key] == "" {
				a.given[key] = reason
			}
		default:
			id = line
		}
	}
	return a, lines.Err()
}
