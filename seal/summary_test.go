package seal

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// bits turns the cases' strings of 0 and 1 into verdicts.
func bits(s string) []bool {
	verdicts := make([]bool, len(s))
	for i, c := range s {
		verdicts[i] = c == '1'
	}
	return verdicts
}

type summaryCase struct {
	K        int `json:"k_completions"`
	Articles []struct {
		Texts       []string `json:"completion_texts"`
		Completions []struct {
			Reps []struct{ Baseline, Adapter string }
		}
	}
	Published *OverallStats `json:"published_overall"`
	Expected  struct {
		Overall  OverallStats
		Articles []struct {
			Stats       ArticleStats
			Completions []EditStats
		}
		Used [][]string `json:"used_texts"`
	}
}

func TestDataRunSummary(t *testing.T) {
	eachCase(t, "run_summary", func(c summaryCase) check {
		results := make([][]EditResult, len(c.Articles))
		var used [][]string
		for i, a := range c.Articles {
			for _, edit := range a.Completions {
				var r EditResult
				for _, rep := range edit.Reps {
					r.Baseline = append(r.Baseline, ScoreOf(bits(rep.Baseline)))
					r.Adapter = append(r.Adapter, ScoreOf(bits(rep.Adapter)))
				}
				results[i] = append(results[i], r)
			}
			if a.Texts != nil {
				used = append(used, FirstNonBlank(a.Texts, c.K))
			}
		}
		got := Summarise(results)
		d := nearOverall("overall", c.Expected.Overall, got.Overall)
		if c.Published != nil {
			d += nearOverall("published overall", *c.Published, got.Overall)
		}
		if c.Expected.Used != nil {
			d += diff(fmt.Sprint(c.Expected.Used), fmt.Sprint(used))
		}
		measured, edits := got.Articles, got.Edits
		if len(c.Expected.Articles) < len(measured) { // the reference may list only articles with a usable edit
			measured, edits = nil, nil
			for i, e := range got.Edits {
				if len(e) > 0 {
					measured, edits = append(measured, got.Articles[i]), append(edits, e)
				}
			}
		}
		if len(measured) != len(c.Expected.Articles) {
			d += diff(len(c.Expected.Articles), len(measured))
			return check{d, d}
		}
		for i, want := range c.Expected.Articles {
			a, where := measured[i], fmt.Sprintf("article %d ", i)
			d += near(where+"baseline", want.Stats.Baseline, a.Baseline) +
				near(where+"adapter", want.Stats.Adapter, a.Adapter) +
				near(where+"deviation over", want.Stats.AdapterStdOver, a.AdapterStdOver) +
				near(where+"deviation within", want.Stats.AdapterStdWithin, a.AdapterStdWithin) +
				near(where+"gain", want.Stats.Gain, a.Gain)
			if len(want.Completions) != len(edits[i]) {
				d += diff(len(want.Completions), len(edits[i]))
				continue
			}
			for j, w := range want.Completions {
				e, where := edits[i][j], fmt.Sprintf("article %d edit %d ", i, j)
				d += near(where+"baseline", w.BaselineMean, e.BaselineMean) + near(where+"baseline deviation", w.BaselineStd, e.BaselineStd) +
					near(where+"adapter", w.AdapterMean, e.AdapterMean) + near(where+"adapter deviation", w.AdapterStd, e.AdapterStd) +
					near(where+"gain", w.GainMean, e.GainMean)
			}
		}
		return check{d, d}
	})
}

func nearOverall(name string, want, got OverallStats) string {
	return near(name+" baseline", want.Baseline, got.Baseline) + near(name+" baseline deviation", want.BaselineStd, got.BaselineStd) +
		near(name+" adapter", want.Adapter, got.Adapter) + near(name+" adapter deviation", want.AdapterStd, got.AdapterStd) +
		near(name+" deviation over", want.AdapterStdOver, got.AdapterStdOver) +
		near(name+" deviation within", want.AdapterStdWithin, got.AdapterStdWithin) + near(name+" gain", want.Gain, got.Gain)
}

type cptCase struct {
	Items []struct {
		Title, Context string
		Questions      []Question
		Completions    []string
		Completion     string
	}
	K             int  `json:"k_completions"`
	SplitNewlines bool `json:"split_newlines"`
	Articles      *int `json:"n_articles"`
	Limit         *int `json:"eval_question_limit"`
	SkipTraining  bool `json:"skip_training"`
	Verdicts      struct{ Baseline, Adapter string }
	Quirks        []string
	Expected      struct {
		TrainSequences []string   `json:"train_sequences"`
		EvalQuestions  []Question `json:"eval_questions"`
		Overall        struct {
			Baseline float64 `json:"baseline_accuracy"`
			Adapter  float64 `json:"adapter_accuracy"`
			Gain     float64
		}
		PerArticle map[string]struct {
			Baseline []bool `json:"baseline_correct"`
			Adapter  []bool `json:"adapter_correct"`
		} `json:"per_article"`
	}
}

func TestDataContinuedPretraining(t *testing.T) {
	eachCase(t, "cpt", func(c cptCase) check {
		items := c.Items
		if c.Articles != nil && *c.Articles > 0 {
			items = items[:min(*c.Articles, len(items))]
		}
		has := func(quirk string) bool { return slices.Contains(c.Quirks, quirk) }
		var articles []Article
		var sequences []string
		for _, item := range items {
			a := Article{Title: item.Title, Context: item.Context, Questions: item.Questions}
			articles = append(articles, a)
			completions := item.Completions
			if completions == nil {
				completions = []string{item.Completion}
			}
			sequences = append(sequences, UpdateSequences(a, completions, c.K, SequenceOptions{c.SplitNewlines})...)
		}

		asked := AskedQuestions(articles)

		var d check
		d.exact = diff(orEmpty(c.Expected.TrainSequences), orEmpty(sequences))
		decided := c.Expected.TrainSequences
		if has("empty-title-sequence") {
			decided = slices.DeleteFunc(slices.Clone(decided), func(s string) bool {
				return slices.ContainsFunc(articles, func(a Article) bool { return s == a.Title+"\n" && strings.TrimSpace(a.Context) != "" })
			})
		}
		d.decided = diff(orEmpty(decided), orEmpty(sequences))

		// With a limit the reference asks a random choice: ours are the first in
		// order, as many of them.
		limited := c.Limit != nil && *c.Limit > 0 &&
			(*c.Limit < len(asked) || has("limit-shuffles-then-misattributes-per-article"))
		if limited {
			for _, q := range c.Expected.EvalQuestions {
				if !slices.Contains(asked, q) {
					d.decided += fmt.Sprintf("the reference asks %q, which is no question of the articles\n", q.Question)
				}
			}
			articles = LimitQuestions(articles, *c.Limit)
			asked = AskedQuestions(articles)
			if len(asked) != len(c.Expected.EvalQuestions) {
				d.decided += diff(len(c.Expected.EvalQuestions), len(asked))
			}
			d.exact += diff(c.Expected.EvalQuestions, asked)
		} else if q := diff(orEmpty(c.Expected.EvalQuestions), orEmpty(asked)); q != "" {
			d.exact, d.decided = d.exact+q, d.decided+q
		}

		baseline := bits(c.Verdicts.Baseline)
		adapter := bits(c.Verdicts.Adapter)
		if c.SkipTraining || len(sequences) == 0 {
			adapter = baseline
		}
		if len(baseline) != len(asked) || len(adapter) != len(asked) {
			n := fmt.Sprintf("%d questions, %d and %d verdicts\n", len(asked), len(baseline), len(adapter))
			return check{d.exact + n, d.decided + n}
		}
		got := CompareVerdicts(baseline, adapter)
		n := near("baseline", c.Expected.Overall.Baseline, got.BaselineAccuracy) +
			near("adapter", c.Expected.Overall.Adapter, got.AdapterAccuracy) +
			near("gain", c.Expected.Overall.Gain, got.AdapterGain)
		d.exact, d.decided = d.exact+n, d.decided+n

		before, after := PerArticle(articles, baseline), PerArticle(articles, adapter)
		seen := map[string]int{}
		for _, a := range articles {
			seen[a.Title]++
		}
		for i, a := range articles {
			want := c.Expected.PerArticle[a.Title]
			p := diff(orEmpty(want.Baseline), orEmpty(before[i])) + diff(orEmpty(want.Adapter), orEmpty(after[i]))
			d.exact += p
			misattributed := limited && has("limit-shuffles-then-misattributes-per-article")
			overwritten := seen[a.Title] > 1 && has("per-article-keyed-by-title")
			if !misattributed && !overwritten {
				d.decided += p
			}
		}
		return d
	})
}
