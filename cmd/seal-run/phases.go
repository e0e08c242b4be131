package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/selkie-ml/selkie/seal/journal"
)

// phaseMeter shows the phases of a run one after another.
type phaseMeter struct {
	app   *app
	name  string
	meter *meter
	done  int
}

func newPhaseMeter(a *app) *phaseMeter { return &phaseMeter{app: a} }

// show tells that a phase has done so many of total.
func (p *phaseMeter) show(name string, done, total int) {
	if name != p.name {
		p.stop()
		p.name, p.done = name, done
		if done == total {
			return // finished by an earlier process
		}
		var err error
		if p.meter, err = p.app.newMeter(name, "", int64(total), int64(done)); err != nil {
			p.meter = nil
		}
	}
	if p.meter != nil {
		p.meter.add(int64(done-p.done), "")
	}
	p.done = done
}

func (p *phaseMeter) stop() {
	if p.meter != nil {
		p.meter.stop()
		p.meter = nil
	}
}

// readTimings gathers the timings of a demo's seeds.
func readTimings(dir string, seeds int) ([]journal.Timing, error) {
	var all []journal.Timing
	for seed := range seeds {
		folder := filepath.Join(dir, fmt.Sprintf("seed-%d", seed))
		if _, err := os.Stat(folder); err != nil {
			return nil, err
		}
		run, err := journal.Read(folder)
		if err != nil {
			return nil, err
		}
		t, err := run.Timings()
		if err != nil {
			return nil, err
		}
		all = append(all, t...)
	}
	return all, nil
}
