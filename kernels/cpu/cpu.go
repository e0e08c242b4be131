// Package cpu is kernels/ref made fast: the ops over packed, vectorised
// products (internal/gemm) and row functions (internal/vec) on a pool of
// persistent workers. Its results have the same bits for any number of workers
// and whatever else is in a batch.
//
// It must not import tensor, kernels/ref or any other backend.
package cpu

import (
	"fmt"
	"runtime"

	"github.com/klauspost/cpuid/v2"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/gemm"
	"github.com/selkie-ml/selkie/kernels/cpu/internal/vec"
	"github.com/selkie-ml/selkie/kernels/host"
)

// version counts changes of this package that change result bits.
const version = "2"

var _ kernels.Backend = (*Backend)(nil)

// Options configure a backend. The zero Options are sensible.
type Options struct {
	// Threads is the number of workers, the caller included; 0: one per core
	// that the process may use.
	Threads int
	// Poison fills memory handed out or freed with NaN.
	Poison bool
	// Limit is the most bytes in use at once; 0: none.
	Limit int64
}

// Backend computes on the processor's cores. Ops finish before they return.
type Backend struct {
	host.Device
	pool *pool
	id   string
	ops  ops

	parallel gemm.Parallel
	scratch  []float32 // of the op in progress
}

// ops holds one task of every kind, reused from call to call, with what each
// keeps between calls.
type ops struct {
	op string // for products, which the pool knows only as functions

	copy   copyTask
	fill   fillTask
	gather gatherTask
	add    addTask

	swiglu         swigluTask
	swigluBackward swigluBackwardTask

	embeddingBackward     embeddingBackwardTask
	rmsnorm               rmsnormTask
	rmsnormBackward       rmsnormBackwardTask
	rmsnormBackwardWeight rmsnormBackwardWeightTask
	rope                  ropeTask

	product productTask
	colsum  colsumTask

	lora         loraTask
	loraBackward loraBackwardTask
	loraGrad     loraGradTask
	loraSegments loraSegments

	attention         attentionTask
	attentionBackward attentionBackwardTask
	kvstore           kvstoreTask

	crossEntropy       crossEntropyTask
	crossEntropyNarrow crossEntropyNarrowTask

	gradnorm gradnormTask
	adamw    adamwTask

	sample sampleTask
}

// New returns a backend with its workers started. Close stops them.
func New(o Options) (*Backend, error) {
	if o.Threads < 0 || o.Limit < 0 {
		return nil, fmt.Errorf("cpu backend: %d threads and a limit of %d bytes: want 0 (the default) or more", o.Threads, o.Limit)
	}
	threads := o.Threads
	if threads == 0 {
		threads = defaultThreads()
	}
	b := &Backend{pool: newPool(threads), id: "cpu-" + vec.Level() + "-" + version}
	b.Poison, b.Arena.Limit = o.Poison, o.Limit
	b.parallel = gemm.Parallel{Threads: threads, Run: func(n int, f func(i int)) {
		b.ops.product.f = f
		b.pool.run(b.ops.op, &b.ops.product, n, 1)
		b.ops.product.f = nil
	}}
	return b, nil
}

// defaultThreads is one per physical core among the processors that the process
// may use: two threads of one core share the units that products keep busy.
func defaultThreads() int {
	n := runtime.GOMAXPROCS(0)
	if per := cpuid.CPU.ThreadsPerCore; per > 1 && cpuid.CPU.LogicalCores == runtime.NumCPU() {
		n = min(n, max(1, runtime.NumCPU()/per))
	}
	return n
}

// Name implements kernels.Backend.
func (b *Backend) Name() string { return "cpu" }

// NumericsID implements kernels.Backend.
func (b *Backend) NumericsID() string { return b.id }

// Threads returns the number of workers.
func (b *Backend) Threads() int { return len(b.pool.workers) }

// Close implements kernels.Backend.
func (b *Backend) Close() error {
	b.pool.close()
	b.Trim()
	return nil
}

// products returns the pool as gemm takes it, for the op named.
func (b *Backend) products(op string) *gemm.Parallel {
	b.ops.op = op
	return &b.parallel
}

// productTask is a block of a product.
type productTask struct{ f func(i int) }

func (t *productTask) do(lo, hi int, _ *worker) {
	for i := lo; i < hi; i++ {
		t.f(i)
	}
}
