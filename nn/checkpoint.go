package nn

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

// Checkpoint says where a finetuning keeps its state, and how often.
type Checkpoint struct {
	Dir   string // "": nowhere
	Every int    // steps between two; 0: 100
}

// checkpointState is checkpoint.json: what the state's file lacks. It is written
// last, so that it always names a whole state.
type checkpointState struct {
	File  string      `json:"file"`
	Step  int         `json:"step"` // done
	Jobs  []JobResult `json:"jobs"`
	Ended []string    `json:"ended,omitempty"` // why jobs diverged
}

const checkpointFile = "checkpoint.json"

// save keeps the state after so many steps, when it is time, and removes the one
// before.
func (f *finetuning) save(done, steps int) error {
	c := f.opt.Checkpoint
	if c.Every == 0 {
		c.Every = 100
	}
	if c.Dir == "" || done%c.Every != 0 || done == steps {
		return nil
	}
	if err := os.MkdirAll(c.Dir, 0o777); err != nil {
		return err
	}
	state := checkpointState{File: fmt.Sprintf("state-%08d.safetensors", done), Step: done}
	for _, j := range f.jobs {
		r := j.result
		reason := ""
		if r.Diverged != nil {
			reason, r.Diverged = r.Diverged.Error(), nil
		}
		r.Losses, r.GradNorms = finiteOnly(r.Losses), finiteOnly(r.GradNorms)
		state.Jobs, state.Ended = append(state.Jobs, r), append(state.Ended, reason)
	}
	if err := f.trainer.SaveState(filepath.Join(c.Dir, state.File)); err != nil {
		return err
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := atomicfile.WriteFile(filepath.Join(c.Dir, checkpointFile), append(text, '\n')); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(c.Dir, "state-*.safetensors"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if filepath.Base(path) != state.File {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// finiteOnly makes a list writable as JSON: what diverged is told in words.
func finiteOnly(x []float64) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		if finite(v) {
			out[i] = v
		}
	}
	return out
}

// load goes on from a checkpoint and returns the steps done.
func (f *finetuning) load() (int, error) {
	c := f.opt.Checkpoint
	if c.Dir == "" {
		return 0, nil
	}
	path := filepath.Join(c.Dir, checkpointFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	var state checkpointState
	if err := json.Unmarshal(text, &state); err != nil {
		return 0, fmt.Errorf("%s: %w: delete it, and the training begins again", path, err)
	}
	if len(state.Jobs) != len(f.jobs) || len(state.Ended) != len(f.jobs) {
		return 0, fmt.Errorf("%s: a checkpoint of %d jobs, want %d: delete it, and the training begins again", path, len(state.Jobs), len(f.jobs))
	}
	if err := f.trainer.LoadState(filepath.Join(c.Dir, state.File)); err != nil {
		return 0, err
	}
	for j := range f.jobs {
		f.jobs[j].result = state.Jobs[j]
		if why := state.Ended[j]; why != "" {
			f.jobs[j].result.Diverged = errors.New(why)
		}
	}
	return state.Step, nil
}
