package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/selkie-ml/selkie/bench"
)

// row is what was measured of one case with some number of threads: for every
// library the seconds that one time took, sample after sample.
type row struct {
	Part    string               `json:"part"`
	Case    string               `json:"case"`
	Threads int                  `json:"threads"`
	Spec    bench.Spec           `json:"spec"`
	Work    bench.Work           `json:"work"`
	Peak    bench.Peak           `json:"peak"`
	Seconds map[string][]float64 `json:"seconds"`
}

// median returns the median seconds of a library, 0 for none.
func (r *row) median(engine string) float64 {
	s := slices.Sorted(slices.Values(r.Seconds[engine]))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

func (r *row) ours() float64 { return r.median("selkie") }

// best returns the fastest of the others, and its seconds; 0: there is none.
func (r *row) best() (engine string, seconds float64) {
	for name := range r.Seconds {
		if m := r.median(name); name != "selkie" && (seconds == 0 || m < seconds) {
			engine, seconds = name, m
		}
	}
	return engine, seconds
}

// ratio returns how many times as fast as the best of the others we are; 0:
// there is none.
func (r *row) ratio() float64 {
	_, s := r.best()
	return s / r.ours()
}

// ofPeak returns the time that the machine's peak would need over ours.
func (r *row) ofPeak() float64 { return r.Peak.Seconds(r.Work) / r.ours() }

// ofRead returns our rate of reading over the machine's.
func (r *row) ofRead() float64 { return r.Work.Bytes / r.ours() / r.Peak.Read }

func (r *row) String() string {
	s := fmt.Sprintf("%s %s, %.0f%% of peak", r.Case, duration(r.ours()), 100*r.ofPeak())
	if engine, _ := r.best(); engine != "" {
		s += fmt.Sprintf(", %.2f x %s", r.ratio(), engine)
	}
	return s
}

// book is the file of all rows measured on a day, so that parts can be measured
// at different times. A case measured again replaces what was there.
type book struct {
	path string
	Host host
	rows []*row
}

// bookLine is a line of the file: the host, or a row.
type bookLine struct {
	Host *host `json:"host,omitempty"`
	Row  *row  `json:"row,omitempty"`
}

// todaysBook opens the book of a day that was measured on this processor, or a new one: the
// second processor's of a day has a 2 behind its name, and so on.
func todaysBook(base, cpu string) (*book, error) {
	path := base + ".jsonl"
	for n := 2; ; n++ {
		b, err := openBook(path)
		if err != nil || b.Host.CPU == "" || b.Host.CPU == cpu {
			return b, err
		}
		path = fmt.Sprintf("%s-%d.jsonl", base, n)
	}
}

func openBook(path string) (*book, error) {
	b := &book{path: path, Host: host{Versions: map[string]string{}}}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		var l bookLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s:%d: %w: correct or delete the line", path, n, err)
		}
		if l.Host != nil {
			b.Host = *l.Host
		} else if l.Row != nil {
			b.put(l.Row)
		}
	}
	return b, lines.Err()
}

func (b *book) put(r *row) {
	for i, old := range b.rows {
		if old.Case == r.Case && old.Threads == r.Threads {
			b.rows[i] = r
			return
		}
	}
	b.rows = append(b.rows, r)
}

// add keeps a row, and writes the file.
func (b *book) add(r *row) error {
	b.put(r)
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	lines := []bookLine{{Host: &b.Host}}
	for _, r := range b.rows {
		lines = append(lines, bookLine{Row: r})
	}
	for _, l := range lines {
		if err := enc.Encode(l); err != nil {
			return err
		}
	}
	return os.WriteFile(b.path, out.Bytes(), 0o644)
}

// find returns the rows with some number of threads whose case's name begins
// with a text and has all the others.
func (b *book) find(threads int, prefix string, parts ...string) []*row {
	var out []*row
	for _, r := range b.rows {
		if r.Threads == threads && strings.HasPrefix(r.Case, prefix) &&
			!slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(r.Case, p) }) {
			out = append(out, r)
		}
	}
	return out
}

// threads lists the numbers of threads that rows have.
func (b *book) threads() []int {
	var out []int
	for _, r := range b.rows {
		out = append(out, r.Threads)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// duration writes seconds for people.
func duration(s float64) string {
	switch {
	case s >= 1:
		return fmt.Sprintf("%.3g s", s)
	case s >= 1e-3:
		return fmt.Sprintf("%.3g ms", s*1e3)
	}
	return fmt.Sprintf("%.3g µs", s*1e6)
}
