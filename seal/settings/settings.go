// Package settings holds every setting of a knowledge-incorporation run as one
// struct, with the paper's values as defaults, and reads it from YAML files and
// key=value pairs. Worker counts, devices and progress options are not settings:
// they change no result. It imports nothing of the project.
//
// Source of the defaults: Zweiger et al., "Self-Adapting Language Models",
// NeurIPS 2025, and its reference implementation.
package settings

// Settings is a run's whole configuration. Keys in files and on the command line
// are the yaml names joined by dots, as in inner.rank.
//
// Tags: "is" says which values are allowed (an interval, or words separated by
// bars), "doc" is the line shown in help, with its unit, and "free" marks what
// may differ when a run is resumed, because no result depends on it.
type Settings struct {
	Data  Data  `yaml:"data"`
	Model Model `yaml:"model"`
	Edits Edits `yaml:"edits"`
	Inner Inner `yaml:"inner"`
	Eval  Eval  `yaml:"eval"`
	Outer Outer `yaml:"outer"`
	Run   Run   `yaml:"run"`

	Judge     Judge     `yaml:"judge"`
	Continue  Continue  `yaml:"continue"`
	Continual Continual `yaml:"continual"`
}

// Data says where articles with their questions come from.
type Data struct {
	Train        string `yaml:"train" doc:"file of training articles, SQuAD's form as SEAL cuts it: [{title, context, questions}]"`
	Eval         string `yaml:"eval" doc:"file of evaluation articles, same form"`
	EvalArticles int    `yaml:"eval_articles" is:"[0,)" doc:"evaluation articles used, from the file's start; 0 for all (paper: 200)"`
	TooLong      string `yaml:"too_long" is:"error|skip" doc:"articles that leave the model's context no room for a self-edit or an answer: end the run, or leave them out and say how many"`
	Shuffle      bool   `yaml:"shuffle" doc:"draw the order of the articles from the seed, rather than keep the file's"`
}

// Model says which model learns, and how it computes.
type Model struct {
	Dir     string `yaml:"dir" doc:"model folder in Hugging Face format"`
	Compute string `yaml:"compute" is:"auto|f32|bf16" doc:"compute mode; auto: f32 on the CPU, the checkpoint's type on a GPU"`
	Prompts string `yaml:"prompts" is:"base|chat" doc:"form of all prompts: plain text ending in a cue, or chat messages (paper: base)"`
}

// Edits says how self-edits are made and cut into training sequences.
type Edits struct {
	Kind           string  `yaml:"kind" is:"implications|implications-long|implications-very-long|rewrite|self-qa|none" doc:"what the model is asked to write; none: train on the passage alone"`
	File           string  `yaml:"file" doc:"file of self-edits made elsewhere for the evaluation articles, tested as a row of their own"`
	FileRow        string  `yaml:"file_row" doc:"name of that row"`
	Prompt         string  `yaml:"prompt" doc:"file that replaces the self-edit prompt"`
	PerArticle     int     `yaml:"per_article" is:"[1,)" doc:"self-edits sampled per training article (paper: 5)"`
	EvalPerArticle int     `yaml:"eval_per_article" is:"[1,)" doc:"self-edits sampled per evaluation article (paper: 1)"`
	Temperature    float64 `yaml:"temperature" is:"[0,)" doc:"sampling temperature; 0 is greedy (paper: 1)"`
	TopP           float64 `yaml:"top_p" is:"(0,1]" doc:"sample from the smallest set with this probability (paper: 0.95)"`
	TopK           int     `yaml:"top_k" is:"[0,)" doc:"sample from this many likeliest tokens; 0 for all (paper: 0)"`
	MaxTokens      int     `yaml:"max_tokens" is:"[1,)" doc:"longest self-edit, in tokens (paper: 8192)"`
	SplitNewlines  bool    `yaml:"split_newlines" doc:"make every line a training sequence of its own, not every segment (paper: true)"`
}

// Finetune is a LoRA finetuning with AdamW.
type Finetune struct {
	Rank        int      `yaml:"rank" is:"[1,)" doc:"LoRA rank (paper: 32 inner, 64 outer)"`
	Alpha       float64  `yaml:"alpha" is:"(0,)" doc:"LoRA scale; the update is multiplied by alpha/rank (paper: 64 inner, 128 outer)"`
	Targets     []string `yaml:"targets" is:"q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj" doc:"linear layers adapted (paper: q_proj and v_proj inner, all seven outer)"`
	LR          float64  `yaml:"lr" is:"(0,)" doc:"learning rate at its peak (paper: 1e-3 inner, 3e-4 outer)"`
	Schedule    string   `yaml:"schedule" is:"constant|linear|cosine" doc:"learning rate after warm-up; linear and cosine end at 0 (paper: linear)"`
	WarmupSteps int      `yaml:"warmup_steps" is:"[0,)" doc:"steps of linear rise to the learning rate (paper: 0)"`
	Epochs      int      `yaml:"epochs" is:"[1,)" doc:"passes over the sequences (paper: 10 inner, 2 outer)"`
	BatchSize   int      `yaml:"batch_size" is:"[1,)" doc:"sequences per optimiser step (paper: 1 inner, 10 outer)"`
	Shuffle     bool     `yaml:"shuffle" doc:"draw a new order of the sequences for each epoch, rather than keep the given one"`
	ClipNorm    float64  `yaml:"clip_norm" is:"[0,)" doc:"largest gradient norm; 0 turns clipping off (paper: 1)"`
	Beta1       float64  `yaml:"beta1" is:"[0,1)" doc:"AdamW's decay of the first moment (paper: 0.9)"`
	Beta2       float64  `yaml:"beta2" is:"[0,1)" doc:"AdamW's decay of the second moment (paper: 0.999)"`
	Epsilon     float64  `yaml:"epsilon" is:"(0,)" doc:"AdamW's epsilon (paper: 1e-8)"`
	WeightDecay float64  `yaml:"weight_decay" is:"[0,)" doc:"AdamW's decoupled weight decay (paper: 0)"`
}

// Inner is the update that a self-edit causes and that its reward measures.
type Inner struct {
	Finetune  `yaml:",inline"`
	MaxTokens int    `yaml:"max_tokens" is:"[1,)" doc:"longest training sequence, in tokens; longer ones are cut (paper: 2048)"`
	EndMask   string `yaml:"end_mask" doc:"train only on what follows the first occurrence of this text in a sequence; empty: on all"`
	Seeds     int    `yaml:"seeds" is:"[1,)" doc:"updates per training self-edit; its reward is their mean accuracy (paper: 3)"`
	EvalSeeds int    `yaml:"eval_seeds" is:"[1,)" doc:"updates per evaluation self-edit (paper: 1)"`
}

// Eval is closed-book answering, grading and the statistics over it.
type Eval struct {
	Prompt       string   `yaml:"prompt" doc:"file that replaces the answer prompt"`
	MaxTokens    int      `yaml:"max_tokens" is:"[1,)" doc:"longest answer, in tokens; answers are greedy (paper: 64)"`
	Stop         []string `yaml:"stop" doc:"texts that end an answer, besides the end-of-text token"`
	Grader       string   `yaml:"grader" is:"match|learned|exact|endpoint|command" doc:"who judges answers; match: a normalised comparison with the gold answer; learned: trees fitted to GPT-4.1's verdicts, the least biased offline; exact: equality; endpoint and command: see judge.url and judge.command"`
	Controls     []string `yaml:"controls" is:"|passage_only_matched|passage_only_steps|shuffled" doc:"rows beyond the paper's: the passage repeated for as many tokens, or steps, as the base model's self-edits; rewards permuted within each passage"`
	Permutations int      `yaml:"permutations" is:"[1,)" doc:"permutations of the rewards that the shuffled control averages over"`
	Resamples    int      `yaml:"resamples" is:"[100,)" doc:"bootstrap resamples over articles for the intervals"`
}

// Outer is the reinforcement of the model that writes self-edits (ReST-EM).
type Outer struct {
	Rounds   int      `yaml:"rounds" is:"[0,)" doc:"rounds of reinforcement; 0 evaluates the base model alone (paper: 2)"`
	Articles int      `yaml:"articles" is:"[1,)" doc:"training articles per round (paper: 50)"`
	Contexts string   `yaml:"contexts" is:"same|next" doc:"articles of a later round: the first round's, or the next ones, starting over at the end (published runs: next)"`
	Reward   string   `yaml:"reward" is:"accuracy|loss|rubric" doc:"what a self-edit is kept for; accuracy: of answers after the update; loss: how likely the gold answers are after it, without generating; rubric: what a judge thinks of its text, without an update (paper: accuracy)"`
	Compare  []string `yaml:"compare" is:"|accuracy|loss|rubric" doc:"further rewards measured only to compare the rankings they give"`
	Select   string   `yaml:"select" is:"best|above_mean|top_share" doc:"self-edits kept: the best outer.keep of each article, all above their article's mean, or the best share of all (paper: best)"`
	Share    float64  `yaml:"share" is:"(0,1]" doc:"share kept by top_share"`
	Keep     int      `yaml:"keep" is:"[1,)" doc:"best self-edits kept per article (paper: 1)"`
	Ties     string   `yaml:"ties" is:"earlier|draw" doc:"of self-edits with equal rewards: the earlier one, or one drawn from the seed (paper: earlier)"`
	SkipTied bool     `yaml:"skip_tied" doc:"leave out articles whose self-edits all have the same reward"`
	Finetune `yaml:",inline"`
}

// Run is what concerns the run as a whole.
type Run struct {
	Seed           uint64 `yaml:"seed" doc:"seed of everything drawn"`
	MaxBatchTokens int    `yaml:"max_batch_tokens" is:"[1,)" free:"true" doc:"tokens computed at once, if no single sequence is longer; bounds memory, changes no result"`
	MaxAdapters    int    `yaml:"max_adapters" is:"[1,)" free:"true" doc:"adapters trained at once; bounds memory, changes no result"`
	Recompute      bool   `yaml:"recompute" free:"true" doc:"compute activations again in the backward pass instead of keeping them: less memory, a third more work, the same results"`
	MaxDecodes     int    `yaml:"max_decodes" is:"[1,)" free:"true" doc:"sequences generated at once; bounds memory, changes no result"`
}

// Judge is a language model behind an endpoint, or a user's command, that grades
// answers or scores self-edits.
type Judge struct {
	URL         string  `yaml:"url" doc:"OpenAI-compatible endpoint, as in https://host/v1"`
	Model       string  `yaml:"model" doc:"model to ask there (paper: gpt-4.1)"`
	KeyEnv      string  `yaml:"key_env" free:"true" doc:"environment variable that holds the key; the key itself is written nowhere"`
	Prompt      string  `yaml:"prompt" doc:"file that replaces the grading prompt"`
	Batch       int     `yaml:"batch" is:"[1,)" doc:"answers asked about in one chat (paper: 1)"`
	MaxTokens   int     `yaml:"max_tokens" is:"[1,)" doc:"longest reply to one answer, in tokens"`
	Unclear     string  `yaml:"unclear" is:"error|wrong" doc:"a reply that stays without a yes or no: ends the run, or counts as a no"`
	Concurrency int     `yaml:"concurrency" is:"[1,)" free:"true" doc:"chats asked at once"`
	Retries     int     `yaml:"retries" is:"[0,)" free:"true" doc:"further tries of a chat that fails for a while"`
	Timeout     float64 `yaml:"timeout" is:"(0,)" free:"true" doc:"seconds to wait for a reply"`
	PriceIn     float64 `yaml:"price_in" is:"[0,)" free:"true" doc:"price of a million prompt tokens, for the report"`
	PriceOut    float64 `yaml:"price_out" is:"[0,)" free:"true" doc:"price of a million reply tokens, for the report"`
	Command     string  `yaml:"command" doc:"shell command that reads {id, question, gold, answer} and writes {id, correct}, one JSON object a line"`
}

// Continue is continued pretraining: one update from many passages. LoRA's rank,
// alpha and layers, the optimiser and the schedule are those of the inner update.
type Continue struct {
	Train      string  `yaml:"train" is:"lora|all" doc:"what is trained: an adapter, or all parameters (the paper's table)"`
	LR         float64 `yaml:"lr" is:"(0,)" doc:"learning rate at its peak (reference: 1e-3 for lora)"`
	Epochs     int     `yaml:"epochs" is:"[1,)" doc:"passes over all sequences (reference: 3)"`
	BatchSize  int     `yaml:"batch_size" is:"[1,)" doc:"sequences per optimiser step (reference: 4 to 8)"`
	Edits      int     `yaml:"edits" is:"[0,)" doc:"self-edits used per passage; 0: the passages alone (paper: 5)"`
	Checkpoint int     `yaml:"checkpoint" is:"[1,)" free:"true" doc:"optimiser steps between checkpoints"`
}

// Continual is a sequence of self-edits, each merged before the next.
type Continual struct {
	Sequences int      `yaml:"sequences" is:"[1,)" doc:"sequences of passages (published: 8 runs of 8)"`
	Length    int      `yaml:"length" is:"[1,)" doc:"passages, each with one update, in a sequence (paper: 8)"`
	Keep      []string `yaml:"keep" is:"|replay|kl|orthogonal|routed" doc:"what is done against forgetting; replay: some earlier self-edits are trained on again; kl: a penalty for leaving the model before the update, on its own samples; orthogonal: adapters apart from earlier ones; routed: an adapter per passage, chosen by the question's words (paper: nothing)"`
	Replay    float64  `yaml:"replay" is:"(0,)" doc:"replayed sequences for each new one"`
	KLWeight  float64  `yaml:"kl_weight" is:"(0,)" doc:"weight of a token of the model's own samples against a new one"`
	KLSamples int      `yaml:"kl_samples" is:"[1,)" doc:"samples of the model before the update for each earlier passage, begun with its title"`
}

// Default returns the paper's settings for knowledge incorporation, one passage
// at a time. Model and data files are left for the user to name.
func Default() Settings {
	adamW := Finetune{
		Schedule: "linear", Shuffle: true, ClipNorm: 1,
		Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8,
	}
	inner := adamW
	inner.Rank, inner.Alpha = 32, 64
	inner.Targets = []string{"q_proj", "v_proj"}
	inner.LR, inner.Epochs, inner.BatchSize = 1e-3, 10, 1

	outer := adamW
	outer.Rank, outer.Alpha = 64, 128
	outer.Targets = []string{"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
	outer.LR, outer.Epochs, outer.BatchSize = 3e-4, 2, 10

	return Settings{
		Data:  Data{EvalArticles: 200, TooLong: "error"},
		Model: Model{Compute: "auto", Prompts: "base"},
		Edits: Edits{
			Kind: "implications", FileRow: "given_edits", PerArticle: 5, EvalPerArticle: 1,
			Temperature: 1, TopP: 0.95, MaxTokens: 8192, SplitNewlines: true,
		},
		Inner: Inner{Finetune: inner, MaxTokens: 2048, Seeds: 3, EvalSeeds: 1},
		Eval:  Eval{MaxTokens: 64, Grader: "match", Permutations: 1, Resamples: 10000},
		Outer: Outer{
			Rounds: 2, Articles: 50, Contexts: "next", Reward: "accuracy", Select: "best", Share: 0.2, Keep: 1, Ties: "earlier",
			Finetune: outer,
		},
		Run: Run{MaxBatchTokens: 4096, MaxAdapters: 16, MaxDecodes: 64},

		Judge:     Judge{KeyEnv: "OPENAI_API_KEY", Batch: 1, MaxTokens: 16, Unclear: "error", Concurrency: 8, Retries: 8, Timeout: 60},
		Continue:  Continue{Train: "lora", LR: 1e-3, Epochs: 3, BatchSize: 4, Edits: 5, Checkpoint: 100},
		Continual: Continual{Sequences: 8, Length: 8, Replay: 3, KLWeight: 1, KLSamples: 8},
	}
}
