package settings

import (
	"errors"
	"fmt"
)

// Fewshot is the whole configuration of a run of few-shot learning on ARC. See
// Settings for the tags.
type Fewshot struct {
	Data   FewshotData   `yaml:"data"`
	Model  FewshotModel  `yaml:"model"`
	Edits  FewshotEdits  `yaml:"edits"`
	Inner  FewshotInner  `yaml:"inner"`
	Answer FewshotAnswer `yaml:"answer"`
	Eval   FewshotEval   `yaml:"eval"`
	Outer  FewshotOuter  `yaml:"outer"`
	Run    Run           `yaml:"run"`
}

// FewshotData says where tasks come from.
type FewshotData struct {
	Train      string   `yaml:"train" doc:"file of training challenges, ARC's form: {id: {train, test}}"`
	Eval       string   `yaml:"eval" doc:"file of evaluation challenges, same form"`
	Solutions  []string `yaml:"solutions" doc:"files of solutions, ARC's form: {id: [grid, …]}; every task is sought in all of them; none: the challenges hold the test outputs"`
	TrainTasks int      `yaml:"train_tasks" is:"[0,)" doc:"training tasks used, from the file's start; 0 for all (paper: 11)"`
	EvalTasks  int      `yaml:"eval_tasks" is:"[0,)" doc:"evaluation tasks used, from the file's start; 0 for all (paper: 8)"`
	TooLong    string   `yaml:"too_long" is:"error|skip" doc:"tasks whose prompts the model's context cannot take: end the run, or leave them out and say how many"`
}

// FewshotModel says which model learns, and how it computes.
type FewshotModel struct {
	Dir     string `yaml:"dir" doc:"chat model's folder in Hugging Face format"`
	Compute string `yaml:"compute" is:"auto|f32|bf16" doc:"compute mode; auto: f32 on the CPU, the checkpoint's type on a GPU"`
	Date    string `yaml:"date" doc:"date that chat templates with a date print, so that a run does not depend on the day"`
	Solve   string `yaml:"solve_prompt" doc:"file that replaces the instruction before a task's demonstrations"`
}

// FewshotEdits says how self-edits are made.
type FewshotEdits struct {
	Prompt      string  `yaml:"prompt" doc:"file that replaces the instruction that asks for a self-edit"`
	Shown       int     `yaml:"shown" is:"[0,)" doc:"demonstrations shown when a self-edit is asked for; 0 for all (paper: all)"`
	PerTask     int     `yaml:"per_task" is:"[1,)" doc:"self-edits per training task (paper: 15)"`
	EvalPerTask int     `yaml:"eval_per_task" is:"[1,)" doc:"self-edits per evaluation task (paper: 5)"`
	Tries       int     `yaml:"tries" is:"[1,)" doc:"texts sampled at most until one is a self-edit; the last, if none is, trains nothing"`
	Temperature float64 `yaml:"temperature" is:"[0,)" doc:"sampling temperature; 0 is greedy (paper: 0.8)"`
	TopP        float64 `yaml:"top_p" is:"(0,1]" doc:"sample from the smallest set with this probability (paper: 1)"`
	TopK        int     `yaml:"top_k" is:"[0,)" doc:"sample from this many likeliest tokens; 0 for all (paper: 0)"`
	MaxTokens   int     `yaml:"max_tokens" is:"[1,)" doc:"longest text sampled for a self-edit, in tokens (paper: 128)"`
}

// FewshotInner is the update that a self-edit causes; the edit chooses tools,
// strategy, learning rate and epochs.
type FewshotInner struct {
	LeaveOut    int      `yaml:"leave_out" is:"[1,)" doc:"training tasks are made by leaving 1 up to this many demonstrations out (paper: 2)"`
	Examples    int      `yaml:"examples" is:"[1,)" doc:"training examples at most; more are shuffled and cut (paper: 250)"`
	MaxTokens   int      `yaml:"max_tokens" is:"[2,)" doc:"training examples have fewer tokens than this; longer ones are dropped (paper: 8192)"`
	MaxSteps    int      `yaml:"max_steps" is:"[0,)" doc:"a self-edit that asks for more optimiser steps trains nothing; 0 for no limit (paper: 375)"`
	Rank        int      `yaml:"rank" is:"[1,)" doc:"LoRA rank (paper: 128)"`
	Alpha       float64  `yaml:"alpha" is:"(0,)" doc:"LoRA scale; the update is multiplied by alpha/rank (paper: 16)"`
	Targets     []string `yaml:"targets" is:"q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj" doc:"linear layers adapted (paper: q, v, gate, up and down)"`
	Schedule    string   `yaml:"schedule" is:"constant|linear|cosine" doc:"learning rate after warm-up; linear and cosine end at 0 (paper: cosine)"`
	WarmupSteps int      `yaml:"warmup_steps" is:"[0,)" doc:"steps of linear rise to the learning rate (paper: 11)"`
	BatchSize   int      `yaml:"batch_size" is:"[1,)" doc:"examples per optimiser step (paper: 2)"`
	ClipNorm    float64  `yaml:"clip_norm" is:"[0,)" doc:"largest gradient norm; 0 turns clipping off (paper: 1)"`
	Beta1       float64  `yaml:"beta1" is:"[0,1)" doc:"AdamW's decay of the first moment (paper: 0.9)"`
	Beta2       float64  `yaml:"beta2" is:"[0,1)" doc:"AdamW's decay of the second moment (paper: 0.999)"`
	Epsilon     float64  `yaml:"epsilon" is:"(0,)" doc:"AdamW's epsilon (paper: 1e-8)"`
	WeightDecay float64  `yaml:"weight_decay" is:"[0,)" doc:"AdamW's decoupled weight decay (paper: 0)"`
	Seeds       int      `yaml:"seeds" is:"[1,)" doc:"updates per training self-edit; its reward is how often the task is solved (paper: 1)"`
	EvalSeeds   int      `yaml:"eval_seeds" is:"[1,)" doc:"updates per evaluation self-edit (paper: 1)"`
}

// FewshotAnswer is how a task is answered.
type FewshotAnswer struct {
	LeaveOut     int `yaml:"leave_out" is:"[0,)" doc:"demonstrations left out of each question (paper: 1)"`
	Permutations int `yaml:"permutations" is:"[0,)" doc:"further orders of each question's demonstrations (paper: 2)"`
	MaxTokens    int `yaml:"max_tokens" is:"[1,)" doc:"questions have fewer tokens than this; where none has, one more demonstration is left out (paper: 8192)"`
	MaxNew       int `yaml:"max_new" is:"[1,)" doc:"longest answer, in tokens; answers are greedy"`
}

// FewshotEval is what is measured.
type FewshotEval struct {
	Oracle       string   `yaml:"oracle" doc:"self-edit, or a file with one, tested on every task as a row of its own: the hand-tuned configuration"`
	Controls     []string `yaml:"controls" is:"|shuffled" doc:"rows beyond the paper's: rewards permuted within each task"`
	Permutations int      `yaml:"permutations" is:"[1,)" doc:"permutations of the rewards that the shuffled control averages over"`
	Resamples    int      `yaml:"resamples" is:"[100,)" doc:"bootstrap resamples over tasks for the intervals"`
}

// FewshotOuter is the reinforcement of the model that writes self-edits
// (ReST-EM): it is finetuned on those whose task was solved.
type FewshotOuter struct {
	Rounds   int    `yaml:"rounds" is:"[0,)" doc:"rounds of reinforcement; 0 evaluates the base model alone (paper: 1)"`
	Tasks    int    `yaml:"tasks" is:"[0,)" doc:"training tasks per round; 0 for all"`
	Contexts string `yaml:"contexts" is:"same|next" doc:"tasks of a later round: the first round's, or the next ones, starting over at the end"`
	Keep     int    `yaml:"keep" is:"[0,)" doc:"solved self-edits kept per task at most; 0 for all (paper: all)"`
	SkipTied bool   `yaml:"skip_tied" doc:"leave out tasks that every self-edit solves: they do not tell which help"`
	Finetune `yaml:",inline"`
}

// DefaultFewshot returns the paper's settings for few-shot learning. Model and
// data files are left for the user to name.
func DefaultFewshot() Fewshot {
	targets := func() []string { return []string{"q_proj", "v_proj", "gate_proj", "up_proj", "down_proj"} }
	return Fewshot{
		Data:  FewshotData{TooLong: "error"},
		Model: FewshotModel{Compute: "auto", Date: "26 Jul 2024"},
		Edits: FewshotEdits{PerTask: 15, EvalPerTask: 5, Tries: 20, Temperature: 0.8, TopP: 1, MaxTokens: 128},
		Inner: FewshotInner{
			LeaveOut: 2, Examples: 250, MaxTokens: 8192, MaxSteps: 375,
			Rank: 128, Alpha: 16, Targets: targets(), Schedule: "cosine", WarmupSteps: 11, BatchSize: 2,
			ClipNorm: 1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Seeds: 1, EvalSeeds: 1,
		},
		Answer: FewshotAnswer{LeaveOut: 1, Permutations: 2, MaxTokens: 8192, MaxNew: 2048},
		Eval:   FewshotEval{Permutations: 1, Resamples: 10000},
		Outer: FewshotOuter{
			Rounds: 1, Contexts: "same",
			Finetune: Finetune{
				Rank: 16, Alpha: 16, Targets: targets(), LR: 5e-5, Schedule: "cosine", Epochs: 8, BatchSize: 5, Shuffle: true,
				ClipNorm: 1, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
			},
		},
		Run: Run{MaxBatchTokens: 4096, MaxAdapters: 16, MaxDecodes: 64},
	}
}

// LoadFewshot returns the defaults overlaid with the YAML file at path.
func LoadFewshot(path string) (Fewshot, error) {
	s := DefaultFewshot()
	return s, s.LoadFile(path)
}

// LoadFile overlays s with the settings named in the YAML file at path. On an
// error s is unchanged.
func (s *Fewshot) LoadFile(path string) error { return loadFile(s, path) }

// Parse overlays s with the settings named in YAML text; see Settings.Parse.
func (s *Fewshot) Parse(name string, text []byte) error { return parse(s, name, text) }

// Set reads one "key=value"; see Settings.Set.
func (s *Fewshot) Set(assignment string) error { return set(s, assignment) }

// Marshal writes s as YAML; see Settings.Marshal.
func (s Fewshot) Marshal() []byte { return marshal(s) }

// Validate checks every setting against what it allows, and those that depend
// on each other.
func (s Fewshot) Validate() error {
	var errs []error
	for _, f := range fields(&s) {
		errs = append(errs, f.check())
	}
	if s.Outer.Keep > s.Edits.PerTask {
		errs = append(errs, fmt.Errorf("outer.keep: got %d, expected at most edits.per_task, which is %d", s.Outer.Keep, s.Edits.PerTask))
	}
	return errors.Join(errs...)
}

// FreeFewshot lists the keys that may change when a run is resumed.
func FreeFewshot() []string { return free[Fewshot]() }

// HelpFewshot lists every setting of Fewshot as text; see Help.
func HelpFewshot() string { return help(describeAll(DefaultFewshot())) }
