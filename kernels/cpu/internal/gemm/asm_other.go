//go:build !amd64

package gemm

import "github.com/selkie-ml/selkie/kernels/cpu/internal/vec"

var kernelSets = [...]*kernelSet{vec.Generic: &genericKernels}

var pairKernels *kernelSet

func packColumnsFast([]float32, *Matrix, int, int, int, int) (j, l int) { return 0, 0 }

func packRowsFast([]float32, *Matrix, int, int, int, int) int { return 0 }

func packPairColumnsFast([]float32, *Matrix, int, int, int, int) (j, l int) { return 0, 0 }

func packPairRowsFast([]float32, *Matrix, int, int, int, int, int) int { return 0 }

func packSteps([]float32, *float32, int, int, int) {}
