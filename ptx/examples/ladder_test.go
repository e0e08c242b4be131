package examples

import "github.com/selkie-ml/selkie/ptx"

// rung is a kernel of the ladder in one size.
type rung struct {
	name    string
	module  *ptx.Module
	targets []string // those it claims
}

func ladder() []rung {
	from75 := []string{"sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120"}
	from80 := from75[1:]
	hopper := []string{"sm_90a"}
	return []rung{
		{"vecadd", VecAdd{Threads: 256}.Module(), from75},
		{"sum", Sum{Warps: 8}.Module(), from75},
		{"transpose", Transpose{Rows: 8}.Module(), from75},
		{"softmax", Softmax{Warps: 4}.Module(), from75},
		{"matmul", Matmul{BM: 64, BN: 64, BK: 16, TM: 4, TN: 4}.Module(), from75},
		{"mma", MMAMatmul{BM: 128, BN: 128, BK: 64, WarpsM: 2, WarpsN: 4, Stages: 3}.Module(), from80},
		{"wgmma", WgmmaMatmul{BM: 128, BN: 128, Stages: 4, Cluster: 1}.Module(), hopper},
		{"wgmma_cluster", WgmmaMatmul{BM: 128, BN: 256, Stages: 3, Cluster: 2}.Module(), hopper},
	}
}
