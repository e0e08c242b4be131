package judge

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Endpoint has a language model judge.
type Endpoint struct {
	*Client
	// Prompt writes the chat that asks about one answer for a yes or no.
	Prompt func(Answer) []Message
	// Batch is how many answers one chat asks about; 1 at least. With more, the
	// chat's user messages are put end to end, and a numbered list is asked for.
	Batch int
	// UnclearIsWrong takes a reply that stays without a yes or no for a no. Else it
	// ends the run with an error.
	UnclearIsWrong bool
}

// Grade asks about the answers. A reply with both a yes and a no is a no.
func (e *Endpoint) Grade(ctx context.Context, answers []Answer) ([]bool, error) {
	if e.Batch > 1 {
		return e.gradeBatches(ctx, answers)
	}
	chats := make([][]Message, len(answers))
	for i, a := range answers {
		chats[i] = e.Prompt(a)
	}
	replies, err := e.Ask(ctx, chats, func(i int, reply string) error {
		if yes, no := verdictWords(reply); !yes && !no && !e.UnclearIsWrong {
			return fmt.Errorf("on the question %q: expected yes or no, got %s", answers[i].Question, e.excerpt([]byte(reply)))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	verdicts := make([]bool, len(answers))
	for i, r := range replies {
		verdicts[i] = ParseVerdict(r.Text)
	}
	return verdicts, nil
}

// gradeBatches asks about several answers in one chat. Verdicts are cached answer
// by answer, under what asking about it alone would have, so that nothing is
// asked twice however answers come together.
func (e *Endpoint) gradeBatches(ctx context.Context, answers []Answer) ([]bool, error) {
	verdicts := map[Answer]bool{}
	keys := map[Answer]string{}
	var todo []Answer
	for _, a := range answers {
		if keys[a] != "" {
			continue
		}
		_, keys[a] = e.body(e.Prompt(a))
		reply, ok, err := e.cached(keys[a])
		if err != nil {
			return nil, err
		}
		if ok {
			verdicts[a] = ParseVerdict(reply.Text)
			e.count(func(s *Stats) { s.Cached++ })
		} else {
			todo = append(todo, a)
		}
	}
	var parts [][]Answer
	var order []int
	for part := range slices.Chunk(todo, e.Batch) {
		order, parts = append(order, len(parts)), append(parts, part)
	}
	var mu sync.Mutex
	err := e.askAll(ctx, order, func(ctx context.Context, i int) error {
		part := parts[i]
		body, _ := e.body(e.batchPrompt(part))
		reply, err := e.askPatiently(ctx, body, func(text string) error {
			if parseList(text, len(part)) == nil {
				return fmt.Errorf("on %d questions, the first %q: expected the lines \"1: yes\" to \"%d: no\", got %s", len(part), part[0].Question, len(part), e.excerpt([]byte(text)))
			}
			return nil
		})
		if err != nil {
			return err
		}
		for j, v := range parseList(reply.Text, len(part)) {
			one := Reply{Text: "no"}
			if v {
				one.Text = "yes"
			}
			if j == 0 { // the whole chat's count is kept once
				one.PromptTokens, one.CompletionTokens = reply.PromptTokens, reply.CompletionTokens
			}
			if err := e.keep(keys[part[j]], one); err != nil {
				return err
			}
			mu.Lock()
			verdicts[part[j]] = v
			mu.Unlock()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := make([]bool, len(answers))
	for i, a := range answers {
		out[i] = verdicts[a]
	}
	return out, nil
}

func (e *Endpoint) batchPrompt(part []Answer) []Message {
	var out []Message
	var user strings.Builder
	for i, a := range part {
		for _, m := range e.Prompt(a) {
			switch {
			case m.Role == "user":
				fmt.Fprintf(&user, "[%d]\n%s\n\n", i+1, m.Content)
			case i == 0:
				out = append(out, m)
			}
		}
	}
	fmt.Fprintf(&user, "Reply with exactly %d lines, one for each number: the number, a colon, and yes or no.", len(part))
	return append(out, Message{"user", user.String()})
}

var listLine = regexp.MustCompile(`^\W*(\d+)\W+(.*)$`)

// parseList reads numbered verdicts 1 to n; nil unless each is there once.
func parseList(reply string, n int) []bool {
	verdicts, seen := make([]bool, n), make([]bool, n)
	found := 0
	for line := range strings.Lines(reply) {
		m := listLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		k, err := strconv.Atoi(m[1])
		yes, no := verdictWords(m[2])
		if err != nil || k < 1 || k > n || seen[k-1] || !yes && !no {
			return nil
		}
		verdicts[k-1], seen[k-1] = yes && !no, true
		found++
	}
	if found < n {
		return nil
	}
	return verdicts
}
