package report

// PaperKnowledge is the paper's table for knowledge incorporation, one passage at
// a time (Zweiger et al. 2025, table 2): Qwen2.5-7B, answers graded by GPT-4.1.
func PaperKnowledge() Paper {
	return Paper{
		Caption: "Zweiger et al. 2025, Qwen2.5-7B on 200 SQuAD passages, answers graded by GPT-4.1",
		Values: []PaperValue{
			{"no_passage", "base model", 0.327},
			{"passage_only", "passage only", 0.335},
			{"base_self_edits", "passage + base model's self-edits", 0.397},
			{"given_edits", "passage + GPT-4.1's self-edits", 0.463},
			{"seal_round_2", "SEAL after two rounds", 0.470},
		},
	}
}

// PaperFewshot is the paper's table for few-shot learning (Zweiger et al. 2025,
// table 1): Llama-3.2-1B-Instruct on ARC tasks chosen to be solvable.
func PaperFewshot() Paper {
	return Paper{
		Caption: "Zweiger et al. 2025, Llama-3.2-1B-Instruct on 8 filtered ARC tasks with 5 self-edits each",
		Values: []PaperValue{
			{"in_context", "in context", 0},
			{"base_self_edits", "trained as the base model's self-edits say", 0.20},
			{"seal_round_1", "SEAL", 0.725},
			{"oracle", "trained as the hand-tuned oracle says", 1},
		},
	}
}

// PaperContinue is the paper's table for continued pretraining on 200 passages
// (Zweiger et al. 2025, table 2): Qwen2.5-7B, all parameters trained.
func PaperContinue() Paper {
	return Paper{
		Caption: "Zweiger et al. 2025, Qwen2.5-7B, one update of all parameters from 200 SQuAD passages with 5 self-edits each, answers graded by GPT-4.1",
		Values: []PaperValue{
			{"no_passage", "base model", 0.327},
			{"passage_only", "passages only", 0.360},
			{"base_self_edits", "passages + base model's self-edits", 0.506},
			{"given_edits", "passages + GPT-4.1's self-edits", 0.594},
			{"", "passages + self-edits of SEAL's model", 0.582},
		},
	}
}
