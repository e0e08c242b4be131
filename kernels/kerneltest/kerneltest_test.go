package kerneltest

import (
	"testing"

	"github.com/selkie-ml/selkie/kernels"
	"github.com/selkie-ml/selkie/kernels/ref"
)

func TestRef(t *testing.T) {
	Run(t, func(*testing.T) kernels.Backend { return ref.New(ref.Options{Poison: true}) }, Options{})
}
