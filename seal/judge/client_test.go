package judge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// memory is a cache; full makes Put fail.
type memory struct {
	mu   sync.Mutex
	m    map[string]Reply
	full bool
}

func (c *memory) Get(key string) (Reply, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.m[key]
	return r, ok, nil
}

func (c *memory) Put(key string, r Reply) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.full {
		return errors.New("no space left on device")
	}
	if _, ok := c.m[key]; ok {
		return errors.New("asked twice")
	}
	if c.m == nil {
		c.m = map[string]Reply{}
	}
	c.m[key] = r
	return nil
}

// endpoint is a fake one. It says yes to answers that contain their gold, after
// the faults of its plan: fault(n) is what happens to the n-th request.
type endpoint struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	answered map[string]int // by the chat's last message
	fault    func(n int) string
}

const secret = "sk-very-secret"

func newEndpoint(t *testing.T, fault func(n int) string) *endpoint {
	e := &endpoint{answered: map[string]int{}, fault: fault}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var chat struct {
			Model       string
			Messages    []Message
			Temperature *float64
		}
		if err := json.Unmarshal(body, &chat); err != nil || chat.Model != "m" || chat.Temperature == nil || *chat.Temperature != 0 || r.URL.Path != "/v1/chat/completions" {
			t.Errorf("got %s %s", r.URL.Path, body)
		}
		if r.Header.Get("Authorization") != "Bearer "+secret {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error": {"message": "bad key %s"}}`, r.Header.Get("Authorization"))
			return
		}
		e.mu.Lock()
		n := e.requests
		e.requests++
		what := ""
		if e.fault != nil {
			what = e.fault(n)
		}
		e.mu.Unlock()
		last := chat.Messages[len(chat.Messages)-1].Content
		reply := verdictFor(last)
		switch what {
		case "slow":
			time.Sleep(300 * time.Millisecond)
		case "429":
			w.Header().Set("Retry-After", "0.001")
			w.WriteHeader(http.StatusTooManyRequests)
			fmt.Fprint(w, `{"error": {"message": "slow down"}}`)
			return
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
			return
		case "nonsense":
			reply = "Perhaps."
		case "schema":
			fmt.Fprint(w, `{"completion": "yes"}`)
			return
		case "html":
			fmt.Fprint(w, `<html>gateway</html>`)
			return
		case "cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, `{"choices": [`)
			return
		case "drop":
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				conn.Close()
			}
			return
		}
		e.mu.Lock()
		if what == "" {
			e.answered[last]++
		}
		e.mu.Unlock()
		_ = json.NewEncoder(w).Encode(map[string]any{
			"choices": []any{map[string]any{"message": map[string]any{"role": "assistant", "content": reply}}},
			"usage":   map[string]int{"prompt_tokens": 10, "completion_tokens": 1},
		})
	}))
	t.Cleanup(e.Close)
	return e
}

func verdictFor(prompt string) string {
	one := func(s string) string {
		_, rest, _ := strings.Cut(s, "gold=")
		gold, answer, _ := strings.Cut(rest, " answer=")
		answer, _, _ = strings.Cut(answer, "\n")
		if strings.Contains(answer, gold) {
			return "Yes."
		}
		return "no"
	}
	if !strings.HasPrefix(prompt, "[1]") {
		return one(prompt)
	}
	var b strings.Builder
	for i, part := range strings.Split(prompt, "\n\n") {
		if strings.HasPrefix(part, "[") {
			fmt.Fprintf(&b, "%d: %s\n", i+1, one(part))
		}
	}
	return b.String()
}

func (e *endpoint) client(cache Cache) *Client {
	return &Client{URL: e.URL + "/v1", Model: "m", Key: secret, Concurrency: 4, Retries: 30, Timeout: 200 * time.Millisecond,
		Pause: time.Millisecond, MaxPause: 20 * time.Millisecond, Cache: cache}
}

func grader(c *Client, batch int) *Endpoint {
	return &Endpoint{Client: c, Batch: batch, Prompt: func(a Answer) []Message {
		return []Message{{"system", "judge"}, {"user", "q=" + a.Question + " gold=" + a.Gold + " answer=" + a.Answer}}
	}}
}

func someAnswers(n int) (answers []Answer, want []bool) {
	for i := range n {
		a := Answer{fmt.Sprint("q", i), fmt.Sprint("<", i, ">"), fmt.Sprint("it is <", i, ">")}
		if i%3 == 0 {
			a.Answer = "something else"
		}
		answers, want = append(answers, a), append(want, i%3 != 0)
	}
	return answers, want
}

// Every fault in turn, one chat or several at a time: nothing is lost, and what
// was answered is not asked again.
func TestFaultsOfTheEndpoint(t *testing.T) {
	faults := []string{"", "slow", "429", "500", "nonsense", "schema", "", "drop", "html", "cut", ""}
	for _, batch := range []int{1, 4} {
		e := newEndpoint(t, func(n int) string { return faults[n%len(faults)] })
		cache := &memory{}
		answers, want := someAnswers(40)
		answers, want = append(answers, answers[:3]...), append(want, want[:3]...) // twice the same
		c := e.client(cache)
		got, err := grader(c, batch).Grade(t.Context(), answers)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("batches of %d: got %v, want %v", batch, got, want)
		}
		for chat, n := range e.answered {
			if n > 1 {
				t.Errorf("batches of %d: %q was answered %d times", batch, chat, n)
			}
		}
		s := c.Stats()
		if len(cache.m) != 40 || s.Asked != (40+batch-1)/batch || s.Retries == 0 {
			t.Errorf("batches of %d: %d replies cached, stats %+v", batch, len(cache.m), s)
		}
		if batch == 1 {
			for _, reason := range []string{"timeout", "status 429", "status 500", "no verdict", "wrong form", "connection"} {
				if s.Failures[reason] == 0 {
					t.Errorf("no failure is counted as %q: %v", reason, s.Failures)
				}
			}
		}
		before := e.requests
		// Again, in another order and other batches: all from the cache.
		slices.Reverse(answers)
		slices.Reverse(want)
		got, err = grader(e.client(cache), batch+1).Grade(t.Context(), answers)
		if err != nil || !slices.Equal(got, want) || e.requests != before {
			t.Errorf("batches of %d, again: %v, %d further requests", batch, err, e.requests-before)
		}
	}
}

// What ends a run, how it is named, and that the next run asks only for the rest.
func TestEndpointThatStaysDown(t *testing.T) {
	for fault, want := range map[string]string{
		"500": "status 500 Internal Server Error: nothing (tried 3 times): what it answered before is kept", "429": "status 429 Too Many Requests: {\"error\": {\"message\": \"slow down\"}}",
		"slow": "no reply within 200ms", "drop": "EOF", "schema": "expected a chat completion {choices: [{message: {content}}]}, got {\"completion\": \"yes\"}",
		"html": "got <html>gateway</html>", "nonsense": "expected yes or no, got Perhaps.",
	} {
		down := true
		e := newEndpoint(t, func(n int) string {
			if n >= 5 && down {
				return fault
			}
			return ""
		})
		cache := &memory{}
		answers, verdicts := someAnswers(12)
		c := e.client(cache)
		c.Retries, c.Concurrency = 2, 2
		_, err := grader(c, 1).Grade(t.Context(), answers)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), e.URL) {
			t.Errorf("%s: error %v, want %q", fault, err, want)
		}
		if len(cache.m) != 5 {
			t.Errorf("%s: %d replies kept, want 5", fault, len(cache.m))
		}
		e.mu.Lock()
		down = false
		e.mu.Unlock()
		got, err := grader(e.client(cache), 1).Grade(t.Context(), answers)
		if err != nil || !slices.Equal(got, verdicts) {
			t.Errorf("%s, afterwards: %v, %v", fault, got, err)
		}
		for chat, n := range e.answered {
			if n > 1 {
				t.Errorf("%s: %q was answered %d times", fault, chat, n)
			}
		}
	}
}

func TestEndpointRefuses(t *testing.T) {
	e := newEndpoint(t, nil)
	c := e.client(nil)
	c.Key = "sk-wrong"
	answers, _ := someAnswers(3)
	_, err := grader(c, 1).Grade(t.Context(), answers)
	if err == nil || !strings.Contains(err.Error(), "status 401") || !strings.Contains(err.Error(), "judge.key_env") || strings.Contains(err.Error(), "sk-wrong") {
		t.Errorf("error %v", err)
	}
	if s := c.Stats(); s.Retries > 0 {
		t.Errorf("a wrong key was tried %d times more", s.Retries)
	}
	c = e.client(&memory{full: true})
	if _, err := grader(c, 1).Grade(t.Context(), answers); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("a full disk gave %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped")
	cancel(stop)
	if _, err := grader(e.client(nil), 1).Grade(ctx, answers); !errors.Is(err, stop) {
		t.Errorf("a stopped run gave %v", err)
	}
	for url, want := range map[string]string{"": "judge.url", "ftp://x": "judge.url", "host/v1": "judge.url", "http://u:p@h/": "user name or password"} {
		if err := (&Client{URL: url, Model: "m"}).Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if err := (&Client{URL: "http://h"}).Check(); err == nil || !strings.Contains(err.Error(), "judge.model") {
		t.Error(err)
	}
}

func TestUnclearReplies(t *testing.T) {
	e := newEndpoint(t, func(int) string { return "nonsense" })
	answers, _ := someAnswers(2)
	g := grader(e.client(nil), 1)
	g.UnclearIsWrong = true
	got, err := g.Grade(t.Context(), answers)
	if err != nil || got[0] || got[1] {
		t.Errorf("%v, %v", got, err)
	}
	for _, c := range []struct {
		reply string
		n     int
		want  []bool
	}{
		{"1: yes\n2: no", 2, []bool{true, false}}, {"**1.** Yes\n\n2) no, not at all\n", 2, []bool{true, false}}, {"Sure:\n2: no\n1: yes", 2, []bool{true, false}},
		{"1: yes", 2, nil}, {"1: yes\n1: no\n2: no", 2, nil}, {"1: yes\n3: no", 2, nil}, {"1: maybe\n2: no", 2, nil}, {"1: yes or no\n2: yes", 2, []bool{false, true}}, {"", 1, nil},
	} {
		if got := parseList(c.reply, c.n); !slices.Equal(got, c.want) || (got == nil) != (c.want == nil) {
			t.Errorf("%q: %v, want %v", c.reply, got, c.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	for header, want := range map[string]time.Duration{"": 0, "2": 2 * time.Second, "0.5": time.Second / 2, "-1": 0, "x": 0, "1e99": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0} {
		if got := retryAfter(header); got != want {
			t.Errorf("%q: %v, want %v", header, got, want)
		}
	}
	if got := retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)); got < 59*time.Minute || got > time.Hour {
		t.Errorf("an hour from now: %v", got)
	}
}
