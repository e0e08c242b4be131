package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
)

// meter shows how far a piece of work has come: a bar on a terminal, else a line
// now and then.
type meter struct {
	name, unit string
	total      int64

	mu      sync.Mutex
	done    int64
	note    string
	started time.Time
	first   int64 // done at the start, by an earlier run
	spoke   time.Time

	lines     io.Writer // nil: none
	container *mpb.Progress
	bar       *mpb.Bar
}

// progressModes are the values of --progress.
var progressModes = []string{"auto", "bar", "lines", "none"}

const lineEvery = 10 * time.Second

// newMeter starts a meter of total units, of which done are done already.
func (a *app) newMeter(name, unit string, total, done int64) (*meter, error) {
	if !slices.Contains(progressModes, a.progress) {
		return nil, fmt.Errorf("--progress %s: expected one of %s", a.progress, strings.Join(progressModes, ", "))
	}
	m := &meter{name: name, unit: unit, total: total, done: done, first: done, started: time.Now(), spoke: time.Now()}
	mode := a.progress
	if mode == "auto" {
		mode = "lines"
		if isTerminal(a.err) {
			mode = "bar"
		}
	}
	if a.quiet {
		mode = "none"
	}
	switch mode {
	case "bar":
		m.container = mpb.New(mpb.WithOutput(a.err), mpb.WithWidth(40), mpb.WithRefreshRate(200*time.Millisecond))
		m.bar = m.container.AddBar(total,
			mpb.PrependDecorators(decor.Name(name+" "), decor.CountersNoUnit("%d/%d "+unit)),
			mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return m.trailer() })))
		m.bar.SetCurrent(done)
		m.bar.SetRefill(done)
	case "lines":
		m.lines = a.err
	}
	return m, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// add counts n more units and shows a note, unless empty, beside the count.
func (m *meter) add(n int64, note string) {
	m.mu.Lock()
	m.done += n
	if note != "" {
		m.note = note
	}
	speak := m.lines != nil && (time.Since(m.spoke) >= lineEvery || m.done == m.total)
	if speak {
		m.spoke = time.Now()
	}
	done := m.done
	m.mu.Unlock()
	if m.bar != nil {
		m.bar.SetCurrent(done)
	}
	if speak {
		fmt.Fprintf(m.lines, "%s: %d of %d %s%s\n", m.name, done, m.total, m.unit, m.trailer())
	}
}

// resume tells that so many units were done by an earlier run.
func (m *meter) resume(done int64) {
	m.mu.Lock()
	m.done, m.first = done, done
	m.mu.Unlock()
	if m.bar != nil {
		m.bar.SetRefill(done)
	}
}

// say prints a line above the bar.
func (m *meter) say(line string) {
	switch {
	case m.container != nil:
		_, _ = io.WriteString(m.container, line+"\n")
	case m.lines != nil:
		fmt.Fprintln(m.lines, line)
	}
}

// trailer is the note and the time left.
func (m *meter) trailer() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := ""
	if m.note != "" {
		text = ", " + m.note
	}
	if n := m.done - m.first; n > 0 && m.done < m.total {
		left := time.Duration(float64(time.Since(m.started)) / float64(n) * float64(m.total-m.done))
		text += fmt.Sprintf(", %v left", left.Round(time.Second))
	}
	return text
}

// stop ends the display, whether or not the work came to its end. A second call
// does nothing.
func (m *meter) stop() {
	if m.container != nil {
		if !m.bar.Completed() {
			m.bar.Abort(false)
		}
		m.container.Wait()
		m.container, m.bar = nil, nil
	}
}
