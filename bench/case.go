package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/selkie-ml/selkie/nn"
)

// Case is one piece of work on some number of threads. Its name is a path:
// suite, then what tells it from the others.
type Case struct {
	Name string
	Work Work
	Spec Spec
	// setup makes what Run needs in an environment.
	setup func(*Env) (*Run, error)
}

// Suite is the first part of the case's name.
func (c Case) Suite() string { suite, _, _ := strings.Cut(c.Name, "/"); return suite }

// Run is a case that is ready: Once does the work one time and returns how
// long it took. Where Enqueue is not nil the work can be asked for many times
// before Sync waits for all of it, so that a GPU is not timed waiting for us.
type Run struct {
	Once    func() (time.Duration, error)
	Enqueue func()
	Sync    func() error
	Close   func()
}

// Spec tells another library what a case is: the operation and its sizes. The
// fields an operation does not have are zero.
type Spec struct {
	Op     string `json:"op"` // product, lora, attention, adamw, rmsnorm, swiglu, step, seal, decode, prompt
	Type   string `json:"type"`
	Layout string `json:"layout,omitempty"` // product: NT, NN or TN
	M      int    `json:"m,omitempty"`      // product: [M, K]·[K, N]
	K      int    `json:"k,omitempty"`
	N      int    `json:"n,omitempty"`      // also: elements
	Copies int    `json:"copies,omitempty"` // product: weights gone through in turn, so that each comes from memory

	Rows     int  `json:"rows,omitempty"`
	Segments int  `json:"segments,omitempty"`
	Rank     int  `json:"rank,omitempty"`
	Backward bool `json:"backward,omitempty"`
	Heads    int  `json:"heads,omitempty"`
	KVHeads  int  `json:"kv_heads,omitempty"`
	HeadDim  int  `json:"head_dim,omitempty"`
	Batch    int  `json:"batch,omitempty"`
	Seq      int  `json:"seq,omitempty"`
	New      int  `json:"new,omitempty"`
	Epochs   int  `json:"epochs,omitempty"`
	Adapters int  `json:"adapters,omitempty"`

	Model   string   `json:"model,omitempty"`
	Targets []string `json:"targets,omitempty"`
	Lengths []int    `json:"lengths,omitempty"`
}

// Storage names of Spec.Type: what weights are stored in, and for bf16 also
// what products take. In bf16w weights are bf16 and arithmetic f32.
const (
	F32   = "f32"
	BF16  = "bf16"
	BF16W = "bf16w"
)

// QV and All7 are the usual choices of linear layers to adapt.
var (
	QV   = []nn.Projection{nn.QProj, nn.VProj}
	All7 = nn.AllProjections()
)

// targetsName is what case names call a choice of layers.
func targetsName(t []nn.Projection) string {
	if len(t) == len(All7) {
		return "all7"
	}
	var b strings.Builder
	for _, p := range t {
		b.WriteString(strings.TrimSuffix(p.String(), "_proj"))
	}
	return b.String()
}

// names lists projections by the names of their modules.
func names(t []nn.Projection) []string {
	out := make([]string, len(t))
	for i, p := range t {
		out[i] = p.String()
	}
	return out
}

// Start makes a case ready in an environment.
func (c Case) Start(e *Env) (*Run, error) {
	r, err := c.setup(e)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return r, nil
}

// Sample repeats the work for at least d and returns the seconds of one time,
// the mean over the repetitions.
func (r *Run) Sample(d time.Duration) (float64, error) {
	var total time.Duration
	if r.Enqueue != nil {
		for n := 1; ; n *= 2 {
			began := time.Now()
			for range n {
				r.Enqueue()
			}
			err := r.Sync()
			if total = time.Since(began); err != nil || total >= d {
				return total.Seconds() / float64(n), err
			}
		}
	}
	n := 0
	for n == 0 || total < d {
		t, err := r.Once()
		if err != nil {
			return 0, err
		}
		total += t
		n++
	}
	return total.Seconds() / float64(n), nil
}

// Sizes are what the suites are measured at: Full, or a tiny one that runs
// every case in a moment.
type Sizes struct {
	Shapes      []string // models
	Large       string   // the shape whose products, decoding and long steps count
	Small       string   // the shape of many small steps
	SEAL        string   // the shape of SEAL's workload
	Rows        int      // tokens of a training batch
	Squares     []int
	Ranks       []int
	Cold        int // bytes of weights gone through so that each comes from memory
	Elements    int // of arrays beyond cache
	Segments    int // of grouped LoRA
	SegmentRows int
	Prompt      int
	New         int // tokens generated after the prompt of a decoding case
	LongPrompt  int
	Epochs      int // of SEAL's workload
	Adapters    int
	Lengths     []int
	Long        []int // rows of attention beyond a training batch, 16 heads of 128
	BatchSeq    int   // tokens of a sequence of the small shape's batches
	FullBatch   int
}

// Full are the sizes whose results are published.
func Full() Sizes {
	return Sizes{
		Large: "qwen2.5-0.5b", Small: "mini", SEAL: "mini", Shapes: []string{"qwen2.5-0.5b", "llama3.2-1b", "mini"}, Rows: 512, Squares: []int{1024, 2048}, Ranks: []int{16, 32, 64},
		Cold: 512 << 20, Elements: 1 << 24, Segments: 16, SegmentRows: 64, Prompt: 64, New: 32, LongPrompt: 512,
		Epochs: SEALEpochs, Adapters: SEALAdapters, Lengths: SEALLengths, BatchSeq: 128, FullBatch: 16,
	}
}

// FullGPU are the sizes whose results on GPUs are published.
func FullGPU() Sizes {
	s := Full()
	s.Large, s.Shapes, s.Rows = "qwen2.5-7b", []string{"qwen2.5-0.5b", "llama3.2-1b", "qwen2.5-7b"}, 4096
	s.Squares, s.Ranks, s.Long = []int{4096, 8192}, []int{16, 32, 64, 128}, []int{4096, 8192, 16384}
	s.Cold, s.Elements = 2<<30, 1<<28
	s.SEAL, s.Epochs = s.Large, 1
	return s
}

// Tiny are sizes for trying every case.
func Tiny() Sizes {
	return Sizes{
		Large: "tiny", Small: "tiny", SEAL: "tiny", Shapes: []string{"tiny"}, Rows: 24, Squares: []int{17}, Ranks: []int{4},
		Cold: 1 << 14, Elements: 1 << 12, Segments: 3, SegmentRows: 5, Prompt: 6, New: 4, LongPrompt: 9,
		Epochs: 2, Adapters: 3, Lengths: []int{3, 7, 5}, Long: []int{9}, BatchSeq: 8, FullBatch: 2,
	}
}

// Cases returns all cases at sizes, suite after suite.
func Cases(s Sizes) ([]Case, error) {
	var out []Case
	for _, f := range []func(Sizes) ([]Case, error){products, lora, attention, elementwise, steps, generation} {
		cases, err := f(s)
		if err != nil {
			return nil, err
		}
		out = append(out, cases...)
	}
	return out, nil
}
