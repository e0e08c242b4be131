package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const config = "inner:\n  rank: 32\n  targets: [q_proj, v_proj]\nrun:\n  batch: 7\n"

type edit struct {
	Text   string  `json:"text"`
	Reward float64 `json:"reward"`
}

func open(t *testing.T, dir string) *Run {
	t.Helper()
	r, err := Open(dir, []byte(config), Options{Numerics: "cpu-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

func phase(t *testing.T, r *Run, name string) *Phase {
	t.Helper()
	p, err := r.Phase(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func expectError(t *testing.T, err error, want ...string) {
	t.Helper()
	for _, w := range want {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("got error %v\nwant one with %q", err, w)
		}
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecordsComeBack(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "run")
	r := open(t, dir)
	if r.Resumed() || r.Dir() != dir {
		t.Errorf("a new run: resumed %v, dir %s", r.Resumed(), r.Dir())
	}
	p := phase(t, r, "edits")
	want := edit{"a <b> & \u2028 \x00 \"c\"\nd é 𝔘", 1.0 / 3}
	for _, e := range []struct {
		key string
		e   edit
	}{{"2", want}, {"1", edit{"x", 0.30000000000000004}}} {
		if err := p.Put(e.key, e.e); err != nil {
			t.Fatal(err)
		}
	}
	check := func(p *Phase, finished bool) {
		t.Helper()
		got, ok, err := Get[edit](p, "2")
		if !ok || err != nil || got != want {
			t.Errorf("Get gave %+v, %v, %v", got, ok, err)
		}
		if _, ok, err := Get[edit](p, "3"); ok || err != nil {
			t.Errorf("a missing key gave %v, %v", ok, err)
		}
		if !p.Done("1") || p.Done("3") || p.Finished() != finished {
			t.Errorf("Done(1) %v, Done(3) %v, Finished %v", p.Done("1"), p.Done("3"), p.Finished())
		}
	}
	check(p, false)
	r.Close()

	r = open(t, dir)
	if !r.Resumed() || len(r.Notices()) != 0 {
		t.Errorf("resumed %v with notices %q", r.Resumed(), r.Notices())
	}
	p = phase(t, r, "edits")
	check(p, false)
	if err := p.Finish([]string{"2", "1"}); err != nil {
		t.Fatal(err)
	}
	check(p, true)
	if d := cmp.Diff([]string{"2", "1"}, p.Keys()); d != "" {
		t.Error(d)
	}
	r.Close()
	wantFile := `{"key":"2","data":{"text":"a <b> & \u2028 \u0000 \"c\"\nd é 𝔘","reward":0.3333333333333333}}` + "\n" +
		`{"key":"1","data":{"text":"x","reward":0.30000000000000004}}` + "\n"
	if d := cmp.Diff(wantFile, read(t, dir, "edits.jsonl")); d != "" {
		t.Error(d)
	}

	r, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	p = phase(t, r, "edits")
	check(p, true)
	if err := p.Finish([]string{"2", "1"}); err != nil {
		t.Error(err)
	}
	expectError(t, phase(t, r, "other").Put("k", 1), "open for reading only")
	if got, err := r.Config(); err != nil || string(got) != config {
		t.Errorf("Config gave %q, %v", got, err)
	}
}

// The finished files do not show in which order or on how many goroutines the
// work was done, nor how often it was interrupted.
func TestCanonicalFilesDoNotDependOnOrder(t *testing.T) {
	var want string
	for seed := range uint64(6) {
		dir := t.TempDir()
		random := rand.New(rand.NewPCG(seed, 1))
		keys := random.Perm(50)
		for len(keys) > 0 {
			n := min(1+random.IntN(30), len(keys))
			r := open(t, dir)
			p := phase(t, r, "work")
			var wg sync.WaitGroup
			for _, k := range keys[:n] {
				wg.Go(func() {
					if err := p.Put(fmt.Sprint("item ", k), edit{strings.Repeat("x", k), float64(k)}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			keys = keys[n:]
			if len(keys) == 0 {
				if err := p.Finish(nil); err != nil {
					t.Fatal(err)
				}
			}
			r.Close()
		}
		got := read(t, dir, "work.jsonl")
		if want == "" {
			want = got
		}
		if got != want || strings.Count(got, "\n") != 50 {
			t.Fatalf("seed %d gave other bytes:\n%s", seed, got)
		}
	}
}

func TestFinishRefusesGapsAndExtras(t *testing.T) {
	r := open(t, t.TempDir())
	p := phase(t, r, "p")
	for _, k := range []string{"a", "b"} {
		if err := p.Put(k, 1); err != nil {
			t.Fatal(err)
		}
	}
	expectError(t, p.Finish([]string{"a", "c"}), `"c" has no record`)
	expectError(t, p.Finish([]string{"a", "a"}), `"a" has no record or comes twice`)
	expectError(t, p.Finish([]string{"a"}), `"b" was not expected`)
	if p.Finished() {
		t.Fatal("finished in spite of errors")
	}
	if err := p.Finish([]string{"b", "a"}); err != nil {
		t.Fatal(err)
	}
	expectError(t, p.Finish([]string{"a", "b"}), "in another order")
	expectError(t, p.Put("c", 1), "phase p is finished")
	if err := p.Put("a", 1); err != nil {
		t.Errorf("the same record again: %v", err)
	}
	empty := phase(t, r, "empty")
	if err := empty.Finish(nil); err != nil || read(t, r.Dir(), "empty.jsonl") != "" {
		t.Errorf("an empty phase: %v", err)
	}
}

func TestPutRefuses(t *testing.T) {
	r := open(t, t.TempDir())
	p := phase(t, r, "p")
	if err := p.Put("a", edit{"x", 1}); err != nil {
		t.Fatal(err)
	}
	if err := p.Put("a", edit{"x", 1}); err != nil {
		t.Errorf("the same record again: %v", err)
	}
	expectError(t, p.Put("a", edit{"y", 1}), `a second record for key "a"`, `"y"`)
	expectError(t, p.Put("n", math.NaN()), "phase p", `key "n"`, "NaN")
	expectError(t, p.Put("", 1), "empty key")
	expectError(t, p.Put("a\xff", 1), "not valid UTF-8")
	if got := strings.Count(read(t, r.Dir(), journalFile), "\n"); got != 1 {
		t.Errorf("journal has %d lines, want 1", got)
	}
	if _, _, err := Get[int](p, "a"); err == nil {
		t.Error("a record of another type was read")
	}
	for _, name := range []string{"", "../x", "A", "journal", "timings", ".x", "a/b"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("phase name %q was accepted", name)
				}
			}()
			r.Phase(name)
		}()
	}
}

// A journal cut at any byte loses the records after the cut and no other.
func TestJournalCutAnywhere(t *testing.T) {
	full := t.TempDir()
	r := open(t, full)
	p := phase(t, r, "p")
	for k := range 4 {
		if err := p.Put(fmt.Sprint(k), edit{"é\"\n", float64(k)}); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	journal := read(t, full, journalFile)
	for cut := range len(journal) + 1 {
		dir := t.TempDir()
		for name, text := range map[string]string{configFile: config, identityFile: read(t, full, identityFile), journalFile: journal[:cut]} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		r := open(t, dir)
		p := phase(t, r, "p")
		if got, want := len(p.Keys()), strings.Count(journal[:cut], "\n"); got != want {
			t.Fatalf("cut at %d: %d records, want %d", cut, got, want)
		}
		torn := cut - (strings.LastIndexByte(journal[:cut], '\n') + 1)
		if n := r.Notices(); (torn > 0) != (len(n) == 1) || torn > 0 && !strings.Contains(n[0], fmt.Sprint(torn, " bytes")) {
			t.Fatalf("cut at %d: notices %q", cut, n)
		}
		for k := range 4 {
			if err := p.Put(fmt.Sprint(k), edit{"é\"\n", float64(k)}); err != nil {
				t.Fatal(err)
			}
		}
		r.Close()
		if got := read(t, dir, journalFile); got != journal {
			t.Fatalf("cut at %d: the journal became\n%s", cut, got)
		}
	}
}

func TestDamagedLines(t *testing.T) {
	good := `{"phase":"p","key":"a","data":1}` + "\n"
	for text, want := range map[string]string{
		good + "{\"phase\":\n" + good:             "journal.jsonl:2: expected JSON of the right form",
		good + "\n":                               "journal.jsonl:2:",
		good + good + "\x00\x00\x00\n":            "journal.jsonl:3:",
		good + `{"phase":"p","key":"b"}` + "\n":   "journal.jsonl:2: expected a record with phase, key and data",
		`{"phase":"../p","key":"b","data":1}`:     "",
		`{"phase":"../p","key":"b","data":1}\n`:   "",
		strings.Replace(good, "p\"", "/\"", 1):    "journal.jsonl:1: expected a record with phase, key and data",
		good + strings.Replace(good, "1", "2", 1): "journal.jsonl:2: a second record for key \"a\"",
		good + good: "",
	} {
		dir := t.TempDir()
		open(t, dir).Close()
		path := filepath.Join(dir, journalFile)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, []byte(config), Options{Numerics: "cpu-1"})
		if want != "" {
			expectError(t, err, path+strings.TrimPrefix(want, journalFile))
			if after := read(t, path); after != text {
				t.Errorf("opening changed the damaged file")
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		r.Close()
	}
}

func TestDamagedCanonicalFile(t *testing.T) {
	for _, text := range []string{"{", "{\n", `{"key":"a","data":1}` + "\n" + `{"key":"a","data":1}` + "\n", `{"data":1}` + "\n"} {
		dir := t.TempDir()
		r := open(t, dir)
		p := phase(t, r, "p")
		if err := errors.Join(p.Put("a", 1), p.Finish(nil)); err != nil {
			t.Fatal(err)
		}
		r.Close()
		path := filepath.Join(dir, "p.jsonl")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		r = open(t, dir)
		_, err := r.Phase("p")
		expectError(t, err, path, "delete the file")
		r.Close()
		// The message's advice holds.
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		r = open(t, dir)
		p = phase(t, r, "p")
		if p.Finished() || !p.Done("a") || p.Finish(nil) != nil || read(t, path) != `{"key":"a","data":1}`+"\n" {
			t.Error("the file was not made again")
		}
		r.Close()
	}
}

func TestOtherSettingsAreRefused(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).Close()
	options := Options{Numerics: "cpu-1", Free: []string{"run.batch"}}
	other := "inner:\n  rank: 8\n  targets: [q_proj]\n  lr: 1\nrun:\n  batch: 9\n"
	_, err := Open(dir, []byte(other), options)
	expectError(t, err, dir, "inner.rank: 32 → 8", `inner.targets: ["q_proj","v_proj"] → ["q_proj"]`, "inner.lr: (not there) → 1", "choose another folder")
	if strings.Contains(err.Error(), "run.batch") {
		t.Errorf("a free setting is in %v", err)
	}
	r, err := Open(dir, []byte(strings.Replace(config, "7", "9", 1)), options)
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	_, err = Open(dir, []byte(strings.Replace(config, "7", "9", 1)), Options{Numerics: "cpu-1"})
	expectError(t, err, "run.batch: 7 → 9")
	if got := read(t, dir, configFile); got != config {
		t.Errorf("the folder's settings became %s", got)
	}
	r, err = Open(dir, []byte("# the same\n"+config), options) // comments do not matter
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if err := os.WriteFile(filepath.Join(dir, configFile), []byte("a: [\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, []byte(config), options)
	expectError(t, err, filepath.Join(dir, configFile), "not valid YAML")
	if err := os.Remove(filepath.Join(dir, configFile)); err != nil {
		t.Fatal(err)
	}
	_, err = Open(dir, []byte(config), options)
	expectError(t, err, "has a journal.jsonl but no config.yaml")
}

func TestOtherInputsAndNumerics(t *testing.T) {
	dir := t.TempDir()
	start := func(numerics, train string, accept bool) error {
		r, err := Open(dir, []byte(config), Options{Numerics: numerics, AcceptNumerics: accept, Inputs: map[string]string{"--train a.json": train}})
		if err != nil {
			return err
		}
		return errors.Join(phase(t, r, "p").Put(numerics, 1), r.Close())
	}
	if err := start("cpu-1", "f00", false); err != nil {
		t.Fatal(err)
	}
	expectError(t, start("cpu-1", "ba4", false), "begun with other files", "--train a.json: f00 → ba4")
	expectError(t, start("gpu-2", "f00", false), `numerics "cpu-1"`, `"gpu-2"`, "--accept-numerics")
	before := len(read(t, dir, journalFile))
	if err := start("gpu-2", "f00", true); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf(`"since_byte": %d`, before)
	if got := read(t, dir, identityFile); !strings.Contains(got, want) || !strings.Contains(got, "cpu-1") {
		t.Errorf("run.json does not record the change: %s", got)
	}
	if err := start("gpu-2", "f00", false); err != nil {
		t.Errorf("the accepted id is refused: %v", err)
	}
	expectError(t, start("cpu-1", "f00", false), `numerics "gpu-2"`)
	if err := os.WriteFile(filepath.Join(dir, identityFile), []byte("{"), 0o666); err != nil {
		t.Fatal(err)
	}
	expectError(t, start("gpu-2", "f00", false), identityFile)
}

func TestSecondOpenIsRefused(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	_, err := Open(dir, []byte(config), Options{Numerics: "cpu-1"})
	if !errors.Is(err, ErrLocked) {
		t.Errorf("got %v", err)
	}
	expectError(t, err, dir, fmt.Sprintf("process %d", os.Getpid()))
	view, err := Read(dir)
	if err != nil {
		t.Errorf("reading while another works: %v", err)
	} else if err := view.Close(); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	expectError(t, phase(t, r, "p").Put("a", 1), "closed")
	open(t, dir)
}

func TestTimings(t *testing.T) {
	dir := t.TempDir()
	want := []Timing{{"edits", "sample", 1.5, 300}, {"inner", "train", 2, 0}}
	for _, w := range want {
		r := open(t, dir)
		if err := r.Time(w); err != nil {
			t.Fatal(err)
		}
		r.Close()
		f, err := os.OpenFile(filepath.Join(dir, timingsFile), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteString(`{"phase":"torn`)
		f.Close()
	}
	r := open(t, dir)
	got, err := r.Timings()
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Error(d, err)
	}
	expectError(t, r.Time(Timing{Phase: "x", Seconds: math.Inf(1)}), "timing of x")
}

func TestArtifacts(t *testing.T) {
	dir := t.TempDir()
	r := open(t, dir)
	broken := errors.New("no more")
	half := func(path string) error {
		return errors.Join(os.Mkdir(path, 0o777), os.WriteFile(filepath.Join(path, "a"), []byte("half"), 0o666), broken)
	}
	if _, err := r.Artifact("adapters/one", half); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(r.Path("adapters/one")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half an artifact is there: %v", err)
	}
	path, err := r.Artifact("adapters/one", func(path string) error {
		return errors.Join(os.Mkdir(path, 0o777), os.WriteFile(filepath.Join(path, "a"), []byte("whole"), 0o666))
	})
	if err != nil || path != r.Path("adapters/one") || read(t, path, "a") != "whole" {
		t.Errorf("got %s, %v", path, err)
	}
	if _, err := r.Artifact("adapters/one", half); err != nil {
		t.Errorf("a finished artifact was made again: %v", err)
	}
	if _, err := r.Artifact("b.safetensors", func(path string) error { return os.WriteFile(path, []byte("file"), 0o666) }); err != nil || read(t, dir, "b.safetensors") != "file" {
		t.Error(err)
	}
	_, err = r.Artifact("c", func(string) error { return nil })
	expectError(t, err, "making "+filepath.Join(dir, "c"))
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a path outside was accepted")
			}
		}()
		r.Path("../x")
	}()
	r.Close()

	// What a killed process left goes.
	for _, name := range []string{filepath.Join(stagingDir, "1", "adapter"), ".config.yaml123", ".p.jsonl9", "own.txt"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o777), os.WriteFile(filepath.Join(dir, name), nil, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	r = open(t, dir)
	r.Close()
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if d := cmp.Diff([]string{".lock", "adapters", "b.safetensors", "config.yaml", "journal.jsonl", "own.txt", "run.json", "timings.jsonl"}, names); d != "" {
		t.Error(d)
	}
}

func TestFingerprint(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	check := func(what string) {
		t.Helper()
		f, err := Fingerprint(dir)
		if err != nil || len(f) != 64 {
			t.Fatal(f, err)
		}
		if seen[f] != "" {
			t.Errorf("%s has the fingerprint of %s", what, seen[f])
		}
		seen[f] = what
	}
	write("a", "12")
	check("one file")
	write("b", "")
	check("an empty one beside it")
	write("a", "1")
	write("b", "2")
	check("the bytes across two files")
	large, err := os.Create(filepath.Join(dir, "large"))
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	const size = 65 << 20 // sparse
	for what, at := range map[string]int64{"its first byte": 0, "its last byte": size - 1, "a byte more": size} {
		if err := large.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if err := large.Truncate(size); err != nil {
			t.Fatal(err)
		}
		if _, err := large.WriteAt([]byte{1}, at); err != nil {
			t.Fatal(err)
		}
		check("a large file with " + what)
	}
	_, err = Fingerprint(filepath.Join(dir, "none"))
	expectError(t, err, "none", "no such file or directory")
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"phase":"p","key":"a","data":1}` + "\n" + `{"phase":"p","key":"b","data":{"x":[]}}` + "\n{"))
	f.Add([]byte("\n"))
	f.Add([]byte(`{"phase":"p","key":"a","data":null}` + "\n"))
	dir := f.TempDir()
	r, err := Open(dir, []byte(config), Options{})
	if err != nil {
		f.Fatal(err)
	}
	r.Close()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, journalFile)
		if err := os.WriteFile(path, text, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Open(dir, []byte(config), Options{})
		if err != nil {
			return
		}
		defer r.Close()
		p, err := r.Phase("p")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Put("new", 1); err != nil && !p.Done("new") {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.HasSuffix(after, []byte("\n")) || !bytes.HasPrefix(after, text[:bytes.LastIndexByte(text, '\n')+1]) {
			t.Fatalf("whole lines were lost: %v\n%q\n%q", err, text, after)
		}
	})
}
