package seal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/selkie-ml/selkie/internal/testdata"
)

// departures lists the accidents of SEAL's reference code that this package
// does not repeat, and what it does instead. The cases that show one are checked
// against the reference's output with that accident corrected.
var departures = map[string]string{
	"empty-title-sequence":                          "a blank completion adds no sequence; the passage stands alone",
	"rule-only":                                     "a completion of rules only adds no sequence",
	"long-rule":                                     "a line of three or more dashes is one rule and vanishes whole",
	"rule-inside-line":                              "dashes inside a line are text",
	"numbered-answer-not-self-qa":                   "Answer N: counts as Answer:, so a question stays with its answer",
	"self-qa-preamble":                              "unanswered text before Question 1: is dropped",
	"self-qa-question-word":                         "only Question followed by a number or a colon is a label",
	"self-qa-trailing-newline":                      "texts are trimmed",
	"self-qa-keeps-rules":                           "rules are dropped on the question-answer path too",
	"preamble-rule-on-number":                       "the second line must begin with a list marker, not with a number or an ellipsis",
	"python-line-breaks":                            "lines end at LF, CRLF or CR only",
	"float-noise-tie":                               "scores are exact counts; equal ones keep the earlier edit",
	"empty-best-drops-row":                          "the next best edit is taken",
	"base-only-sends-twice":                         "one reply; the adapter's verdicts are the base's",
	"failed-generation-loses-verdicts":              "a failed generation is an error, not a score",
	"judge-retry-policy":                            "a judge that fails is an error, not a verdict",
	"chat-ignores-kind":                             "each kind has a chat prompt of its own",
	"per-article-keyed-by-title":                    "results are kept by position",
	"limit-shuffles-then-misattributes-per-article": "a question limit takes the first questions in order, kept with their articles",
	"std-is-mean-of-stds":                           "runs are pooled: variance within and between",
	"end-mask-token-boundary":                       "the mask is found by characters",
	"end-mask-truncated":                            "a substring cut off by the limit masks everything",
	"sft-mask-boundary":                             "prompt and completion are tokenised apart",
	"sft-longest-loses-eos":                         "every record ends with its end-of-text",
}

// check is what a case's test found: the difference from the reference's
// output, and from the outcome decided for the case's quirks. Empty: none.
type check struct{ exact, decided string }

// eachCase runs every case of a kind. A case without quirks must match the
// reference; one with quirks must match it or the decided outcome.
func eachCase[C any](t *testing.T, kind string, run func(c C) check) {
	path := filepath.Join(testdata.Dir(t), "seal_cases", kind+".jsonl")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cases, exact := 0, 0
	departed := map[string]int{}
	for i, line := range bytes.Split(bytes.TrimSpace(data), []byte("\n")) {
		var head struct {
			ID     string
			Quirks []string
		}
		var c C
		if err := json.Unmarshal(line, &head); err != nil {
			t.Fatalf("%s:%d: %v", path, i+1, err)
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("%s: %v", head.ID, err)
		}
		cases++
		got := run(c)
		known := slices.ContainsFunc(head.Quirks, func(q string) bool { return departures[q] != "" })
		switch {
		case len(head.Quirks) > 0 && !known:
			t.Errorf("%s: quirks %v have no decision", head.ID, head.Quirks)
		case got.exact == "":
			exact++
		case len(head.Quirks) == 0:
			t.Errorf("%s: (-reference +got)\n%s", head.ID, got.exact)
		case got.decided != "":
			t.Errorf("%s: quirks %v (-decided +got)\n%s", head.ID, head.Quirks, got.decided)
		default:
			departed[strings.Join(head.Quirks, ", ")]++
		}
	}
	if cases == 0 {
		t.Fatalf("%s holds no cases", path)
	}
	t.Logf("%s: %d cases, %d exactly as the reference, %d departing", kind, cases, exact, cases-exact)
	for _, quirks := range slices.Sorted(maps.Keys(departed)) {
		t.Logf("  %d departed: %s", departed[quirks], quirks)
		for _, q := range strings.Split(quirks, ", ") {
			t.Logf("     %s: %s", q, departures[q])
		}
	}
}

// near is empty when both numbers agree within the reference's rounding to four
// decimals (twice).
func near(name string, want, got float64) string {
	if math.Abs(want-got) <= 1.01e-4 {
		return ""
	}
	return fmt.Sprintf("%s: want %v, got %v\n", name, want, got)
}

func diff(want, got any) string { return cmp.Diff(want, got) }
