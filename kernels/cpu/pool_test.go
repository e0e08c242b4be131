package cpu

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// watch fails the whole run when f takes far longer than it can.
func watch(t *testing.T, f func()) {
	t.Helper()
	dog := time.AfterFunc(time.Minute, func() { panic(t.Name() + ": the pool hangs") })
	defer dog.Stop()
	f()
}

type countTask struct {
	seen  []atomic.Int32
	grain int
	bad   atomic.Int32
	sleep time.Duration
}

func (c *countTask) do(lo, hi int, w *worker) {
	if hi-lo > c.grain || hi <= lo || w.used != 0 {
		c.bad.Add(1)
	}
	w.floats(hi - lo)
	for i := lo; i < hi; i++ {
		c.seen[i].Add(1)
	}
	if c.sleep > 0 {
		time.Sleep(c.sleep)
	}
}

// TestPoolDoesEveryItemOnce runs jobs of many sizes back to back, with pauses
// in which workers fall asleep.
func TestPoolDoesEveryItemOnce(t *testing.T) {
	for threads := 1; threads <= 3; threads++ {
		t.Run(fmt.Sprintf("threads=%d", threads), func(t *testing.T) {
			watch(t, func() {
				p := newPool(threads)
				defer p.close()
				for job := range 2000 {
					n, grain := job*7%230, 1+job%9
					c := &countTask{seen: make([]atomic.Int32, n), grain: grain}
					if job%100 == 0 {
						c.sleep = 20 * time.Microsecond
						time.Sleep(500 * time.Microsecond)
					}
					p.run("count", c, n, grain)
					for i := range c.seen {
						if v := c.seen[i].Load(); v != 1 {
							t.Fatalf("job %d: item %d of %d was done %d times", job, i, n, v)
						}
					}
					if c.bad.Load() != 0 {
						t.Fatalf("job %d: calls of do with a wrong range or used scratch", job)
					}
				}
			})
		})
	}
}

type panicTask struct{ at int }

func (p panicTask) do(lo, hi int, _ *worker) {
	if lo <= p.at && p.at < hi {
		panic(fmt.Sprintf("item %d is bad", p.at))
	}
}

// TestPoolPanics: a panic in any worker surfaces in the caller with the op's
// name, and the pool works on.
func TestPoolPanics(t *testing.T) {
	for threads := 1; threads <= 3; threads++ {
		watch(t, func() {
			p := newPool(threads)
			defer p.close()
			for at := range 40 {
				func() {
					defer func() {
						s := fmt.Sprint(recover())
						if !strings.Contains(s, "kernels/cpu: trouble: item "+fmt.Sprint(at)+" is bad") {
							t.Errorf("%d workers: the panic says %.80q", threads, s)
						}
					}()
					p.run("trouble", panicTask{at}, 40, 1)
				}()
				c := &countTask{seen: make([]atomic.Int32, 50), grain: 1}
				p.run("count", c, 50, 1)
				for i := range c.seen {
					if c.seen[i].Load() != 1 {
						t.Fatalf("%d workers: after a panic, item %d was done %d times", threads, i, c.seen[i].Load())
					}
				}
			}
		})
	}
}

// TestPoolShares: a job long enough to be shared is worked on by all workers.
func TestPoolShares(t *testing.T) {
	watch(t, func() {
		p := newPool(3)
		defer p.close()
		var s shareTask
		s.all.Store(3)
		s.met = make(chan struct{})
		p.run("share", &s, 3, 1) // returns only when three workers meet
	})
}

type shareTask struct {
	all atomic.Int32
	met chan struct{}
}

func (s *shareTask) do(lo, hi int, _ *worker) {
	if s.all.Add(-1) == 0 {
		close(s.met)
	}
	<-s.met
}

func TestPoolCloseEndsWorkers(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		p := newPool(3)
		p.run("count", &countTask{seen: make([]atomic.Int32, 9), grain: 1}, 9, 1)
		p.close()
		p.close()
	}
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 1000 {
			t.Fatalf("%d goroutines, %d before the pools were made and closed", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestWorkerScratchKeepsItsContents(t *testing.T) {
	w := &worker{}
	a := w.floats(1000)
	fill(a, 1)
	b := w.floats(1 << 20) // grows
	fill(b, 2)
	c := w.floats(10)
	fill(c, 3)
	if a[0] != 1 || a[999] != 1 || b[0] != 2 || b[1<<20-1] != 2 || c[0] != 3 {
		t.Error("pieces of scratch overlap")
	}
	if cap(a) != 1000 {
		t.Errorf("a piece of 1000 has room for %d", cap(a))
	}
}
