package cuda

import (
	"fmt"
	"strings"

	"github.com/selkie-ml/selkie/kernels/cuda/driver"
	"github.com/selkie-ml/selkie/ptx/emu"
)

// Describe names the GPU and its driver, for people.
func (b *Backend) Describe() string { return b.info.String() }

func (i Info) String() string {
	return fmt.Sprintf("%s: compute capability %d.%d, %d multiprocessors, %d GiB, %.0f GB/s; CUDA %d.%d through %s",
		i.Name, i.SM/10, i.SM%10, i.SMs, i.Memory>>30, i.BandwidthGBs, i.DriverVersion/1000, i.DriverVersion%1000/10, i.Driver)
}

// PeakRates returns what the GPU can do per second: f32 operations, operations of
// bf16 products on tensor cores, bytes of memory. They are the data sheet's, or for a
// GPU that the table (ptx/emu) lacks estimates from its clocks.
func (b *Backend) PeakRates() (f32, bf16, read float64) {
	for _, g := range emu.GPUs {
		model, _, _ := strings.Cut(strings.TrimPrefix(g.Name, "RTX "), " ")
		if g.SM == b.info.SM && strings.Contains(b.info.Name, model) {
			return g.F32TFLOPS * 1e12, g.TensorF16TFLOPS * 1e12, g.MemGBs * 1e9
		}
	}
	// 128 multiply-adds a clock in a multiprocessor (64 in 8.0), and 8 times as many on
	// its tensor cores in halves.
	lanes := 128.0
	if b.info.SM == 80 {
		lanes = 64
	}
	f32 = 2 * lanes * float64(b.info.SMs) * b.info.ClockGHz * 1e9
	return f32, 8 * f32, b.info.BandwidthGBs * 1e9
}

// Look says what GPUs the driver of this machine sees, a line each, or why there is
// none that can be used. It uses nothing of them.
func Look() []string {
	api, err := driver.Open()
	if err != nil {
		first, _, _ := strings.Cut(err.Error(), ":")
		return []string{first}
	}
	first, _, err := Query(api, 0)
	if err != nil {
		return []string{err.Error()}
	}
	n, err := api.DeviceCount()
	if err != nil {
		return []string{err.Error()}
	}
	lines := []string{first.String()}
	for i := 1; i < n; i++ {
		info, _, err := Query(api, i)
		if err != nil {
			return append(lines, err.Error())
		}
		lines = append(lines, info.String())
	}
	return lines
}
