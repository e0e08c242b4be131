// Package seal is the self-edit loop of Self-Adapting Language Models (SEAL,
// Zweiger et al., NeurIPS 2025): a model reads a passage, writes its own
// finetuning data, is finetuned on it, is asked questions without the passage,
// and learns by reinforcement (ReST-EM) which self-edits help.
//
// It decides what is trained, asked, graded and kept. How it is trained and
// sampled is nn's business: seal imports nn and the packages below it that hold
// no numerics (nn/tokenizer), never tensor or kernels, and does no numerics
// beyond the statistics of its report.
package seal
