package world

import (
	"regexp"
	"strings"
)

// Notes says what an edit is: its style and how much of it is true.
type Notes struct {
	Style   Style  // the style of most lines; ties go to the style first in the list
	Lines   int    // non-empty lines
	Stated  int    // lines of QA, Facts, Inverted or Wrong: those that claim a value
	Correct int    // of these, the lines with the person's own value
	Covered int    // attributes whose value a line of QA, Facts or Inverted states truly
	Share   []Line // every line
}

// Line is one line of an edit.
type Line struct {
	Style     Style
	Attribute Attribute // of a line that claims a value
	Value     string    // claimed; "" if the line claims none
	Correct   bool      // the value is the person's and the line names the person
}

// pattern recognises the lines of one template.
type pattern struct {
	*regexp.Regexp
	style     Style
	attribute Attribute
}

// patterns are tried in order; the first that matches a line decides.
var patterns = func() []pattern {
	var all []pattern
	add := func(style Style, a Attribute, templates ...string) {
		for _, t := range templates {
			expr := "^" + fill(regexp.QuoteMeta(t), `\{X\}`, `(?P<name>\w+)`, `\{v\}`, `(?P<value>\w+)`, `\{c\}`, `\w+`,
				`\{j\}`, `\w+`, `\{a\}`, `\w+`, `\{f\}`, `\w+`) + "$"
			all = append(all, pattern{regexp.MustCompile(expr), style, a})
		}
	}
	add(Vague, 0, vague...)
	add(OffTopic, 0, offTopic...)
	var clauses []string
	for i := range lexicon {
		a, w := Attribute(i), lexicon[i]
		for _, q := range w.asked {
			add(QA, a, q+" {v}")
			add(Riddles, a, q)
		}
		for _, f := range w.facts {
			add(Facts, a, f)
			add(Wrong, a, doubt(f))
		}
		add(Inverted, a, w.inverted)
		clauses = append(clauses, fill(regexp.QuoteMeta(w.passage), `\{v\}`, `\w+`))
	}
	clause := "(?:" + strings.Join(clauses, "|") + ")"
	for _, j := range joints {
		expr := "^" + fill(regexp.QuoteMeta(j), `\{S\}`, `\w+`, `\{a\}`, clause, `\{b\}`, clause) + "$"
		all = append(all, pattern{regexp.MustCompile(expr), Copy, 0})
	}
	return all
}()

// Classify reads a completion of EditPrompt about a person.
func Classify(completion string, p Person) Notes {
	n := Notes{Style: None}
	var count [Other + 1]int
	var covered [AttributeCount]bool
	for _, text := range strings.Split(completion, "\n") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		l := classifyLine(strings.TrimPrefix(text, lineCue), p)
		n.Share = append(n.Share, l)
		n.Lines++
		count[l.Style]++
		if l.Value == "" {
			continue
		}
		n.Stated++
		if l.Correct {
			n.Correct++
			covered[l.Attribute] = covered[l.Attribute] || l.Style != Wrong
		}
	}
	for _, c := range covered {
		if c {
			n.Covered++
		}
	}
	most := 0
	for style, c := range count {
		if c > most {
			n.Style, most = Style(style), c
		}
	}
	return n
}

func classifyLine(text string, p Person) Line {
	for _, pat := range patterns {
		m := pat.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		l := Line{Style: pat.style}
		if i := pat.SubexpIndex("value"); i > 0 {
			l.Attribute, l.Value = pat.attribute, m[i]
			l.Correct = l.Value == p.Values[l.Attribute] && m[pat.SubexpIndex("name")] == p.Name
		}
		return l
	}
	return Line{Style: Other}
}
