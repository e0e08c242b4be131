package pretrain

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gofrs/flock"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/nn"
)

const (
	numericsKey     = "numerics"
	checkpointGlob  = "checkpoint-*.safetensors"
	checkpointNamed = "checkpoint-%08d.safetensors"
)

// folder is an open run folder.
type folder struct {
	dir, training string
	lock          *flock.Flock
	logFile       *os.File
	numerics      string // of the device
	logged        string // numerics that the log's last step was computed under, as far as it says
	finished      bool
}

func withNumerics(settings map[string]string, id string) map[string]string {
	out := maps.Clone(settings)
	if out == nil {
		out = map[string]string{}
	}
	out[numericsKey] = id
	return out
}

// Begun tells whether dir holds a pretraining already. A folder that holds some
// other model, or adapter, is an error.
func Begun(dir string) (bool, error) {
	begun, err := readSettings(filepath.Join(dir, "training", "settings.json"))
	if begun != nil || err != nil {
		return begun != nil, err
	}
	for file, what := range map[string]string{"config.json": "a model", "adapter_config.json": "an adapter"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return false, fmt.Errorf("%s holds %s already: choose another folder", dir, what)
		}
	}
	return false, nil
}

// openFolder makes dir a run folder, or checks that it is one of the same
// settings, and locks it.
func openFolder(dir string, settings map[string]string, acceptNumerics bool) (_ *folder, err error) {
	f := &folder{dir: dir, training: filepath.Join(dir, "training"), numerics: settings[numericsKey]}
	path := filepath.Join(f.training, "settings.json")
	if _, err := Begun(dir); err != nil {
		return nil, err
	}
	begun, err := readSettings(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(f.training, 0o777); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	f.lock = flock.New(filepath.Join(f.training, ".lock"))
	ok, err := f.lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("locking the run folder %s: %w", dir, err)
	}
	if !ok {
		return nil, fmt.Errorf("another process is training in %s: wait until it ends, or choose another folder", dir)
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	if begun != nil && acceptNumerics {
		begun[numericsKey] = settings[numericsKey]
	}
	if begun != nil {
		if was, is := begun[numericsKey], settings[numericsKey]; was != is {
			begun[numericsKey] = is
			if difference(begun, settings) == "" {
				return nil, fmt.Errorf("%s was begun under numerics %q, and this device has %q: the rest would not repeat bit by bit; accept that with --accept-numerics, or choose another folder", dir, was, is)
			}
			begun[numericsKey] = was
		}
		if d := difference(begun, settings); d != "" {
			return nil, fmt.Errorf("%s was begun with other settings:\n%s\nuse those, or choose another folder", dir, d)
		}
	}
	data, err := json.MarshalIndent(settings, "", "  ")
	if err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(path, append(data, '\n')); err != nil {
		return nil, fmt.Errorf("run folder: %w", err)
	}
	_, err = os.Stat(filepath.Join(f.training, "finished"))
	f.finished = err == nil
	return f, nil
}

func readSettings(path string) (map[string]string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	settings := map[string]string{}
	if err := json.Unmarshal(data, &settings); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return settings, nil
}

// difference lists what differs between two settings, a line each.
func difference(begun, now map[string]string) string {
	var lines []string
	keys := slices.Collect(maps.Keys(begun))
	for k := range now {
		if _, ok := begun[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	say := func(m map[string]string, k string) string {
		if v, ok := m[k]; ok {
			return v
		}
		return "(absent)"
	}
	for _, k := range keys {
		if a, b := say(begun, k), say(now, k); a != b {
			lines = append(lines, fmt.Sprintf("  %s: was %s, is now %s", k, a, b))
		}
	}
	return strings.Join(lines, "\n")
}

// resume loads the last checkpoint into the trainer, cuts the log behind it, and
// returns the steps done.
func (f *folder) resume(t *nn.Trainer) (steps int, err error) {
	_ = atomicfile.RemoveStale(filepath.Join(f.training, "checkpoint"))
	names, err := f.checkpoints()
	if err != nil {
		return 0, err
	}
	if len(names) > 0 {
		last := names[len(names)-1]
		if _, err := fmt.Sscanf(filepath.Base(last), checkpointNamed, &steps); err != nil || steps < 1 {
			return 0, fmt.Errorf("%s: not the name of a checkpoint", last)
		}
		if err := t.LoadState(last); err != nil {
			return 0, err
		}
	}
	path := filepath.Join(f.training, "log.jsonl")
	log, err := cutLog(path, steps)
	if err != nil {
		return 0, err
	}
	if log.last != steps {
		return 0, fmt.Errorf("%s ends at step %d, before the checkpoint of step %d: the folder is damaged", path, log.last, steps)
	}
	f.logged = log.numerics
	if f.logFile, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o666); err != nil {
		return 0, err
	}
	if err := f.logFile.Truncate(log.size); err != nil {
		return 0, err
	}
	_, err = f.logFile.Seek(log.size, 0)
	return steps, err
}

// logStart is what a log says of the first steps: where their lines end, the last of them, and
// what numerics id it was computed under.
type logStart struct {
	size     int64
	last     int
	numerics string
}

// cutLog reads the first steps' lines. Half a line at the end is of a step that did not count.
func cutLog(path string, steps int) (l logStart, err error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err
	}
	r := bufio.NewReader(bytes.NewReader(data))
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return l, nil
		}
		var report Report
		if err := json.Unmarshal(line, &report); err != nil {
			return l, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if report.Step > steps {
			return l, nil
		}
		l = logStart{l.size + int64(len(line)), report.Step, cmp.Or(report.Numerics, l.numerics)}
	}
}

// checkpoints returns the files of all checkpoints, oldest first.
func (f *folder) checkpoints() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(escapeGlob(f.training), checkpointGlob))
	slices.Sort(names)
	return names, err
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// log appends a line and shows it.
func (f *folder) log(r Report, show func(Report)) error {
	if f.numerics != f.logged {
		r.Numerics, f.logged = f.numerics, f.numerics
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if _, err := f.logFile.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("writing the log: %w: remove the cause, and the same command goes on", err)
	}
	if show != nil {
		show(r)
	}
	return nil
}

// checkpoint saves everything after steps steps and removes older checkpoints.
func (f *folder) checkpoint(t *nn.Trainer, steps int) error {
	if err := f.logFile.Sync(); err != nil {
		return fmt.Errorf("writing the log: %w: remove the cause, and the same command goes on", err)
	}
	old, err := f.checkpoints()
	if err != nil {
		return err
	}
	path := filepath.Join(f.training, fmt.Sprintf(checkpointNamed, steps))
	if err := t.SaveState(path); err != nil {
		return fmt.Errorf("writing a checkpoint: %w; the same command goes on", err)
	}
	for _, o := range old {
		if o != path {
			_ = os.Remove(o) // a leftover costs only space
		}
	}
	return nil
}

// finish marks the run as finished; its last checkpoint is not needed any more.
func (f *folder) finish(steps int) error {
	if err := atomicfile.WriteFile(filepath.Join(f.training, "finished"), fmt.Appendf(nil, "%d steps\n", steps)); err != nil {
		return err
	}
	old, err := f.checkpoints()
	for _, o := range old {
		_ = os.Remove(o)
	}
	return err
}

func (f *folder) close() {
	if f.logFile != nil {
		_ = f.logFile.Close()
	}
	if f.lock != nil {
		_ = f.lock.Close()
	}
}
