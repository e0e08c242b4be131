// Package kerneltest puts any backend on trial: one conformance suite for
// every op of kernels.Backend, judged against package ref.
//
// Each op runs on random problems (seeded, so that a failure repeats) whose
// outputs start as NaN and whose buffers lie at odd offsets between guards.
// The suite asks four things of a result: that it lies within the stated
// tolerance of ref, that nothing else was written, that a second run gives the
// same bits, and that cutting the batch into several calls changes no bit.
//
// It is imported by tests only, and imports no backend but ref.
package kerneltest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/ref"
)

// Options say how a backend is judged.
type Options struct {
	// Loose multiplies the stated tolerances (those of storage excepted); 0 means 1.
	Loose float64
	// DTypes are the float storages to try; nil means f32, bf16 and f16.
	DTypes []kernels.DType
	// SpreadNaN excuses a backend that multiplies masked zeros, as tensor cores
	// do: a NaN may then reach other outputs of its own sequence.
	SpreadNaN bool
	// Aligned puts arrays at multiples of 256 bytes, as real ones lie, instead of odd
	// elements: backends may have other kernels for these.
	Aligned bool
	// Heavy adds problems of realistic size.
	Heavy bool
	// Limit leaves out problems with more elements than this, for backends that
	// compute slowly (an emulator); 0: none.
	Limit int
	// Only, if set, is asked about every problem that is within the limit, by its number
	// in the case, and leaves out those that it refuses.
	Only func(n int) bool
	// Result, if set, is given what the op wrote to an array in a problem, by its number,
	// after it was found right. The suite reports its error like one of its own.
	Result func(n int, array string, contents []byte) error
	// Seed chooses the problems; 0 means 1.
	Seed uint64
}

// Run puts the backend that open gives on trial, op by op, each with a fresh
// one that is closed afterwards. open may skip.
func Run(t *testing.T, open func(t *testing.T) kernels.Backend, opt Options) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			k := open(t)
			runCase(t, c, k, opt)
			if err := k.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
}

// Require skips the test when a target is not available, and fails it when
// SELKIE_REQUIRE_BACKENDS, a comma-separated list, names the target.
func Require(t *testing.T, target string, available bool) {
	t.Helper()
	if available {
		return
	}
	if demanded(target) {
		t.Fatalf("backend %s is not available here, and SELKIE_REQUIRE_BACKENDS demands it", target)
	}
	t.Skipf("backend %s is not available here", target)
}

func demanded(target string) bool {
	return slices.Contains(strings.Split(strings.ReplaceAll(os.Getenv("SELKIE_REQUIRE_BACKENDS"), " ", ""), ","), target)
}

// tb is what the suite needs of a *testing.T; the suite's own test records it.
type tb interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// testCase is the trial of one op (its name is the method's) or of one promise.
type testCase struct {
	name string
	run  func(*trial)
}

var cases = []testCase{
	{"Memory", testMemory},
	{"MapHost", testMapHost},
	{"Errors", testErrors},
	{"Copy", testCopy},
	{"Fill", testFill},
	{"Gather", testGather},
	{"Add", testAdd},
	{"Embedding", testEmbedding},
	{"EmbeddingBackward", testEmbeddingBackward},
	{"RMSNorm", testRMSNorm},
	{"RMSNormBackward", testRMSNormBackward},
	{"Rope", testRope},
	{"RopeBackward", testRopeBackward},
	{"Linear", testLinear},
	{"LinearBackwardInput", testLinearBackwardInput},
	{"LinearBackwardWeight", testLinearBackwardWeight},
	{"LoRA", testLoRA},
	{"LoRABackward", testLoRABackward},
	{"LoRAMerge", testLoRAMerge},
	{"Attention", testAttention},
	{"AttentionBackward", testAttentionBackward},
	{"KVStore", testKVStore},
	{"AttentionPaged", testAttentionPaged},
	{"PagedEqualsPrefill", testPagedEqualsPrefill},
	{"SwiGLU", testSwiGLU},
	{"SwiGLUBackward", testSwiGLUBackward},
	{"CrossEntropy", testCrossEntropy},
	{"GradNorm", testGradNorm},
	{"AdamW", testAdamW},
	{"Sample", testSample},
}

// trial is the run of one case.
type trial struct {
	tb
	dev, ref kernels.Backend
	opt      Options
	rng      *philox.Stream
	seen     int // problems within the limit
	problems int // of which were tried
	skipped  int // over the limit
}

func runCase(t tb, c testCase, k kernels.Backend, opt Options) {
	if opt.Loose == 0 {
		opt.Loose = 1
	}
	if opt.DTypes == nil {
		opt.DTypes = []kernels.DType{kernels.F32, kernels.BF16, kernels.F16}
	}
	if opt.Seed == 0 {
		opt.Seed = 1
	}
	tr := &trial{tb: t, dev: k, ref: ref.New(ref.Options{Poison: true}), opt: opt,
		rng: philox.NewStream(philox.ID{Seed: opt.Seed, Purpose: philox.PurposeTest, Item: c.name})}
	before := k.Stats().InUse
	c.run(tr)
	if after := k.Stats().InUse; after != before {
		t.Errorf("%d bytes in use after everything was freed, %d before", after, before)
	}
	t.Logf("%s on %s: %d problems, %d left out, seed %d", c.name, k.NumericsID(), tr.problems, tr.skipped, opt.Seed)
	if tr.problems == 0 {
		t.Errorf("%s: every problem is larger than the limit of %d elements", c.name, opt.Limit)
	}
}
