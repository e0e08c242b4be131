package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/selkie-ml/selkie/nn"
)

// generation is greedy decoding after a prompt, for some texts at once, and the
// time of a long prompt.
func generation(s Sizes) ([]Case, error) {
	var out []Case
	for _, shape := range s.Shapes {
		c, err := Shape(shape)
		if err != nil {
			return nil, err
		}
		if shape == s.Small && shape != s.Large {
			continue
		}
		for _, kind := range []string{F32, BF16W, BF16} {
			for _, batch := range []int{1, 8, 32} {
				out = append(out, decodeCase(shape, c, kind, batch, s.Prompt, s.New))
			}
			out = append(out, promptCase(shape, c, kind, s.LongPrompt))
		}
	}
	return out, nil
}

func decodeCase(shape string, c nn.Config, kind string, batch, prompt, length int) Case {
	stored, compute := kindTypes(kind)
	steps := length - 1 // the first token comes with the prompt
	return Case{
		Name: fmt.Sprintf("decode/%s/%s/batch%d/prompt%d", shape, kind, batch, prompt),
		Work: decodeWork(c, batch, prompt+length/2, stored.Size(), compute.Size(), kind == BF16).Times(steps),
		Spec: Spec{Op: "decode", Type: kind, Model: shape, Batch: batch, Seq: prompt, New: length},
		setup: func(e *Env) (*Run, error) {
			m, err := e.model(shape, kind)
			if err != nil {
				return nil, err
			}
			g := nn.NewGenerator(m, nil, nn.GeneratorOptions{MaxSequences: batch, MaxTokens: batch * prompt})
			return &Run{Once: func() (time.Duration, error) {
				requests := make([]nn.Request, batch)
				for i := range requests {
					requests[i] = nn.Request{Prompt: e.tokens(c, prompt), MaxNew: length, Adapter: nn.NoAdapter}
				}
				var first, last time.Time
				sampled := 0
				g.Progress = func(tokens int) {
					if sampled += tokens; sampled <= batch {
						first = time.Now()
					}
					last = time.Now()
				}
				_, err := g.Run(context.Background(), requests)
				if want := batch * length; err == nil && sampled != want {
					err = fmt.Errorf("%d tokens were generated, want %d", sampled, want)
				}
				return last.Sub(first), err
			}, Close: func() { g.Close(); e.dev.Trim() }}, nil
		},
	}
}

func promptCase(shape string, c nn.Config, kind string, tokens int) Case {
	return Case{
		Name: fmt.Sprintf("prompt/%s/%s/%d", shape, kind, tokens),
		Work: promptWork(c, tokens, kind == BF16),
		Spec: Spec{Op: "prompt", Type: kind, Model: shape, Batch: 1, Seq: tokens},
		setup: func(e *Env) (*Run, error) {
			m, err := e.model(shape, kind)
			if err != nil {
				return nil, err
			}
			g := nn.NewGenerator(m, nil, nn.GeneratorOptions{MaxSequences: 1})
			return &Run{Once: func() (time.Duration, error) {
				request := nn.Request{Prompt: e.tokens(c, tokens), MaxNew: 1, Adapter: nn.NoAdapter}
				began := time.Now()
				_, err := g.Run(context.Background(), []nn.Request{request})
				return time.Since(began), err
			}, Close: func() { g.Close(); e.dev.Trim() }}, nil
		},
	}
}
