package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/selkie-ml/selkie/bench"
)

// host describes where and with what the rows were measured, as of the last
// part.
type host struct {
	CPU      string            `json:"cpu"`
	GPU      string            `json:"gpu,omitempty"`
	Cores    int               `json:"cores"`
	System   string            `json:"system"`
	Numerics string            `json:"numerics"`
	Versions map[string]string `json:"versions"`
}

// describe fills in what this process knows.
func (h *host) describe(e *bench.Env) {
	h.GPU = e.GPUName()
	h.CPU, h.Cores, h.Numerics = cpuName(), runtime.NumCPU(), e.NumericsID()
	h.System = runtime.GOOS + "/" + runtime.GOARCH
	h.Versions["go"] = runtime.Version()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				h.Versions["selkie"] = s.Value[:min(12, len(s.Value))]
			}
		}
	}
}

// cpuName is the processor's name with family and model, which virtual machines
// leave when they blank the name.
func cpuName() string {
	data, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); values[key] == "" {
			values[key] = strings.TrimSpace(value)
		}
	}
	return fmt.Sprintf("%s (family %s, model %s)", values["model name"], values["cpu family"], values["model"])
}
