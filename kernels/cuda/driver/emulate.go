package driver

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/selkie-ml/selkie/ptx/emu"
)

// Emulate returns an emulated GPU by words between colons, in any order: a model
// ("a100", "h100", "rtx4090", …; by default an A100), "unchecked" for no sanitiser,
// "profile" for counters, which have none either, and "lost@1000" for a GPU that is
// taken away at its 1,000th launch, to see what a run makes of it.
func Emulate(words string) (*Emulated, error) {
	cfg := emu.Config{GPU: emu.A100, Checks: emu.AllChecks, Stdout: os.Stdout} // what kernels print
	var lostAt int64
	for word := range strings.SplitSeq(words, ":") {
		launch, lost := strings.CutPrefix(word, "lost@")
		switch {
		case word == "":
		case word == "unchecked":
			cfg.Checks = 0
		case word == "profile":
			cfg.Checks, cfg.Profile = 0, true
		case lost:
			n, err := strconv.ParseInt(launch, 10, 64)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("emulated GPU %q: want the number of a launch, from 1, as in lost@1000", word)
			}
			lostAt = n
		default:
			g, err := model(word)
			if err != nil {
				return nil, err
			}
			cfg.GPU = g
		}
	}
	return NewEmulated(EmulatorConfig{Config: cfg, LostAt: lostAt}), nil
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
	return nil, fmt.Errorf("no GPU %q is emulated: want one of %s, unchecked, profile or lost@1000", word, strings.Join(names, ", "))
}
