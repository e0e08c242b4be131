package arc

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/internal/testdata"
)

func TestGridCheck(t *testing.T) {
	long := make([]int8, MaxSide+1)
	for name, c := range map[string]struct {
		grid Grid
		want string
	}{
		"none":      {nil, "no rows"},
		"empty row": {Grid{{}}, "row 0 is empty"},
		"ragged":    {Grid{{1, 2}, {3}}, "row 1 has 1 colours and row 0 has 2"},
		"negative":  {Grid{{1, -1}}, "row 0, column 1: got colour -1"},
		"ten":       {Grid{{1}, {10}}, "row 1, column 0: got colour 10"},
		"too wide":  {Grid{long}, "1 × 31"},
	} {
		if err := c.grid.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if err := (Grid{{0, 9}}).Check(); err != nil {
		t.Error(err)
	}
}

// Errors name the task, the field and what was expected.
func TestBadChallenges(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":      {"{\n\"a\": {\"train\"", "malformed JSON at line 2"},
		"a list":       {"[]", "expected one JSON object"},
		"no tasks":     {"{}", "holds no tasks"},
		"no train":     {`{"a": {"test": [{"input": [[1]]}]}}`, "task a: field train is missing or empty"},
		"no tests":     {`{"a": {"train": [{"input": [[1]], "output": [[1]]}], "test": []}}`, "task a: field test is missing or empty"},
		"no output":    {`{"a": {"train": [{"input": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a: train[0].output: the grid has no rows"},
		"ragged":       {`{"a": {"train": [{"input": [[1,2],[3]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a: train[0].input: row 1 has 1 colours"},
		"empty grid":   {`{"a": {"train": [{"input": [], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a: train[0].input: the grid has no rows"},
		"colour 12":    {`{"a": {"train": [{"input": [[12]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "got colour 12, expected 0 to 9"},
		"colour 1.5":   {`{"a": {"train": [{"input": [[1.5]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "got colour 1.5, expected 0 to 9"},
		"colour 1e300": {`{"a": {"train": [{"input": [[1e300]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "got colour 1e300"},
		"a word":       {`{"a": {"train": [{"input": [["x"]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a:"},
		"not a grid":   {`{"a": {"train": [{"input": 5, "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a: field train.input: got number"},
		"twice":        {`{"a": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}, "a": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`, "task a stands twice"},
		"more after":   {`{"a": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}} x`, "something stands after"},
	} {
		if _, err := ParseChallenges([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestBadSolutions(t *testing.T) {
	list := func() []Challenge {
		l, err := ParseChallenges([]byte(`{"a": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	for text, want := range map[string]string{
		`{"b": [[[1]]]}`:         "no solutions for task a",
		`{"a": [[[1]], [[2]]]}`:  "task a: 2 solutions for 1 test inputs",
		`{"a": [[[1, 2], [3]]]}`: "task a: solution 0: row 1 has 1 colours",
		`{"a": [[[77]]]}`:        "task a: solution 0: row 0, column 0: got colour 77",
		`{"a": 5}`:               "task a: field",
	} {
		solutions, err := ParseSolutions([]byte(text))
		if err == nil {
			err = AddSolutions(list(), solutions)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if _, err := ReadSolutions(write("1", `{"a": [[[1]]]}`), write("2", `{"a": [[[2]]]}`)); err == nil || !strings.Contains(err.Error(), "other solutions in another file") {
		t.Errorf("two files that differ: %v", err)
	}
}

// Self-edits with comments, trailing text, wrong types and huge numbers are
// sampled again or train nothing, and say why.
func TestBadEdits(t *testing.T) {
	good := Edit{Strategy: AllTokens, LR: 0.001, Epochs: 2}.JSON()
	change := func(old, to string) string { return strings.Replace(good, old, to, 1) }
	for name, c := range map[string]struct {
		text, want string
		nothing    bool
	}{
		"comment":           {change(`{"data`, "{ // tools\n\"data"), "not a JSON object", false},
		"trailing text":     {good + " That is all.", "something stands after it", false},
		"fence":             {"```json\n" + good + "\n```", "not a JSON object", false},
		"a list":            {"[" + good + "]", "not a JSON object", false},
		"nothing":           {"", "not a JSON object", false},
		"NaN":               {change("0.001", "NaN"), "not a JSON object", false},
		"no training":       {`{"data_generation": {}}`, `no object "training"`, false},
		"a word for a flag": {change("false", `"false"`), `data_generation.use_basic_augmentations: got "false", expected true or false`, true},
		"a huge rate":       {change("0.001", "1e999"), "training.learning_rate: got 1e999", true},
		"a negative rate":   {change("0.001", "-0.001"), "training.learning_rate: got -0.001", true},
		"a rate in words":   {change("0.001", `"0.001"`), `training.learning_rate: got "0.001"`, true},
		"no epochs":         {change("num_train_epochs\": 2", "num_train_epochs\": 0"), "training.num_train_epochs: got 0", true},
		"a list of epochs":  {change("num_train_epochs\": 2", "num_train_epochs\": [2]"), "training.num_train_epochs: got [2]", true},
		"a strategy":        {change(AllTokens, "train"), `training.strategy: got "train"`, true},
	} {
		e, err := ParseEdit(c.text)
		got := e.Nothing
		if err != nil {
			got = err.Error()
		}
		if (err == nil) != c.nothing || !strings.Contains(got, c.want) || e.Epochs != 0 && err == nil {
			t.Errorf("%s: %v, %+v, want %q", name, err, e, c.want)
		}
	}
	e, err := ParseEdit(change("2}", "1e300}"))
	if err != nil || e.Limited(10, 2, 0).Epochs != 0 || !strings.Contains(e.Limited(10, 2, 0).Nothing, "5e+300 steps") {
		t.Errorf("1e300 epochs: %v, %+v", err, e.Limited(10, 2, 0))
	}
	if e, err := ParseEdit(good); err != nil || e.Nothing != "" || !e.Same(Edit{Strategy: AllTokens, LR: 0.001, Epochs: 2}) {
		t.Errorf("%v, %+v", err, e)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("[[1 2]\n [3 4]]#")
	f.Add(Edit{Strategy: AllTokens, LR: 0.001, Epochs: 2}.JSON())
	f.Add(`{"a": {"train": [{"input": [[1]], "output": [[1]]}], "test": [{"input": [[1]]}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if g, ok := ParseGrid(text); ok {
			if again, ok := ParseGrid(g.String() + "#"); !ok || !again.Equal(g) {
				t.Errorf("%v is read back as %v", g, again)
			}
		}
		if e, err := ParseEdit(text); err == nil && e.Nothing == "" {
			if again, err := ParseEdit(e.JSON()); err != nil || !again.Same(e) {
				t.Errorf("%+v is read back as %+v, %v", e, again, err)
			}
		}
		_, _ = ParseChallenges([]byte(text))
		_, _ = ParseSolutions([]byte(text))
	})
}

// The real files are read whole, and their training sets and questions fit
// together.
func TestDataArcFiles(t *testing.T) {
	dir := filepath.Join(testdata.Dir(t), "arc")
	files, err := filepath.Glob(filepath.Join(dir, "*challenges*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no challenges in %s: %v", dir, err)
	}
	for _, path := range files {
		list, err := ReadChallenges(path)
		if err != nil {
			t.Error(err)
			continue
		}
		solutions, err := ReadSolutions(strings.Replace(path, "challenges", "solutions", 1))
		if err != nil {
			t.Error(err)
			continue
		}
		if err := AddSolutions(list, solutions); err != nil {
			t.Error(err)
		}
		inputs, examples := 0, 0
		for i, c := range list {
			for k := range c.Tests {
				inputs++
				q := Questions(c.Task(k), AskOptions{LeaveOut: []int{1}, Permutations: 2}, philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: c.ID}))
				if len(q) == 0 {
					t.Errorf("task %s, test %d: no questions", c.ID, k)
				}
				for _, q := range q {
					if q.Transform != nil && !Inverse(q.Transform).Apply(q.Task.Test.Output).Equal(c.Tests[k].Output) {
						t.Errorf("task %s: %v is not undone", c.ID, q.Transform)
					}
				}
			}
			if i < 20 {
				set := TrainingSet(c.Train, TrainOptions{Tools: Tools{Basic: true, Size: true}, LeaveOut: []int{1, 2}, Limit: 250}, philox.NewStream(philox.ID{Purpose: philox.PurposeTest, Item: c.ID}))
				examples += len(set)
				for _, task := range set {
					if len(task.Train) == 0 || task.tooLarge() {
						t.Errorf("task %s: a training task without demonstrations or too large", c.ID)
					}
				}
			}
		}
		t.Logf("%s: %d tasks, %d test inputs; the first 20 make %d training tasks", filepath.Base(path), len(list), inputs, examples)
	}
}
