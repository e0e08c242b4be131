module github.com/selkie-ml/selkie/kernels/cuda/gorgonia

go 1.26.0

replace github.com/selkie-ml/selkie => ../../..

require (
	github.com/selkie-ml/selkie v0.0.0-00010101000000-000000000000
	gorgonia.org/cu v0.9.6
)

require (
	github.com/ebitengine/purego v0.11.0 // indirect
	github.com/google/uuid v1.1.1 // indirect
	github.com/klauspost/cpuid/v2 v2.4.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	golang.org/x/sys v0.50.0 // indirect
)
