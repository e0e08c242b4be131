//go:build !amd64

package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

var streamSets = [...]*streamSet{vec.Generic: &genericStreams}
