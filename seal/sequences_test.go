package seal

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

type sequencesCase struct {
	Title, Context, Completion string
	SplitNewlines              bool `json:"split_newlines"`
	Quirks, Expected           []string
}

func TestDataTrainSequences(t *testing.T) {
	eachCase(t, "train_sequences", func(c sequencesCase) check {
		got := TrainSequences(c.Title, c.Context, c.Completion, SequenceOptions{SplitNewlines: c.SplitNewlines})
		return check{diff(c.Expected, got), decidedSequences(c, got)}
	})
}

// decidedSequences corrects the reference's sequences for the case's quirks and
// compares. Where dashes were cut out of text, the corrected sequences cannot be
// told from the reference's output: there it compares the text as a whole.
func decidedSequences(c sequencesCase, got []string) string {
	want := slices.Clone(c.Expected)
	texts := want[:len(want)-1]
	for i := range texts {
		texts[i] = strings.TrimPrefix(texts[i], c.Title+"\n")
	}
	gotTexts := slices.Clone(got[:len(got)-1])
	for i := range gotTexts {
		gotTexts[i] = strings.TrimPrefix(gotTexts[i], c.Title+"\n")
	}
	if d := diff(want[len(want)-1], got[len(got)-1]); d != "" {
		return "passage: " + d
	}
	has := func(quirk string) bool { return slices.Contains(c.Quirks, quirk) }

	if has("rule-only") || has("self-qa-keeps-rules") {
		for i, text := range texts {
			lines := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool { return dashes.MatchString(l) })
			texts[i] = strings.Join(lines, "\n")
		}
	}
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	texts = slices.DeleteFunc(texts, func(s string) bool { return s == "" })
	if has("preamble-rule-on-number") {
		first, _, _ := strings.Cut(strings.TrimSpace(c.Completion), "\n")
		texts = append([]string{strings.TrimSpace(first)}, texts...)
	}
	if (has("self-qa-preamble") || has("self-qa-question-word")) && len(texts) > 0 {
		first := strings.TrimPrefix(texts[0], "Question 1: ")
		switch {
		case label.MatchString(first):
		case len(texts) > 1 && strings.HasPrefix(texts[1], "Question 1:") && !strings.Contains(first, "Answer"):
			texts = texts[1:]
		default:
			texts[0] = "Question 1: " + first
		}
	}

	switch {
	case has("long-rule") || has("rule-inside-line"):
		// No letter is lost or moved, and every line that is not a rule is whole.
		all := strings.Join(gotTexts, "\n")
		for _, line := range strings.FieldsFunc(c.Completion, func(r rune) bool { return r == '\n' || r == '\r' }) {
			line = strings.TrimSpace(line)
			if dashes.MatchString(line) {
				if slices.Contains(strings.Split(all, "\n"), line) {
					return "the rule " + line + " is left in the text"
				}
			} else if !strings.Contains(all, line) && strings.Contains(strings.Join(texts, "\n"), strings.Trim(line, "-")) {
				return "line lost: " + line
			}
		}
		return diff(letters(strings.Join(texts, "")), letters(withoutAddedLabel(c.Completion, all)))
	case has("numbered-answer-not-self-qa"):
		// The same lines, now grouped by question.
		if len(gotTexts) > 0 && len(atLabel.FindAllString(c.Completion, -1)) > len(gotTexts) {
			return "a question was not cut off"
		}
		all := nonBlank(strings.Split(withoutAddedLabel(c.Completion, strings.Join(gotTexts, "\n")), "\n"))
		switch len(all) - len(texts) { // one took the head for a preamble
		case 1:
			all = all[1:]
		case -1:
			texts = texts[1:]
		}
		return diff(texts, all)
	case has("python-line-breaks"):
		pythonLines := func(texts []string) []string {
			return nonBlank(strings.FieldsFunc(strings.Join(texts, "\n"), func(r rune) bool {
				return strings.ContainsRune("\n\r\v\f\x1c\x1d\x1e\u0085\u2028\u2029", r)
			}))
		}
		return diff(pythonLines(texts), pythonLines(gotTexts))
	}
	return diff(texts, gotTexts)
}

var (
	dashes  = regexp.MustCompile(`^\s*-{3,}\s*$`)
	label   = regexp.MustCompile(`^Question\s*(\d|:)`)
	atLabel = regexp.MustCompile(`(?m)^Question\s+\d+:`)
)

func letters(s string) string {
	return strings.NewReplacer("-", "", " ", "", "\n", "", "\r", "", "\t", "").Replace(s)
}

func withoutAddedLabel(completion, text string) string {
	if first, _, _ := strings.Cut(text, "\n"); strings.Contains(completion, first) {
		return text
	}
	return strings.TrimPrefix(text, "Question 1: ")
}

func nonBlank(lines []string) []string {
	var kept []string
	for _, l := range lines {
		// Python also strips the separators FS to US.
		if l = strings.Trim(strings.TrimSpace(l), "\x1c\x1d\x1e\x1f"); l != "" {
			kept = append(kept, l)
		}
	}
	return kept
}

func TestTrainSequences(t *testing.T) {
	lines := SequenceOptions{SplitNewlines: true}
	for _, c := range []struct {
		name, completion string
		opt              SequenceOptions
		want             []string // without the passage
	}{
		{"lines", "a\n\n b \r\nc\rd", lines, []string{"a", "b", "c", "d"}},
		{"whole", "a\n\nb\n", SequenceOptions{}, []string{"a\n\nb"}},
		{"segments", "a\nb\n---\n\n-----\nc", SequenceOptions{}, []string{"a\nb", "c"}},
		{"rule in Windows text", "a\r\n --- \r\nb", SequenceOptions{}, []string{"a", "b"}},
		{"dashes inside a line", "a---b\n| --- |\n- - -", SequenceOptions{}, []string{"a---b\n| --- |\n- - -"}},
		{"only rules", "---\n----", SequenceOptions{}, nil},
		{"blank", " \n\t", SequenceOptions{}, nil},
		{"preamble", "Here:\n1. a\n2. b", lines, []string{"1. a", "2. b"}},
		{"preamble before a rule", "Here:\n---\n1. a", lines, []string{"1. a"}},
		{"preamble only once", "1. x\n1. a\n1. b", lines, []string{"1. a", "1. b"}},
		{"marker without a blank", "Here:\n1.a", lines, []string{"1.a"}},
		{"number is no marker", "Growth\n1.5 million", lines, []string{"Growth", "1.5 million"}},
		{"ellipsis is no marker", "Growth\n1...", lines, []string{"Growth", "1..."}},
		{"questions", "Question 1: a?\nAnswer: b\n\nQuestion 2: c?\nAnswer: d\n", lines,
			[]string{"Question 1: a?\nAnswer: b", "Question 2: c?\nAnswer: d"}},
		{"first label in the prompt", "a?\nAnswer 1: b\nQuestion 2: c?\nAnswer 2: d", lines,
			[]string{"Question 1: a?\nAnswer 1: b", "Question 2: c?\nAnswer 2: d"}},
		{"preamble before questions", "Sure.\n\nQuestion 1: a?\nAnswer: b", lines, []string{"Question 1: a?\nAnswer: b"}},
		{"answered head is no preamble", "a?\nAnswer: b\nQuestion 1: c?\nAnswer: d", lines,
			[]string{"Question 1: a?\nAnswer: b", "Question 1: c?\nAnswer: d"}},
		{"a word is no label", "Questioning?\nAnswer: b\nQuestion 2: c?\nAnswer: d", lines,
			[]string{"Question 1: Questioning?\nAnswer: b", "Question 2: c?\nAnswer: d"}},
		{"unnumbered first label", "Question: a?\nAnswer: b\nQuestion 2: c?\nAnswer: d", lines,
			[]string{"Question: a?\nAnswer: b", "Question 2: c?\nAnswer: d"}},
		{"rules between questions", "Question 1: a?\nAnswer: b\n---\nQuestion 2: c?\nAnswer: d\n---", lines,
			[]string{"Question 1: a?\nAnswer: b", "Question 2: c?\nAnswer: d"}},
		{"no answers", "Question 1: a?\nQuestion 2: b?", lines, []string{"Question 1: a?", "Question 2: b?"}},
		{"questions kept whole", "Question 1: a?\nAnswer: b\nQuestion 2: c?", SequenceOptions{},
			[]string{"Question 1: a?\nAnswer: b\nQuestion 2: c?"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := []string{}
			for _, text := range append(c.want, "Passage.") {
				want = append(want, "Title\n"+text)
			}
			if d := diff(want, TrainSequences("Title", " Passage.\n", c.completion, c.opt)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

func TestUpdateSequences(t *testing.T) {
	a := Article{Title: "T", Context: "p"}
	for _, c := range []struct {
		completions []string
		k           int
		want        []string
	}{
		{[]string{"", "a", " ", "b", "c"}, 2, []string{"T\na", "T\np", "T\nb", "T\np"}},
		{[]string{"a"}, 0, []string{"T\np"}},
		{nil, 3, []string{"T\np"}},
	} {
		if d := diff(c.want, UpdateSequences(a, c.completions, c.k, SequenceOptions{})); d != "" {
			t.Errorf("%q, k=%d: (-want +got)\n%s", c.completions, c.k, d)
		}
	}
}
