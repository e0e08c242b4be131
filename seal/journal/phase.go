package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/selkie-ml/selkie/internal/atomicfile"
)

// records are the data of a phase by key, as compact JSON.
type records map[string]json.RawMessage

// add refuses a second, different record under one key: work is deterministic, so
// such a record means that two things share a key or a result was not repeated.
func (rs records) add(key string, data json.RawMessage) error {
	if old, ok := rs[key]; ok && !bytes.Equal(old, data) {
		return fmt.Errorf("a second record for key %q with other data: got %s, expected %s", key, shorten(data), shorten(old))
	}
	rs[key] = data
	return nil
}

// Phase is one step of a run: records by key. Other work may rely on a phase
// once it is finished.
type Phase struct {
	run      *Run
	name     string
	records  records
	order    []string // of a finished phase
	finished bool
}

// Phase returns the phase of that name, with the records it already has. Names
// are lower-case letters, digits, - and _; others panic.
func (r *Run) Phase(name string) (*Phase, error) {
	if !validName(name) {
		panic(fmt.Sprintf("journal: invalid phase name %q: expected lower-case letters, digits, - and _", name))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p := r.phases[name]; p != nil {
		return p, nil
	}
	p := &Phase{run: r, name: name, records: r.records[name]}
	if p.records == nil {
		p.records = records{}
	}
	done, err := exists(p.path())
	if err != nil {
		return nil, err
	}
	if done {
		if err := p.loadFinished(); err != nil {
			return nil, err
		}
	}
	delete(r.records, name)
	r.phases[name] = p
	return p, nil
}

func (p *Phase) loadFinished() error {
	p.records, p.finished = records{}, true
	torn, _, err := readLines(p.path(), func(_ int, line []byte) error {
		_, key, data, err := decodeRecord(line, false)
		if err != nil {
			return err
		}
		p.order = append(p.order, key)
		return p.records.add(key, data)
	})
	if err == nil && (torn > 0 || len(p.order) > len(p.records)) {
		err = fmt.Errorf("%s: its last line is cut off or a key occurs twice", p.path())
	}
	if err != nil {
		return fmt.Errorf("%w: delete the file, and the run makes it again from %s", err, journalFile)
	}
	return nil
}

func (p *Phase) path() string { return p.run.path(p.name + ".jsonl") }

// Name returns the phase's name.
func (p *Phase) Name() string { return p.name }

// Finished tells whether the phase has its canonical file.
func (p *Phase) Finished() bool {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	return p.finished
}

// Done tells whether the record exists.
func (p *Phase) Done(key string) bool {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	_, ok := p.records[key]
	return ok
}

// Keys returns the keys of all records: in canonical order once the phase is
// finished, sorted before.
func (p *Phase) Keys() []string {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if p.finished {
		return slices.Clone(p.order)
	}
	return slices.Sorted(maps.Keys(p.records))
}

// Put records data, which must marshal to JSON. When Put returns nil, the record
// survives the process. The same record again is ignored; another one under the
// same key is an error.
func (p *Phase) Put(key string, data any) error {
	raw, err := encode(data)
	if err != nil {
		return fmt.Errorf("phase %s, key %q: %w", p.name, key, err)
	}
	if key == "" {
		return fmt.Errorf("phase %s: got an empty key", p.name)
	}
	line, err := recordLine(p.name, key, raw)
	if err != nil {
		return fmt.Errorf("phase %s: %w", p.name, err)
	}
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	_, had := p.records[key]
	if p.finished && !had {
		return fmt.Errorf("phase %s is finished: got a new record %q", p.name, key)
	}
	if had {
		if err := p.records.add(key, raw); err != nil {
			return fmt.Errorf("phase %s: %w", p.name, err)
		}
		return nil
	}
	if p.run.journal == nil {
		return p.run.notWritable()
	}
	if err := p.run.journal.append(line); err != nil {
		return err
	}
	p.records[key] = raw
	return nil
}

// Get returns the record under key, and whether there is one.
func Get[T any](p *Phase, key string) (data T, ok bool, err error) {
	p.run.mu.Lock()
	raw, ok := p.records[key]
	p.run.mu.Unlock()
	if !ok {
		return data, false, nil
	}
	if err := decode(raw, &data); err != nil {
		return data, false, fmt.Errorf("run folder %s, phase %s, key %q: %w", p.run.dir, p.name, key, err)
	}
	return data, true, nil
}

// Finish writes the phase's canonical file, with the records in the given order,
// or sorted by key when order is nil. Every key of order must have a record and
// every record must be in order. Finishing again in the same order does nothing.
func (p *Phase) Finish(order []string) error {
	p.run.mu.Lock()
	defer p.run.mu.Unlock()
	if order == nil {
		order = slices.Sorted(maps.Keys(p.records))
	}
	if p.finished {
		if !slices.Equal(order, p.order) {
			return fmt.Errorf("%s: it was finished with %d records in another order, got %d", p.path(), len(p.order), len(order))
		}
		return nil
	}
	if p.run.journal == nil {
		return p.run.notWritable()
	}
	var text bytes.Buffer
	seen := make(map[string]bool, len(order))
	for _, key := range order {
		raw, ok := p.records[key]
		if !ok || seen[key] {
			return fmt.Errorf("finishing phase %s: key %q has no record or comes twice", p.name, key)
		}
		seen[key] = true
		line, err := recordLine("", key, raw)
		if err != nil {
			return err
		}
		text.Write(line)
	}
	for key := range p.records {
		if !seen[key] {
			return fmt.Errorf("finishing phase %s: record %q was not expected", p.name, key)
		}
	}
	if err := p.run.journal.sync(); err != nil {
		return err
	}
	if err := atomicfile.WriteFile(p.path(), text.Bytes()); err != nil {
		return err
	}
	p.finished, p.order = true, slices.Clone(order)
	return nil
}

// recordLine writes a journal's line, or a canonical file's when phase is empty.
// The data are copied as they are, so that a record read back and written again
// keeps its bytes.
func recordLine(phase, key string, data json.RawMessage) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	if phase != "" {
		fmt.Fprintf(&b, `"phase":%q,`, phase)
	}
	quoted, err := encode(key)
	if err != nil {
		return nil, err
	}
	var back string
	if err := decode(quoted, &back); err != nil || back != key {
		return nil, fmt.Errorf("key %q is not valid UTF-8", key)
	}
	fmt.Fprintf(&b, `"key":%s,"data":%s}`+"\n", quoted, data)
	return b.Bytes(), nil
}

func decodeRecord(line []byte, inJournal bool) (phase, key string, data json.RawMessage, err error) {
	var r struct {
		Phase string          `json:"phase"`
		Key   string          `json:"key"`
		Data  json.RawMessage `json:"data"`
	}
	if err := decode(line, &r); err != nil {
		return "", "", nil, err
	}
	if r.Key == "" || r.Data == nil || inJournal && !validName(r.Phase) {
		return "", "", nil, errors.New("expected a record with phase, key and data")
	}
	return r.Phase, r.Key, r.Data, nil
}

// encode is compact JSON without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func decode(text []byte, to any) error {
	if err := json.Unmarshal(text, to); err != nil {
		return fmt.Errorf("expected JSON of the right form, got %s: %w", shorten(text), err)
	}
	return nil
}

func shorten(text []byte) string {
	if len(text) > 60 {
		return string(bytes.ToValidUTF8(text[:60], nil)) + " …"
	}
	return string(bytes.ToValidUTF8(text, nil))
}
