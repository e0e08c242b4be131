package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/judge"
)

type evalFlags struct {
	modelFlags
	data, out, prompt, prompts, grader string
	articles, maxNew, maxDecodes       int
	stop                               []string
	json                               bool
}

func newEval(a *app) *cobra.Command {
	var f evalFlags
	c := &cobra.Command{
		Use:   "eval --model DIR --data FILE.json",
		Short: "Ask a model closed-book questions and grade the answers",
		Long: `Eval asks every question of a file without its passage, greedily, grades the
answers, and prints the accuracy: the mean over passages with a 95 % interval.`,
		Example: `  seal-run eval --model Qwen2.5-0.5B --data squad_val.json --articles 50
  seal-run eval --model DIR --adapter runs/adapter --data mine.json --grader exact --json --out verdicts.jsonl`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.eval(c, f) },
	}
	f.add(c, true)
	p := c.Flags()
	p.StringVar(&f.data, "data", "", "articles: JSON of [{title, context, questions: [{question, answer}]}]")
	p.IntVar(&f.articles, "articles", 0, "articles used, from the file's start; 0 for all")
	p.StringVar(&f.prompts, "prompts", "base", "form of the prompt: base (text) or chat")
	p.StringVar(&f.prompt, "prompt", "", "file that replaces the answer prompt")
	p.StringVar(&f.grader, "grader", "match", "who judges: match (normalised comparison), learned (fitted to GPT-4.1's verdicts) or exact")
	p.IntVar(&f.maxNew, "max-tokens", 64, "longest answer, in tokens")
	p.StringArrayVar(&f.stop, "stop", nil, "text that ends an answer; repeatable")
	p.IntVar(&f.maxDecodes, "max-decodes", 64, "answers generated at once; bounds memory, changes no result")
	p.BoolVar(&f.json, "json", false, "print the result as one JSON object")
	p.StringVar(&f.out, "out", "", "JSONL file for every question's answer and verdict")
	return c
}

// verdict is a line of --out.
type verdict struct {
	Article  string `json:"article"`
	Title    string `json:"title"`
	Question string `json:"question"`
	Gold     string `json:"gold"`
	Answer   string `json:"answer"`
	Correct  bool   `json:"correct"`
}

func (a *app) eval(c *cobra.Command, f evalFlags) error {
	a.startsOver = true
	grader, err := graderOf(f.grader)
	switch {
	case err != nil:
		return err
	case f.data == "":
		return errors.New("--data is missing: name a JSON file of articles")
	case f.articles < 0 || f.maxNew < 1 || f.maxDecodes < 1:
		return fmt.Errorf("--articles %d, --max-tokens %d, --max-decodes %d: expected at least 0, 1 and 1", f.articles, f.maxNew, f.maxDecodes)
	}
	articles, err := seal.ReadArticles(f.data)
	if err != nil {
		return err
	}
	if f.articles > 0 {
		articles = articles[:min(f.articles, len(articles))]
	}
	l, err := a.load(f.modelFlags)
	if err != nil {
		return err
	}
	defer l.close()
	requests, err := f.requests(l, articles)
	if err != nil {
		return err
	}
	m, err := a.newMeter("answering", "questions", int64(len(requests)), 0)
	if err != nil {
		return err
	}
	defer m.stop()
	g := nn.NewGenerator(l.Model, l.pool, nn.GeneratorOptions{MaxSequences: f.maxDecodes})
	defer g.Close()
	stops := nn.StopAtText(l.tok, f.stop...)
	var verdicts []verdict
	var answers []seal.Answer
	for _, article := range articles {
		for _, q := range article.Questions {
			verdicts = append(verdicts, verdict{Article: article.ID, Title: article.Title, Question: q.Question, Gold: q.Answer})
		}
	}
	for start := 0; start < len(requests); start += 4 * f.maxDecodes {
		part := requests[start:min(start+4*f.maxDecodes, len(requests))]
		done, err := g.Run(c.Context(), part)
		if err != nil {
			return err
		}
		for i, d := range done {
			if d.Finish == nn.FinishFailed {
				return fmt.Errorf("question %q: the model's logits are not numbers: its weights are damaged, or the adapter is not this model's", verdicts[start+i].Question)
			}
			v := &verdicts[start+i]
			v.Answer = strings.TrimSpace(stops.Trim(d.Tokens))
			answers = append(answers, seal.Answer{Question: seal.TopicQuestion(v.Title, v.Question), Gold: v.Gold, Answer: v.Answer})
		}
		m.add(int64(len(part)), "")
	}
	m.stop()
	right, err := seal.GradeAnswers(c.Context(), grader, answers)
	if err != nil {
		return err
	}
	for i := range verdicts {
		verdicts[i].Correct = right[i]
	}
	if f.out != "" {
		if err := writeLines(f.out, verdicts); err != nil {
			return err
		}
	}
	return a.printAccuracy(f, articles, right)
}

func graderOf(name string) (seal.Grader, error) {
	switch name {
	case "match":
		return seal.MatchGrader{}, nil
	case "learned":
		return judge.Learned{}, nil
	case "exact":
		return seal.ExactGrader{}, nil
	}
	return nil, fmt.Errorf("--grader %s: expected match, learned or exact", name)
}

// requests are the prompts of all questions.
func (f evalFlags) requests(l *loaded, articles []seal.Article) ([]nn.Request, error) {
	if f.prompts != "base" && f.prompts != "chat" {
		return nil, fmt.Errorf("--prompts %s: expected base or chat", f.prompts)
	}
	prompts := seal.DefaultPrompts()
	if f.prompt != "" {
		if err := prompts.Replace("answer."+f.prompts+".txt", f.prompt); err != nil {
			return nil, err
		}
	}
	var requests []nn.Request
	for _, article := range articles {
		for _, q := range article.Questions {
			values := seal.Values{Title: article.Title, Topic: article.Title, Question: q.Question}
			ids, err := f.encode(l.tok, prompts, values)
			if err == nil && len(ids) >= l.Config.MaxPositions {
				err = fmt.Errorf("the question %q has %d tokens, which leaves no room in the model's context of %d", q.Question, len(ids), l.Config.MaxPositions)
			}
			if err != nil {
				return nil, fmt.Errorf("article %s (%s): %w", article.ID, article.Title, err)
			}
			requests = append(requests, nn.Request{
				Prompt: ids, MaxNew: f.maxNew, Stop: l.stop, Adapter: l.adapter, Until: nn.StopAtText(l.tok, f.stop...).Until(),
			})
		}
	}
	return requests, nil
}

func (f evalFlags) encode(tok *tokenizer.Tokenizer, prompts seal.Prompts, v seal.Values) ([]int32, error) {
	if f.prompts == "base" {
		return tok.Encode(seal.Fill(prompts.AnswerBase, v), true), nil
	}
	chat := prompts.AnswerChat.Fill(v)
	messages := []tokenizer.Message{{Role: "user", Content: chat.User}}
	if chat.System != "" {
		messages = append([]tokenizer.Message{{Role: "system", Content: chat.System}}, messages...)
	}
	return tok.EncodeChat(messages, tokenizer.ChatOptions{AddGenerationPrompt: true})
}

// printAccuracy prints the mean over passages.
func (a *app) printAccuracy(f evalFlags, articles []seal.Article, right []bool) error {
	correct := 0
	var means []float64
	for _, verdicts := range seal.PerArticle(articles, right) {
		n := 0
		for _, v := range verdicts {
			if v {
				n++
			}
		}
		correct += n
		means = append(means, float64(n)/float64(len(verdicts)))
	}
	interval := seal.Bootstrap(means, 10000, philox.NewStream(philox.ID{Purpose: philox.PurposeBootstrap, Item: "eval"}))
	if f.json {
		line, err := json.Marshal(struct {
			seal.Interval
			Questions int `json:"questions"`
			Correct   int `json:"correct"`
		}{interval, len(right), correct})
		if err != nil {
			return err
		}
		fmt.Fprintln(a.out, string(line))
		return nil
	}
	fmt.Fprintf(a.out, "accuracy %.1f %% (95 %% interval %.1f to %.1f) over %d passages; %d of %d questions right\n",
		100*interval.Mean, 100*interval.Low, 100*interval.High, interval.N, correct, len(right))
	return nil
}

// writeLines writes a JSONL file.
func writeLines[T any](path string, records []T) error {
	var data []byte
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return err
		}
		data = append(append(data, line...), '\n')
	}
	return atomicfile.WriteFile(path, data)
}
