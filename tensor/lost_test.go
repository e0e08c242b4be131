package tensor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/kernels/cuda"
)

// Auto is the CPU only where there is no GPU: one that fails while it is opened is an
// error, and one that fails later goes on failing.
func TestAuto(t *testing.T) {
	defer func(open func(cuda.Options) (*cuda.Backend, error)) { openCUDA = open }(openCUDA)
	var fails error
	openCUDA = func(opt cuda.Options) (*cuda.Backend, error) {
		if fails != nil {
			return nil, fails
		}
		return cuda.OpenEmulated("lost@3", opt)
	}
	dev, err := Open("auto", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !dev.IsGPU() {
		t.Fatalf("auto is %s where there is a GPU", dev.Backend().Name())
	}
	id := dev.NumericsID()
	x, err := dev.New(F32, 8)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		x.Fill(1)
	}
	for range 2 {
		if _, err := x.Float32s(); err == nil || !strings.Contains(err.Error(), "is lost to this process") {
			t.Errorf("after the GPU is lost: %v", err)
		}
	}
	if !dev.IsGPU() || dev.NumericsID() != id {
		t.Errorf("the device became %s", dev.NumericsID())
	}
	if x, err := dev.New(F32, 8); x != nil || err == nil {
		t.Errorf("a tensor %v and error %v on a lost GPU", x, err)
	}
	if err := dev.Close(); err == nil {
		t.Error("Close says nothing")
	}

	fails = fmt.Errorf("the GPU is busy")
	if dev, err := Open("auto", Options{}); err == nil {
		t.Errorf("auto is %s where the GPU cannot be used", dev.Backend().Name())
	}
	fails = fmt.Errorf("none here: %w", cuda.ErrNoGPU)
	if dev, err = Open("auto", Options{}); err != nil {
		t.Fatal(err)
	}
	if dev.IsGPU() {
		t.Error("auto is a GPU where there is none")
	}
	if err := dev.Close(); err != nil {
		t.Error(err)
	}
}
