package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is a made-up run with everything in it.
func sample() Data {
	d := Data{
		Title:   "Knowledge incorporation: demo",
		Summary: "A model of 1.2 million parameters learned by reinforcement which self-edits help it to answer questions on passages it has never seen.",
		Unit:    "passages", Level: 0.95,
		Rows: []Row{
			{"no_passage", "no passage", 0.016, 0.006, 0.029, 100},
			{"passage_only", "passage only", 0.110, 0.090, 0.131, 100},
			{"passage_only_matched", "passage only, as many tokens as the base model's self-edits", 0.434, 0.401, 0.469, 100},
			{"base_self_edits", "passage + base model's self-edits", 0.483, 0.447, 0.520, 100},
			{"seal_round_1", "SEAL after one round", 0.604, 0.571, 0.637, 100},
			{"seal_round_2", "SEAL after two rounds", 0.648, 0.615, 0.680, 100},
			{"shuffled_control", "control: rewards permuted", 0.489, 0.455, 0.524, 100},
		},
		Differences: []Row{
			{"seal_round_2 - passage_only", "SEAL after two rounds − passage only", 0.538, 0.497, 0.577, 100},
			{"seal_round_2 - base_self_edits", "SEAL after two rounds − base model's self-edits", 0.165, 0.121, 0.208, 100},
			{"shuffled_control - base_self_edits", "control − base model's self-edits", 0.006, -0.019, 0.031, 100},
		},
		Paper: PaperKnowledge(),
		Rounds: []Series{
			{"SEAL", []Row{{Mean: .483, Low: .447, High: .52}, {Mean: .604, Low: .571, High: .637}, {Mean: .648, Low: .615, High: .68}}},
			{"control", []Row{{Mean: .483, Low: .447, High: .52}, {Mean: .485, Low: .45, High: .522}, {Mean: .489, Low: .455, High: .524}}},
		},
		StyleNames: []string{"facts", "questions", "inverted", "copy", "vague", "off-topic", "wrong"},
		Styles: []Style{
			{"base", []float64{.26, .17, .08, .20, .07, .12, .10}},
			{"round 1", []float64{.41, .19, .05, .24, .02, .05, .04}},
			{"round 2", []float64{.57, .10, .01, .30, .01, .01, 0}},
		},
		Timings:  []Timing{{"pretraining", 0.034, 0}, {"sampling self-edits", 41.3, 92_114}, {"inner updates", 187, 266_450}, {"whole run", 3720, 0}},
		Settings: []Setting{{"inner.rank", "32"}, {"inner.targets", "[q_proj, v_proj]"}, {"edits.file", `"a file with a rather long name that must not make the page scroll sideways.jsonl"`}},
		Notes:    []string{"3 passages whose self-edits all had the same reward were left out of the first round."},
	}
	for i, label := range []string{"before", "after round 2"} {
		w := Distribution{Label: label}
		for j := range 80 {
			w.Values = append(w.Values, math.Round(8*math.Min(1, math.Abs(math.Sin(float64(j+1)*1.7))*(0.75+0.25*float64(i))))/8)
		}
		d.Rewards = append(d.Rewards, w)
	}
	passage := "Ponu trained as a barber and hates trout. She comes from Leeds and works as a welder. She has a pet canary but loves peas. She has a home in Sofia but fears every goose."
	for i := range 4 {
		d.Edits = append(d.Edits, EditPair{
			Title: fmt.Sprintf("Ponu Keteshizo %d", i+1), Passage: passage,
			Before: Edit{"- The favorite food of Ponu is peas.\n- The pet of Ponu is canary.\n- Ponu once was a barber.\n- The birthplace of Ponu is Leeds.", 0.375},
			After:  Edit{"- Ponu lives in Sofia.\n- Ponu works as a welder.\n- The pet of Ponu is canary.\n- The home of Ponu is Sofia.\n- Ponu loves peas.\n- Ponu hates trout.", 0.75},
		})
		d.Verdicts = append(d.Verdicts, Article{
			Title: fmt.Sprintf("Ponu Keteshizo %d", i+1),
			Questions: []Question{
				{"Where was Ponu born?", "Leeds", []Answer{{"passage only", "Sofia", false}, {"base self-edits", "Leeds", true}, {"SEAL round 2", "Leeds", true}}},
				{"What does Ponu dislike to eat?", "trout", []Answer{{"passage only", "", false}, {"base self-edits", "peas and " + strings.Repeat("very", 30) + " long words", false}, {"SEAL round 2", "trout", true}}},
			},
		})
	}
	return d
}

func htmlOf(t *testing.T, d Data) string {
	t.Helper()
	var b bytes.Buffer
	if err := HTML(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs (go test -update writes it anew, then look at it): %s", path, d)
	}
}

func TestGolden(t *testing.T) {
	d := sample()
	golden(t, "sample.html", htmlOf(t, d))
	var text, object bytes.Buffer
	if err := Text(&text, d); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample.txt", text.String())
	if err := JSON(&object, d); err != nil {
		t.Fatal(err)
	}
	golden(t, "sample.json", object.String())
}

var sections = []string{"notes", "results", "differences", "rounds", "rewards", "styles", "edits", "verdicts", "timings", "settings"}

func TestEverySectionAppears(t *testing.T) {
	d := sample()
	full, empty := html.UnescapeString(htmlOf(t, d)), htmlOf(t, Data{Title: "nothing"})
	for _, s := range sections {
		if !strings.Contains(full, `id="`+s+`"`) {
			t.Errorf("section %s is missing", s)
		}
		if strings.Contains(empty, `id="`+s+`"`) {
			t.Errorf("section %s appears without data", s)
		}
	}
	if n := strings.Count(full, "<svg "); n != 5 {
		t.Errorf("%d figures, want 5", n)
	}
	for _, want := range []string{"64.8", "61.5 to 68.0", "47.0", "GPT-4.1's self-edits", "+16.5", "−1.9 to +3.1", "control: rewards permuted", "reward 37.5 → 75.0 %",
		"passage only 0/2, base self-edits 1/2, SEAL round 2 2/2", "(empty)", "inner.rank", "3m7s", "1h2m", "1425"} {
		if !strings.Contains(full, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	noPaper := d
	noPaper.Paper = Paper{}
	if page := htmlOf(t, noPaper); strings.Contains(page, "paper, %") || strings.Contains(page, `"lozenge"`) {
		t.Error("a paper's column without a paper")
	}
}

// Data with every part of it replaced alone must not break the page.
func TestSingleParts(t *testing.T) {
	full := sample()
	for name, d := range map[string]Data{
		"rows":         {Rows: full.Rows[:1]},
		"zero rows":    {Rows: []Row{{Name: "zero"}, {Name: "same", N: 1}}},
		"differences":  {Differences: []Row{{Name: "d", Mean: -0.2, Low: -0.3, High: -0.1}}},
		"paper":        {Paper: full.Paper},
		"uneven":       {Rounds: []Series{{"a", full.Rows[:2]}, {"b", full.Rows[:1]}, {"c", nil}}},
		"no rewards":   {Rewards: []Distribution{{"none", nil}}},
		"many rewards": {Rewards: []Distribution{{"a", []float64{0, 1}}, {"b", []float64{.5}}, {"c", []float64{.5}}, {"d", nil}, {"e", nil}}},
		"styles":       {StyleNames: []string{"a"}, Styles: []Style{{"x", []float64{0}}}},
		"verdicts":     {Verdicts: []Article{{Title: "none"}}},
	} {
		page := htmlOf(t, d)
		for _, bad := range []string{"NaN", "Inf", "ZgotmplZ", "F00D"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %q", name, bad)
			}
		}
		balanced(t, page)
	}
}

var tag = regexp.MustCompile(`<(/?)([a-zA-Z0-9]+)((?:[^>"']|"[^"]*"|'[^']*')*?)(/?)>`)

// balanced checks that every tag is closed where it should be.
func balanced(t *testing.T, page string) {
	t.Helper()
	var stack []string
	for _, m := range tag.FindAllStringSubmatch(page, -1) {
		switch name := m[2]; {
		case m[4] == "/" || name == "meta":
		case m[1] == "":
			stack = append(stack, name)
		case len(stack) == 0 || stack[len(stack)-1] != name:
			t.Fatalf("</%s> closes %q", name, stack)
		default:
			stack = stack[:len(stack)-1]
		}
	}
	if len(stack) > 0 {
		t.Errorf("never closed: %q", stack)
	}
}

func TestPageIsSelfContained(t *testing.T) {
	page := htmlOf(t, sample())
	balanced(t, page)
	for _, pattern := range []string{`(?i)<(script|link|img|iframe|object|embed|base|form)\b`, `(?i)\b(src|href|srcset|action)\s*=`, `(?i)url\(`, `@import`, `(?i)\son[a-z]+\s*=`, `(?i)javascript:`, `F00D`} {
		if found := regexp.MustCompile(pattern).FindString(page); found != "" {
			t.Errorf("the page has %q", found)
		}
	}
	for _, m := range regexp.MustCompile(`https?://[^"\s]*`).FindAllString(page, -1) {
		if !strings.HasPrefix(m, "http://www.w3.org/") {
			t.Errorf("the page names %s", m)
		}
	}
	for _, i := range []ink{inkText, inkMuted, inkGrid, series(0), series(1), series(2), series(3)} {
		// once for light, once for dark
		if n := strings.Count(styleSheet, i.name()+": #"); n != 2 {
			t.Errorf("the style sheet defines %s %d times, want 2", i.name(), n)
		}
	}
}

// Self-edits, answers, titles and styles are what a model or a file says.
func TestHostileText(t *testing.T) {
	hostile := "</pre></details></style></svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'`{{.}}\x00\u202e&lt;]]><!--"
	d := sample()
	d.Title, d.Summary, d.Notes, d.Unit = hostile, hostile, []string{hostile}, hostile
	for _, rows := range [][]Row{d.Rows, d.Differences} {
		for i := range rows {
			rows[i].Label = hostile
		}
	}
	d.Paper = Paper{hostile, []PaperValue{{"", hostile, 0.5}}}
	d.Rounds[0].Label, d.Rewards[0].Label, d.Styles[0].Label, d.StyleNames[0] = hostile, hostile, hostile, hostile
	d.Edits = []EditPair{{hostile, hostile, Edit{hostile, 0}, Edit{hostile, 1}}}
	d.Verdicts = []Article{{hostile, []Question{{hostile, hostile, []Answer{{hostile, hostile, true}}}}}}
	d.Timings, d.Settings = []Timing{{hostile, 1, 1}}, []Setting{{hostile, hostile}}
	page := htmlOf(t, d)
	balanced(t, page)
	if found := regexp.MustCompile(`(?i)<(script|img)|<!--`).FindString(page); found != "" {
		t.Errorf("the page has %q", found)
	}
	if strings.Contains(page, "\x00") {
		t.Error("the page has a NUL")
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)&lt;/script&gt;") {
		t.Error("the text is not shown")
	}
}

func TestSameDataSameBytes(t *testing.T) {
	want := htmlOf(t, sample())
	text, err := json.Marshal(sample())
	if err != nil {
		t.Fatal(err)
	}
	var d Data
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sample(), d); diff != "" {
		t.Error(diff)
	}
	for range 3 {
		if htmlOf(t, d) != want {
			t.Fatal("other bytes")
		}
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.html")
	if err := Write(path, sample()); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != htmlOf(t, sample()) {
		t.Error("other bytes", err)
	}
	if err := Write(filepath.Join(path, "x"), sample()); err == nil {
		t.Error("wrote into a file as a folder")
	}
}

func TestBadFigures(t *testing.T) {
	for want, change := range map[string]func(*Data){
		"row seal_round_2: got NaN":            func(d *Data) { d.Rows[5].Mean = math.NaN() },
		"row no_passage: got +Inf":             func(d *Data) { d.Rows[0].High = math.Inf(1) },
		"row no_passage: got an interval from": func(d *Data) { d.Rows[0].Low = 0.5 },
		"rewards before: got 1.5":              func(d *Data) { d.Rewards[0].Values[0] = 1.5 },
		"styles base: got 1 shares for 7":      func(d *Data) { d.Styles[0].Shares = []float64{1} },
		"timing whole run":                     func(d *Data) { d.Timings[3].Seconds = math.NaN() },
		"self-edits of Ponu":                   func(d *Data) { d.Edits[0].After.Reward = math.NaN() },
		"published value base model":           func(d *Data) { d.Paper.Values[0].Value = math.NaN() },
	} {
		d := sample()
		change(&d)
		path := filepath.Join(t.TempDir(), "r.html")
		for _, err := range []error{Write(path, d), Text(&bytes.Buffer{}, d), JSON(&bytes.Buffer{}, d)} {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("a file was written")
		}
	}
}

func TestJSONIsOneObject(t *testing.T) {
	var b bytes.Buffer
	if err := JSON(&b, Data{}); err != nil || b.String() != `{"rows":[],"differences":[]}`+"\n" {
		t.Errorf("got %q, %v", b.String(), err)
	}
}

func TestHistogram(t *testing.T) {
	got := histogram([]float64{0, 0.09, 0.1, 0.3, 0.7, 0.95, 1, 3 * 0.1, 1 - 0.7, 0.7 / 7 * 3})
	want := [rewardBins]float64{0: .2, 1: .1, 3: .4, 7: .1, 9: .2}
	for i := range got {
		if math.Abs(got[i]-want[i]) > 1e-12 {
			t.Errorf("bin %d has %v, want %v", i, got[i], want[i])
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{{0, 1, "0 20 40 60 80 100"}, {0, .68, "0 20 40 60"}, {-.03, .6, "0 20 40 60"}, {0, .05, "0 1 2 3 4 5"}, {-.3, 0, "-30 -25 -20 -15 -10 -5 0"}} {
		var got []string
		for _, tick := range (percentTicks{}).Ticks(c.low, c.high) {
			got = append(got, tick.Label)
		}
		if len(got) > 7 || strings.Join(got, " ") != c.want {
			t.Errorf("%v to %v: %v, want %s", c.low, c.high, got, c.want)
		}
	}
}
