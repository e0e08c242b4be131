package judge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Message is a part of a chat.
type Message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// Reply is what a model answered to one chat, and what it counted.
type Reply struct {
	Text             string `json:"text"`
	PromptTokens     int    `json:"prompt_tokens,omitempty"`
	CompletionTokens int    `json:"completion_tokens,omitempty"`
}

// Cache keeps replies, so that nothing is paid for twice. Its methods may be
// called from any goroutine. A reply must outlive the process once Put returns.
type Cache interface {
	Get(key string) (reply Reply, ok bool, err error)
	Put(key string, reply Reply) error
}

// Client asks a language model behind an OpenAI-compatible chat endpoint, many
// chats at a time. What fails for a while (no connection, timeouts, status 408,
// 409, 425, 429 and 5xx, replies that are no replies) is tried again with growing pauses.
type Client struct {
	URL         string // as in https://host/v1; chat/completions is added where it is missing
	Model       string
	Key         string // sent as a bearer token, and put nowhere else; may be empty
	MaxTokens   int    // of a reply; 0: the endpoint's default
	Concurrency int    // chats at a time, 1 at least
	Retries     int    // of one chat, after the first try
	Timeout     time.Duration
	Pause       time.Duration // before the first retry; doubles up to MaxPause. 0: one second
	MaxPause    time.Duration // also bounds what Retry-After may ask for. 0: a minute
	Cache       Cache         // nil: none
	HTTP        *http.Client  // nil: http.DefaultClient

	mu    sync.Mutex
	stats Stats
}

// Stats are a client's counts since it was made.
type Stats struct {
	Asked    int            // chats answered by the endpoint
	Cached   int            // chats answered by the cache
	Retries  int            // further tries
	Failures map[string]int // tries that failed, by reason
}

// String tells the counts in words.
func (s Stats) String() string {
	out := fmt.Sprintf("judge: %d chats asked, %d known already, %d tried again", s.Asked, s.Cached, s.Retries)
	for _, reason := range slices.Sorted(maps.Keys(s.Failures)) {
		out += fmt.Sprintf("; %s: %d", reason, s.Failures[reason])
	}
	return out
}

// Stats returns the counts so far.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Failures = map[string]int{}
	for k, v := range c.stats.Failures {
		s.Failures[k] = v
	}
	return s
}

func (c *Client) count(f func(*Stats)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stats.Failures == nil {
		c.stats.Failures = map[string]int{}
	}
	f(&c.stats)
}

// Check tells what is wrong with the client's settings before anything is asked.
func (c *Client) Check() error {
	u, err := url.Parse(c.URL)
	switch {
	case err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "":
		return fmt.Errorf("judge.url: got %q, expected an address such as https://host/v1", c.URL)
	case u.User != nil:
		return errors.New("judge.url holds a user name or password, which would be written with the settings: give the key in the environment (judge.key_env)")
	case c.Model == "":
		return errors.New("judge.model is missing: name the model to ask")
	}
	return nil
}

// chatRequest is what is sent. Its bytes, but for the address and key, are what
// a reply is cached under.
type chatRequest struct {
	Model       string    `json:"model"`
	Messages    []Message `json:"messages"`
	Temperature float64   `json:"temperature"`
	MaxTokens   int       `json:"max_tokens,omitempty"`
}

// Ask sends every chat that the cache has no reply to and returns the replies in
// order. accept, which may be nil, refuses replies that say nothing: they are
// asked for again. After a failure that stays, no further chat is begun; those on
// the way are waited for and cached, since they are paid for.
func (c *Client) Ask(ctx context.Context, chats [][]Message, accept func(chat int, reply string) error) ([]Reply, error) {
	replies := make([]Reply, len(chats))
	bodies := make([][]byte, len(chats))
	first := map[string]int{} // equal chats are asked once
	var todo []int
	keys := make([]string, len(chats))
	for i, messages := range chats {
		bodies[i], keys[i] = c.body(messages)
		if _, ok := first[keys[i]]; ok {
			continue
		}
		first[keys[i]] = i
		reply, ok, err := c.cached(keys[i])
		if err != nil {
			return nil, err
		}
		if ok && (accept == nil || accept(i, reply.Text) == nil) {
			replies[i] = reply
			c.count(func(s *Stats) { s.Cached++ })
			continue
		}
		todo = append(todo, i)
	}
	err := c.askAll(ctx, todo, func(ctx context.Context, i int) error {
		reply, err := c.askPatiently(ctx, bodies[i], func(text string) error {
			if accept == nil {
				return nil
			}
			return accept(i, text)
		})
		if err != nil {
			return err
		}
		replies[i] = reply
		return c.keep(keys[i], reply)
	})
	if err != nil {
		return nil, err
	}
	for i := range chats {
		replies[i] = replies[first[keys[i]]]
	}
	return replies, nil
}

// body is what is sent for a chat, and the key of its reply in the cache.
func (c *Client) body(chat []Message) (body []byte, key string) {
	body, err := json.Marshal(chatRequest{c.Model, chat, 0, c.MaxTokens})
	if err != nil {
		panic("judge: a chat that is no JSON: " + err.Error()) // texts and numbers always are
	}
	sum := sha256.Sum256(body)
	return body, hex.EncodeToString(sum[:])
}

func (c *Client) cached(key string) (Reply, bool, error) {
	if c.Cache == nil {
		return Reply{}, false, nil
	}
	return c.Cache.Get(key)
}

func (c *Client) keep(key string, reply Reply) error {
	if c.Cache == nil {
		return nil
	}
	return c.Cache.Put(key, reply)
}

// askAll calls ask for the chats, some at a time, and returns the first error.
func (c *Client) askAll(ctx context.Context, todo []int, ask func(ctx context.Context, i int) error) error {
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := 0
	for range min(max(1, c.Concurrency), len(todo)) {
		wait.Go(func() {
			for {
				mu.Lock()
				if failed != nil || next == len(todo) || ctx.Err() != nil {
					mu.Unlock()
					return
				}
				i := todo[next]
				next++
				mu.Unlock()
				if err := ask(ctx, i); err != nil {
					mu.Lock()
					if failed == nil {
						failed = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	if failed == nil {
		failed = context.Cause(ctx)
	}
	return failed
}

// passing is a failure that may pass.
type passing struct {
	reason string
	err    error
	after  time.Duration // that the endpoint asks to wait
}

func (p *passing) Error() string { return p.err.Error() }

// askPatiently tries one chat until it has a reply.
func (c *Client) askPatiently(ctx context.Context, body []byte, accept func(string) error) (Reply, error) {
	pause, longest := c.Pause, c.MaxPause
	if pause == 0 {
		pause = time.Second
	}
	if longest == 0 {
		longest = time.Minute
	}
	for try := 0; ; try++ {
		reply, err := c.askOnce(ctx, body)
		if err == nil {
			if refused := accept(reply.Text); refused != nil {
				err = &passing{reason: "no verdict", err: refused}
			}
		}
		var later *passing
		switch {
		case err == nil:
			c.count(func(s *Stats) { s.Asked++ })
			return reply, nil
		case ctx.Err() != nil:
			return Reply{}, context.Cause(ctx)
		case !errors.As(err, &later):
			c.count(func(s *Stats) { s.Failures["refused"]++ })
			return Reply{}, fmt.Errorf("judge %s: %w", c.URL, err)
		}
		c.count(func(s *Stats) { s.Failures[later.reason]++ })
		if try >= c.Retries {
			return Reply{}, fmt.Errorf("judge %s: %w (tried %d times): what it answered before is kept, and the same command goes on there", c.URL, later.err, try+1)
		}
		c.count(func(s *Stats) { s.Retries++ })
		select {
		case <-ctx.Done():
			return Reply{}, context.Cause(ctx)
		case <-time.After(min(longest, max(pause, later.after))):
		}
		pause = min(2*pause, longest)
	}
}

// grace is how long a chat on the way may still take after an interruption: it
// is paid for either way.
const grace = 10 * time.Second

const largestReply = 1 << 20

func (c *Client) askOnce(ctx context.Context, body []byte) (Reply, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = time.Minute
	}
	own, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })()
	address := strings.TrimSuffix(c.URL, "/")
	if !strings.HasSuffix(address, "/chat/completions") {
		address += "/chat/completions"
	}
	request, err := http.NewRequestWithContext(own, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return Reply{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if c.Key != "" {
		request.Header.Set("Authorization", "Bearer "+c.Key)
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return Reply{}, c.network(own, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, largestReply+1))
	if err != nil {
		return Reply{}, c.network(own, err)
	}
	if response.StatusCode != http.StatusOK {
		return Reply{}, c.status(response, text)
	}
	return c.decode(text)
}

func (c *Client) network(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &passing{reason: "timeout", err: fmt.Errorf("no reply within %v", c.Timeout)}
	}
	return &passing{reason: "connection", err: fmt.Errorf("%s", c.hide(err.Error()))}
}

func (c *Client) status(r *http.Response, text []byte) error {
	err := fmt.Errorf("status %s: %s", r.Status, c.excerpt(text))
	switch code := r.StatusCode; {
	case code == http.StatusTooManyRequests || code >= 500 || code == http.StatusRequestTimeout || code == http.StatusConflict || code == http.StatusTooEarly:
		return &passing{reason: fmt.Sprintf("status %d", code), err: err, after: retryAfter(r.Header.Get("Retry-After"))}
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return fmt.Errorf("%w: is the key in the environment variable that judge.key_env names the right one?", err)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: are judge.url and judge.model right?", err)
	}
	return err
}

// retryAfter reads seconds or a date.
func retryAfter(header string) time.Duration {
	if seconds, err := strconv.ParseFloat(header, 64); err == nil && seconds > 0 && seconds < 1e6 {
		return time.Duration(seconds * float64(time.Second))
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

func (c *Client) decode(text []byte) (Reply, error) {
	var r struct {
		Choices []struct {
			Message struct {
				Content *string `json:"content"`
			} `json:"message"`
		} `json:"choices"`
		Usage struct {
			PromptTokens     int `json:"prompt_tokens"`
			CompletionTokens int `json:"completion_tokens"`
		} `json:"usage"`
	}
	if len(text) > largestReply {
		return Reply{}, &passing{reason: "wrong form", err: errors.New("the reply is longer than 1 MiB")}
	}
	if err := json.Unmarshal(text, &r); err != nil || len(r.Choices) == 0 || r.Choices[0].Message.Content == nil {
		return Reply{}, &passing{reason: "wrong form", err: fmt.Errorf("expected a chat completion {choices: [{message: {content}}]}, got %s", c.excerpt(text))}
	}
	return Reply{*r.Choices[0].Message.Content, r.Usage.PromptTokens, r.Usage.CompletionTokens}, nil
}

// excerpt is the beginning of what came, for messages.
func (c *Client) excerpt(text []byte) string {
	s := strings.Join(strings.Fields(c.hide(string(bytes.ToValidUTF8(text, []byte("?"))))), " ")
	if r := []rune(s); len(r) > 200 {
		s = string(r[:200]) + " …"
	}
	if s == "" {
		return "nothing"
	}
	return s
}

// hide takes the key out of a text.
func (c *Client) hide(s string) string {
	if c.Key != "" {
		s = strings.ReplaceAll(s, c.Key, "(key)")
	}
	return s
}
