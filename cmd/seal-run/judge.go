package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/selkie-ml/selkie/internal/atomicfile"
	"github.com/selkie-ml/selkie/seal"
	"github.com/selkie-ml/selkie/seal/journal"
	"github.com/selkie-ml/selkie/seal/judge"
	"github.com/selkie-ml/selkie/seal/settings"
)

func newJudge(a *app) *cobra.Command {
	var r runFlags
	c := &cobra.Command{
		Use:   "judge",
		Short: "Grade a file of answers, and compare the grader with verdicts given there",
		Long: `Judge grades answers, {question, gold, answer} a line, with the grader that
eval.grader names: match, learned, exact, endpoint (judge.url) or command
(judge.command). Verdicts go to verdicts.jsonl in --out, and an endpoint's replies
are kept there, so that nothing is asked twice. Where the file has a verdict
(correct: true or false) on every answer, the agreement with it is printed.`,
		Example: `  seal-run judge --data graded_answers.jsonl --out runs/judged --set eval.grader=learned
  OPENAI_API_KEY=… seal-run judge --data answers.jsonl --out runs/asked --set eval.grader=endpoint --set judge.url=https://host/v1 --set judge.model=NAME`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.judge(c, r) },
	}
	f := c.Flags()
	f.StringVar(&r.data, "data", "", "answers: {question, gold, answer} a line, with correct where there is a verdict")
	f.StringVar(&r.config, "config", "", "YAML file of settings")
	f.StringVar(&r.out, "out", "", "folder for the verdicts")
	f.StringArrayVar(&r.sets, "set", nil, "change a setting, key=value; see seal-run knowledge --help for all")
	f.BoolVar(&r.asJSON, "json", false, "print the result as one JSON object")
	return c
}

// judgedLine is a line of verdicts.jsonl.
type judgedLine struct {
	Question string `json:"question"`
	Gold     string `json:"gold"`
	Answer   string `json:"answer"`
	Correct  bool   `json:"correct"`
}

func (a *app) judge(c *cobra.Command, r runFlags) (err error) {
	s, err := r.settings(settings.Default())
	if err != nil {
		return err
	}
	switch {
	case r.data == "":
		return errors.New("--data is missing: name a file of answers")
	case r.out == "":
		return errors.New("--out is missing: name a folder for the verdicts")
	}
	rows, truth, err := judge.ReadAnswers(r.data)
	if err != nil {
		return err
	}
	fingerprint, err := journal.Fingerprint(r.data)
	if err != nil {
		return err
	}
	run, err := journal.Open(r.out, s.Marshal(), journal.Options{Inputs: map[string]string{r.data: fingerprint}, Free: settings.Free()})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run.Close()) }()
	prompts := seal.DefaultPrompts()
	if s.Judge.Prompt != "" {
		if err := prompts.Replace("grade.chat.txt", s.Judge.Prompt); err != nil {
			return err
		}
	}
	grader, err := seal.NewGrader(s, &prompts, seal.RunCache(run))
	if err != nil {
		return err
	}
	verdicts, err := seal.GradeAnswers(c.Context(), grader, rows)
	if e, ok := grader.(*judge.Endpoint); ok {
		a.say("%v", e.Stats())
	}
	if err != nil {
		return err
	}
	var lines []byte
	right := 0
	for i, row := range rows {
		if verdicts[i] {
			right++
		}
		line, err := json.Marshal(judgedLine{row.Question, row.Gold, row.Answer, verdicts[i]})
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	path := run.Path("verdicts.jsonl")
	if err := atomicfile.WriteFile(path, lines); err != nil {
		return err
	}
	cost, err := seal.ReadJudgeCost(run, s.Judge)
	if err != nil {
		return err
	}
	result := struct {
		Answers   int               `json:"answers"`
		Right     int               `json:"right"`
		Agreement *judge.Comparison `json:"agreement,omitempty"`
		Cost      *seal.JudgeCost   `json:"cost,omitempty"`
	}{Answers: len(rows), Right: right}
	if truth != nil {
		g := judge.Compare(verdicts, truth)
		result.Agreement = &g
	}
	if cost.Replies > 0 {
		result.Cost = &cost
	}
	if r.asJSON {
		return json.NewEncoder(a.out).Encode(result)
	}
	fmt.Fprintf(a.out, "%d of %d answers right; verdicts: %s\n", right, len(rows), path)
	if result.Agreement != nil {
		fmt.Fprintln(a.out, *result.Agreement)
	}
	if result.Cost != nil {
		fmt.Fprintln(a.out, cost)
	}
	return nil
}
