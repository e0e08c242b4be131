package cuda

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/kernels/cuda/kernel"
)

// replayer turns launches that come again in the same order, with the same
// arguments, into a graph that the driver launches at once. Training steps and decode
// steps of one shape are such: what changes between them lies in device memory, and
// the arena hands out the same addresses.
//
// A stretch is what is enqueued between two waits or copies. The first time its
// launches go out as they come; when it begins again they are held back as long as
// they are the same, and at its end one graph is launched. Launches that differ let
// everything held back go out in order.
type replayer struct {
	api    driver.API
	stream driver.Stream

	known  map[uint64]*stretch // by their first launch
	now    stretch             // what was enqueued since the last flush
	expect *stretch            // what it may become; nil: launches go out at once
	held   int                 // launches at the end of now that did not go out
	clock  int
	seed   maphash.Seed

	stats LaunchStats
}

// LaunchStats counts launches of kernels.
type LaunchStats struct {
	Direct   int64 // went out one by one
	Graphs   int64 // graphs that were launched
	Replayed int64 // launches in them
}

// origin says where a launch comes from.
type origin struct {
	op     string
	kernel kernel.Any
}

// stretch is a sequence of launches.
type stretch struct {
	launches []driver.Launch // their Args are slices of args
	origins  []origin
	args     []byte
	exec     driver.GraphExec
	used     int // when last
}

const (
	shortest  = 4   // launches of a stretch that is worth a graph
	mostKnown = 256 // stretches
)

func newReplayer(api driver.API, stream driver.Stream) replayer {
	return replayer{api: api, stream: stream, known: map[uint64]*stretch{}, seed: maphash.MakeSeed()}
}

// enqueue launches a kernel now, or holds it back. The failure of one that was held
// back comes from flush.
func (r *replayer) enqueue(from origin, l *driver.Launch) error {
	i := len(r.now.launches)
	r.now.add(from, l)
	if i == 0 {
		r.expect = r.known[r.key(l)]
	}
	if r.expect != nil && i < len(r.expect.launches) && same(&r.expect.launches[i], l) {
		r.held++
		return nil
	}
	if err := r.release(i); err != nil {
		return err
	}
	r.stats.Direct++
	return r.launch(&r.now, i)
}

// launch lets launch i of a stretch go out.
func (r *replayer) launch(s *stretch, i int) error {
	l := &s.launches[i]
	if err := r.api.LaunchKernel(l); err != nil {
		return fmt.Errorf("%s: kernel %s, grid %v, block %v: %w", s.origins[i].op, s.origins[i].kernel.Name(), l.Grid, l.Block, err)
	}
	return nil
}

// release lets go what was held back of the first n launches, and holds back nothing
// more.
func (r *replayer) release(n int) error {
	first := n - r.held
	r.expect, r.held = nil, 0
	for i := first; i < n; i++ {
		r.stats.Direct++
		if err := r.launch(&r.now, i); err != nil {
			return err
		}
	}
	return nil
}

// flush makes everything that was enqueued part of the stream. It must come before
// anything else that uses the stream.
func (r *replayer) flush() error {
	n := len(r.now.launches)
	if n == 0 {
		return nil
	}
	defer r.now.reset()
	r.clock++
	whole := r.expect != nil && n == len(r.expect.launches)
	if !whole {
		err := r.release(n)
		if err == nil && n >= shortest {
			err = r.learn()
		}
		return err
	}
	s := r.expect
	r.expect, r.held = nil, 0
	s.used = r.clock
	if s.exec == 0 {
		if err := r.capture(s); err != nil {
			return err
		}
	}
	r.stats.Graphs++
	r.stats.Replayed += int64(n)
	return r.api.GraphLaunch(s.exec, r.stream)
}

// learn keeps a copy of what was enqueued.
func (r *replayer) learn() (err error) {
	key := r.key(&r.now.launches[0])
	if old := r.known[key]; old != nil {
		err = r.forget(key, old)
	}
	if len(r.known) >= mostKnown {
		var oldest uint64
		for k, s := range r.known {
			if o := r.known[oldest]; o == nil || s.used < o.used {
				oldest = k
			}
		}
		err = errors.Join(err, r.forget(oldest, r.known[oldest]))
	}
	s := &stretch{used: r.clock}
	for i := range r.now.launches {
		s.add(r.now.origins[i], &r.now.launches[i])
	}
	r.known[key] = s
	return err
}

// capture makes a stretch's graph.
func (r *replayer) capture(s *stretch) error {
	if err := r.api.StreamBeginCapture(r.stream); err != nil {
		return err
	}
	var failed error
	for i := range s.launches {
		if failed = r.launch(s, i); failed != nil {
			break
		}
	}
	g, err := r.api.StreamEndCapture(r.stream)
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	s.exec, err = r.api.GraphInstantiate(g)
	return errors.Join(err, r.api.GraphDestroy(g))
}

func (r *replayer) forget(key uint64, s *stretch) error {
	delete(r.known, key)
	if s.exec == 0 {
		return nil
	}
	return r.api.GraphExecDestroy(s.exec)
}

// close gives back all graphs.
func (r *replayer) close() (err error) {
	for key, s := range r.known {
		err = errors.Join(err, r.forget(key, s))
	}
	return err
}

func (r *replayer) key(l *driver.Launch) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	h.Write(l.Args)
	return h.Sum64() ^ uint64(l.Function)<<32 ^ uint64(l.Grid[0])
}

func same(a, b *driver.Launch) bool {
	return a.Function == b.Function && a.Grid == b.Grid && a.Block == b.Block && a.Shared == b.Shared && bytes.Equal(a.Args, b.Args)
}

// add appends a copy of a launch.
func (s *stretch) add(from origin, l *driver.Launch) {
	at := len(s.args)
	if at+len(l.Args) > cap(s.args) { // what launches point to stays where it is
		s.args = make([]byte, 0, max(4096, len(l.Args), 2*cap(s.args)))
		at = 0
	}
	s.args = append(s.args, l.Args...)
	c := *l
	c.Args = s.args[at:len(s.args):len(s.args)]
	s.launches, s.origins = append(s.launches, c), append(s.origins, from)
}

func (s *stretch) reset() {
	s.launches, s.origins, s.args = s.launches[:0], s.origins[:0], s.args[:0]
}

// LaunchStats returns how kernels were launched so far.
func (b *Backend) LaunchStats() LaunchStats { return b.replay.stats }
