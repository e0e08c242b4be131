package ref_test

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/kerneltest"
	"github.com/selkie-ml/selkie/kernels/ref"
)

// Ref is judged against itself, so this asks of it, on problems of another seed than
// others see, all but values: nothing written elsewhere, errors, equal bits in any
// company.
func TestConformance(t *testing.T) {
	kerneltest.Require(t, "ref", true)
	kerneltest.Run(t, func(*testing.T) kernels.Backend { return ref.New(ref.Options{Poison: true}) }, kerneltest.Options{Seed: 2})
}
