package journal

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

// identity is what run.json holds.
type identity struct {
	Numerics []numerics        `json:"numerics"` // the last one is in force
	Inputs   map[string]string `json:"inputs"`
}

type numerics struct {
	ID    string `json:"id"`
	Since int64  `json:"since_byte"` // of journal.jsonl
}

// checkIdentity writes run.json, or compares it with opts.
func (r *Run) checkIdentity(opts Options) error {
	path := r.path(identityFile)
	if !r.resumed {
		return writeIdentity(path, identity{[]numerics{{opts.Numerics, 0}}, opts.Inputs})
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading what the run depends on: %w", err)
	}
	var id identity
	if err := decode(text, &id); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if len(id.Numerics) == 0 {
		return fmt.Errorf("%s: expected a numerics id, found none", path)
	}
	if changes := differences(toAny(id.Inputs), toAny(opts.Inputs), nil); len(changes) > 0 {
		return fmt.Errorf("%s was begun with other files (fingerprints):\n  %s\nput the old files back, or choose another folder", r.dir, strings.Join(changes, "\n  "))
	}
	if was := id.Numerics[len(id.Numerics)-1].ID; was != opts.Numerics {
		if !opts.AcceptNumerics {
			return fmt.Errorf("%s was begun under numerics %q, and this machine has %q: the rest would not repeat bit by bit; accept that with --accept-numerics, or choose another folder", r.dir, was, opts.Numerics)
		}
		size := int64(0)
		if info, err := os.Stat(r.path(journalFile)); err == nil {
			size = info.Size()
		}
		id.Numerics = append(id.Numerics, numerics{opts.Numerics, size})
		r.notices = append(r.notices, fmt.Sprintf("going on under numerics %q, after %q: recorded in %s", opts.Numerics, was, path))
		return writeIdentity(path, id)
	}
	return nil
}

func writeIdentity(path string, id identity) error {
	if id.Inputs == nil {
		id.Inputs = map[string]string{}
	}
	text, err := json.MarshalIndent(id, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.WriteFile(path, append(text, '\n'))
}

// checkConfig compares the settings of the folder with those given.
func (r *Run) checkConfig(config []byte, free []string) error {
	path := r.path(configFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the run's settings: %w", err)
	}
	was, err := flatten(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	now, err := flatten(config)
	if err != nil {
		return fmt.Errorf("settings given: %w", err)
	}
	if changes := differences(was, now, free); len(changes) > 0 {
		return fmt.Errorf("%s holds a run with other settings (was → now):\n  %s\nuse the same settings to go on, or choose another folder", r.dir, strings.Join(changes, "\n  "))
	}
	return nil
}

// flatten reads YAML into values by dotted key.
func flatten(text []byte) (flat map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil { // the parser is not ours
			err = fmt.Errorf("not valid YAML: %v", r)
		}
	}()
	var root map[string]any
	if err := yaml.Unmarshal(text, &root); err != nil {
		return nil, fmt.Errorf("not valid YAML: %w", err)
	}
	flat = map[string]any{}
	var walk func(prefix string, group map[string]any)
	walk = func(prefix string, group map[string]any) {
		for key, value := range group {
			if inner, ok := value.(map[string]any); ok && len(inner) > 0 {
				walk(prefix+key+".", inner)
			} else {
				flat[prefix+key] = value
			}
		}
	}
	walk("", root)
	return flat, nil
}

// differences lists "key: was → now", sorted by key.
func differences(was, now map[string]any, free []string) []string {
	keys := maps.Clone(now)
	maps.Copy(keys, was)
	var changes []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		a, hadA := was[key]
		b, hasB := now[key]
		if hadA == hasB && reflect.DeepEqual(a, b) || slices.Contains(free, key) {
			continue
		}
		changes = append(changes, fmt.Sprintf("%s: %s → %s", key, show(a, hadA), show(b, hasB)))
	}
	return changes
}

func show(v any, set bool) string {
	if !set {
		return "(not there)"
	}
	if s, ok := v.(string); ok && s != "" && !strings.ContainsAny(s, " \t\n") {
		return s
	}
	text, err := encode(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(text)
}

func toAny(m map[string]string) map[string]any {
	all := map[string]any{}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// Fingerprint returns a SHA-256, as hex digits, of a file, or of all files in a
// folder with their names. Of files above 64 MiB, such as weights, it takes the
// size and 64 blocks of 64 KiB from the first to the last, so that starting a run
// does not read all of a large model.
func Fingerprint(path string) (string, error) {
	sum := sha256.New()
	err := filepath.WalkDir(path, func(p string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := os.Stat(p) // model folders often hold links
		if err != nil || info.IsDir() {
			return err
		}
		rel, err := filepath.Rel(path, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %d\n", filepath.ToSlash(rel), info.Size())
		return hashFile(sum, p, info.Size())
	})
	if err != nil {
		return "", fmt.Errorf("reading what the run depends on: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func hashFile(sum io.Writer, path string, size int64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const whole, block, blocks = 64 << 20, 64 << 10, 64
	if size <= whole {
		_, err := io.Copy(sum, f)
		return err
	}
	for i := range int64(blocks) {
		at := (size - block) * i / (blocks - 1)
		if _, err := io.Copy(sum, io.NewSectionReader(f, at, block)); err != nil {
			return err
		}
	}
	return nil
}
