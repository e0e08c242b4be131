// Package bench is the evidence: what the library does per second on named
// shapes, beside what this machine could do.
//
// A Case is one piece of work (a product, a training step, a generation) with
// the work that it takes counted by one set of formulas (work.go). The
// benchmarks time cases alone; the command bench/peers times them in turn with
// the same work done by other libraries, and writes what bench/results holds.
//
//	go test ./bench -bench Products -threads 1,2
//	go test ./bench -run '^$' -bench Curve -curves results
//	scripts/bench-peers
//
// Models are made in memory with random weights: speed does not depend on what
// they have learned. Nothing of the library may import this package, and it
// reaches the kernels through tensor and kernels only, as every user does.
package bench
