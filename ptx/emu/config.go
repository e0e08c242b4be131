package emu

import "io"

// Config is what a Device is made of.
type Config struct {
	GPU      *GPU     // the GPU to be; nil: H100
	Schedule Schedule // order in which warps and groups of lanes run
	Seed     uint64   // of the schedule: same seed, same result
	Checks   Checks   // what the sanitiser looks for; 0: nothing, see AllChecks
	Workers  int      // goroutines that run blocks; 0: GOMAXPROCS. Results do not depend on it
	Budget   int64    // warp-instructions of one launch, after which it fails; 0: 1<<33
	Profile  bool     // keep counters per instruction, see Device.Profile

	// Stdout takes what kernels print by printf; nil: nowhere.
	Stdout io.Writer
	// MaxFindings is the number of different findings after which no more are kept; 0: 1000.
	MaxFindings int
	// StackLimit is the local memory of a thread in bytes; 0: 512 KiB.
	StackLimit int
}

// Schedule is an order of warps, groups and blocks.
type Schedule uint8

const (
	// RoundRobin gives every group of lanes its turn.
	RoundRobin Schedule = iota
	// Random draws the next group and the length of its turn.
	Random
	// Adversarial runs a group as far as it can go, in a random order of priorities
	// that changes now and then, so that those which others wait for come last;
	// and it lets groups pass points of reconvergence.
	Adversarial
)

func (s Schedule) String() string {
	return [...]string{"round-robin", "random", "adversarial"}[s]
}

// Checks is a set of things that the sanitiser looks for.
type Checks uint32

const (
	CheckBounds      Checks = 1 << iota // out of bounds, use after free
	CheckAlignment                      // misaligned addresses
	CheckUninit                         // uninitialised registers and memory
	CheckRaces                          // data races
	CheckConvergence                    // .aligned instructions in divergent code, wrong masks
	CheckBarriers                       // wrong counts and misuse of barriers, deadlock
	CheckAsync                          // misuse of asynchronous copies, mbarriers, wgmma
	CheckLeaks                          // memory that is not freed when the device is closed
	AllChecks        Checks = 1<<iota - 1
)

// GPU is a model with the figures that execution and roofline use.
type GPU struct {
	Name string
	SM   int  // compute capability, 90
	Arch byte // 'a' where targets of this capability alone run on it

	SMs             int
	ClockGHz        float64 // boost
	MemGBs          float64 // memory bandwidth
	L2GBs           float64
	SharedBytes     int // most of a block, opted in
	F32TFLOPS       float64
	F64TFLOPS       float64
	TensorF16TFLOPS float64 // dense
	TensorF8TFLOPS  float64 // 0: none
	TensorI8TOPS    float64
	Source          string // the data sheet
}

// The table of data-sheet figures: boost clock, memory bandwidth, peak rates without sparsity.
var (
	H100    = &GPU{Name: "H100 SXM", SM: 90, Arch: 'a', SMs: 132, ClockGHz: 1.98, MemGBs: 3350, L2GBs: 5500, SharedBytes: 227 << 10, F32TFLOPS: 67, F64TFLOPS: 34, TensorF16TFLOPS: 989, TensorF8TFLOPS: 1979, TensorI8TOPS: 1979, Source: "NVIDIA H100 data sheet"}
	H200    = &GPU{Name: "H200 SXM", SM: 90, Arch: 'a', SMs: 132, ClockGHz: 1.98, MemGBs: 4800, L2GBs: 5500, SharedBytes: 227 << 10, F32TFLOPS: 67, F64TFLOPS: 34, TensorF16TFLOPS: 989, TensorF8TFLOPS: 1979, TensorI8TOPS: 1979, Source: "NVIDIA H200 data sheet"}
	A100    = &GPU{Name: "A100 SXM 80 GB", SM: 80, SMs: 108, ClockGHz: 1.41, MemGBs: 2039, L2GBs: 4000, SharedBytes: 163 << 10, F32TFLOPS: 19.5, F64TFLOPS: 9.7, TensorF16TFLOPS: 312, TensorI8TOPS: 624, Source: "NVIDIA A100 data sheet"}
	RTX4090 = &GPU{Name: "RTX 4090", SM: 89, SMs: 128, ClockGHz: 2.52, MemGBs: 1008, L2GBs: 5000, SharedBytes: 99 << 10, F32TFLOPS: 82.6, F64TFLOPS: 1.29, TensorF16TFLOPS: 165.2, TensorF8TFLOPS: 330.3, TensorI8TOPS: 660.6, Source: "NVIDIA Ada GPU architecture, appendix A (f32 accumulation)"}
	RTX5090 = &GPU{Name: "RTX 5090", SM: 120, Arch: 'a', SMs: 170, ClockGHz: 2.41, MemGBs: 1792, L2GBs: 6000, SharedBytes: 99 << 10, F32TFLOPS: 104.8, F64TFLOPS: 1.64, TensorF16TFLOPS: 209.5, TensorF8TFLOPS: 419, TensorI8TOPS: 838, Source: "NVIDIA RTX Blackwell GPU architecture, appendix A (f32 accumulation)"}
	T4      = &GPU{Name: "T4", SM: 75, SMs: 40, ClockGHz: 1.59, MemGBs: 320, L2GBs: 1200, SharedBytes: 64 << 10, F32TFLOPS: 8.1, F64TFLOPS: 0.25, TensorF16TFLOPS: 65, TensorI8TOPS: 130, Source: "NVIDIA T4 data sheet"}
)

// GPUs are the models that the table knows.
var GPUs = []*GPU{H100, H200, A100, RTX4090, RTX5090, T4}
