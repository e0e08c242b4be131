package seal

import (
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/judge"
	"github.com/selkie-ml/selkie/seal/settings"
)

// NewGrader returns the grader that settings name; prompts are asked by an
// endpoint, whose replies a cache keeps (nil: none).
func NewGrader(s settings.Settings, prompts *Prompts, cache judge.Cache) (Grader, error) {
	switch s.Eval.Grader {
	case "match":
		return judge.Match{}, nil
	case "learned":
		return judge.Learned{}, nil
	case "exact":
		return judge.Exact{}, nil
	case "command":
		c := judge.Command{Line: s.Judge.Command}
		return c, c.Check()
	case "endpoint":
		client := NewClient(s.Judge, s.Judge.MaxTokens*s.Judge.Batch, cache)
		return &judge.Endpoint{
			Client: client, Batch: s.Judge.Batch, UnclearIsWrong: s.Judge.Unclear == "wrong",
			Prompt: func(a Answer) []judge.Message {
				return chatMessages(prompts.GradeChat.Fill(Values{Question: a.Question, Gold: a.Gold, Pred: a.Answer}))
			},
		}, client.Check()
	}
	return nil, fmt.Errorf("eval.grader: %q is not known", s.Eval.Grader)
}

// firstPause is waited before a first retry; tests shorten it.
var firstPause = time.Second

// NewClient returns the client of the endpoint that settings name. Its key comes
// from the environment.
func NewClient(s settings.Judge, maxTokens int, cache judge.Cache) *judge.Client {
	return &judge.Client{
		URL: s.URL, Model: s.Model, Key: os.Getenv(s.KeyEnv), MaxTokens: maxTokens, Concurrency: s.Concurrency, Retries: s.Retries,
		Timeout: time.Duration(s.Timeout * float64(time.Second)), Pause: firstPause, Cache: cache, HTTP: http.DefaultClient,
	}
}

// grader returns the lab's grader. Replies go to the run that the lab will have.
func (l *Lab) grader() (Grader, error) { return NewGrader(l.Settings, &l.Prompts, runCache{l}) }

// client returns the endpoint's client for replies of so many tokens.
func (l *Lab) client(maxTokens int) *judge.Client {
	return NewClient(l.Settings.Judge, maxTokens, runCache{l})
}

// chatMessages are a filled template's messages.
func chatMessages(c ChatTemplate) []judge.Message {
	var out []judge.Message
	if c.System != "" {
		out = append(out, judge.Message{Role: "system", Content: c.System})
	}
	return append(out, judge.Message{Role: "user", Content: c.User})
}

// judgePhase holds every reply of an endpoint. It is never finished: what is
// asked depends on answers to come.
const judgePhase = "judge"

// runCache keeps replies in the lab's run.
type runCache struct{ lab *Lab }

func (c runCache) Get(key string) (judge.Reply, bool, error) {
	p, err := c.lab.Run.Phase(judgePhase)
	if err != nil {
		return judge.Reply{}, false, err
	}
	return journal.Get[judge.Reply](p, key)
}

func (c runCache) Put(key string, r judge.Reply) error {
	p, err := c.lab.Run.Phase(judgePhase)
	if err != nil {
		return err
	}
	return p.Put(key, r)
}

// RunCache keeps an endpoint's replies in a run folder.
func RunCache(run *journal.Run) judge.Cache { return runCache{&Lab{Run: run}} }

// JudgeCost is what an endpoint was paid for in a run, over all its processes.
type JudgeCost struct {
	Replies          int
	PromptTokens     int
	CompletionTokens int
	Price            float64
}

// ReadJudgeCost counts the replies that a run holds.
func ReadJudgeCost(run *journal.Run, s settings.Judge) (JudgeCost, error) {
	var c JudgeCost
	p, err := run.Phase(judgePhase)
	if err != nil {
		return c, err
	}
	for _, key := range p.Keys() {
		r, _, err := journal.Get[judge.Reply](p, key)
		if err != nil {
			return c, err
		}
		c.Replies++
		c.PromptTokens += r.PromptTokens
		c.CompletionTokens += r.CompletionTokens
	}
	c.Price = (float64(c.PromptTokens)*s.PriceIn + float64(c.CompletionTokens)*s.PriceOut) / 1e6
	return c, nil
}

// String tells the cost in words.
func (c JudgeCost) String() string {
	s := fmt.Sprintf("the judge's endpoint gave %d replies for %d prompt and %d reply tokens", c.Replies, c.PromptTokens, c.CompletionTokens)
	if c.Price > 0 {
		s += fmt.Sprintf(", %.4g at the prices set", c.Price)
	}
	return s
}
