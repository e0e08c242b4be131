package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"
)

// neighbour is the variable that makes a test binary one of several processes
// side by side; see neighbourSteps.
const neighbour = "SELKIE_BENCH_NEIGHBOUR"

// neighbourSteps trains the small shape with every core, as long as its parent
// listens: a word when it is ready, and after a line from there its steps in a second.
func neighbourSteps(in io.Reader, out io.Writer) error {
	e, err := NewEnv("cpu", runtime.NumCPU(), NewWeights())
	if err != nil {
		return err
	}
	defer e.Close()
	s := Full()
	c, err := loraStepCase(s.Small, F32, QV, stepRank, 1, 1, s.BatchSeq)
	if err != nil {
		return err
	}
	run, err := c.Start(e)
	if err != nil {
		return err
	}
	defer run.Close()
	if _, err := run.Once(); err != nil {
		return err
	}
	fmt.Fprintln(out, "ready")
	for lines := bufio.NewScanner(in); lines.Scan(); {
		n, start := 0, time.Now()
		for ; time.Since(start) < time.Second; n++ {
			if _, err := run.Once(); err != nil {
				return err
			}
		}
		fmt.Fprintln(out, float64(n)/time.Since(start).Seconds())
	}
	return nil
}

// neighbourProcess is a process in neighbourSteps.
type neighbourProcess struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startNeighbour() (p neighbourProcess, err error) {
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), neighbour+"=1")
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return p, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return p, err
	}
	p.out = bufio.NewScanner(out)
	return p, p.cmd.Start()
}

// rate reads what the process has to say.
func (p *neighbourProcess) rate() (steps float64, err error) {
	if !p.out.Scan() {
		return 0, errors.Join(errors.New("a process ended early"), p.out.Err())
	}
	_, err = fmt.Sscan(p.out.Text(), &steps)
	return steps, err
}

// BenchmarkNeighbours runs training steps in one process and in several side by side,
// each with as many threads as there are cores. Together they should do about as
// much as one alone: threads that wait for others must let go of their cores.
func BenchmarkNeighbours(b *testing.B) {
	fmt.Println("Unit steps/s better=higher")
	for _, n := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("processes=%d", n), func(b *testing.B) {
			var all []neighbourProcess
			for range n {
				p, err := startNeighbour()
				if err != nil {
					b.Fatal(err)
				}
				defer p.cmd.Wait()
				defer p.in.Close()
				all = append(all, p)
			}
			for i := range all {
				if all[i].out.Scan(); all[i].out.Text() != "ready" {
					b.Fatalf("a process says %q", all[i].out.Text())
				}
			}
			sum := 0.0
			for b.Loop() {
				for i := range all {
					fmt.Fprintln(all[i].in)
				}
				for i := range all {
					steps, err := all[i].rate()
					if err != nil {
						b.Fatal(err)
					}
					sum += steps
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(sum/float64(b.N), "steps/s")
		})
	}
}
