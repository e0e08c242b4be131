package settings

import (
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestDefaultsAreValidAndDescribed(t *testing.T) {
	s := Default()
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{}
	for _, d := range Describe() {
		if d.Doc == "" || strings.Contains(d.Doc, "\n") {
			t.Errorf("%s: doc is %q", d.Key, d.Doc)
		}
		if strings.Count(d.Key, ".") != 1 {
			t.Errorf("%s is not in a group", d.Key)
		}
		if seen[d.Key] {
			t.Errorf("%s twice", d.Key)
		}
		seen[d.Key] = true
		if !strings.Contains(Help(), d.Key) {
			t.Errorf("help lacks %s", d.Key)
		}
	}
	for _, f := range fields(&s) {
		switch f.value.Kind() {
		case reflect.Int, reflect.Float64:
			if f.is == "" || !strings.ContainsAny(f.is[:1], "[(") || !strings.ContainsAny(f.is[len(f.is)-1:], "])") || !strings.Contains(f.is, ",") {
				t.Errorf("%s has no interval: %q", f.key, f.is)
			}
		}
	}
}

// The values of the paper that a user would check first.
func TestPaperValues(t *testing.T) {
	want := map[string]string{
		"edits.kind": "implications", "edits.per_article": "5", "edits.eval_per_article": "1", "edits.temperature": "1",
		"edits.top_p": "0.95", "edits.max_tokens": "8192", "edits.split_newlines": "true",
		"inner.rank": "32", "inner.alpha": "64", "inner.targets": "[q_proj, v_proj]", "inner.lr": "0.001", "inner.schedule": "linear",
		"inner.warmup_steps": "0", "inner.epochs": "10", "inner.batch_size": "1", "inner.clip_norm": "1", "inner.max_tokens": "2048",
		"inner.beta1": "0.9", "inner.beta2": "0.999", "inner.epsilon": "1e-08", "inner.weight_decay": "0", "inner.seeds": "3", "inner.end_mask": `""`,
		"eval.max_tokens": "64", "data.eval_articles": "200",
		"outer.rank": "64", "outer.alpha": "128", "outer.lr": "0.0003", "outer.epochs": "2", "outer.batch_size": "10",
		"outer.targets": "[q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj]",
		"outer.rounds":  "2", "outer.articles": "50", "outer.keep": "1", "outer.ties": "earlier", "model.prompts": "base",
	}
	for _, d := range Describe() {
		if w, ok := want[d.Key]; ok && w != d.Default {
			t.Errorf("%s is %s, the paper has %s", d.Key, d.Default, w)
		}
		delete(want, d.Key)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestParse(t *testing.T) {
	s := Default()
	err := s.Parse("a.yaml", []byte(`
# a comment
data: {train: a.json, eval: "b c.json"}
inner:
  rank: 8
  lr: 1e-4
  alpha: 16
  targets: [q_proj, o_proj]
  end_mask: |
    two
    lines
outer: {rounds: 0}
edits:
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Data.Train, want.Data.Eval = "a.json", "b c.json"
	want.Inner.Rank, want.Inner.LR, want.Inner.Alpha = 8, 1e-4, 16
	want.Inner.Targets, want.Inner.EndMask = []string{"q_proj", "o_proj"}, "two\nlines\n"
	want.Outer.Rounds = 0
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	for _, empty := range []string{"", "# nothing\n", "---\n", "{}"} {
		if err := s.Parse("e", []byte(empty)); err != nil {
			t.Errorf("%q: %v", empty, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"inner:\n  rank: 0", "a.yaml:2:3: inner.rank: got 0, expected a whole number of at least 1"},
		{"inner:\n  rank: 2.5", `a.yaml:2:3: inner.rank: got "2.5", expected a whole number`},
		{"inner: {rank: many}", `a.yaml:1:9: inner.rank: got "many"`},
		{"inner: {rank: [1]}", "inner.rank: got a list"},
		{"inner: {rank: }", "inner.rank: got nothing"},
		{"inner: {rank: 99999999999999999999}", "inner.rank: got"},
		{"inner: {lr: -1}", "inner.lr: got -1, expected a finite number above 0"},
		{"inner: {lr: .nan}", "inner.lr"},
		{"inner: {lr: NaN}", "inner.lr: got NaN"},
		{"inner: {lr: 1e999}", "inner.lr"},
		{"inner: {lr: .inf}", "inner.lr"},
		{"edits: {top_p: 0}", "edits.top_p: got 0, expected a finite number above 0 and at most 1"},
		{"edits: {top_p: 1.01}", "edits.top_p: got 1.01"},
		{"edits: {kind: poem}", "edits.kind: got poem, expected implications, implications-long, implications-very-long, rewrite, self-qa or none"},
		{"edits: {kind: 5}", "edits.kind: got 5"},
		{"edits: {split_newlines: yes}", `edits.split_newlines: got "yes", expected true or false`},
		{"edits: {file: 2024}", "edits.file: got 2024, expected text in UTF-8; quote it"},
		{"inner: {targets: [q_proj, q_proj]}", `inner.targets: got "q_proj" twice`},
		{"inner: {targets: [embed]}", `inner.targets: got "embed"`},
		{"inner: {targets: []}", "inner.targets: got an empty list"},
		{"inner: {targets: q_proj}", `inner.targets: got "q_proj"`},
		{"inner: {targets: [1]}", "inner.targets: got 1"},
		{"inner: {rnak: 3}", `unknown setting "inner.rnak": did you mean inner.rank?`},
		{"rank: 3", `unknown setting "rank": did you mean inner.rank or outer.rank?`},
		{"iner: {rank: 3}", `unknown setting "iner"`},
		{"inner: 3", "a.yaml:1:8: got 3, expected settings of the group inner"},
		{"inner: &x {rank: 3}", "got an anchor"},
		{"- 1", "got a list, expected settings grouped"},
		{"words", `got "words", expected settings grouped`},
		{"inner: {rank: 3}\n---\ninner: {rank: 4}", "found a second"},
		{"inner:\n  rank: 3\n rank: 4", "a.yaml:3:2: not valid YAML"},
		{"inner:\n  rank: 3\n  rank: 4", "a.yaml:3:3: not valid YAML"},
		{"inner: {rank: 3", "not valid YAML"},
		{"5: 3", "expected the name of a setting"},
		{"run: {seed: -1}", `run.seed: got "-1", expected a whole number of at least 0`},
	} {
		s := Default()
		err := s.Parse("a.yaml", []byte(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q:\n got %v\nwant %s", c.text, err, c.want)
		}
		if d := cmp.Diff(Default(), s); d != "" {
			t.Errorf("%q changed settings in spite of its error: %s", c.text, d)
		}
	}
}

func TestSet(t *testing.T) {
	s := Default()
	for _, a := range []string{"inner.rank=4", "inner.lr=2e-3", "inner.targets=q_proj, k_proj", "outer.targets=[v_proj]",
		"edits.file=my edits=1.jsonl", "edits.split_newlines=false", "run.seed=18446744073709551615", "eval.stop="} {
		if err := s.Set(a); err != nil {
			t.Error(err)
		}
	}
	want := Default()
	want.Inner.Rank, want.Inner.LR = 4, 2e-3
	want.Inner.Targets, want.Outer.Targets = []string{"q_proj", "k_proj"}, []string{"v_proj"}
	want.Edits.File, want.Edits.SplitNewlines, want.Run.Seed = "my edits=1.jsonl", false, math.MaxUint64
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	for _, c := range []struct{ set, want string }{
		{"inner.rank", "expected key=value"},
		{"inner.rank=0", "--set inner.rank=0: inner.rank: got 0, expected a whole number of at least 1"},
		{"inner=0", "inner is a group of settings, expected one of them, as in inner.rank"},
		{"edits.rank=1", "did you mean inner.rank or outer.rank?"},
		{"outer.warm-up_steps=1", "did you mean outer.warmup_steps?"},
		{"zzzzzzzzz=1", "expected one of those that help lists"},
		{"=1", "unknown setting"},
		{"inner.lr=NaN", "got NaN"},
		{"inner.end_mask=\xff", "expected text in UTF-8"},
	} {
		before := s
		if err := s.Set(c.set); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.set, err, c.want)
		}
		if d := cmp.Diff(before, s); d != "" {
			t.Errorf("%s changed settings in spite of its error: %s", c.set, d)
		}
	}
}

func TestValidate(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"inner.rank: got 0": func(s *Settings) { s.Inner.Rank = 0 },
		"inner.lr: got NaN": func(s *Settings) { s.Inner.LR = math.NaN() },
		"outer.keep: got 6, expected at most edits.per_article, which is 5": func(s *Settings) { s.Outer.Keep = 6 },
		"outer.rounds: got 2, expected 0 with edits.kind none":              func(s *Settings) { s.Edits.Kind = "none" },
	} {
		s := Default()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestLoadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing file: %v", err)
	}
	if err := os.WriteFile(path, []byte("run: {seed: 7}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Load(path)
	if err != nil || s.Run.Seed != 7 || s.Inner.Rank != 32 {
		t.Errorf("got seed %d, rank %d, %v", s.Run.Seed, s.Inner.Rank, err)
	}
}

// draw fills every setting with a random allowed value.
func draw(t *rapid.T) Settings {
	s := Default()
	for _, f := range fields(&s) {
		low, high := bounds(f.is)
		switch f.value.Kind() {
		case reflect.Bool:
			f.value.SetBool(rapid.Bool().Draw(t, f.key))
		case reflect.Int:
			f.value.SetInt(int64(rapid.IntRange(100, 1<<40).Draw(t, f.key)))
		case reflect.Uint64:
			f.value.SetUint(rapid.Uint64().Draw(t, f.key))
		case reflect.Float64:
			top := math.MaxFloat64
			if high != "" {
				top = 0.999
			}
			f.value.SetFloat(rapid.Float64Range(math.SmallestNonzeroFloat64, top).Draw(t, f.key))
		case reflect.String:
			if f.is != "" {
				f.value.SetString(rapid.SampledFrom(strings.Split(strings.TrimPrefix(f.is, "|"), "|")).Draw(t, f.key))
			} else {
				f.value.SetString(rapid.String().Draw(t, f.key))
			}
		case reflect.Slice:
			item := rapid.StringN(1, -1, -1)
			if f.is != "" {
				item = rapid.SampledFrom(strings.Split(strings.TrimPrefix(f.is, "|"), "|"))
			}
			f.value.Set(reflect.ValueOf(rapid.SliceOfNDistinct(item, 1, 3, rapid.ID).Draw(t, f.key)))
		}
		_ = low
	}
	return s
}

func TestMarshalReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := draw(t)
		text := want.Marshal()
		got := Default()
		if err := got.Parse("m", text); err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s\n%s", d, text)
		}
		if len(Diff(want, got)) != 0 || string(got.Marshal()) != string(text) {
			t.Fatal("reading back changed the text")
		}
	})
}

func TestDiff(t *testing.T) {
	a, b := Default(), Default()
	b.Inner.Rank, b.Outer.Targets, b.Run.MaxAdapters = 8, []string{"q_proj"}, 3
	var got []string
	for _, c := range Diff(a, b) {
		got = append(got, c.String())
	}
	want := []string{"inner.rank: 32 → 8", "outer.targets: [q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj] → [q_proj]", "run.max_adapters: 16 → 3"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"run.max_batch_tokens", "run.max_adapters", "run.recompute", "run.max_decodes",
		"judge.key_env", "judge.concurrency", "judge.retries", "judge.timeout", "judge.price_in", "judge.price_out", "continue.checkpoint"}, Free()); d != "" {
		t.Error(d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Default().Marshal())
	for _, s := range []string{"inner: {rank: 3}", "inner: &a [*a]", "? x\n: y", "<<: {a: 1}", "a: !!binary x", "inner:\n\trank: 1", "%YAML 1.2\n---\n", "inner: >-\n a", "\"inner\": {'rank': 1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		s := Default()
		if err := s.Parse("f", text); err != nil {
			if d := Diff(Default(), s); len(d) > 0 {
				t.Fatalf("an error changed %v", d)
			}
			return
		}
		for _, f := range fields(&s) {
			if err := f.check(); err != nil {
				t.Fatalf("accepted: %v", err)
			}
		}
	})
}
