package seal

import "slices"

// EditResult is what testing one self-edit gave: a score per inner seed, before
// and after the update.
type EditResult struct {
	Baseline []Score `json:"baseline"`
	Adapter  []Score `json:"adapter"`
}

// EditStats are accuracies in [0, 1]; means and sample deviations are over seeds.
type EditStats struct {
	BaselineMean float64 `json:"baseline_mean"`
	BaselineStd  float64 `json:"baseline_std"`
	AdapterMean  float64 `json:"adapter_mean"`
	AdapterStd   float64 `json:"adapter_std"`
	GainMean     float64 `json:"gain_mean"`
}

// ArticleStats are means over an article's edits. Over tells how much the edits
// differ from one another, Within how much the seeds of one edit do.
type ArticleStats struct {
	Baseline         float64 `json:"baseline_accuracy"`
	Adapter          float64 `json:"adapter_mean_accuracy"`
	AdapterStdOver   float64 `json:"adapter_std_over_completions"`
	AdapterStdWithin float64 `json:"mean_adapter_std_within_completions"`
	Gain             float64 `json:"mean_gain"`
}

// OverallStats are means and sample deviations over articles, except
// AdapterStdWithin, the mean over the edits of all articles.
type OverallStats struct {
	Baseline         float64 `json:"baseline_mean_accuracy"`
	BaselineStd      float64 `json:"baseline_std_of_article_means"`
	Adapter          float64 `json:"adapter_mean_accuracy"`
	AdapterStd       float64 `json:"adapter_std_of_article_means"`
	AdapterStdOver   float64 `json:"mean_adapter_std_over_completions"`
	AdapterStdWithin float64 `json:"mean_adapter_std_within_completions"`
	Gain             float64 `json:"mean_gain"`
}

// Summary is the statistics of a run: Edits[i] are those of article i.
type Summary struct {
	Overall  OverallStats
	Articles []ArticleStats
	Edits    [][]EditStats
}

// Summarise computes the statistics of a run from results[article][edit]. An
// article without edits was not measured: its own statistics are zero and the
// overall ones leave it out. Nothing is rounded.
func Summarise(results [][]EditResult) Summary {
	var s Summary
	var baseline, adapter, gain, over, within []float64 // over measured articles; within over edits
	for _, edits := range results {
		stats := make([]EditStats, len(edits))
		var baselines, adapters, deviations []float64
		for i, e := range edits {
			stats[i] = e.Stats()
			baselines = append(baselines, stats[i].BaselineMean)
			adapters = append(adapters, stats[i].AdapterMean)
			deviations = append(deviations, stats[i].AdapterStd)
		}
		a := ArticleStats{
			Baseline:         Mean(baselines),
			Adapter:          Mean(adapters),
			AdapterStdOver:   Std(adapters),
			AdapterStdWithin: Mean(deviations),
			Gain:             Mean(adapters) - Mean(baselines),
		}
		s.Edits = append(s.Edits, stats)
		s.Articles = append(s.Articles, a)
		if len(edits) > 0 {
			baseline, adapter, gain = append(baseline, a.Baseline), append(adapter, a.Adapter), append(gain, a.Gain)
			over, within = append(over, a.AdapterStdOver), append(within, deviations...)
		}
	}
	s.Overall = OverallStats{
		Baseline: Mean(baseline), BaselineStd: Std(baseline),
		Adapter: Mean(adapter), AdapterStd: Std(adapter),
		AdapterStdOver: Mean(over), AdapterStdWithin: Mean(within),
		Gain: Mean(gain),
	}
	return s
}

// Stats are the edit's means and deviations over seeds.
func (e EditResult) Stats() EditStats {
	baseline, adapter := accuracies(e.Baseline), accuracies(e.Adapter)
	return EditStats{
		BaselineMean: Mean(baseline), BaselineStd: Std(baseline),
		AdapterMean: Mean(adapter), AdapterStd: Std(adapter),
		GainMean: Mean(adapter) - Mean(baseline),
	}
}

// Reward is the adapter's score over all seeds.
func (e EditResult) Reward() Score {
	var total Score
	for _, s := range e.Adapter {
		total = total.Plus(s)
	}
	return total
}

func accuracies(scores []Score) []float64 {
	x := make([]float64, len(scores))
	for i, s := range scores {
		x[i] = s.Accuracy()
	}
	return x
}

// Comparison is the outcome of one update on a set of questions, SEAL's reply to
// a request and the overall of continued pretraining. Gains has 1 for a question
// that became right, −1 for one that became wrong, else 0.
type Comparison struct {
	BaselineAccuracy float64 `json:"baseline_accuracy"`
	AdapterAccuracy  float64 `json:"adapter_accuracy"`
	AdapterGain      float64 `json:"adapter_gain"`
	BaselineCorrect  []bool  `json:"baseline_correct"`
	AdapterCorrect   []bool  `json:"adapter_correct"`
	Gains            []int   `json:"gains"`
}

// CompareVerdicts sets the adapter's verdicts against the base's, question by question.
// Without an update both are the same verdicts. It panics when the lengths differ.
func CompareVerdicts(baseline, adapter []bool) Comparison {
	if len(baseline) != len(adapter) {
		panic(lengthMismatch("CompareVerdicts", len(baseline), len(adapter), "verdicts"))
	}
	b, a := ScoreOf(baseline), ScoreOf(adapter)
	gains := make([]int, len(baseline))
	for i := range gains {
		switch {
		case adapter[i] && !baseline[i]:
			gains[i] = 1
		case baseline[i] && !adapter[i]:
			gains[i] = -1
		}
	}
	return Comparison{b.Accuracy(), a.Accuracy(), a.Accuracy() - b.Accuracy(), baseline, adapter, gains}
}

// LimitQuestions keeps the first n questions of all articles, in order, with
// their articles; n ≤ 0 keeps all. The articles are copies.
func LimitQuestions(articles []Article, n int) []Article {
	kept := slices.Clone(articles)
	if n <= 0 {
		return kept
	}
	for i := range kept {
		kept[i].Questions = kept[i].Questions[:min(n, len(kept[i].Questions))]
		n -= len(kept[i].Questions)
	}
	return kept
}

// AskedQuestions lists the questions of several articles, end to end, as
// TopicQuestion writes them.
func AskedQuestions(articles []Article) []Question {
	var asked []Question
	for _, a := range articles {
		for _, q := range a.Questions {
			asked = append(asked, Question{TopicQuestion(a.Title, q.Question), q.Answer})
		}
	}
	return asked
}

// PerArticle cuts the verdicts on the questions of several articles, end to
// end, into one slice per article. It panics unless there is a verdict for each
// question.
func PerArticle(articles []Article, verdicts []bool) [][]bool {
	parts := make([][]bool, len(articles))
	at := 0
	for i, a := range articles {
		end := at + len(a.Questions)
		if end > len(verdicts) {
			panic(lengthMismatch("PerArticle", end, len(verdicts), "verdicts"))
		}
		parts[i], at = verdicts[at:end], end
	}
	if at != len(verdicts) {
		panic(lengthMismatch("PerArticle", at, len(verdicts), "verdicts"))
	}
	return parts
}
