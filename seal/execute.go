package seal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/settings"
)

const experimentFile = "experiment.json"

// Inputs are what a run reads besides its settings.
type Inputs struct {
	Model     *nn.Model
	Tokenizer *tokenizer.Tokenizer
	Train     []Article
	Eval      []Article
	Outside   map[string][]string // self-edits made elsewhere, by article id; nil: none
	Prompts   *Prompts            // in place of the defaults and the files the settings name; nil: these
	// Fingerprints tell a resumed run whether the files are still the same.
	Fingerprints map[string]string
}

// Options of Execute that change no result.
type Options struct {
	AcceptNumerics bool // go on under another numerics id, see journal.Options
	Progress       func(phase string, done, total int)
	Say            func(string) // notices, such as where a run goes on; may be nil
}

// Execute runs, or goes on with, the knowledge experiment in a run folder, and
// leaves its results there. Interrupted anywhere, the same call goes on and ends
// with the same files. Inputs that cannot be used leave no folder, so that the
// next attempt may have other settings.
func Execute(ctx context.Context, dir string, s settings.Settings, in Inputs, opt Options) (*Experiment, error) {
	lab, err := newLabFor(s, in)
	if err != nil {
		return nil, err
	}
	if in.Eval, err = lab.fitting(lab.OrderArticles(in.Eval, "eval"), s.Data.EvalArticles, "evaluation", opt.Say); err != nil {
		return nil, err
	}
	if s.Outer.Rounds > 0 {
		if in.Train, err = lab.fitting(lab.OrderArticles(in.Train, "train"), lab.articlesOfAllRounds(), "training", opt.Say); err != nil {
			return nil, err
		}
	}
	run, err := journal.Open(dir, s.Marshal(), journal.Options{
		Numerics:       fmt.Sprintf("%s, compute %v", in.Model.Device().NumericsID(), in.Model.Compute),
		AcceptNumerics: opt.AcceptNumerics, Inputs: in.Fingerprints, Free: settings.Free(),
	})
	if err != nil {
		return nil, err
	}
	lab.Run, lab.Progress = run, opt.Progress
	e, err := lab.execute(ctx, in, opt)
	return e, errors.Join(err, run.Close())
}

// newLabFor returns a lab for a run's inputs.
func newLabFor(s settings.Settings, in Inputs) (*Lab, error) {
	lab, err := NewLab(s, in.Tokenizer, in.Model.Config, nil)
	if err != nil {
		return nil, err
	}
	if in.Prompts != nil {
		lab.Prompts = *in.Prompts
	}
	return lab, nil
}

func (l *Lab) execute(ctx context.Context, in Inputs, opt Options) (*Experiment, error) {
	l.sayResumed(opt)
	e, err := l.Knowledge(ctx, in.Model, in.Train, in.Eval, in.Outside)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return e, atomicfile.WriteFile(l.Run.Path(experimentFile), append(data, '\n'))
}

// inFolder runs work in a run folder and leaves its result there as a JSON file.
func (l *Lab) inFolder(dir string, in Inputs, opt Options, file string, work func() (any, error)) (err error) {
	l.Run, err = journal.Open(dir, l.Settings.Marshal(), journal.Options{
		Numerics:       fmt.Sprintf("%s, compute %v", in.Model.Device().NumericsID(), in.Model.Compute),
		AcceptNumerics: opt.AcceptNumerics, Inputs: in.Fingerprints, Free: settings.Free(),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Run.Close()) }()
	l.Progress = opt.Progress
	l.sayResumed(opt)
	result, err := work()
	if err != nil {
		return err
	}
	data, err := json.Marshal(result)
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(l.Run.Path(file), append(data, '\n'))
}

// sayResumed tells what happened on opening the run folder.
func (l *Lab) sayResumed(opt Options) {
	if opt.Say == nil {
		return
	}
	for _, n := range l.Run.Notices() {
		opt.Say(n)
	}
	if l.Run.Resumed() {
		opt.Say("going on with the run in " + l.Run.Dir())
	}
}

// ReadExperiment returns a finished run's experiment.
func ReadExperiment(dir string) (*Experiment, error) {
	var e Experiment
	if err := readResult(dir, experimentFile, &e); err != nil {
		return nil, err
	}
	return &e, nil
}

// readResult reads what a finished run left.
func readResult(dir, file string, to any) error {
	path := filepath.Join(dir, file)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: no finished run here (%s is missing): let the command that began it end first", dir, file)
	}
	if err != nil {
		return err
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(to); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}
