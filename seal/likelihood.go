package seal

import (
	"context"
	"fmt"

	"github.com/selkie-ml/selkie/nn"
)

// likelihoods measures how likely every trial's gold answers are with its
// adapter: one forward pass, nothing generated. An update that diverged makes
// them as unlikely as can be.
func (l *Lab) likelihoods(ctx context.Context, m *nn.Model, trials []Trial, adapters []*nn.Adapter, outcomes []Outcome) error {
	pool, place, err := poolOf(m, adapters, true)
	if err != nil {
		return err
	}
	var trainer *nn.Trainer
	if pool != nil {
		defer pool.Free()
		if trainer, err = nn.NewTrainer(m, pool); err != nil {
			return err
		}
		defer trainer.Close()
		trainer.MaxTokens = l.Settings.Run.MaxBatchTokens
	}
	for i, t := range trials {
		if err := ctx.Err(); err != nil {
			return err
		}
		if place[i] == nn.NoAdapter {
			worst := float64(worstLoss)
			outcomes[i].GoldLoss = &worst
			continue
		}
		var batch []nn.Sequence
		for _, q := range t.Article.Questions {
			prompt, err := l.answerPrompt(t.Article, q)
			if err != nil {
				return fmt.Errorf("article %s (%s): %w", t.Article.ID, t.Article.Title, err)
			}
			gold := CompletionTokens(l.Tokenizer, prompt, l.goldText(q.Answer), l.end)
			gold.IDs = gold.IDs[:min(len(gold.IDs), l.context)]
			batch = append(batch, nn.NextToken(gold.IDs, gold.Masked, 1, place[i]))
		}
		losses, err := trainer.Forward(batch)
		if err != nil {
			return err
		}
		mean := 0.0
		for q, s := range batch {
			sum := 0.0
			for k, lp := range losses.LogProbs[q] {
				if s.Targets[k] >= 0 {
					sum -= float64(lp)
				}
			}
			mean += sum / float64(max(1, s.NumTargets())) / float64(len(batch))
		}
		if !(mean < worstLoss) { // not a number, too
			mean = worstLoss
		}
		outcomes[i].GoldLoss = &mean
	}
	return nil
}

// worstLoss has a likelihood of zero and can be written as JSON.
const worstLoss = 1e6

// goldText is a gold answer as a model would go on with it: after a blank, where
// the prompt of a base model ends without one.
func (l *Lab) goldText(gold string) string {
	if l.chat() || endsInSpace(l.Prompts.AnswerBase) {
		return gold
	}
	return " " + gold
}

func endsInSpace(s string) bool { return s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\n') }
