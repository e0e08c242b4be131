package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// task is an op in progress: its arguments unpacked, and the work of items
// lo…hi-1. Items are independent: which worker takes which of them, and how many
// at a time, never shows in a result. Ops keep their task in the Backend, so
// that enqueuing one allocates nothing.
type task interface {
	do(lo, hi int, w *worker)
}

// elemGrain is how many elements of cheap work are worth handing to a worker.
const elemGrain = 1 << 14

// rowGrain is elemGrain in rows of dim elements.
func rowGrain(dim int) int { return max(1, elemGrain/max(1, dim)) }

// worker is one of the goroutines that compute, with scratch of its own.
type worker struct {
	buf    []float32
	used   int
	choice choice

	sleeping atomic.Bool
	wake     chan struct{}
}

// floats returns n values of undefined contents that stay valid until the
// worker's current call of do returns.
func (w *worker) floats(n int) []float32 {
	n16 := (n + 15) &^ 15
	if w.used+n16 > len(w.buf) {
		w.buf = make([]float32, max(2*len(w.buf), w.used+n16, 1<<14))
		w.used = 0 // what was handed out keeps the old array alive
	}
	s := w.buf[w.used : w.used+n : w.used+n]
	w.used += n16
	return s
}

// pool runs tasks on persistent workers. The caller is the first of them.
type pool struct {
	workers []*worker

	// The current job. Written by the caller while state is 0.
	op    string
	task  task
	n     int
	grain int
	next  atomic.Int64

	// state counts the workers that are on the job besides the caller, with
	// jobOpen set while others may join and jobAwaited while the caller sleeps
	// until the count falls to 0.
	state  atomic.Uint32
	done   chan struct{}
	closed atomic.Bool
	exited sync.WaitGroup

	mu      sync.Mutex
	failure *taskPanic
}

const (
	jobOpen    = 1 << 31
	jobAwaited = 1 << 30
)

// Whoever has nothing to do looks for it again and again, first with the core to
// itself, then letting other programs have the core between looks, and sleeps
// at last. To wake a sleeper takes 50 µs and more on virtual machines, longer than
// most ops; between two ops of a training step pass less than linger.
const (
	alone  = 20 * time.Microsecond
	linger = 500 * time.Microsecond
	looks  = 64 // between two readings of the clock
)

// waiting keeps the time of one wait.
type waiting struct {
	began time.Time
	n     int
}

// on reports whether to look once more, after a pause where one is due.
func (w *waiting) on() bool {
	if w.n++; w.n%looks != 0 {
		return true
	}
	if w.began.IsZero() {
		w.began = time.Now()
		return true
	}
	d := time.Since(w.began)
	if d > alone {
		yield()
	}
	runtime.Gosched()
	return d < linger
}

// taskPanic is what a task panicked with, and where.
type taskPanic struct {
	value any
	stack []byte
}

func newPool(threads int) *pool {
	p := &pool{done: make(chan struct{}, 1)}
	for range max(threads, 1) {
		p.workers = append(p.workers, &worker{wake: make(chan struct{}, 1)})
	}
	p.exited.Add(len(p.workers) - 1)
	for _, w := range p.workers[1:] {
		go p.serve(w)
	}
	return p
}

// close ends the workers and waits for them. It may be called twice.
func (p *pool) close() {
	if p.closed.Swap(true) {
		return
	}
	for _, w := range p.workers[1:] {
		w.rouse()
	}
	p.exited.Wait()
}

// run does items 0…n-1 of t, at most grain at a time, and returns when all are
// done. It panics with the op's name when the task panics.
func (p *pool) run(op string, t task, n, grain int) {
	if n <= 0 {
		return
	}
	grain = max(grain, 1)
	p.op, p.task, p.n, p.grain = op, t, n, grain
	p.next.Store(0)
	calls := (n + grain - 1) / grain
	if calls == 1 || len(p.workers) == 1 {
		p.work(p.workers[0])
	} else {
		p.state.Store(jobOpen)
		for _, w := range p.workers[1:min(calls, len(p.workers))] {
			w.rouse()
		}
		p.work(p.workers[0])
		p.join()
	}
	p.task = nil
	if f := p.failure; f != nil {
		p.failure = nil
		panic(fmt.Sprintf("kernels/cpu: %s: %v\n\n%s", op, f.value, f.stack))
	}
}

// join closes the job to newcomers and waits for those who are on it.
func (p *pool) join() {
	if p.state.And(^uint32(jobOpen))&^jobOpen == 0 {
		return
	}
	for wait := (waiting{}); wait.on(); {
		if p.state.Load() == 0 {
			return
		}
	}
	if p.state.Or(jobAwaited) != 0 {
		<-p.done
	}
	p.state.Store(0)
}

// work takes items of the current job until none are left.
func (p *pool) work(w *worker) {
	defer func() {
		if v := recover(); v != nil {
			p.next.Store(int64(p.n))
			p.mu.Lock()
			if p.failure == nil {
				p.failure = &taskPanic{v, debug.Stack()}
			}
			p.mu.Unlock()
		}
	}()
	for {
		hi := int(p.next.Add(int64(p.grain)))
		lo := hi - p.grain
		if lo >= p.n {
			return
		}
		w.used = 0
		p.task.do(lo, min(hi, p.n), w)
	}
}

// serve is the life of a worker.
func (p *pool) serve(w *worker) {
	defer p.exited.Done()
	for {
		for wait := (waiting{}); wait.on() && !p.closed.Load(); {
			if p.enter() {
				p.work(w)
				p.state.And(^uint32(jobOpen)) // nothing left to join for
				if p.state.Add(^uint32(0)) == jobAwaited {
					p.done <- struct{}{}
				}
				wait = waiting{}
			}
		}
		if p.closed.Load() {
			return
		}
		w.sleeping.Store(true)
		if p.state.Load()&jobOpen != 0 || p.closed.Load() {
			// Announced after the last look: stay awake, unless roused meanwhile.
			if w.sleeping.CompareAndSwap(true, false) {
				continue
			}
		}
		<-w.wake
	}
}

// enter joins the current job if it is open.
func (p *pool) enter() bool {
	for {
		s := p.state.Load()
		if s&jobOpen == 0 {
			return false
		}
		if p.state.CompareAndSwap(s, s+1) {
			return true
		}
	}
}

// rouse wakes a sleeping worker.
func (w *worker) rouse() {
	if w.sleeping.CompareAndSwap(true, false) {
		w.wake <- struct{}{}
	}
}
