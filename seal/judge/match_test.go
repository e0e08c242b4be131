package judge

import (
	"context"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		question, gold, answer string
		want                   bool
	}{
		{"Where was he born?", "Smiljan", "He was born in Smiljan.", true},
		{"Where was he born?", "Smiljan", "He was born in Graz.", false},
		{"How many?", "two", "2 teams", true},
		{"How many?", "2,000", "About 2000 men.", true},
		{"How many?", "2,000", "About 20,000 men.", false},
		{"How many?", "1,234,567", "1234567", true},
		{"When?", "January 1661", "In January.", false},
		{"Which day?", "the 5th of May", "May 5", true},
		{"How much?", "80%", "80 percent", true},
		{"How much?", "2.5%", "2 or 5 percent", false},
		{"What of the plant's engine?", "steam turbines", "A steam turbine.", true},
		{"Which army?", "the Prussian army", "The Russian army.", false},
		{"Which army?", "the Prussian army", "It was Prussian.", true},
		{"Which?", "the", "The.", true},
		{"Whose?", "Tesla's", "Tesla", true},
		{"Whose?", "the dogs' owner", "the dogs’ owner", true},
		{"Which?", "Émile Zola", "émile zola", true},
		{"Which?", "東京", "東京。", true},
		{"Which?", "!", "!", false}, // no words to look for
	} {
		got, err := Match{}.Grade(context.Background(), []Answer{{c.question, c.gold, c.answer}})
		if err != nil || got[0] != c.want {
			t.Errorf("%q, gold %q, answer %q: %v, %v, want %v", c.question, c.gold, c.answer, got, err, c.want)
		}
	}
}

func TestParseVerdict(t *testing.T) {
	for reply, want := range map[string]bool{
		"yes": true, "Yes.": true, "**YES**": true, "no": false, "": false, "yes or no": false,
		"yesterday": false, "yes_": false, "yés": false, "none, yes": true, "yes1": false, "yes②": false, "не yes": true,
	} {
		if got := ParseVerdict(reply); got != want {
			t.Errorf("ParseVerdict(%q) = %v", reply, got)
		}
	}
}
