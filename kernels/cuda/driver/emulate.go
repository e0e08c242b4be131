package driver

import (
	"fmt"
	"os"
	"strings"

	"github.com/selkie-ml/selkie/ptx/emu"
)

// Emulate returns an emulated GPU by words between colons, in any order: a model
// ("a100", "h100", "rtx4090", …; by default an A100), "unchecked" for no sanitiser, and
// "profile" for counters, which have none either.
func Emulate(words string) (*Emulated, error) {
	cfg := emu.Config{GPU: emu.A100, Checks: emu.AllChecks, Stdout: os.Stdout} // what kernels print
	for word := range strings.SplitSeq(words, ":") {
		switch word {
		case "":
		case "unchecked":
			cfg.Checks = 0
		case "profile":
			cfg.Checks, cfg.Profile = 0, true
		default:
			g, err := model(word)
			if err != nil {
				return nil, err
			}
			cfg.GPU = g
		}
	}
	return NewEmulated(EmulatorConfig{Config: cfg}), nil
}

// model returns the GPU whose name begins with a word, such as "h100" or "rtx4090".
func model(word string) (*emu.GPU, error) {
	var names []string
	for _, g := range emu.GPUs {
		name := strings.ToLower(strings.ReplaceAll(g.Name, " ", ""))
		if strings.HasPrefix(name, strings.ToLower(word)) {
			return g, nil
		}
		names = append(names, g.Name)
	}
	return nil, fmt.Errorf("no GPU %q is emulated: want one of %s, unchecked or profile", word, strings.Join(names, ", "))
}
