package cuda

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// tapeAPI notes what is launched, by a graph or not.
type tapeAPI struct {
	driver.API
	out       []string
	capturing bool
	captured  []string
	graphs    map[driver.Graph][]string
	execs     map[driver.GraphExec][]string
	live      int
	fail      driver.Function // whose launch fails
}

func (a *tapeAPI) LaunchKernel(l *driver.Launch) error {
	if l.Function == a.fail {
		return errors.New("refused")
	}
	s := fmt.Sprintf("%d%v%s", l.Function, l.Grid, l.Args)
	if a.capturing {
		a.captured = append(a.captured, s)
	} else {
		a.out = append(a.out, s)
	}
	return nil
}
func (a *tapeAPI) StreamBeginCapture(driver.Stream) error {
	a.capturing, a.captured = true, nil
	return nil
}
func (a *tapeAPI) StreamEndCapture(driver.Stream) (driver.Graph, error) {
	a.capturing = false
	g := driver.Graph(len(a.graphs) + 1)
	a.graphs[g] = a.captured
	return g, nil
}
func (a *tapeAPI) GraphInstantiate(g driver.Graph) (driver.GraphExec, error) {
	a.live++
	a.execs[driver.GraphExec(g)] = a.graphs[g]
	return driver.GraphExec(g), nil
}
func (a *tapeAPI) GraphDestroy(driver.Graph) error { return nil }
func (a *tapeAPI) GraphExecDestroy(driver.GraphExec) error {
	a.live--
	return nil
}
func (a *tapeAPI) GraphLaunch(g driver.GraphExec, _ driver.Stream) error {
	a.out = append(a.out, a.execs[g]...)
	return nil
}

func newTape() (*tapeAPI, *replayer) {
	a := &tapeAPI{graphs: map[driver.Graph][]string{}, execs: map[driver.GraphExec][]string{}}
	r := newReplayer(a, 1)
	return a, &r
}

// launches returns n launches, the last of which differs by salt.
func launches(n int, salt string) []driver.Launch {
	out := make([]driver.Launch, n)
	for i := range out {
		out[i] = driver.Launch{Function: driver.Function(10 + i%3), Grid: [3]uint32{uint32(i + 1), 1, 1}, Args: fmt.Appendf(nil, "arg%d", i)}
	}
	out[n-1].Args = []byte(salt)
	return out
}

// Whatever comes, the driver gets every launch in order; what comes again comes as a
// graph.
func TestReplay(t *testing.T) {
	a, r := newTape()
	var want []string
	send := func(list []driver.Launch) {
		t.Helper()
		for i := range list {
			if err := r.enqueue(origin{"op", kernel.Fill{}}, &list[i]); err != nil {
				t.Fatal(err)
			}
			want = append(want, fmt.Sprintf("%d%v%s", list[i].Function, list[i].Grid, list[i].Args))
			clear(list[i].Args) // the caller's block is used again
		}
		if err := r.flush(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.out, want) {
			t.Fatalf("the driver got\n%v, want\n%v", a.out[max(0, len(a.out)-12):], want[max(0, len(want)-12):])
		}
	}
	for range 4 {
		send(launches(9, "same"))
	}
	if r.stats != (LaunchStats{9, 3, 27}) {
		t.Errorf("%+v, want 9 direct, 3 graphs of 9", r.stats)
	}
	send(launches(9, "other")) // ends otherwise: what was held back goes out
	send(launches(9, "other"))
	send(launches(5, "short"))
	send(launches(3, "x")) // too short for a graph
	send(launches(3, "x"))
	send(launches(12, "long"))
	send(launches(9, "long")[:6])
	for range 3 {
		send(launches(200, "many"))
	}
	if r.stats.Graphs != 3+1+2 {
		t.Errorf("%d graphs, want 6", r.stats.Graphs)
	}
	for i := range mostKnown + 10 { // old ones are forgotten
		for range 2 {
			l := launches(6, "end")
			l[0].Args = fmt.Appendf(nil, "start %d", i)
			send(l)
		}
	}
	if len(r.known) > mostKnown || a.live > mostKnown {
		t.Errorf("%d stretches are known, %d graphs live; at most %d should", len(r.known), a.live, mostKnown)
	}
	if err := r.close(); err != nil || a.live != 0 {
		t.Errorf("%d graphs live after close, %v", a.live, err)
	}
}

// A launch that fails after it was held back is named with its op.
func TestReplayFailure(t *testing.T) {
	a, r := newTape()
	for i := range 3 {
		list := launches(6, "end")
		if i > 0 {
			a.fail = list[2].Function
		}
		var err error
		for j := range list {
			err = errors.Join(err, r.enqueue(origin{fmt.Sprintf("op%d", j), kernel.Fill{}}, &list[j]))
		}
		err = errors.Join(err, r.flush())
		if i == 0 && err != nil || i > 0 && (err == nil || err.Error() != "op2: kernel "+kernel.Fill{}.Name()+", grid [3 1 1], block [0 0 0]: refused") {
			t.Errorf("round %d: %v", i, err)
		}
		if a.capturing {
			t.Error("a capture was left open")
		}
	}
}

func BenchmarkReplay(b *testing.B) {
	_, r := newTape()
	list := launches(300, "end")
	for range 3 {
		for i := range list {
			r.enqueue(origin{"op", kernel.Fill{}}, &list[i])
		}
		r.flush()
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range list {
			if err := r.enqueue(origin{"op", kernel.Fill{}}, &list[i]); err != nil {
				b.Fatal(err)
			}
		}
		r.now.reset() // the graph's launch is the driver's time
		r.held, r.expect = 0, nil
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(list)), "ns/launch")
}
