package seal

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/selkie-ml/selkie/internal/testdata"
)

func TestDataArticles(t *testing.T) {
	folder := filepath.Join(testdata.Dir(t), "squad")
	files, err := filepath.Glob(filepath.Join(folder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s holds no JSON files (%v)", folder, err)
	}
	for _, file := range files {
		articles, err := ReadArticles(file)
		if err != nil {
			t.Error(err)
			continue
		}
		ids, questions := map[string]bool{}, 0
		for _, a := range articles {
			ids[a.ID] = true
			questions += len(a.Questions)
		}
		if len(ids) != len(articles) {
			t.Errorf("%s: %d ids for %d articles", file, len(ids), len(articles))
		}
		t.Logf("%s: %d articles, %d questions", filepath.Base(file), len(articles), questions)
	}
}

func writeFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestItemID(t *testing.T) {
	id := ItemID(12, "Oxygen", "It burns.")
	if !strings.HasPrefix(id, "000012-") || len(id) != len("000012-")+8 {
		t.Errorf("id %q", id)
	}
	if ItemID(0, "ab", "c") == ItemID(0, "a", "bc") {
		t.Error("the digest does not tell title from context")
	}
}

func TestReadArticles(t *testing.T) {
	got, err := ReadArticles(writeFile(t, "\ufeff"+`[{"title": "T", "context": "c\n", "extra": 1, "questions": [{"question": "q", "answer": "a", "id": "x"}]},
		{"title": "T", "context": "c\n", "questions": [{"question": "q", "answer": "a"}]}]`))
	if err != nil {
		t.Fatal(err)
	}
	want := Article{Title: "T", Context: "c\n", Questions: []Question{{"q", "a"}}}
	first, second := want, want
	first.ID, second.ID = ItemID(0, "T", "c\n"), ItemID(1, "T", "c\n")
	if d := diff([]Article{first, second}, got); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestReadArticlesErrors(t *testing.T) {
	const good = `{"title": "T", "context": "c", "questions": [{"question": "q", "answer": "a"}]}`
	for _, c := range []struct{ text, want string }{
		{"", "the file is empty"},
		{" \n", "the file is empty"},
		{"[]", "holds no articles"},
		{"{}", "expected an array"},
		{`{"data": [` + good + `]}`, "expected an array of articles {title, context, questions}"},
		{"[" + good + ",\n" + `{"title": "T",,}]`, "malformed JSON at line 2"},
		{"[" + good + "\n", "malformed JSON at line"},
		{"[" + good + "]\n[]", "malformed JSON at line 2"},
		{"[" + good + `, 7]`, "article 1: expected an object, found a JSON number"},
		{"[" + good + `, null]`, "article 1: field title is missing or empty"},
		{`[{"title": " ", "context": "c", "questions": [{"question": "q", "answer": "a"}]}]`, "article 0: field title is missing or empty"},
		{`[{"title": "T", "context": "\n", "questions": [{"question": "q", "answer": "a"}]}]`, "field context is missing or empty"},
		{`[{"title": "T", "context": 5, "questions": []}]`, "article 0: field context: expected a string, found a JSON number"},
		{`[{"title": "T", "context": "c"}]`, "field questions is missing or empty"},
		{`[{"title": "T", "context": "c", "questions": "q"}]`, "field questions: expected an array, found a JSON string"},
		{`[{"title": "T", "context": "c", "questions": [{"question": "q", "answer": "a"}, {"question": "", "answer": "a"}]}]`, "field questions[1].question is missing or empty"},
		{`[{"title": "T", "context": "c", "questions": [{"question": "q"}]}]`, "field questions[0].answer is missing or empty"},
		{`[{"title": "T", "context": "c", "questions": [{"question": "q", "answer": 1861}]}]`, "expected a string, found a JSON number"},
		{"[\n\"\xff\"]", "line 2: not valid UTF-8"},
	} {
		path := writeFile(t, c.text)
		_, err := ReadArticles(path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: error %v, want the path and %q", c.text, err, c.want)
		}
	}
	if _, err := ReadArticles(filepath.Join(t.TempDir(), "absent.json")); err == nil {
		t.Error("no error for a missing file")
	}
}

func TestReadEdits(t *testing.T) {
	articles := []Article{
		{ID: "0", Title: "A", Context: "a"}, {ID: "1", Title: "B", Context: "b1"},
		{ID: "2", Title: "B", Context: "b2"}, {ID: "3", Title: "C", Context: "c"}, {ID: "4", Title: "C", Context: "c"},
	}
	for _, c := range []struct {
		text    string
		want    map[string][]string
		wantErr string
	}{
		{text: `{"title": "A", "completions": ["x", " ", "y"]}` + "\r\n\n" + `{"id": "2", "completions": ["z"], "prompt": "p"}`,
			want: map[string][]string{"0": {"x", "y"}, "2": {"z"}}},
		{text: `[{"title": "B", "context": "b1\n", "completions": ["x"]}]`, want: map[string][]string{"1": {"x"}}},
		{text: `{"title": "C", "completions": ["x"]}`, want: map[string][]string{"3": {"x"}, "4": {"x"}}},
		{text: `{"title": "B", "completions": ["x"]}`, wantErr: `line 1: 2 articles have the title "B"; give the context or the id too`},
		{text: `{"title": "B", "context": "b3", "completions": ["x"]}`, wantErr: `no article matches title "B" and the given context`},
		{text: `{"id": "1", "title": "A", "completions": ["x"]}`, wantErr: `no article matches id "1" and title "A"`},
		{text: `{"completions": ["x"]}`, wantErr: "expected a field id or title"},
		{text: `{"title": "A", "completions": ["", " "]}`, wantErr: "every completion is empty"},
		{text: `{"title": "A"}`, wantErr: "field completions is missing"},
		{text: `{"title": "A", "completions": "x"}`, wantErr: "field completions: expected an array, found a JSON string"},
		{text: `{"title": "A", "completions": ["x"]}` + "\n" + `{"id": "0", "completions": ["y"]}`, wantErr: "line 2: article 0 has edits already, from line 1"},
		{text: `{"title": "A", "completions": ["x"]}` + "\n" + `{"title": "B", "compl`, wantErr: "line 2: not a complete JSON object"},
		{text: `[{"title": "A", "completions": ["x"]}, 3]`, wantErr: "entry 1: expected an object, found a JSON number"},
		{text: `[]`, wantErr: "holds no self-edits"},
		{text: ` `, wantErr: "the file is empty"},
	} {
		path := writeFile(t, c.text)
		got, err := ReadEdits(path, articles)
		switch {
		case c.wantErr != "":
			if err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), path) {
				t.Errorf("%q: error %v, want the path and %q", c.text, err, c.wantErr)
			}
		case err != nil:
			t.Errorf("%q: %v", c.text, err)
		default:
			if d := diff(c.want, got); d != "" {
				t.Errorf("%q: (-want +got)\n%s", c.text, d)
			}
		}
	}
}

func TestFirstNonBlank(t *testing.T) {
	for n, want := range map[int]string{0: "[]", 1: "[a]", 2: "[a b ]", 5: "[a b ]"} {
		if got := fmt.Sprint(FirstNonBlank([]string{"", "a", "\n", "b "}, n)); got != want {
			t.Errorf("n=%d: %s, want %s", n, got, want)
		}
	}
}

func FuzzReadEdits(f *testing.F) {
	f.Add(`{"title": "A", "completions": ["x"]}`)
	f.Add(`[{"id": "0", "completions": [null]}]`)
	f.Add("{\"title\": \"A\",\n")
	articles := []Article{{ID: "0", Title: "A", Context: "a"}}
	f.Fuzz(func(t *testing.T, text string) {
		edits, err := ReadEdits(writeFile(t, text), articles)
		if err == nil && len(edits["0"]) == 0 {
			t.Errorf("%q: no edits and no error", text)
		}
	})
}
