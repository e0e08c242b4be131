// Package arc holds what few-shot learning on ARC needs besides a model: grids
// and their transforms, self-edits as JSON, the training sets and prompts that
// they make of a task's demonstrations, reading answers back, and the vote over
// them (Zweiger et al., "Self-Adapting Language Models", NeurIPS 2025, section
// 4.2; Akyürek et al., "The Surprising Effectiveness of Test-Time Training for
// Few-Shot Learning", 2024).
//
// All of it is pure: the same arguments give the same results. It imports
// nn/tokenizer for chat messages and internal/philox for draws; never seal, nn
// or tensor.
package arc
