package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/philox"
	"github.com/selkie-ml/selkie/nn"
	"github.com/selkie-ml/selkie/nn/tokenizer"
)

type generateFlags struct {
	modelFlags
	prompt, promptFile, system string
	chat                       bool
	n, maxNew                  int
	sampling                   nn.Sampling
	seed                       uint64
	stop                       []string
	json                       bool
}

func newGenerate(a *app) *cobra.Command {
	var f generateFlags
	c := &cobra.Command{
		Use:   "generate --model DIR --prompt TEXT",
		Short: "Continue a text, or answer a chat message",
		Long: `Generate continues a prompt and prints what follows as it is drawn. The same
seed gives the same text on any number of threads.`,
		Example: `  seal-run generate --model runs/demo-model --prompt "Story: Ponu"
  seal-run generate --model Qwen2.5-0.5B-Instruct --chat --prompt "What is a seal?" --temperature 0.7 --top-p 0.9
  seal-run generate --model DIR --adapter runs/adapter --prompt-file - --n 4 --temperature 1 --json < prompt.txt`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.generate(c, f) },
	}
	f.add(c, true)
	p := c.Flags()
	p.StringVar(&f.prompt, "prompt", "", "text to continue")
	p.StringVar(&f.promptFile, "prompt-file", "", "file with the text to continue; - for standard input")
	p.BoolVar(&f.chat, "chat", false, "the prompt is a user's message: use the model's chat template")
	p.StringVar(&f.system, "system", "", "system message of the chat")
	p.IntVar(&f.n, "n", 1, "texts to draw")
	p.IntVar(&f.maxNew, "max-tokens", 256, "most tokens of a text")
	p.Float64Var(&f.sampling.Temperature, "temperature", 0, "0 is greedy")
	p.Float64Var(&f.sampling.TopP, "top-p", 1, "draw from the smallest set of this probability")
	p.IntVar(&f.sampling.TopK, "top-k", 0, "draw from this many likeliest tokens; 0 for all")
	p.Uint64Var(&f.seed, "seed", 0, "seed of the draws")
	p.StringArrayVar(&f.stop, "stop", nil, "text that ends the generation; repeatable")
	p.BoolVar(&f.json, "json", false, "print an object per text: text, tokens, logprobs, finish")
	return c
}

func (a *app) generate(c *cobra.Command, f generateFlags) error {
	a.startsOver = true
	prompt, err := f.text(a.in)
	switch {
	case err != nil:
		return err
	case f.n < 1 || f.maxNew < 1:
		return fmt.Errorf("--n %d, --max-tokens %d: expected at least 1", f.n, f.maxNew)
	case f.system != "" && !f.chat:
		return errors.New("--system belongs to --chat")
	}
	if err := f.sampling.Validate(); err != nil {
		return err
	}
	l, err := a.load(f.modelFlags)
	if err != nil {
		return err
	}
	defer l.close()
	ids := l.tok.Encode(prompt, true)
	if f.chat {
		messages := []tokenizer.Message{{Role: "user", Content: prompt}}
		if f.system != "" {
			messages = append([]tokenizer.Message{{Role: "system", Content: f.system}}, messages...)
		}
		if ids, err = l.tok.EncodeChat(messages, tokenizer.ChatOptions{AddGenerationPrompt: true, Now: time.Now()}); err != nil {
			return err
		}
	}
	if len(ids) >= l.Config.MaxPositions {
		return fmt.Errorf("the prompt has %d tokens, which leaves no room in the model's context of %d", len(ids), l.Config.MaxPositions)
	}
	stops := nn.StopAtText(l.tok, f.stop...)
	requests := make([]nn.Request, f.n)
	for i := range requests {
		requests[i] = nn.Request{
			Prompt: ids, MaxNew: f.maxNew, Stop: l.stop, Adapter: l.adapter, Sampling: f.sampling, Until: stops.Until(),
			Key: philox.ID{Seed: f.seed, Purpose: philox.PurposeGenerate, Edit: i}.Key(),
		}
	}
	var live *printer
	if f.n == 1 && !f.json {
		live = newPrinter(a.out, l.tok, f.stop)
		until := requests[0].Until
		requests[0].Until = func(tokens []int32) bool {
			live.push(tokens)
			return until != nil && until(tokens)
		}
	}
	g := nn.NewGenerator(l.Model, l.pool, nn.GeneratorOptions{})
	defer g.Close()
	started := time.Now()
	done, err := g.Run(c.Context(), requests)
	if err != nil {
		return err
	}
	for i, d := range done {
		if d.Finish == nn.FinishFailed {
			return errors.New("the model's logits are not numbers: its weights are damaged, or an adapter is not this model's")
		}
		text := stops.Trim(d.Tokens)
		switch {
		case f.json:
			line, err := json.Marshal(struct {
				Text     string          `json:"text"`
				Tokens   []int32         `json:"tokens"`
				LogProbs []float32       `json:"logprobs"`
				Finish   nn.FinishReason `json:"finish"`
			}{text, d.Tokens, d.LogProbs, d.Finish})
			if err != nil {
				return err
			}
			fmt.Fprintln(a.out, string(line))
		case live != nil:
			live.finish(d.Tokens)
			fmt.Fprintln(a.out)
		default:
			fmt.Fprintf(a.out, "--- %d of %d (%s)\n%s\n", i+1, f.n, d.Finish, text)
		}
	}
	a.say("%d tokens of prompt, %d generated, %.1f a second", len(ids), g.Stats.Sampled, float64(g.Stats.Sampled)/time.Since(started).Seconds())
	return nil
}

// text returns the prompt.
func (f generateFlags) text(in io.Reader) (string, error) {
	text := f.prompt
	switch {
	case f.prompt != "" && f.promptFile != "":
		return "", errors.New("expected one of --prompt and --prompt-file")
	case f.promptFile == "-":
		data, err := io.ReadAll(in)
		if err != nil {
			return "", fmt.Errorf("reading the prompt from standard input: %w", err)
		}
		text = string(data)
	case f.promptFile != "":
		data, err := os.ReadFile(f.promptFile)
		if err != nil {
			return "", err
		}
		text = string(data)
	}
	if text == "" {
		return "", errors.New("the prompt is empty: give --prompt TEXT or --prompt-file FILE")
	}
	return text, nil
}

// printer shows a text while it is drawn, and nothing of a stop string.
type printer struct {
	out    io.Writer
	stream *tokenizer.Stream
	stops  []string
	seen   int    // tokens
	held   string // text that may be the beginning of a stop string
	ended  bool
}

func newPrinter(out io.Writer, tok *tokenizer.Tokenizer, stops []string) *printer {
	p := &printer{out: out, stream: tok.NewStream(), stops: stops}
	p.stream.SkipSpecial = true
	return p
}

// push takes the tokens so far and prints what is certain.
func (p *printer) push(tokens []int32) {
	for ; p.seen < len(tokens); p.seen++ {
		p.held += p.stream.Push(tokens[p.seen])
	}
	p.print(false)
}

// finish prints the rest.
func (p *printer) finish(tokens []int32) {
	p.push(tokens)
	p.held += p.stream.Flush()
	p.print(true)
}

func (p *printer) print(last bool) {
	if p.ended {
		p.held = ""
		return
	}
	certain := len(p.held)
	for _, stop := range p.stops {
		if stop == "" {
			continue
		}
		if i := strings.Index(p.held, stop); i >= 0 {
			certain, p.ended = min(certain, i), true
			continue
		}
		for n := min(len(stop)-1, len(p.held)); n > 0 && !last; n-- {
			if strings.HasSuffix(p.held, stop[:n]) {
				certain = min(certain, len(p.held)-n)
				break
			}
		}
	}
	fmt.Fprint(p.out, p.held[:certain])
	p.held = p.held[certain:]
}
