package demo

import (
	"fmt"
	"path/filepath"

	"github.com/selkie-ml/selkie/seal"
)

// eachSeed runs an experiment for every seed, with settings that adjust, if there is
// one, has changed. It returns the settings of the first.
func eachSeed[S any](n int, settings func(seed int) S, adjust func(*S) error, run func(seed int, s S) (*seal.Experiment, error)) (first S, all []*seal.Experiment, err error) {
	for seed := range n {
		s := settings(seed)
		if adjust != nil {
			if err := adjust(&s); err != nil {
				return first, nil, err
			}
		}
		if seed == 0 {
			first = s
		}
		e, err := run(seed, s)
		if err != nil {
			return first, nil, fmt.Errorf("seed %d: %w", seed, err)
		}
		all = append(all, e)
	}
	return first, all, nil
}

// seedFolder is the run folder of a seed.
func seedFolder(dir string, seed int) string { return filepath.Join(dir, fmt.Sprintf("seed-%d", seed)) }

// seedOptions are the options of a seed's run within a demo's.
func seedOptions(seed int, say func(string), progress func(seed int, phase string, done, total int)) seal.Options {
	o := seal.Options{Say: say}
	if progress != nil {
		o.Progress = func(phase string, done, total int) { progress(seed, phase, done, total) }
	}
	return o
}
