package seal

import (
	"regexp"
	"strings"
)

// SequenceOptions says how a completion becomes training sequences.
type SequenceOptions struct {
	// SplitNewlines makes every line a sequence of its own, and every question
	// with its answer where the completion is a list of them. SEAL does so for
	// single passages, not in continued pretraining.
	SplitNewlines bool
}

// TrainSequences turns one self-edit into the texts to train on. Each is the
// title, a newline and a text; the passage itself is always the last.
//
// A line of three or more dashes separates segments. Without SplitNewlines a
// segment is a text. With it every line is, except that
//   - the first line, a preamble ("Here are the implications:"), is dropped when
//     the second begins the list with "1.";
//   - a completion with both "Question N:" and "Answer:" (or "Answer N:") is cut
//     before every line that starts with "Question N:" instead.
//
// Texts are trimmed of white space and blank ones dropped. A line ends at LF,
// CRLF or CR.
func TrainSequences(title, context, completion string, opt SequenceOptions) []string {
	var texts []string
	switch {
	case opt.SplitNewlines && isQuestionList(completion):
		texts = questionTexts(completion)
	case opt.SplitNewlines:
		texts = lineTexts(completion)
	default:
		texts = segments(completion)
	}
	var sequences []string
	for _, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			sequences = append(sequences, title+"\n"+text)
		}
	}
	return append(sequences, title+"\n"+strings.TrimSpace(context))
}

// UpdateSequences collects the sequences of an update from several edits of
// one article: the first k completions that are not blank, each followed by the
// passage, so that the passage comes k times; with none, the passage alone.
func UpdateSequences(a Article, completions []string, k int, opt SequenceOptions) []string {
	used := FirstNonBlank(completions, k)
	if len(used) == 0 {
		used = []string{""}
	}
	var sequences []string
	for _, c := range used {
		sequences = append(sequences, TrainSequences(a.Title, a.Context, c, opt)...)
	}
	return sequences
}

// anySpace matches what Unicode counts as white space.
const anySpace = `[\s\v\x{85}\p{Z}]`

var (
	lineBreak      = regexp.MustCompile(`\r\n|\n|\r`)
	questionLabel  = regexp.MustCompile(`Question` + anySpace + `+\p{Nd}+:`)
	questionAtLine = regexp.MustCompile(`(?m)^Question` + anySpace + `+\p{Nd}+:`)
	firstLabel     = regexp.MustCompile(`^Question` + anySpace + `+1:`)
	anyLabel       = regexp.MustCompile(`^Question` + anySpace + `*(\p{Nd}|:)`)
	answerLabel    = regexp.MustCompile(`Answer(` + anySpace + `+\p{Nd}+)?:`)
	listStart      = regexp.MustCompile(`^1\.([^.\p{Nd}]|$)`) // not 1.5 and not an ellipsis
)

// isRule recognises a line that separates segments.
func isRule(line string) bool {
	line = strings.TrimSpace(line)
	return len(line) >= 3 && strings.Trim(line, "-") == ""
}

// segments cuts a text at its rules, which may leave blank segments.
func segments(text string) []string {
	var parts []string
	start, at := 0, 0
	for at <= len(text) {
		end, next := len(text), len(text)+1
		if loc := lineBreak.FindStringIndex(text[at:]); loc != nil {
			end, next = at+loc[0], at+loc[1]
		}
		if isRule(text[at:end]) {
			parts = append(parts, text[start:at])
			start = min(next, len(text))
		}
		at = next
	}
	return append(parts, text[start:])
}

func lineTexts(completion string) []string {
	var lines []string
	for _, line := range lineBreak.Split(completion, -1) {
		if line = strings.TrimSpace(line); line != "" && !isRule(line) {
			lines = append(lines, line)
		}
	}
	if len(lines) > 1 && listStart.MatchString(lines[1]) {
		lines = lines[1:]
	}
	return lines
}

func isQuestionList(completion string) bool {
	return questionLabel.MatchString(completion) && answerLabel.MatchString(completion)
}

// questionTexts cuts a list of questions and answers before every label. What
// precedes the first is the first question where the prompt ended in its label,
// which is then put back; before "Question 1:" it is a preamble and dropped,
// unless it holds an answer.
func questionTexts(completion string) []string {
	text := strings.TrimSpace(strings.Join(segments(completion), ""))
	var texts []string
	start := 0
	for _, loc := range questionAtLine.FindAllStringIndex(text, -1) {
		texts = append(texts, text[start:loc[0]])
		start = loc[0]
	}
	texts = append(texts, text[start:])
	if texts[0] == "" {
		return texts[1:]
	}
	if anyLabel.MatchString(texts[0]) {
		return texts
	}
	if len(texts) > 1 && firstLabel.MatchString(texts[1]) && !answerLabel.MatchString(texts[0]) {
		return texts[1:]
	}
	texts[0] = "Question 1: " + texts[0]
	return texts
}
