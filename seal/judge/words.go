package judge

import (
	"regexp"
	"strings"
)

// stem is how many letters of a word must match.
const stem = 5

// wordSet holds a text's words, and the beginnings of its longer ones.
type wordSet struct{ words, stems map[string]bool }

func newWordSet(text string) wordSet {
	s := wordSet{map[string]bool{}, map[string]bool{}}
	for _, w := range normalWords(text) {
		s.words[w] = true
		if beginning, ok := stemOf(w); ok {
			s.stems[beginning] = true
		}
	}
	return s
}

func (s wordSet) has(word string) bool {
	if s.words[word] {
		return true
	}
	beginning, ok := stemOf(word)
	return ok && s.stems[beginning]
}

func stemOf(word string) (string, bool) {
	letters := []rune(word)
	if len(letters) < stem || isNumber(word) {
		return "", false
	}
	return string(letters[:stem]), true
}

func isNumber(word string) bool { return word[0] >= '0' && word[0] <= '9' }

var (
	thousands  = regexp.MustCompile(`(\d),(\d\d\d)`)
	possessive = regexp.MustCompile(`['’]s?(\s|$|[[:punct:]])`)
	ordinal    = regexp.MustCompile(`(\d)(?:st|nd|rd|th)(\P{L}|$)`)
	wordOf     = regexp.MustCompile(`\d+\.\d+|[\p{L}\p{M}\p{N}]+`)
)

// normalWords cuts a text into lower-case words without punctuation. Numbers
// lose their thousands separators and ordinal endings, and those written as
// words become digits; a percent sign becomes a word.
func normalWords(text string) []string {
	text = strings.ToLower(text)
	for range 2 { // groups of three digits overlap by one
		text = thousands.ReplaceAllString(text, "$1$2")
	}
	text = possessive.ReplaceAllString(text, "$1")
	text = strings.NewReplacer("'", "", "’", "", "%", " percent ").Replace(text)
	text = ordinal.ReplaceAllString(text, "$1$2")
	words := wordOf.FindAllString(text, -1)
	for i, w := range words {
		if digits, ok := numberWords[w]; ok {
			words[i] = digits
		}
	}
	return words
}

var numberWords = map[string]string{
	"zero": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
	"eight": "8", "nine": "9", "ten": "10", "eleven": "11", "twelve": "12", "thirteen": "13", "fourteen": "14",
	"fifteen": "15", "sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20",
	"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90",
}

var functionWords = func() map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(`a an the of in on at to for and or by with from as is was were are be been
		it its their his her this that which who into than about`) {
		set[w] = true
	}
	return set
}()

// Words returns the telling words of a text in their order, in lower case and
// without endings: for comparing texts by what they are about.
func Words(text string) []string {
	var out []string
	for _, w := range normalWords(text) {
		if !functionWords[w] {
			out = append(out, stemWord(w))
		}
	}
	return out
}
