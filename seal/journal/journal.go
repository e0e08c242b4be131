// Package journal keeps a run in a folder, so that a run stopped anywhere goes
// on where it was.
//
//	config.yaml    the settings as resolved; a run with others is refused
//	run.json       numerics id and fingerprints of the files read
//	journal.jsonl  {phase, key, data} per finished piece of work, in any order
//	PHASE.jsonl    a finished phase in canonical order: the same bytes whatever
//	               the order of work and however often the run was stopped
//	timings.jsonl  how long things took; never compared
//
// A record is in the journal as soon as Put returns, and survives the death of
// the process from then on; it is flushed to the disk, against the machine's,
// within a second and before a phase or an artifact is completed. The package
// knows nothing of models or tasks and imports only internal/atomicfile.
package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"time"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

const (
	configFile   = "config.yaml"
	identityFile = "run.json"
	journalFile  = "journal.jsonl"
	timingsFile  = "timings.jsonl"
	stagingDir   = ".partial" // artifacts being written
)

// Options says what a run depends on besides its settings.
type Options struct {
	// Numerics names how sums are computed: byte identity holds within one id.
	Numerics string
	// AcceptNumerics lets a run go on under another numerics id, and records it.
	AcceptNumerics bool
	// Inputs has a fingerprint for each file the run reads, by the name that a
	// message should use. See Fingerprint.
	Inputs map[string]string
	// Free lists the dotted keys of settings that may change on resuming.
	Free []string
}

// Run is an open run folder. Its methods may be called from any goroutine.
type Run struct {
	dir     string
	lock    *lock // nil when reading only
	resumed bool
	notices []string

	mu      sync.Mutex
	journal *appendFile // nil when reading only
	timings *appendFile
	records map[string]records // of unfinished phases, by phase
	phases  map[string]*Phase
}

// Open makes dir a run folder or goes on with the run in it, and locks it until
// Close. config is the YAML of the settings as resolved. Another process in the
// folder (ErrLocked), other settings, other inputs or another numerics id than
// the run began with are errors that show the difference.
func Open(dir string, config []byte, opts Options) (*Run, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("creating the run folder: %w: choose a folder that can be written", err)
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	r := &Run{dir: dir, lock: lock}
	if err := r.open(config, opts); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// Read opens a run folder for reading, also while another process works in it.
func Read(dir string) (*Run, error) {
	if _, err := os.Stat(filepath.Join(dir, configFile)); err != nil {
		return nil, fmt.Errorf("%s is not a run folder: %w", dir, err)
	}
	r := &Run{dir: dir, resumed: true}
	if _, err := r.load(); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *Run) open(config []byte, opts Options) error {
	if err := r.removeLeftovers(); err != nil {
		return err
	}
	has, err := exists(r.path(configFile))
	if err != nil {
		return err
	}
	r.resumed = has
	if r.resumed {
		if err := r.checkConfig(config, opts.Free); err != nil {
			return err
		}
	} else {
		has, err := exists(r.path(journalFile))
		if err != nil {
			return err
		}
		if has {
			return fmt.Errorf("%s has a %s but no %s: put that file back, or choose another folder", r.dir, journalFile, configFile)
		}
	}
	whole, err := r.load()
	if err != nil {
		return err
	}
	if err := r.checkIdentity(opts); err != nil {
		return err
	}
	if !r.resumed { // last, so that a folder with settings has all the rest
		if err := atomicfile.WriteFile(r.path(configFile), config); err != nil {
			return err
		}
	}
	if r.journal, err = openAppend(r.path(journalFile), whole); err != nil {
		return err
	}
	_, whole, err = readLines(r.path(timingsFile), func(int, []byte) error { return nil })
	if err != nil {
		return err
	}
	r.timings, err = openAppend(r.path(timingsFile), whole)
	return err
}

// load reads the journal's records of unfinished phases and returns how many of
// the file's bytes are whole lines.
func (r *Run) load() (whole int64, err error) {
	r.records = map[string]records{}
	r.phases = map[string]*Phase{}
	finished := map[string]bool{}
	path := r.path(journalFile)
	torn, whole, err := readLines(path, func(_ int, line []byte) error {
		phase, key, data, err := decodeRecord(line, true)
		if err != nil {
			return err
		}
		done, asked := finished[phase]
		if !asked {
			if done, err = exists(r.path(phase + ".jsonl")); err != nil {
				return err
			}
			finished[phase] = done
		}
		if done {
			return nil
		}
		if r.records[phase] == nil {
			r.records[phase] = records{}
		}
		return r.records[phase].add(key, data)
	})
	if err == nil && torn > 0 && r.lock != nil {
		r.notices = append(r.notices, fmt.Sprintf("%s: dropped an unfinished last line of %d bytes; that piece of work is done again", path, torn))
	}
	return whole, err
}

// Close flushes everything and gives the folder free.
func (r *Run) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for _, f := range []**appendFile{&r.journal, &r.timings} {
		if *f != nil {
			errs = append(errs, (*f).close())
			*f = nil
		}
	}
	if r.lock != nil {
		errs = append(errs, r.lock.release())
		r.lock = nil
	}
	return errors.Join(errs...)
}

// Dir returns the run's folder.
func (r *Run) Dir() string { return r.dir }

// Resumed tells whether the folder held this run already.
func (r *Run) Resumed() bool { return r.resumed }

// Notices returns what happened on opening that a user should be told.
func (r *Run) Notices() []string { return r.notices }

// Config returns the settings that the run began with, as YAML.
func (r *Run) Config() ([]byte, error) { return os.ReadFile(r.path(configFile)) }

func (r *Run) path(name string) string { return filepath.Join(r.dir, name) }

// Timing is how long something took.
type Timing struct {
	Phase   string  `json:"phase"`
	What    string  `json:"what"`
	Seconds float64 `json:"seconds"`
	Tokens  int     `json:"tokens,omitempty"` // worked on meanwhile
}

// Time records how long something took.
func (r *Run) Time(t Timing) error {
	line, err := encode(t)
	if err != nil {
		return fmt.Errorf("timing of %s: %w", t.Phase, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.timings == nil {
		return r.notWritable()
	}
	return r.timings.append(append(line, '\n'))
}

// Timings returns everything recorded by Time, also before a restart.
func (r *Run) Timings() ([]Timing, error) {
	var all []Timing
	_, _, err := readLines(r.path(timingsFile), func(_ int, line []byte) error {
		var t Timing
		if err := decode(line, &t); err != nil {
			return err
		}
		all = append(all, t)
		return nil
	})
	return all, err
}

// Sync flushes all records to the disk.
func (r *Run) Sync() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.journal == nil {
		return r.notWritable()
	}
	return r.journal.sync()
}

func (r *Run) notWritable() error {
	return fmt.Errorf("run folder %s is closed or open for reading only: %w", r.dir, fs.ErrClosed)
}

// leftover is the name of a temporary file of internal/atomicfile.
var leftover = regexp.MustCompile(`^\.(.+\.(?:jsonl|json|yaml|html))[0-9]+$`)

// removeLeftovers removes what a killed process was writing.
func (r *Run) removeLeftovers() error {
	if err := os.RemoveAll(r.path(stagingDir)); err != nil {
		return fmt.Errorf("removing half-written artifacts: %w", err)
	}
	entries, err := os.ReadDir(r.dir)
	if err != nil {
		return fmt.Errorf("reading the run folder: %w", err)
	}
	for _, e := range entries {
		if m := leftover.FindStringSubmatch(e.Name()); m != nil {
			// An error here means that the file is gone or the folder not
			// writable; the latter shows at the first write, with its reason.
			_ = atomicfile.RemoveStale(r.path(m[1]))
		}
	}
	return nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

var phaseName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]*$`)

// validName keeps phase names usable as file names everywhere.
func validName(name string) bool {
	return phaseName.MatchString(name) && name+".jsonl" != journalFile && name+".jsonl" != timingsFile
}

// flushEvery bounds what a power cut may take.
const flushEvery = time.Second
