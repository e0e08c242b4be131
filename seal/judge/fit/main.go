// Fit makes the trees of the learned grader from judged answers, a JSON object
// {question, gold, answer, correct} a line.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/selkie-ml/selkie/seal/judge"
)

func main() {
	data := flag.String("data", "", "file of judged answers")
	out := flag.String("out", "zlearned.bin", "file to write")
	flag.Parse()
	rows, err := judge.ReadJudged(*data)
	if err == nil {
		err = os.WriteFile(*out, judge.FitLearned(rows), 0o666)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fit:", err)
		os.Exit(1)
	}
	fmt.Printf("%d answers learnt\n", len(rows))
}
