package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// report writes a book as Markdown: the goals, then every row.
func report(b *book) string {
	var s strings.Builder
	script, peak, kind := "scripts/bench-peers", "this machine's measured peak", "CPU"
	if b.Host.GPU != "" {
		script, peak, kind = "scripts/gpu-check", "the data sheet's peak", "GPU"
	}
	fmt.Fprintf(&s, "# %s: Selkie beside others\n\n", kind)
	fmt.Fprintf(&s, "Made by `%s`: each case's libraries took turns in one run, and the medians of their times are compared. ×: how many times as fast Selkie is\n"+
		"as the fastest of the others. Peak: the least time that the counted work ([work.go](../work.go)) needs at %s, over ours.\n"+
		"All samples are in the .jsonl file of the same name.\n\n", script, peak)
	if b.Host.GPU != "" {
		fmt.Fprintf(&s, "%s. ", b.Host.GPU)
	}
	fmt.Fprintf(&s, "%s, %d cores, %s; Selkie's numerics id is `%s`. ", b.Host.CPU, b.Host.Cores, b.Host.System, b.Host.Numerics)
	var versions []string
	for _, name := range slices.Sorted(maps.Keys(b.Host.Versions)) {
		versions = append(versions, name+" "+b.Host.Versions[name])
	}
	fmt.Fprintf(&s, "%s.\n\n", strings.Join(versions, ", "))
	threads := b.threads()
	for _, n := range threads {
		rows := b.find(n, "")
		p := rows[len(rows)-1].Peak
		if b.Host.GPU != "" {
			fmt.Fprintf(&s, "- Peak: %.0f TFLOP/s (f32), %.0f (bf16 on tensor cores), %.0f GB/s\n", p.FMA/1e12, p.BF16/1e12, p.Read/1e9)
			continue
		}
		loads := ""
		if p.FMALoads > 0 {
			loads = fmt.Sprintf("; %.0f on operands from the L1 cache", p.FMALoads/1e9)
		}
		fmt.Fprintf(&s, "- Peak with %s: %.0f GFLOP/s (f32 multiply-adds%s), %.0f (bf16 dot products), %.1f GB/s (streaming read)\n", threadsName(n), p.FMA/1e9, loads, p.BF16/1e9, p.Read/1e9)
	}
	writeGoals(&s, b, threads)
	for _, n := range threads {
		for _, p := range parts {
			rows := slices.DeleteFunc(b.find(n, ""), func(r *row) bool { return r.Part != p.name })
			if len(rows) > 0 {
				fmt.Fprintf(&s, "\n## %s, %s\n\n", strings.ToUpper(p.name[:1])+p.name[1:], threadsName(n))
				writeRows(&s, rows)
			}
		}
	}
	return s.String()
}

func threadsName(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}

func writeGoals(s *strings.Builder, b *book, threads []int) {
	fmt.Fprintf(s, "\n## Goals\n\n| work | goal |")
	for _, n := range threads {
		fmt.Fprintf(s, " %s |", threadsName(n))
	}
	fmt.Fprintf(s, "\n| --- | --- |%s\n", strings.Repeat(" --- |", len(threads)))
	list := goals
	if b.Host.GPU != "" {
		list = gpuGoals
	}
	for _, g := range list {
		fmt.Fprintf(s, "| %s | %s |", g.work, g.want)
		for _, n := range threads {
			measured, met, ok := g.check(b, n)
			switch {
			case !ok:
				fmt.Fprintf(s, " |")
			case met:
				fmt.Fprintf(s, " met: %s |", measured)
			default:
				fmt.Fprintf(s, " **not met**: %s |", measured)
			}
		}
		fmt.Fprintln(s)
	}
}

// writeRows writes the rows of a part as a table whose columns are the libraries
// that any of them has.
func writeRows(s *strings.Builder, rows []*row) {
	var engines []string
	for _, r := range rows {
		for name := range r.Seconds {
			if name != "selkie" && !slices.Contains(engines, name) {
				engines = append(engines, name)
			}
		}
	}
	slices.Sort(engines)
	columns := slices.Concat([]string{"case", "Selkie", "rate", "peak"}, engines, []string{"×"})
	fmt.Fprintf(s, "| %s |\n|%s\n", strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, r := range rows {
		fmt.Fprintf(s, "| %s | %s | %s | %.0f %% |", r.Case, duration(r.ours()), rate(r), 100*r.ofPeak())
		for _, e := range engines {
			if m := r.median(e); m > 0 {
				fmt.Fprintf(s, " %s |", duration(m))
			} else {
				fmt.Fprintf(s, " |")
			}
		}
		if x := r.ratio(); x > 0 {
			fmt.Fprintf(s, " %.2f |\n", x)
		} else {
			fmt.Fprintf(s, " |\n")
		}
	}
}

// rate is the figure that tells most of a row: tokens, bytes or operations a
// second.
func rate(r *row) string {
	switch t := r.ours(); {
	case r.Work.Tokens > 0:
		return fmt.Sprintf("%.4g tokens/s", r.Work.Tokens/t)
	case r.Work.Bytes > 0:
		return fmt.Sprintf("%.3g GB/s", r.Work.Bytes/t/1e9)
	default:
		return fmt.Sprintf("%.3g GFLOP/s", r.Work.FLOPs/t/1e9)
	}
}
