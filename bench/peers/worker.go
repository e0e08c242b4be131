package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/selkie-ml/selkie/bench"
)

// worker is a process of worker.py: one library with one number of threads. It
// reads requests and writes answers, a line of JSON each.
type worker struct {
	engine   string
	cmd      *exec.Cmd
	in       io.WriteCloser
	out      *bufio.Reader
	versions map[string]string
}

type request struct {
	Do      string      `json:"do"` // start, sample or stop
	Spec    *bench.Spec `json:"spec,omitempty"`
	Seconds float64     `json:"seconds,omitempty"` // sample: repeat for at least so long
}

type answer struct {
	Error    string            `json:"error"`
	Seconds  float64           `json:"seconds"` // of one time, the mean over a sample
	Versions map[string]string `json:"versions"`
}

func startWorker(o options, engine string, threads int) (*worker, error) {
	w := &worker{engine: engine}
	w.cmd = exec.Command(o.python, "-W", "ignore", o.worker, "--engine", engine, "--device", o.device, "--threads", strconv.Itoa(threads), "--llama", o.llama, "--cache", o.cache)
	w.cmd.Stderr = os.Stderr
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", engine, err)
	}
	hello, err := w.read()
	w.versions = hello.Versions
	return w, err
}

// close ends the process.
func (w *worker) close() {
	w.in.Close()
	w.cmd.Wait()
}

func (w *worker) read() (answer, error) {
	line, err := w.out.ReadBytes('\n')
	if err != nil {
		return answer{}, fmt.Errorf("%s ended: its last words are above", w.engine)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil {
		return a, fmt.Errorf("%s answered %q: %w", w.engine, line, err)
	}
	if a.Error != "" {
		return a, fmt.Errorf("%s: %s", w.engine, a.Error)
	}
	return a, nil
}

func (w *worker) ask(r request) (answer, error) {
	line, err := json.Marshal(r)
	if err != nil {
		return answer{}, err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil {
		return answer{}, fmt.Errorf("%s ended: its last words are above", w.engine)
	}
	return w.read()
}

// start makes a case ready.
func (w *worker) start(s bench.Spec) error {
	_, err := w.ask(request{Do: "start", Spec: &s})
	return err
}

// sample repeats the case for at least d and returns the seconds of one time.
func (w *worker) sample(d time.Duration) (float64, error) {
	a, err := w.ask(request{Do: "sample", Seconds: d.Seconds()})
	return a.Seconds, err
}

// stop forgets the case.
func (w *worker) stop() error {
	_, err := w.ask(request{Do: "stop"})
	return err
}
